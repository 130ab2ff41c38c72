"""Graphs of an embedded store: collections say whether they are built, and building them can be interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
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
    Document,
    EdgeClient,
    EngineError,
    HnswConfig,
    MuveraConfig,
)
from colbert_qdrant.edge import collection as edge_collection
from colbert_qdrant.edge.shards import open_shard
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

QUICK = models.OptimizersConfigDiff(indexing_threshold=1, default_segment_number=1)
DIM = 256


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EdgeClient]:
    """A store whose collections, however small, are built in a process of their own."""
    monkeypatch.setattr(edge_collection, "APART_BYTES", 0)
    with EdgeClient(tmp_path) as client:
        yield client


def fill(client: Any, points: int, name: str = "docs", **hnsw: Any) -> None:
    client.create_collection(
        name,
        models.VectorParams(size=DIM, distance=models.Distance.DOT),
        optimizers_config=QUICK,
        hnsw_config=models.HnswConfigDiff(**hnsw),
    )
    add(client, range(points), name)


def add(client: Any, numbers: range, name: str = "docs") -> None:
    client.upsert(name, [models.PointStruct(id=n, vector=[float(n % 7), 1.0] * (DIM // 2)) for n in numbers])


def status(client: EdgeClient, name: str = "docs") -> str:
    return client.get_collection(name).status.value


def children(store: Path) -> list[int]:
    """Return the processes that build something in a store."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = folder.joinpath("cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.startswith(os.fsencode(store)) for word in words) and any(b"build.py" in word for word in words):
            found.append(int(folder.name))
    return found


def until(condition: Any, *arguments: Any) -> Any:
    deadline = time.monotonic() + 30
    while not (found := condition(*arguments)):
        assert time.monotonic() < deadline
        os.sched_yield()
    return found


def test_a_collection_is_green_when_its_graphs_are_built(client: EdgeClient, tmp_path: Path) -> None:
    fill(client, 0)
    assert status(client) == "green"
    add(client, range(300))
    assert status(client) == "grey"
    assert client.optimize("docs") is True
    assert (status(client), client.get_collection("docs").indexed_vectors_count) == ("green", 300)
    assert client.optimize("docs") is False
    add(client, range(300, 600))
    client.close()
    with EdgeClient(tmp_path) as again:
        assert (status(again), again.count("docs").count) == ("grey", 600)
        again.optimize("docs")
        assert status(again) == "green"


@pytest.mark.parametrize("m", [0, 16])
def test_small_collections_need_no_graph(tmp_path: Path, m: int) -> None:
    with EdgeClient(tmp_path) as client:
        client.create_collection(
            "docs",
            models.VectorParams(size=4, distance=models.Distance.DOT, hnsw_config=models.HnswConfigDiff(m=m)),
        )
        client.upsert("docs", [models.PointStruct(id=1, vector=[1.0] * 4)])
        assert status(client) == "green"


def test_wait_until_ready_builds(client: EdgeClient) -> None:
    config = CollectionConfig(fde=MuveraConfig(k_sim=6, dim_proj=16, r_reps=60), hnsw=HnswConfig(m=4, ef_construct=4))
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config)
    docs.ingest([Document(number, text) for number, text in enumerate(random_texts(120))])
    assert not docs.info().ready
    state = docs.wait_until_ready()
    assert (state.ready, state.status, docs.info().ready) == (True, "green", True)
    assert client.get_collection("docs").indexed_vectors_count
    assert docs.search("river", limit=1)


class Recorder:
    def __init__(self) -> None:
        self.told: list[Any] = []

    def start(self, total: int | None) -> None:
        self.told.append(("start", total))

    def advance(self, documents: int) -> None:
        self.told.append(("advance", documents))

    def stop(self) -> None:
        self.told.append("stop")


def test_optimize_tells_that_it_works(client: EdgeClient) -> None:
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder())
    docs.upsert([Document(1, "one"), Document(2, "two")])
    progress = Recorder()
    docs.optimize(progress=progress)
    assert progress.told == [("start", None), ("advance", 2), "stop"]


def test_ctrl_c_ends_it_and_loses_nothing(client: EdgeClient, tmp_path: Path) -> None:
    fill(client, 6_000, ef_construct=3_000, m=64)  # a minute's work

    def interrupt() -> None:
        until(children, tmp_path)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        client.optimize("docs")
    assert time.monotonic() - started < 20
    thread.join()
    assert children(tmp_path) == []
    assert (client.count("docs").count, status(client)) == (6_000, "grey")
    add(client, range(6_000, 6_010))
    assert len(client.query_points("docs", [1.0] * DIM, limit=3).points) == 3


def test_a_process_that_is_killed_is_an_error(client: EdgeClient, tmp_path: Path) -> None:
    fill(client, 6_000, ef_construct=3_000, m=64)
    thread = threading.Thread(target=lambda: os.kill(until(children, tmp_path)[0], signal.SIGKILL))
    thread.start()
    with pytest.raises(EngineError, match=r"optimize on collection 'docs' failed: the process .* \(exit code -9\)"):
        client.optimize("docs")
    thread.join()
    assert client.count("docs").count == 6_000


def test_a_task_that_is_cancelled_ends_it(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        fill(client, 6_000, ef_construct=3_000, m=64)

    async def work() -> None:
        async with AsyncEdgeClient(tmp_path) as client:
            optimizing = asyncio.create_task(client.optimize("docs"))
            await asyncio.to_thread(until, children, tmp_path)
            optimizing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await optimizing
            await asyncio.to_thread(until, lambda: not children(tmp_path))
            assert (await client.count("docs")).count == 6_000
            assert (await client.get_collection("docs")).status.value == "grey"

    asyncio.run(work())


def test_ctrl_c_while_the_files_are_opened_again_is_no_other_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine handles signals only when it has loaded the files, so an interruption often comes right then."""

    def loaded_then_interrupted(*arguments: Any) -> None:
        open_shard(*arguments).close()
        raise KeyboardInterrupt

    with EdgeClient(tmp_path) as client:
        fill(client, 40)
        with monkeypatch.context() as patch:
            patch.setattr(edge_collection, "APART_BYTES", 0)
            patch.setattr(edge_collection, "open_shard", loaded_then_interrupted)
            with pytest.raises(KeyboardInterrupt):
                client.optimize("docs")
    with EdgeClient(tmp_path) as client:
        assert client.count("docs").count == 40
