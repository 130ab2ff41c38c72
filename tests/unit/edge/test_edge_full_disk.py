"""A disk that is full: writes are refused before anything of them is written, and reads go on."""

from __future__ import annotations

import errno
import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from qdrant_client import models

from colbert_qdrant import DiskFullError, EdgeClient
from tests.power import Device
from tests.processes import run_script

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

VECTOR = models.VectorParams(size=2, distance=models.Distance.DOT)
LARGE = {"text": "x" * 2**20}
ALL = models.Filter()
LIVE = models.CreateAliasOperation(create_alias=models.CreateAlias(alias_name="live", collection_name="docs"))

WRITES: dict[str, Callable[[EdgeClient], object]] = {
    "upsert": lambda client: client.upsert("docs", [models.PointStruct(id=9, vector=[1.0, 2.0], payload=LARGE)]),
    "set_payload": lambda client: client.set_payload("docs", LARGE, [1]),
    "set_payload by filter": lambda client: client.set_payload("docs", {"n": "x" * 2**19}, ALL),
    "overwrite_payload": lambda client: client.overwrite_payload("docs", LARGE, [1]),
    "attach": lambda client: client.attach("docs", "fitted", b"x" * 2**21),
}
LITTLE: dict[str, Callable[[EdgeClient], object]] = {
    "upsert": lambda client: client.upsert("docs", [models.PointStruct(id=9, vector=[1.0, 2.0])]),
    "update_vectors": lambda client: client.update_vectors("docs", [models.PointVectors(id=1, vector=[1.0, 2.0])]),
    "set_payload": lambda client: client.set_payload("docs", {"n": 2}, [1]),
    "delete_payload": lambda client: client.delete_payload("docs", ["n"], [1]),
    "metadata": lambda client: client.update_collection("docs", metadata={"a": 1}),
    "index": lambda client: client.create_payload_index("docs", "n", "integer"),
    "create": lambda client: client.create_collection("more", VECTOR),
    "optimize": lambda client: client.optimize("docs"),
    "attach": lambda client: client.attach("docs", "fitted", b"x"),
}

FILL = """
import json, sys
from colbert_qdrant import ColbertQdrantError, DiskFullError, EdgeClient
from qdrant_client import models
client = EdgeClient(sys.argv[1])
client.create_collection("docs", models.VectorParams(size=2, distance="Dot"))
stored = 0
try:
    while True:
        payload = {"text": "x" * 300_000}
        batch = [models.PointStruct(id=n, vector=[1.0, float(n)], payload=payload) for n in range(stored, stored + 8)]
        client.upsert("docs", batch)
        stored += 8
except DiskFullError:
    pass
found = len(client.query_points("docs", query=[1.0, 1.0], limit=5).points)
client.close()
print(json.dumps([stored, found]))
"""


@pytest.fixture
def docs(client: EdgeClient) -> EdgeClient:
    client.create_collection("docs", VECTOR)
    client.upsert("docs", [models.PointStruct(id=n, vector=[1.0, float(n)], payload={"n": n}) for n in range(4)])
    return client


def leave(patch: pytest.MonkeyPatch, mebibytes: int) -> None:
    total, used, _ = shutil.disk_usage("/")
    usage = type(shutil.disk_usage("/"))(total, used, mebibytes * 2**20)
    patch.setattr(shutil, "disk_usage", lambda _: usage)


def check_untouched(docs: EdgeClient) -> None:
    points, _ = docs.scroll("docs", limit=10, with_vectors=True)
    assert [(point.id, point.payload, point.vector) for point in points] == [
        (n, {"n": n}, [1.0, float(n)]) for n in range(4)
    ]
    assert len(docs.query_points("docs", query=[1.0, 1.0], limit=2).points) == 2
    assert docs.attachment("docs", "fitted") is None
    assert [each.name for each in docs.get_collections().collections] == ["docs"]


@pytest.mark.parametrize("write", WRITES)
def test_a_write_that_is_too_large_for_the_disk(docs: EdgeClient, write: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(monkeypatch, 65)
    with pytest.raises(
        DiskFullError, match=r"collection 'docs'.* needs \d+ MiB, but .* has 65 MiB left: free disk space, or move"
    ):
        WRITES[write](docs)
    check_untouched(docs)
    LITTLE["upsert"](docs)


def test_a_change_copies_the_points_that_it_is_for(client: EdgeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    client.create_collection("docs", VECTOR)
    large = {"text": "x" * 2**18}
    client.upsert("docs", [models.PointStruct(id=n, vector=[1.0, 2.0], payload=large) for n in range(8)])
    leave(monkeypatch, 66)
    client.set_payload("docs", {"n": 1}, [1])
    with pytest.raises(DiskFullError):
        client.set_payload("docs", {"n": 2}, ALL)
    with pytest.raises(DiskFullError):
        client.delete_payload("docs", ["n"], ALL)
    assert [(point.payload or {}).get("n") for point in client.scroll("docs")[0]] == [None, 1, *[None] * 6]


@pytest.mark.parametrize("write", LITTLE)
def test_no_write_uses_the_last_of_the_disk(docs: EdgeClient, write: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(monkeypatch, 30)
    with pytest.raises(DiskFullError, match=f"collection '{'more' if write == 'create' else 'docs'}'"):
        LITTLE[write](docs)
    check_untouched(docs)


def test_a_full_disk_can_be_freed(docs: EdgeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(monkeypatch, 0)
    docs.update_collection_aliases([LIVE])
    docs.flush("docs")
    assert docs.delete_collection("docs")


def test_opening_on_a_full_disk(docs: EdgeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs.close()
    leave(monkeypatch, 10)
    with EdgeClient(tmp_path / "store") as again:
        assert again.count("docs").count == 4
    leave(monkeypatch, 3)
    with EdgeClient(tmp_path / "store") as again:
        with pytest.raises(DiskFullError, match="collection 'docs': opening it"):
            again.count("docs")
        leave(monkeypatch, 10)
        assert again.count("docs").count == 4


def test_a_file_that_finds_no_room(docs: EdgeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    docs.attach("docs", "fitted", b"old")

    def fail(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(DiskFullError, match=r"fitted cannot be written, because its disk is full: free disk space"):
            docs.attach("docs", "fitted", b"new")
    assert docs.attachment("docs", "fitted") == b"old"
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_disk_that_is_filled(tmp_path: Path) -> None:
    """As it is: without a check a signal ends the process."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a loop device")
    with Device(tmp_path).mounted() as disk:
        with (disk.path.parent / "filler").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk.path.parent).free - 80 * 2**20)
        printed = run_script(FILL, disk.path)
        assert printed.returncode == 0, printed.stderr
        stored, found = json.loads(printed.stdout)
        assert found == 5
        with EdgeClient(disk.path) as client:
            points, _ = client.scroll("docs", limit=100_000)
            assert [point.id for point in points] == list(range(stored))
            assert all(point.payload == {"text": "x" * 300_000} for point in points)
            assert client.delete_collection("docs")
            client.create_collection("docs", VECTOR)
