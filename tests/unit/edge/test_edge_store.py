"""One client per store: locks, forks, closing, crashes, and what happens without the engine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import models

from colbert_qdrant.edge import EdgeClient
from colbert_qdrant.errors import ClosedError, CollectionNotFoundError, EngineError, MissingExtraError, StoreLockedError
from tests.processes import Script

if TYPE_CHECKING:
    from pathlib import Path

VECTOR = models.VectorParams(size=2, distance=models.Distance.DOT)
unix = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork()")

OPEN_AND_WAIT = """
import sys
from colbert_qdrant.edge import EdgeClient
client = EdgeClient(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
"""

WRITE_FOR_EVER = """
import itertools, sys
from colbert_qdrant.edge import EdgeClient
from qdrant_client import models
client = EdgeClient(sys.argv[1])
client.create_collection("docs", models.VectorParams(size=2, distance="Dot"))
for n in itertools.count():
    client.upsert("docs", [models.PointStruct(id=n, vector=[1.0, float(n)], payload={"n": n})])
    print(n, flush=True)
"""

FORK = """
import gc, os, sys
from colbert_qdrant.errors import ForkedProcessError, StoreLockedError
from colbert_qdrant.edge import EdgeClient
from qdrant_client import models
client = EdgeClient(sys.argv[1])
client.create_collection("docs", models.VectorParams(size=2, distance="Dot"))
client.upsert("docs", [models.PointStruct(id=1, vector=[1.0, 2.0])])
refused = [
    lambda: client.count("docs"),
    lambda: client.upsert("docs", [models.PointStruct(id=2, vector=[1.0, 2.0])]),
    lambda: client.get_collections(),
    lambda: client.collection_exists("docs"),
    lambda: client.create_collection("new", models.VectorParams(size=2, distance="Dot")),
    lambda: client.delete_collection("docs"),
    lambda: client.get_aliases(),
    lambda: client.update_collection_aliases([]),
]
child = os.fork()
if child == 0:
    count = 0
    for call in refused:
        try:
            call()
        except ForkedProcessError as error:
            count += "after the fork" in str(error)
    with client:
        pass
    client.close()
    del client, refused, call
    gc.collect()
    try:
        EdgeClient(sys.argv[1])
    except StoreLockedError:
        count += 1
    os._exit(count)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
assert status == len(refused) + 1, status
assert client.count("docs").count == 1
client.upsert("docs", [models.PointStruct(id=3, vector=[1.0, 2.0])])
client.close()
with EdgeClient(sys.argv[1]) as again:
    print([record.id for record in again.scroll("docs")[0]])
"""

FORK_HOLDS = """
import os, sys
from colbert_qdrant.errors import StoreLockedError
from colbert_qdrant.edge import EdgeClient
from qdrant_client import models
client = EdgeClient(sys.argv[1])
client.create_collection("docs", models.VectorParams(size=2, distance="Dot"))
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    os.close(writer)
    os.read(reader, 1)
    os._exit(0)
client.close()
with EdgeClient(sys.argv[1]) as again:
    try:
        again.count("docs")
    except StoreLockedError as error:
        print(error)
    os.close(writer)
    os.waitpid(child, 0)
    print(again.count("docs").count)
"""


def test_a_second_client_in_this_process_is_refused(tmp_path: Path) -> None:
    with EdgeClient(tmp_path / "new" / "folder"), pytest.raises(StoreLockedError, match="this process already"):
        EdgeClient(str(tmp_path / "new" / "folder"))
    EdgeClient(tmp_path / "new" / "folder").close()


def test_another_process_is_named(tmp_path: Path, script_env: dict[str, str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OPEN_AND_WAIT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=script_env,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(StoreLockedError, match=rf"process {process.pid} \(-c\).*stop that process"):
            EdgeClient(tmp_path)
        process.communicate(timeout=60)
    EdgeClient(tmp_path).close()


def test_a_client_that_is_forgotten_releases_the_store(tmp_path: Path) -> None:
    client = EdgeClient(tmp_path)
    client.create_collection("docs", VECTOR)
    del client
    with EdgeClient(tmp_path) as again:
        assert again.count("docs").count == 0


def test_a_path_that_cannot_be_a_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match="file"):
        EdgeClient(tmp_path / "file")


CALLS: dict[str, Any] = {
    "count": lambda client: client.count("docs"),
    "upsert": lambda client: client.upsert("docs", [models.PointStruct(id=1, vector=[1.0, 2.0])]),
    "query": lambda client: client.query_points("docs", [1.0, 2.0]),
    "list": lambda client: client.get_collections(),
    "exists": lambda client: client.collection_exists("docs"),
    "create": lambda client: client.create_collection("new", VECTOR),
    "delete": lambda client: client.delete_collection("docs"),
    "optimize": lambda client: client.optimize("docs"),
}


@pytest.mark.parametrize("name", CALLS)
def test_use_after_close(tmp_path: Path, name: str) -> None:
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", VECTOR)
    client.close()
    with pytest.raises(ClosedError, match="open a new EdgeClient"):
        CALLS[name](client)
    assert sorted(path.name for path in (tmp_path / "collections").iterdir()) == ["docs"]


@unix
def test_a_forked_child_is_refused_and_harms_nothing(tmp_path: Path, run_script: Any) -> None:
    result = run_script(FORK, tmp_path)
    assert (result.returncode, result.stdout) == (0, "[1, 3]\n"), result.stderr


@unix
def test_a_forked_child_that_keeps_the_files_open_is_blamed(tmp_path: Path, run_script: Any) -> None:
    result = run_script(FORK_HOLDS, tmp_path)
    assert result.returncode == 0, result.stderr
    message, count = result.stdout.splitlines()
    assert "forked" in message
    assert count == "0"


@unix
def test_a_killed_process_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    with Script(WRITE_FOR_EVER, tmp_path) as process:
        seen = [int(process.stdout.readline()) for _ in range(200)]
        process.kill()
        seen += [int(line) for line in process.stdout.read().splitlines()]
    with EdgeClient(tmp_path) as client:
        stored = {record.id: record.payload for record in client.scroll("docs", limit=len(seen) + 10)[0]}
    assert len(seen) >= 200
    assert {n: {"n": n} for n in seen}.items() <= stored.items()


def test_without_the_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "qdrant_edge", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'colbert-qdrant\[edge\]'"):
        EdgeClient(tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_importing_the_package_does_not_load_the_engine(new_interpreter: Any) -> None:
    result = new_interpreter("import sys, colbert_qdrant.edge; print('qdrant_edge' in sys.modules)")
    assert result.stdout == "False\n", result.stderr


def test_a_relative_path_stays_the_same_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with EdgeClient("store") as client:
        monkeypatch.chdir(tmp_path / "elsewhere")
        client.create_collection("docs", VECTOR)
        assert client.collection_exists("docs")
    assert (tmp_path / "store" / "collections" / "docs").is_dir()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_is_kept_with_a_collection_until_that_is_deleted(tmp_path: Path) -> None:
    vectors = models.VectorParams(size=2, distance=models.Distance.DOT)
    data = bytes(range(256)) * 100
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", vectors)
        assert client.attachment("docs", "some.bin") is None
        client.attach("docs", "some.bin", b"first")
        client.attach("docs", "some.bin", data)
        with pytest.raises(CollectionNotFoundError):
            client.attach("other", "some.bin", data)
    with EdgeClient(tmp_path) as client:
        assert client.attachment("docs", "some.bin") == data
        for _ in range(2):
            client.attach("docs", "some.bin", None)
            assert client.attachment("docs", "some.bin") is None
        client.attach("docs", "some.bin", data)
        client.delete_collection("docs")
        client.create_collection("docs", vectors)
        assert client.attachment("docs", "some.bin") is None


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", models.VectorParams(size=2, distance=models.Distance.DOT))
        client.attach("docs", "some.bin", b"first")
        # a folder in the way of the temporary file stands for a full disk
        (tmp_path / "collections" / "docs" / "some.bin.tmp").mkdir()
        with pytest.raises(EngineError, match=r"some\.bin cannot be written"):
            client.attach("docs", "some.bin", b"second")
        assert client.attachment("docs", "some.bin") == b"first"


def test_a_client_that_is_never_closed_is_silent_when_python_exits(tmp_path: Path, new_interpreter: Any) -> None:
    # the engine's module is emptied after the client's, whose names are None by then
    script = """if True:
        import sys
        import qdrant_edge
        from colbert_qdrant.edge import client
        qdrant_edge.kept = qdrant_edge, client, client.EdgeClient(sys.argv[1])
        """
    result = new_interpreter(script, tmp_path / "store")
    assert (result.returncode, result.stderr) == (0, "")


def test_a_file_that_several_threads_attach_is_always_whole(tmp_path: Path) -> None:
    contents = [bytes([letter]) * 2**20 for letter in b"abc"]
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", VECTOR)
        client.attach("docs", "file", contents[0])
        together = threading.Barrier(len(contents) + 1)

        def write(content: bytes) -> None:
            together.wait()
            for _ in range(20):
                client.attach("docs", "file", content)

        def read() -> list[bytes | None]:
            together.wait()
            return [client.attachment("docs", "file") for _ in range(100)]

        with ThreadPoolExecutor(len(contents) + 1) as threads:
            writers = [threads.submit(write, content) for content in contents]
            found = threads.submit(read).result()
            for writer in writers:
                writer.result()
        assert all(each in contents for each in found)
        assert client.attachment("docs", "file") in contents
