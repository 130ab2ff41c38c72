"""`AsyncColbertCollection` does what `ColbertCollection` does, on every engine that has a client to be awaited."""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import threading
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from colbert_qdrant import (
    AsyncColbertCollection,
    AsyncEdgeClient,
    AsyncMigration,
    ClosedError,
    ColbertCollection,
    CollectionConfig,
    CollectionNotFoundError,
    ConfigurationError,
    Document,
    EdgeClient,
    EngineError,
    LemurConfig,
    Migration,
    MuveraConfig,
    SchemaMismatchError,
    StoreLockedError,
    TokenEmbeddings,
    UnreachableError,
)
from colbert_qdrant._support.progress import Silence
from colbert_qdrant.config import RetryConfig
from colbert_qdrant.edge import aio
from colbert_qdrant.edge.wire import HEADER
from tests.contract.conftest import empty
from tests.encoders import WordEncoder, random_texts
from tests.processes import run_script
from tests.servers import SERVERS, address, connect, is_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from colbert_qdrant.engines import AsyncClient

    Work = Callable[[AsyncClient], Coroutine[Any, Any, None]]
    Run = Callable[[Work], None]

CONFIG = CollectionConfig(fde=MuveraConfig(fill_empty=True, k_sim=3, dim_proj=8, r_reps=8))
LEARNED = CollectionConfig(fde=LemurConfig(dim=32, hidden=64, epochs=2, fit_documents=64))
DOCUMENTS = [Document(number, text, {"even": number % 2 == 0}) for number, text in enumerate(random_texts(90))]
VALUES = np.random.default_rng(0).normal(size=(8, 5, WordEncoder().dim)).astype(np.float32)
QUERIES = [TokenEmbeddings.from_matrices([matrix]) for matrix in VALUES]  # no two documents have the same score
BATCH = TokenEmbeddings.concatenate(QUERIES)
EVEN = models.Filter(must=[models.FieldCondition(key="even", match=models.MatchValue(value=True))])


def public(cls: type) -> dict[str, inspect.Signature]:
    names = [name for name in dir(cls) if not name.startswith("_")]
    return {name: inspect.signature(value) for name in names if callable(value := getattr(cls, name))}


@pytest.mark.parametrize("pair", [(ColbertCollection, AsyncColbertCollection), (Migration, AsyncMigration)])
def test_both_have_the_same_methods_and_parameters(pair: tuple[type, type]) -> None:
    blocking, awaited = map(public, pair)
    assert set(blocking) == set(awaited)
    for name, signature in blocking.items():
        parameters = [(each.name, each.kind, each.default) for each in signature.parameters.values()]
        others = [(each.name, each.kind, each.default) for each in awaited[name].parameters.values()]
        assert parameters == others, name
        written = str(awaited[name]).replace("AsyncClient", "Client").replace(" | AsyncIterable[Document]", "")
        written = written.replace("AsyncGenerator[Document, None]", "Generator[Document, None, None]")
        assert str(signature) == written, name


def test_every_method_of_the_embedded_client_can_be_awaited() -> None:
    for name, signature in public(EdgeClient).items():
        method = getattr(AsyncEdgeClient, name)
        assert inspect.iscoroutinefunction(method), name
        assert inspect.signature(method) == signature, name


@pytest.fixture(params=["edge", "memory", *SERVERS])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@asynccontextmanager
async def connected(kind: str, place: Path | str) -> AsyncIterator[AsyncClient]:
    """A client of a store in a folder, or of a server at an address."""
    client: AsyncClient
    if kind == "edge":
        client = AsyncEdgeClient(place)
    elif kind == "memory":
        client = AsyncQdrantClient(":memory:")
    else:
        client = connect(kind, str(place), AsyncQdrantClient)
        for name in ("test-async", "test-async__fde"):
            await client.delete_collection(name)
    try:
        yield client
    finally:
        await client.close()


def run(kind: str, place: Path | str, work: Work) -> None:
    async def main() -> None:
        async with connected(kind, place) as client:
            await work(client)

    asyncio.run(asyncio.wait_for(main(), timeout=120))


@pytest.fixture
def run_shared(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Run:
    """The same on an engine of each kind, where the embedded one is that of all tests."""
    if kind != "edge":
        return partial(run, kind, address(kind, request) if is_server(kind) else tmp_path)
    runner: asyncio.Runner = request.getfixturevalue("runner")
    client: AsyncEdgeClient = request.getfixturevalue("async_edge")

    def shared(work: Work) -> None:
        try:
            runner.run(asyncio.wait_for(work(client), timeout=120))
        finally:
            runner.run(empty(client))

    return shared


def reference(config: CollectionConfig = CONFIG) -> ColbertCollection:
    docs = ColbertCollection.create("docs", client=QdrantClient(":memory:"), encoder=WordEncoder(), config=config)
    docs.ingest(DOCUMENTS)
    return docs


def test_everything_is_as_in_the_blocking_collection(run_shared: Run) -> None:
    same = reference()

    async def work(client: AsyncClient) -> None:
        arguments: Any = {"client": client, "encoder": WordEncoder()}
        async with await AsyncColbertCollection.open_or_create("test-async", config=CONFIG, **arguments) as docs:
            await docs.upsert(DOCUMENTS[:10])
            assert (await docs.ingest(DOCUMENTS[10:])).documents == 80
            await docs.optimize()
            assert (await docs.wait_until_ready(timeout=60)).documents == (await docs.info()).documents == 90
            for mode in ("two-stage", "exact", "fde"):
                found = await docs.search_batch(BATCH, mode=mode, limit=7, filter=EVEN)
                wanted = same.search_batch(BATCH, mode=mode, limit=7, filter=EVEN)
                for hits, others in zip(found, wanted, strict=True):
                    assert [hit.id for hit in hits] == [hit.id for hit in others]
                    assert np.allclose(
                        [hit.score for hit in hits], [hit.score for hit in others], rtol=1e-3
                    )  # float16 on one side
                    assert [(hit.text, hit.payload) for hit in hits] == [(hit.text, hit.payload) for hit in others]
            assert await docs.get([3, 99, 1]) == same.get([3, 99, 1])
            assert await docs.search_batch(BATCH[:1], where={"even": False}, filter=EVEN) == [[]]
            assert await docs.count(where={"even": False}, filter=EVEN) == 0
            await docs.delete(where={"even": True})
            assert (await docs.count(), await docs.count(filter=EVEN)) == (45, 0)
            assert len(await docs.search(BATCH[:1], where={"even": False}, limit=90, mode="exact")) == 45
            await docs.check()
        with pytest.raises(ClosedError):
            await docs.count()
        again = await AsyncColbertCollection.open("test-async", **arguments)
        assert not (await again.search(QUERIES[0], limit=1))[0].payload["even"]
        await again.drop()
        with pytest.raises(CollectionNotFoundError):
            await AsyncColbertCollection.open("test-async", **arguments)

    run_shared(work)


def test_a_learned_encoding_is_fitted(run_shared: Run) -> None:
    same = reference(LEARNED)

    async def work(client: AsyncClient) -> None:
        arguments: Any = {"client": client, "encoder": WordEncoder()}
        docs = await AsyncColbertCollection.create("test-async", config=LEARNED, **arguments)
        await docs.ingest(DOCUMENTS)
        again = await AsyncColbertCollection.open("test-async", **arguments)
        for collection in (docs, again):
            found = await collection.search(QUERIES[0], mode="fde")
            assert [hit.id for hit in found] == [hit.id for hit in same.search(QUERIES[0], mode="fde")]
        await docs.fit(refit=True)
        assert len(await docs.search(QUERIES[0], mode="fde")) == 10
        await docs.drop()

    run_shared(work)


def test_many_tasks_share_a_collection(run_shared: Run) -> None:
    async def work(client: AsyncClient) -> None:
        docs = await AsyncColbertCollection.create("test-async", client=client, encoder=WordEncoder(), config=LEARNED)
        await asyncio.gather(*(docs.ingest(DOCUMENTS[start::9]) for start in range(9)))
        assert await docs.count() == 90
        alone = [await docs.search(query) for query in QUERIES]
        together = await asyncio.gather(*(docs.search(query) for query in QUERIES))
        assert list(together) == alone
        assert len(await docs.search(QUERIES[0], mode="fde", limit=90)) == 90  # every one has its encoding
        await docs.drop()

    run_shared(work)


class HeldEncoder(WordEncoder):
    """Encodes one document only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.told = threading.Event(), threading.Event()

    def encode_documents(self, texts: Any) -> TokenEmbeddings:
        if "held" in texts:
            self.begun.set()
            assert self.told.wait(timeout=60)
        return super().encode_documents(texts)


def test_a_document_that_was_begun_before_a_fit_and_is_written_after_it_gets_its_encoding(run_shared: Run) -> None:
    async def work(client: AsyncClient) -> None:
        encoder = HeldEncoder()
        docs = await AsyncColbertCollection.create("test-async", client=client, encoder=encoder, config=LEARNED)
        await docs.upsert(DOCUMENTS[:10])
        writing = asyncio.create_task(docs.upsert([Document("late", "held")]))
        await asyncio.to_thread(encoder.begun.wait, 60)
        await docs.fit()
        encoder.told.set()
        await writing
        assert "late" in {hit.id for hit in await docs.search(QUERIES[0], mode="fde", limit=11)}
        await docs.drop()

    run_shared(work)


def test_one_that_is_cancelled_there_is_found_exactly_until_the_next_write(run_shared: Run) -> None:
    async def work(client: AsyncClient) -> None:
        encoder = HeldEncoder()
        docs = await AsyncColbertCollection.create("test-async", client=client, encoder=encoder, config=LEARNED)
        await docs.upsert(DOCUMENTS[:10])

        class Cancel(Silence):
            def advance(self, documents: int) -> None:
                writing.cancel()  # the document is stored, and nothing else is done about it

        writing = asyncio.create_task(docs.ingest([Document("late", "held")], progress=Cancel()))
        await asyncio.to_thread(encoder.begun.wait, 60)
        await docs.fit()
        encoder.told.set()
        with pytest.raises(asyncio.CancelledError):
            await writing
        for number in range(2):
            assert "late" in {hit.id for hit in await docs.search(QUERIES[0], limit=20)}
            await docs.upsert([Document(number, "river")])
        await docs.drop()

    run_shared(work)


def test_a_client_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    encoder = WordEncoder()
    with (
        EdgeClient(tmp_path) as client,
        pytest.raises(
            ConfigurationError, match="EdgeClient would block the event loop: use ColbertCollection, Migration or"
        ),
    ):
        asyncio.run(AsyncColbertCollection.open("docs", client=client, encoder=encoder))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="AsyncQdrantClient is async: use AsyncColbertCollection"):
        ColbertCollection.open("docs", client=AsyncQdrantClient(":memory:"), encoder=encoder)  # type: ignore[arg-type]


def test_the_blocking_collection_takes_no_asynchronous_documents() -> None:
    async def source() -> AsyncIterator[Document]:
        for document in DOCUMENTS:
            yield document

    docs = reference()
    with pytest.raises(
        ConfigurationError,
        match="documents is asynchronous, and upsert takes a list: use",
    ):
        docs.upsert(source())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="source is asynchronous: use AsyncColbertCollection"):
        docs.ingest(source())


def test_what_one_kind_wrote_the_other_reads(tmp_path: Path) -> None:
    async def work(client: AsyncClient) -> None:
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        await docs.ingest(DOCUMENTS)

    run("edge", tmp_path, work)
    with EdgeClient(tmp_path) as client:
        docs = ColbertCollection.open("docs", client=client, encoder=WordEncoder())
        assert [hit.id for hit in docs.search(QUERIES[0])] == [hit.id for hit in reference().search(QUERIES[0])]


def test_a_process_that_is_killed_is_started_again_and_nothing_is_lost(tmp_path: Path) -> None:
    async def work(client: AsyncClient) -> None:
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        await docs.ingest(DOCUMENTS[:50])
        kill(client)
        await docs.ingest(DOCUMENTS[50:])
        kill(client)
        assert await docs.count() == 90

    run("edge", tmp_path, work)


def test_one_that_is_killed_at_work_is_asked_again(tmp_path: Path) -> None:
    async def work(client: AsyncClient) -> None:
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        await docs.ingest(DOCUMENTS)
        stop(client)  # so that it cannot answer before it is killed
        searches = [asyncio.create_task(docs.search(query)) for query in QUERIES]
        while len(worker(client)._pending) < len(QUERIES):  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        kill(client)
        assert [len(hits) for hits in await asyncio.gather(*searches)] == [10] * len(QUERIES)

    run("edge", tmp_path, work)


def test_a_collection_that_was_made_when_the_process_ended_is_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(client: AsyncClient) -> None:
        create = vars(AsyncEdgeClient)["create_collection"]

        async def create_and_die(self: Any, *arguments: Any, **named: Any) -> Any:
            await create(self, *arguments, **named)
            monkeypatch.undo()
            kill(self)
            return await self.count(arguments[0])  # of what is killed

        monkeypatch.setattr(AsyncEdgeClient, "create_collection", create_and_die)
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        assert await docs.count() == 0

    run("edge", tmp_path, work)


def test_one_that_always_ends_is_an_error_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(client: AsyncClient) -> None:
        retry = RetryConfig(attempts=3, first_wait=0, longest_wait=0)
        docs = await AsyncColbertCollection.create(
            "docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=retry
        )
        kill(client)
        monkeypatch.setattr("colbert_qdrant.edge.aio._MODULE", "this_module_does_not_exist")
        with pytest.raises(UnreachableError, match=r"after 3 attempts: the embedded engine crashed .*exit code 1"):
            await docs.count()

    run("edge", tmp_path, work)


def test_errors_are_those_of_the_blocking_client(tmp_path: Path) -> None:
    async def work(client: AsyncClient) -> None:
        await client.create_collection("docs", {"a": models.VectorParams(size=2, distance=models.Distance.DOT)})
        with pytest.raises(SchemaMismatchError):
            await client.upsert("docs", [models.PointStruct(id=1, vector={"a": [1.0, 2.0, 3.0]})])
        with pytest.raises(CollectionNotFoundError, match="collection 'other' does not exist"):
            await client.count("other")
        with pytest.raises(TypeError, match="unexpected keyword"):
            await client.count("docs", nothing=1)
        async with AsyncEdgeClient(tmp_path) as second:
            with pytest.raises(StoreLockedError, match="has it open"):
                await second.get_collections()

    run("edge", tmp_path, work)


def test_a_message_that_cannot_be_read_is_an_error_of_that_call_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(client: AsyncClient) -> None:
        await client.create_collection("docs", {"a": models.VectorParams(size=2, distance=models.Distance.DOT)})
        process = worker(client)._process
        for name, function in (("pack", unreadable), ("unpack", fail)):
            with monkeypatch.context() as patch:
                patch.setattr(aio, name, function)
                with pytest.raises(ValueError, match="is not one of the client's models"):
                    await client.count("docs")
        assert (await client.count("docs")).count == 0
        assert worker(client)._process is process

    run("edge", tmp_path, work)


def unreadable(number: int, _: Any) -> bytes:
    text = b'{"!": "model", "name": "os", "fields": {}}'
    return HEADER.pack(number, len(text), 0) + text


def fail(*_: Any) -> None:
    raise ValueError("this is not one of the client's models")


def test_a_forked_child_does_not_keep_the_process_alive(tmp_path: Path) -> None:
    done = run_script(FORK.format(path=str(tmp_path)))
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


FORK = """
import asyncio, os
from colbert_qdrant import AsyncEdgeClient
from colbert_qdrant.edge import aio

async def main():
    client = AsyncEdgeClient({path!r})
    await client.get_collections()
    process = client._worker._process
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        await client.close()
    finally:
        os.close(writing)
        os.waitpid(child, 0)
    print(process.returncode)

aio._PATIENCE = 10
asyncio.run(main())
"""


def test_a_closed_client_starts_nothing(tmp_path: Path) -> None:
    async def close() -> None:
        client = AsyncEdgeClient(tmp_path)
        await client.get_collections()
        process = worker(client)._process
        await client.close()
        await client.close()
        assert process.returncode == 0
        with pytest.raises(ClosedError, match="is closed"):
            await client.get_collections()

    asyncio.run(close())


def test_a_client_belongs_to_one_event_loop(tmp_path: Path) -> None:
    client = AsyncEdgeClient(tmp_path)
    with asyncio.Runner() as first, asyncio.Runner() as second:
        first.run(client.get_collections())
        with pytest.raises(ConfigurationError, match="belongs to another event loop"):
            second.run(client.get_collections())
        first.run(client.close())


FORGET = """
import asyncio, sys
from colbert_qdrant import AsyncEdgeClient
asyncio.run(AsyncEdgeClient(sys.argv[1]).get_collections())
"""


def test_the_process_ends_with_the_one_that_started_it(tmp_path: Path) -> None:
    done = run_script(FORGET, tmp_path)
    assert done.returncode == 0, done.stderr
    with opened_soon(tmp_path) as client:
        assert client.get_collections().collections == []


def opened_soon(path: Path) -> EdgeClient:
    """Opens a store as soon as its last owner is gone."""
    for _ in range(100_000):
        try:
            return EdgeClient(path)
        except StoreLockedError:
            os.sched_yield()
    raise EngineError("its owner is not gone")


def test_the_event_loop_goes_on_while_the_engine_works(tmp_path: Path) -> None:
    async def work(client: AsyncClient) -> None:
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        await docs.ingest(DOCUMENTS)
        stop(client)
        optimizing = asyncio.create_task(docs.optimize())
        for _ in range(100):
            await asyncio.sleep(0)
        assert not optimizing.done()
        os.kill(worker(client)._process.pid, signal.SIGCONT)
        await optimizing

    run("edge", tmp_path, work)


def worker(client: AsyncClient) -> Any:
    assert isinstance(client, AsyncEdgeClient)
    assert client._worker is not None
    return client._worker


def stop(client: AsyncClient) -> None:
    os.kill(worker(client)._process.pid, signal.SIGSTOP)


def kill(client: AsyncClient) -> None:
    os.kill(worker(client)._process.pid, signal.SIGKILL)
