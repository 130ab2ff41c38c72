"""`AsyncColbertCollection` while the server fails, while much is under way, and while tasks are cancelled."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from grpc import StatusCode
from qdrant_client import AsyncQdrantClient

from colbert_qdrant import (
    AsyncColbertCollection,
    Document,
    RateLimitedError,
    RequestError,
    RequestTimeoutError,
    RetryConfig,
    UnreachableError,
)
from colbert_qdrant.collection import writer
from tests.encoders import WordEncoder
from tests.faults import test_grpc, test_http
from tests.faults.server import Answer, FaultyServer, failing
from tests.faults.test_http import BRIEF, CONFIG, DOCUMENTS, QUICK, assert_complete
from tests.grpc_server import Server
from tests.grpc_server import serving as serving_grpc

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from colbert_qdrant import TokenEmbeddings


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_BATCH_BYTES", 45_000)


@asynccontextmanager
async def created(
    server: FaultyServer, encoder: WordEncoder | None = None, retry: RetryConfig = QUICK
) -> AsyncIterator[AsyncColbertCollection]:
    client = AsyncQdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False, timeout=1)
    try:
        yield await AsyncColbertCollection.create(
            "docs", client=client, encoder=encoder or WordEncoder(), config=CONFIG, retry=retry
        )
    finally:
        await client.close()


@pytest.mark.parametrize("script", test_http.PASSING.values(), ids=test_http.PASSING)
def test_what_passes_is_sat_out(server: FaultyServer, script: list[Answer]) -> None:
    async def ingest() -> int:
        async with created(server) as docs:
            server.script = list(script)
            return (await docs.ingest(DOCUMENTS)).documents

    assert asyncio.run(ingest()) == 60
    assert server.script == []
    assert_complete(server, DOCUMENTS)


@test_http.lasting
def test_what_lasts_is_an_error_that_says_so(
    server: FaultyServer, answer: Answer, error: type[RequestError], message: str, attempts: int
) -> None:
    async def search() -> None:
        async with created(server) as docs:
            server.script = [answer] * 20
            await docs.search("river")

    with pytest.raises(error, match=message) as caught:
        asyncio.run(search())
    assert (caught.value.operation, caught.value.attempts, server.requests) == ("search", attempts, attempts)


@pytest.mark.parametrize("script", test_grpc.PASSING.values(), ids=test_grpc.PASSING)
def test_over_grpc_too(monkeypatch: pytest.MonkeyPatch, script: list[tuple[StatusCode, str, bool]]) -> None:
    monkeypatch.setattr(writer, "MAX_BATCH_BYTES", 9_000)

    async def ingest(server: Server) -> None:
        client = AsyncQdrantClient(
            host="127.0.0.1", grpc_port=server.port, prefer_grpc=True, check_compatibility=False, timeout=5
        )
        docs = await AsyncColbertCollection.create(
            "docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=QUICK
        )
        server.script = list(script)
        await docs.ingest(DOCUMENTS)
        await client.close()

    with serving_grpc(Server()) as server:
        asyncio.run(ingest(server))
        assert server.script == []
        test_grpc.assert_complete(server)


def test_an_overloaded_server_that_says_when_to_come_back_over_grpc() -> None:
    async def upsert(server: Server) -> None:
        client = AsyncQdrantClient(host="127.0.0.1", grpc_port=server.port, prefer_grpc=True, check_compatibility=False)
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        server.error, server.retry_after = (StatusCode.RESOURCE_EXHAUSTED, "later"), "3600"
        try:
            await docs.upsert(DOCUMENTS[:1])
        finally:
            await client.close()

    with serving_grpc(Server()) as server, pytest.raises(RateLimitedError) as caught:
        asyncio.run(upsert(server))
    assert (caught.value.retry_after, caught.value.attempts) == (3600, 1)


def test_an_answer_that_never_ends_is_given_up_in_time(server: FaultyServer) -> None:
    async def upsert() -> None:
        async with created(server, retry=replace(QUICK, deadline=0.5)) as docs:
            server.script = [Answer(trickles=True)] * 4
            with pytest.raises(RequestTimeoutError, match=r"within the deadline of 0\.5 s"):
                await docs.upsert(DOCUMENTS[:1])
            server.script = []
            client: Any = docs._opened.engine.client
            patient = await AsyncColbertCollection.open("docs", client=client, encoder=WordEncoder(), retry=QUICK)
            await patient.upsert(DOCUMENTS)

    asyncio.run(asyncio.wait_for(upsert(), timeout=20))
    assert_complete(server, DOCUMENTS)


def test_a_server_that_is_gone(server: FaultyServer) -> None:
    async def search() -> None:
        async with created(server, retry=BRIEF) as docs:
            engine: Any = docs._opened.engine
            engine.client = AsyncQdrantClient(host="qdrant.invalid", check_compatibility=False, timeout=1)
            await docs.search("river")

    with pytest.raises(UnreachableError, match="the server could not be reached"):
        asyncio.run(search())


@pytest.mark.parametrize("queries", [2, 16])
def test_queries_are_under_way_at_once(server: FaultyServer, queries: int) -> None:
    together = threading.Barrier(queries)
    server.gate = lambda: together.wait(timeout=20)  # nobody is answered before all have asked

    async def search() -> list[list[Any]]:
        async with created(server) as docs:
            return await asyncio.gather(*(docs.search(f"river {number}") for number in range(queries)))

    assert asyncio.run(search()) == [[]] * queries
    assert server.requests == queries


class PatientEncoder(WordEncoder):
    """Encodes only when it is told to, from the event loop."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.told = threading.Event(), threading.Event()

    def encode_documents(self, texts: Any) -> TokenEmbeddings:
        self.begun.set()
        assert self.told.wait(timeout=20), "the event loop does nothing else while documents are encoded"
        return super().encode_documents(texts)


def test_the_event_loop_goes_on_while_documents_are_encoded(server: FaultyServer) -> None:
    async def ingest() -> None:
        encoder = PatientEncoder()
        async with created(server, encoder) as docs:
            task = asyncio.create_task(docs.ingest(DOCUMENTS))
            assert await docs.search("river") == []
            encoder.told.set()
            await task

    asyncio.run(ingest())
    assert_complete(server, DOCUMENTS)


def test_an_ingest_that_is_cancelled_leaves_whole_documents_and_can_be_done_again(server: FaultyServer) -> None:
    asked, answered = threading.Event(), threading.Event()

    def gate() -> None:
        if server.requests == 3:
            asked.set()
            answered.wait(timeout=20)

    async def cancel() -> int:
        async with created(server) as docs:
            server.gate = gate
            task = asyncio.create_task(docs.ingest(DOCUMENTS))
            await asyncio.to_thread(asked.wait, 20)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            answered.set()
            stored = len(server.ledger)
            await docs.ingest(DOCUMENTS)
            return stored

    assert 0 < asyncio.run(cancel()) < 60
    assert_complete(server, DOCUMENTS)


def test_a_cancelled_task_waiting_to_try_again_tries_no_more(server: FaultyServer) -> None:
    async def cancel() -> None:
        async with created(server, retry=RetryConfig(attempts=9, first_wait=60, longest_wait=60)) as docs:
            asked = asyncio.Event()
            loop = asyncio.get_running_loop()
            server.gate = lambda: loop.call_soon_threadsafe(asked.set)
            server.script = [failing(503)] * 9
            task = asyncio.create_task(docs.search("river"))
            await asked.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(asyncio.wait_for(cancel(), timeout=20))
    assert server.requests == 1


def test_a_create_that_is_cancelled_is_finished_first(server: FaultyServer) -> None:
    asked, told = threading.Event(), threading.Event()

    def judge(body: dict[str, Any], _: int) -> None:
        if "field_name" in body:
            asked.set()
            told.wait(timeout=20)

    async def cancel() -> None:
        client = AsyncQdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False, timeout=10)
        config = replace(CONFIG, payload_indexes={"year": "integer"})
        server.judge = judge
        creating = AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config)
        task = asyncio.create_task(creating)
        await asyncio.to_thread(asked.wait, 20)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        told.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        docs = await AsyncColbertCollection.open("docs", client=client, encoder=WordEncoder(), config=config)
        assert await docs.count() == 0
        await client.close()

    asyncio.run(cancel())


def test_documents_may_come_from_an_asynchronous_source(server: FaultyServer) -> None:
    async def source() -> AsyncIterator[Document]:
        for document in DOCUMENTS:
            await asyncio.sleep(0)
            yield document

    async def ingest() -> int:
        async with created(server) as docs:
            return (await docs.ingest(source())).documents

    assert asyncio.run(ingest()) == 60
    assert_complete(server, DOCUMENTS)
