"""Bulk ingests: the server's threshold is always restored, after errors, cancellation and SIGKILL, by somebody."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import AsyncQdrantClient, models

from colbert_qdrant import (
    AsyncColbertCollection,
    ColbertCollection,
    ColbertQdrantWarning,
    CollectionConfig,
    Document,
    LemurConfig,
    RequestError,
)
from tests.encoders import WordEncoder, random_texts
from tests.faults.migrating import FAST, MUVERA, on_server
from tests.faults.reporter import Reporter
from tests.faults.server import Answer, failing
from tests.processes import PROCESSES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from qdrant_client import QdrantClient

    from tests.faults.engine import EngineServer

DOCUMENTS = [Document(number, text) for number, text in enumerate(random_texts(40))]
OLD = 12_345
ENTRY = {"indexing_threshold": OLD}


@pytest.fixture(params=["1.19.0", "1.15.0"])
def docs(engine: EngineServer, remote: QdrantClient, request: pytest.FixtureRequest) -> ColbertCollection:
    engine.version = request.param
    return created(engine, remote)


def created(engine: EngineServer, client: QdrantClient) -> ColbertCollection:
    config = CollectionConfig(fde=MUVERA)
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config, retry=FAST)
    engine.optimizers["docs"] = {"indexing_threshold": OLD, "max_segment_size": 77}
    return docs


def state(engine: EngineServer) -> tuple[int, Any]:
    """The threshold that is in force, and the one that is to be restored."""
    with engine._guard:
        metadata = dict(engine.metadata["docs"])
        for point in engine.local.scroll("docs", limit=1_000)[0]:
            payload = point.payload or {}
            metadata |= payload if "colbert_qdrant" in payload else {}
        return engine.optimizers["docs"]["indexing_threshold"], metadata.get("colbert_qdrant_bulk")


def watched(engine: EngineServer, seen: list[Any], documents: list[Document] = DOCUMENTS) -> Iterator[Document]:
    for document in documents:
        seen.append(state(engine))
        yield document


def restored(engine: EngineServer) -> bool:
    return state(engine) == (OLD, None)


def test_the_threshold_is_0_in_the_meantime_and_restored_at_the_end(
    engine: EngineServer, docs: ColbertCollection
) -> None:
    seen: list[Any] = []
    report = docs.ingest(watched(engine, seen), bulk=True)
    assert seen == [(0, ENTRY)] * len(DOCUMENTS)
    assert restored(engine)
    assert engine.optimizers["docs"]["max_segment_size"] == 77
    assert report.documents == docs.count() == len(DOCUMENTS)
    assert docs.check() == ()


def test_without_bulk_nothing_is_changed(engine: EngineServer, docs: ColbertCollection) -> None:
    docs.ingest(DOCUMENTS)
    assert not any(body.get("optimizers_config") for method, _, body in engine.log if method == "PATCH")


def test_the_real_collection_of_an_alias_is_changed(
    engine: EngineServer, docs: ColbertCollection, remote: QdrantClient
) -> None:
    alias = models.CreateAlias(collection_name="docs", alias_name="live")
    remote.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    live, seen = ColbertCollection.open("live", client=remote, encoder=WordEncoder(), retry=FAST), list[Any]()
    live.ingest(watched(engine, seen), bulk=True)
    assert seen[-1] == (0, ENTRY)
    assert restored(engine)


def test_a_disabled_index_stays_disabled(engine: EngineServer, docs: ColbertCollection) -> None:
    engine.optimizers["docs"]["indexing_threshold"] = 0
    docs.ingest(DOCUMENTS, bulk=True)
    assert state(engine) == (0, None)


@pytest.mark.parametrize("status", ["yellow", "grey"])
def test_waits_for_green_with_progress(engine: EngineServer, docs: ColbertCollection, status: str) -> None:
    def fault(method: str, path: str, body: Any) -> None:
        if method == "PATCH" and (body.get("optimizers_config") or {}).get("indexing_threshold") == OLD:
            engine.asleep, engine.status = status == "grey", ["yellow"] * 2

    engine.fault, counter = fault, Reporter()
    docs.ingest(DOCUMENTS, bulk=True, progress=counter)
    assert counter.stopped == len(counter.totals) == 2
    assert (engine.status, engine.asleep) == ([], False)


def test_a_fit_is_within(engine: EngineServer, remote: QdrantClient) -> None:
    lemur = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=20)
    config = CollectionConfig(fde=lemur)
    docs = ColbertCollection.create("docs", client=remote, encoder=WordEncoder(), config=config, retry=FAST)
    engine.optimizers["docs"] = {"indexing_threshold": OLD}
    thresholds = []

    def fault(method: str, path: str, body: Any) -> None:
        if path.endswith("docs/points/vectors"):
            thresholds.append(state(engine)[0])

    engine.fault = fault
    docs.ingest(DOCUMENTS, bulk=True)
    assert set(thresholds) == {0}
    assert restored(engine)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_after_an_error_in_the_source(
    engine: EngineServer, docs: ColbertCollection, error: type[BaseException]
) -> None:
    def source() -> Iterator[Document]:
        yield from DOCUMENTS[:10]
        assert state(engine) == (0, ENTRY)
        raise error

    with pytest.raises(error):
        docs.ingest(source(), bulk=True)
    assert restored(engine)


def test_after_cancellation(engine: EngineServer, docs: ColbertCollection) -> None:
    async def check() -> None:
        client = AsyncQdrantClient(url=f"http://localhost:{engine.port}", check_compatibility=False)
        opened = await AsyncColbertCollection.open("docs", client=client, encoder=WordEncoder(), retry=FAST)
        reading = asyncio.Event()

        async def source() -> AsyncIterator[Document]:
            yield DOCUMENTS[0]
            reading.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(opened.ingest(source(), bulk=True))
        await reading.wait()
        assert state(engine) == (0, ENTRY)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert restored(engine)
        await client.close()

    asyncio.run(check())


def test_two_at_the_same_time(engine: EngineServer, docs: ColbertCollection, remote: QdrantClient) -> None:
    other = ColbertCollection.open("docs", client=remote, encoder=WordEncoder(), retry=FAST)
    seen: list[Any] = []

    def source() -> Iterator[Document]:
        yield from DOCUMENTS[:20]
        other.ingest(watched(engine, seen, DOCUMENTS[20:]), bulk=True)

    docs.ingest(source(), bulk=True)
    assert set(map(str, seen)) == {str((0, ENTRY))}
    assert restored(engine)
    assert docs.count() == len(DOCUMENTS)


def forbid(which: Callable[[Any], bool]) -> Callable[[str, str, Any], Answer | None]:
    def fault(method: str, path: str, body: Any) -> Answer | None:
        forbidden = method == "PATCH" and which(body)
        return failing(403, "Forbidden: Global manage access is required") if forbidden else None

    return fault


@pytest.mark.parametrize("which", [lambda _: True, lambda body: bool(body.get("optimizers_config"))])
def test_a_key_that_may_not_manage_the_collection(
    engine: EngineServer, docs: ColbertCollection, which: Callable[[Any], bool]
) -> None:
    engine.fault = forbid(which)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        for _ in "ab":
            assert docs.ingest(DOCUMENTS, bulk=True).documents == len(DOCUMENTS)
    (warning,) = [each for each in shown if each.category is ColbertQdrantWarning]
    assert "'docs': indexing is not deferred, because the server refused it" in str(warning.message)
    assert restored(engine)


def test_a_restoration_that_fails_is_told_and_repaired(engine: EngineServer, docs: ColbertCollection) -> None:
    engine.fault = forbid(lambda body: (body.get("optimizers_config") or {}).get("indexing_threshold") == OLD)
    with pytest.raises(RequestError) as told:
        docs.ingest(DOCUMENTS, bulk=True)
    assert told.value.__notes__ == [
        "All documents are stored, but the indexing of collection 'docs' is still deferred: call repair()."
    ]

    def source() -> Iterator[Document]:
        yield DOCUMENTS[0]
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more") as also:
        docs.ingest(source(), bulk=True)
    assert "is still deferred, because of AuthenticationError" in also.value.__notes__[0]
    assert state(engine) == (0, ENTRY)
    engine.fault = lambda method, path, body: None
    (problem,) = docs.check()
    assert problem.startswith("The server builds no graphs of collection 'docs', because an ingest with bulk=True is ")
    assert docs.repair() == (f"The indexing_threshold is {OLD} again, so the server builds the graphs now.",)
    assert restored(engine)
    assert docs.check() == ()


def ingest_on_server(port: int) -> None:
    """In a process of its own, which its server kills."""
    docs = ColbertCollection.open("docs", client=on_server(port), encoder=WordEncoder(), retry=FAST)
    docs.ingest(DOCUMENTS, bulk=True)


@pytest.mark.parametrize("version", ["1.19.0", "1.15.0"])
def test_a_process_that_is_killed_anywhere(engine: EngineServer, remote: QdrantClient, version: str) -> None:
    engine.version = version
    docs = created(engine, remote)
    engine.log.clear()
    states: list[Any] = []
    engine.fault = lambda method, path, body: states.append(state(engine))
    ingest_on_server(engine.port)
    engine.fault = lambda method, path, body: None
    changes = [number for number in range(1, len(states)) if states[number] != states[number - 1]]
    found = set()
    for number in (each + 1 for each in changes):
        engine.log.clear()
        engine.deadly = (number, False)
        process = PROCESSES.Process(target=ingest_on_server, args=(engine.port,))
        engine.victim = lambda process=process: process.pid  # type: ignore[misc]
        process.start()
        process.join(30)
        assert process.exitcode == -9
        threshold, entry = state(engine)
        found.add((threshold, entry is not None))
        assert entry in (ENTRY, None)
        if number % 2:
            assert len(docs.check()) == len(docs.repair()) == (entry is not None)
        else:
            docs.ingest(DOCUMENTS[:1], bulk=True)
        assert restored(engine)
    assert found == {(OLD, True), (0, True), (OLD, False)}
