"""The local mode of the client, used by several threads, closed, or with files that cannot be used."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.local.persistence import CollectionPersistence

from colbert_qdrant import (
    AsyncColbertCollection,
    ClosedError,
    ColbertCollection,
    CollectionConfig,
    Document,
    EngineError,
    Migration,
    MuveraConfig,
    attach,
)
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SMALL = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=1))
THREADS, RUNS, BATCH = 6, 12, 5


@pytest.fixture(params=["memory", "files"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:") if request.param == "memory" else QdrantClient(path=str(tmp_path))
    yield client
    client.close()


@pytest.fixture
def hasty() -> Iterator[None]:
    """Python switches threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def create(client: QdrantClient, name: str = "docs") -> ColbertCollection:
    return ColbertCollection.create(name, client=client, encoder=WordEncoder(dim=8), config=SMALL)


def batch(thread: int, run: int) -> list[Document]:
    return [Document(f"{thread}-{run}-{i}", f"boat {thread} {run} {i}", {"thread": thread}) for i in range(BATCH)]


@pytest.mark.usefixtures("hasty")
def test_threads_write_search_and_delete_in_one_collection(client: QdrantClient) -> None:
    docs = create(client)

    def work(thread: int) -> None:
        for run in range(RUNS):
            docs.upsert(batch(thread, run))
            assert len(docs.search(f"boat {thread} {run} 0", limit=3, where={"thread": thread})) == 3
            assert [found.id for found in docs.get([f"{thread}-{run}-1"])] == [f"{thread}-{run}-1"]
            docs.delete(ids=[f"{thread}-{run}-0"])
            assert docs.count(where={"thread": thread}) == (run + 1) * (BATCH - 1)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))
    assert docs.count() == THREADS * RUNS * (BATCH - 1)
    written = [one for thread in range(THREADS) for run in range(RUNS) for one in batch(thread, run)[1:]]
    assert [(one.id, one.text) for one in docs.get([one.id for one in written])] == [
        (one.id, one.text) for one in written
    ]


@pytest.mark.usefixtures("hasty")
def test_a_client_is_shared_by_collections_attached_ones_and_migrations(client: QdrantClient) -> None:
    docs = create(client)
    docs.upsert(batch(0, 0))
    attached = attach(client, "docs", encoder=WordEncoder(dim=8), text_key="text")
    request = models.QueryRequest(query=[1.0] * docs.info().fde.dim, using=docs.config.fde_vector, limit=100)
    plan = Migration.plan(client, "docs", "target", encoder=WordEncoder(dim=8), config=SMALL, reencode=True)
    done = threading.Event()

    def write() -> None:
        other = ColbertCollection.open("docs", client=client, encoder=WordEncoder(dim=8))
        for run in range(1, RUNS):
            other.upsert(batch(0, run))
        done.set()

    def search() -> None:
        while not done.is_set():
            assert len(attached.search("boat 0 0 1", request, limit=3)) == 3

    with ThreadPoolExecutor(3) as pool:
        tasks: list[Future[Any]] = [pool.submit(write), pool.submit(search), pool.submit(plan.run)]
        for task in tasks:
            task.result()
    plan.run()
    assert client.count("target").count == RUNS * BATCH


def test_a_closed_client_is_named(client: QdrantClient) -> None:
    docs = create(client)
    client.close()
    calls = (docs.count, lambda: docs.search("boat"), lambda: docs.upsert(batch(0, 0)), lambda: docs.delete(ids=["a"]))
    for call in calls:
        with pytest.raises(ClosedError, match="the QdrantClient is closed: make a new one"):
            call()


def test_so_is_one_that_is_awaited() -> None:
    async def use() -> None:
        client = AsyncQdrantClient(":memory:")
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(dim=8), config=SMALL)
        await client.close()
        await docs.count()

    with pytest.raises(ClosedError, match="the AsyncQdrantClient is closed"):
        asyncio.run(use())


def test_files_that_belong_to_another_thread_say_how_to_share_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CollectionPersistence, "CHECK_SAME_THREAD", True)  # as where SQLite is built otherwise
    client = QdrantClient(path=str(tmp_path))
    docs = create(client)
    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(docs.upsert, batch(0, 0)).exception()
    assert isinstance(error, EngineError)
    assert "force_disable_check_same_thread=True" in str(error)
    docs.upsert(batch(0, 0))
    assert docs.count() == BATCH
    client.close()
