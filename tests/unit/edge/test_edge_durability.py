"""What a power cut leaves of a store: all that was promised, and never a reference to what is lost."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import models

from colbert_qdrant import (
    AsyncEdgeClient,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    EdgeClient,
    Migration,
    MuveraConfig,
)
from colbert_qdrant.edge import checkpoints
from colbert_qdrant.edge.files import sync_tree
from tests.encoders import WordEncoder, random_texts
from tests.power import Device, Disk, Model
from tests.processes import Script

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

VECTOR = models.VectorParams(size=2, distance=models.Distance.DOT)
COUNT = 40
FILL_AND_WAIT = """
import sys
from colbert_qdrant.edge import EdgeClient
from qdrant_client import models
client = EdgeClient(sys.argv[1])
for name in ("docs", "other"):
    client.create_collection(name, models.VectorParams(size=2, distance="Dot"))
points = [models.PointStruct(id=n, vector=[1.0, float(n)], payload={"n": n}) for n in range(int(sys.argv[2]))]
client.upsert("docs", points)
print("filled", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=["model", "device"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    if request.param == "model":
        yield Model(tmp_path, monkeypatch)
    else:
        with device(tmp_path) as mounted:
            yield mounted


def device(folder: Path) -> AbstractContextManager[Disk]:
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a loop device")
    return Device(folder).mounted()


def points(numbers: range) -> list[models.PointStruct]:
    return [models.PointStruct(id=n, vector=[1.0, float(n)], payload={"n": n}) for n in numbers]


def fill(client: EdgeClient) -> None:
    client.create_collection("docs", VECTOR)
    client.upsert("docs", points(range(COUNT)))


def left(disk: Disk, name: str = "docs") -> int:
    """How many points a power cut leaves in a collection, which has each of them whole."""
    with disk.cut() as path, EdgeClient(path) as client:
        found, _ = client.scroll(name, limit=10_000, with_vectors=True)
        wrong = [(p.id, p.payload, p.vector) for p in found if (p.payload, p.vector) != ({"n": p.id}, [1.0, p.id])]
        assert not wrong
        return len(found)


REFERENCES: dict[str, Callable[[EdgeClient], object]] = {
    "flush": lambda client: client.flush("docs"),
    "optimize": lambda client: client.optimize("docs"),
    "close": lambda client: client.close(),
    "metadata": lambda client: client.update_collection("docs", metadata={"complete": True}),
    "index": lambda client: client.create_payload_index("docs", "n", "integer"),
    "file": lambda client: client.attach("docs", "fitted", b"parameters"),
    "removed file": lambda client: client.attach("docs", "fitted", None),
    "alias": lambda client: client.update_collection_aliases(
        [models.CreateAliasOperation(create_alias=models.CreateAlias(alias_name="live", collection_name="docs"))]
    ),
    "deleted": lambda client: client.delete_collection("other"),
}


@pytest.mark.parametrize("reference", REFERENCES)
def test_what_is_referred_to_is_on_disk(disk: Disk, reference: str) -> None:
    with EdgeClient(disk.path) as client:
        client.create_collection("other", VECTOR)
        fill(client)
        REFERENCES[reference](client)
        assert left(disk) == COUNT


def test_a_power_cut_at_once_leaves_a_collection_that_works(disk: Disk) -> None:
    with EdgeClient(disk.path) as client:
        fill(client)
        assert left(disk) <= COUNT
        with disk.cut() as path, EdgeClient(path) as again:
            again.upsert("docs", points(range(100, 110)))
            assert again.count("docs").count >= 10


def test_always(disk: Disk) -> None:
    with EdgeClient(disk.path, durability="always") as client:
        client.create_collection("docs", VECTOR)
        client.upsert("docs", points(range(3)))
        assert left(disk) == 3
        client.upsert("docs", points(range(3, 5)))
        assert left(disk) == 5
        client.delete("docs", [0])
        assert left(disk) == 4


def test_always_in_a_process_of_its_own(tmp_path: Path) -> None:
    async def work(disk: Disk) -> None:
        async with AsyncEdgeClient(disk.path, durability="always") as client:
            await client.create_collection("docs", VECTOR)
            await client.upsert("docs", points(range(3)))
            assert left(disk) == 3

    with device(tmp_path) as disk:
        asyncio.run(asyncio.wait_for(work(disk), timeout=60))


def test_after_so_many_bytes(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_BYTES", 1000)
    with EdgeClient(disk.path) as client:
        client.create_collection("docs", VECTOR)
        for n in range(300):
            client.upsert("docs", points(range(n, n + 1)))
        assert left(disk) >= 300 - 1000 // 8


def test_after_so_many_seconds(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_SECONDS", 0.01)
    with EdgeClient(disk.path) as client:
        for name in ("docs", "more"):  # the second write is not the first one's
            if name == "docs":
                fill(client)
            else:
                client.upsert("docs", points(range(COUNT, 2 * COUNT)))
            expected = client.count("docs").count
            deadline = time.monotonic() + 20
            while left(disk) < expected:
                assert time.monotonic() < deadline


def test_at_once_where_no_thread_can_be_started(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with EdgeClient(disk.path) as client:
        client.create_collection("docs", VECTOR)
        with monkeypatch.context() as exiting:
            exiting.setattr(threading.Thread, "start", refuse)
            client.upsert("docs", points(range(3)))
        assert left(disk) == 3


def test_the_log_is_cut_while_the_client_is_open(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", VECTOR)
        large = [models.PointStruct(id=n, vector=[1.0, 2.0], payload={"text": "x" * 2**20}) for n in range(10)]
        for _ in range(20):
            client.upsert("docs", large)
            log = sum(file.stat().st_blocks * 512 for file in tmp_path.glob("collections/docs/shard/wal/*"))
            assert log <= 4 * checkpoints.CHECKPOINT_BYTES  # a flush leaves the last two files of one such size


def test_what_a_killed_process_left_is_on_disk_before_anything_relies_on_it(tmp_path: Path) -> None:
    with device(tmp_path) as disk:
        with Script(FILL_AND_WAIT, disk.path, COUNT) as process:
            assert process.stdout.readline() == "filled\n"
            process.kill()
        with EdgeClient(disk.path) as client:
            client.delete_collection("other")  # it never looks at the one that remains
            assert left(disk) == COUNT


def test_a_migration_leaves_one_whole_copy(disk: Disk) -> None:
    encoder = WordEncoder(dim=8)
    config = CollectionConfig(fde=MuveraConfig(k_sim=1, dim_proj=4, r_reps=2))

    def check(name: str) -> None:
        with disk.cut() as path, EdgeClient(path) as again:
            docs = ColbertCollection.open(name, client=again, encoder=encoder)
            assert docs.count() == COUNT
            assert len(docs.search("river bridge", limit=5)) == 5

    with EdgeClient(disk.path) as client:
        docs = ColbertCollection.create("docs", client=client, encoder=encoder, config=config)
        docs.ingest(Document(n, text) for n, text in enumerate(random_texts(COUNT)))
        client.update_collection_aliases(
            [models.CreateAliasOperation(create_alias=models.CreateAlias(alias_name="live", collection_name="docs"))]
        )
        fde = MuveraConfig(k_sim=1, dim_proj=4, r_reps=3)
        migration = Migration.plan(client, "docs", "new", encoder=encoder, fde=fde)
        migration.run()
        assert migration.verify(queries=3, min_recall=0).passed
        check("docs")
        migration.switch("live")
        check("live")
        migration.cleanup("source", confirm=lambda _: True)
        check("live")


class Watching:
    """Looks at what is left whenever it is told of progress."""

    def __init__(self, look: Callable[[], None]) -> None:
        self.look = look

    def start(self, total: int | None) -> None:
        self.look()

    def advance(self, documents: int) -> None:
        self.look()

    def stop(self) -> None:
        self.look()


def test_encodings_match_the_stored_fit(disk: Disk) -> None:
    encoder = WordEncoder(dim=8)
    config = CollectionConfig(fde=MuveraConfig(k_sim=1, dim_proj=4, r_reps=2, center=True, fit_documents=COUNT))
    texts = random_texts(2 * COUNT)
    states = set()

    def check() -> None:
        with disk.cut() as path, EdgeClient(path) as again:
            docs = ColbertCollection.open("docs", client=again, encoder=encoder)
            found, _ = again.scroll("docs", limit=1000, with_vectors=True)
            for point in found:
                if isinstance(point.vector, dict) and "fde" in point.vector:
                    assert docs.fde is not None
                    own = docs.fde.encode_documents(encoder.encode_documents([(point.payload or {})["text"]]))[0]
                    assert point.vector["fde"] == pytest.approx(own.tolist(), abs=1e-2)
            states.add((len(found), docs.fde is not None))

    with EdgeClient(disk.path) as client:
        docs = ColbertCollection.create("docs", client=client, encoder=encoder, config=config)
        docs.ingest(Document(n, text) for n, text in enumerate(texts[:COUNT]))
        docs.ingest(Document(n, text) for n, text in enumerate(texts))
        client.flush("docs")
        docs.fit(refit=True, progress=Watching(check))
        client.close()
        check()
    assert (2 * COUNT, True) in states


def test_a_durability_that_is_none(tmp_path: Path) -> None:
    for client in (EdgeClient, AsyncEdgeClient):
        with pytest.raises(ConfigurationError, match="durability='never': use one of 'checkpoint', 'always'"):
            client(tmp_path, durability="never")  # type: ignore[arg-type]


def test_a_file_that_the_engine_renames_while_a_folder_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tmp-open-1", "tmp-open-2"):
        (tmp_path / name).write_text("x")
    opened, synced = os.open, set()

    def renaming(path: Any, *arguments: Any, **options: Any) -> int:
        if (late := tmp_path / "tmp-open-2").exists():
            late.rename(tmp_path / "open-2")
            (tmp_path / "tmp-open-1").rename(tmp_path / "open-1")
        descriptor = opened(path, *arguments, **options)
        synced.add(Path(path).name)
        return descriptor

    monkeypatch.setattr(os, "open", renaming)
    sync_tree(tmp_path, files=True)
    assert synced == {"open-1", "open-2", tmp_path.name}
