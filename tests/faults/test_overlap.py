"""An ingest reads, encodes and writes beside each other, and is as exact as if it did one after the other."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient

from colbert_qdrant import (
    AsyncColbertCollection,
    ColbertCollection,
    CollectionConfig,
    DenseConfig,
    Document,
    IngestReport,
    InvalidDocumentError,
    MuveraConfig,
    RequestError,
    RetryConfig,
)
from colbert_qdrant.collection.ingest import chunks, interrupts, pipeline
from colbert_qdrant.collection.ingest.ingest import ingest
from colbert_qdrant.collection.ingest.options import CheckedIngest
from colbert_qdrant.collection.ingest.pipeline import Hooks
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.points.ids import point_id
from tests.encoders import WordEncoder
from tests.faults.server import Answer, FaultyServer, failing, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from colbert_qdrant import TokenEmbeddings
    from colbert_qdrant.collection.writer import Written

SIZE = 4
"""Documents in a chunk."""

PATIENCE = 20.0
"""Seconds after which a test has failed."""

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2), dense={"meaning": DenseConfig(dim=2)})
CHUNKS = 10
DOCUMENTS = [Document(f"d{number}", f"river {number}") for number in range(CHUNKS * SIZE)]
RETRY = RetryConfig(attempts=2, first_wait=0.001, longest_wait=0.002, deadline=20)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_DOCUMENTS", SIZE)


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving(FaultyServer()) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No thread of an ingest is left when a test ends."""
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("colbert_qdrant")]


@dataclass
class Watched(WordEncoder):
    """Counts the chunks that it has begun, and does something before each.

    Attributes:
        begun: Released once for each chunk.
        before: Called with the number of the chunk, from 0.
    """

    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    before: Callable[[int], None] = lambda number: None

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        self.before(self.calls)
        self.begun.release()
        return super().encode_documents(texts)


class Meaning:
    """Makes a dense vector of two dimensions, and fails for one text."""

    def encode_queries(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, float(len(text))] for text in texts]

    def encode_documents(self, texts: Sequence[str]) -> list[list[float]]:
        if "broken" in texts:
            raise ValueError("this text is broken")
        return self.encode_queries(texts)


class Counter:
    """Notes what a reporter is told, and in which thread."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.threads = set[int]()

    def start(self, total: int | None) -> None:
        self.threads.add(threading.get_ident())

    def advance(self, documents: int) -> None:
        self.threads.add(threading.get_ident())
        self.told.append(documents)

    def stop(self) -> None:
        self.threads.add(threading.get_ident())


def written(server: FaultyServer) -> list[str]:
    """Ids of the documents of all writes, in the order of their coming."""
    return [point["payload"]["_id"] for body in server.bodies if "points" in body for point in body["points"]]


def blocking(server: FaultyServer, source: Any, encoder: WordEncoder, hooks: Hooks, **options: Any) -> IngestReport:
    client = QdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False, timeout=10)
    docs = ColbertCollection.create(
        "docs", client=client, encoder=encoder, config=CONFIG, retry=RETRY, vector_encoders={"meaning": Meaning()}
    )
    try:
        return run_blocking(ingest(docs._opened, source, CheckedIngest(**options), hooks))
    finally:
        client.close()


def awaited(server: FaultyServer, source: Any, encoder: WordEncoder, hooks: Hooks, **options: Any) -> IngestReport:
    async def run() -> IngestReport:
        client = AsyncQdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False, timeout=10)
        docs = await AsyncColbertCollection.create(
            "docs", client=client, encoder=encoder, config=CONFIG, retry=RETRY, vector_encoders={"meaning": Meaning()}
        )
        try:
            return await ingest(docs._opened, source, CheckedIngest(**options), hooks)
        finally:
            await client.close()

    return asyncio.run(run())


@pytest.fixture(params=[blocking, awaited], ids=["blocking", "asyncio"])
def run(request: pytest.FixtureRequest, server: FaultyServer) -> Callable[..., IngestReport]:
    def start(
        source: Any = DOCUMENTS, encoder: WordEncoder | None = None, hooks: Hooks | None = None, **options: Any
    ) -> IngestReport:
        report: IngestReport = request.param(server, source, encoder or WordEncoder(), hooks or Hooks(), **options)
        return report

    return start


def test_the_model_works_while_writes_are_pending(server: FaultyServer, run: Callable[..., IngestReport]) -> None:
    """Each write is answered only after the chunk after the next has been begun: a model that waited never would."""
    encoder, writes = Watched(), 0

    def judge(body: dict[str, Any], size: int) -> Answer | None:
        nonlocal writes
        if "points" not in body:
            return None
        writes += 1
        more = min(3 if writes == 1 else 1, CHUNKS - writes - 1)
        begun = all(encoder.begun.acquire(timeout=PATIENCE) for _ in range(more))
        return None if begun else failing(500, "the model waits for this write")

    server.judge = judge
    assert run(encoder=encoder).documents == len(DOCUMENTS)
    assert written(server) == [document.id for document in DOCUMENTS]


def test_chunks_are_acknowledged_in_order_where_the_caller_is(
    server: FaultyServer, run: Callable[..., IngestReport]
) -> None:
    seen: list[Any] = []
    threads = {threading.get_ident()}
    counter = Counter()

    async def acknowledged(documents: Sequence[Document], outcome: Written) -> None:
        threads.add(threading.get_ident())
        stored = {point_id(document.id) for document in documents}
        assert stored <= server.ledger.keys()
        assert len(outcome.points) == len(documents)
        seen.extend(documents)

    def source() -> Iterator[Document]:
        for document in DOCUMENTS:
            threads.add(threading.get_ident())
            yield document

    run(source(), hooks=Hooks(acknowledged=acknowledged), progress=counter)
    assert seen == DOCUMENTS
    assert counter.told == [SIZE] * CHUNKS
    assert threads == counter.threads == {threading.get_ident()}


def test_the_report_is_exact(server: FaultyServer, run: Callable[..., IngestReport]) -> None:
    """The same id in chunks that are in flight together: the last one is stored and counted."""
    source = [Document("same", "one two three"), *DOCUMENTS[: SIZE - 1], Document("same", "one two")] * 2
    source += [Document("same", "last one of all")]
    with pytest.warns(match="longer than the encoder's maximum") as warned:
        report = run(iter(source), WordEncoder(longest=3))
    assert (report.documents, report.replaced) == (SIZE, 4 + SIZE - 1)
    assert (report.tokens, report.truncated) == (2 * (SIZE - 1) + 3, 1)
    assert server.ledger[str(point_id("same"))][-1]["payload"]["text"] == "last one of all"
    assert warned[0].filename == __file__


BROKEN = 4 * SIZE + 1
"""The number of a document in the fifth chunk."""


def fail_at_encode(server: FaultyServer, encoder: Watched) -> list[Document]:
    def before(number: int) -> None:
        if number >= 4:  # also where the chunk is bisected
            raise RuntimeError("no memory left")

    encoder.before = before
    return DOCUMENTS


def fail_at_vectors(server: FaultyServer, encoder: Watched) -> list[Document]:
    return [Document(each.id, "broken" if number == BROKEN else each.text) for number, each in enumerate(DOCUMENTS)]


def fail_at_check(server: FaultyServer, encoder: Watched) -> list[Document]:
    return [Document(each.id, "" if number == BROKEN else each.text) for number, each in enumerate(DOCUMENTS)]


def fail_at_write(server: FaultyServer, encoder: Watched) -> list[Document]:
    broken = DOCUMENTS[BROKEN].id

    def judge(body: dict[str, Any], size: int) -> Answer | None:
        ids = [point["payload"]["_id"] for point in body.get("points", [])]
        return failing(500) if broken in ids else None

    server.judge = judge
    return DOCUMENTS


@pytest.mark.parametrize(
    ("prepare", "error", "message"),
    [
        (fail_at_check, InvalidDocumentError, f"document 'd{BROKEN}' has no text"),
        (fail_at_encode, RuntimeError, "no memory left"),
        (fail_at_vectors, InvalidDocumentError, f"document 'd{BROKEN}' cannot be encoded"),
        (fail_at_write, RequestError, "500"),
    ],
    ids=["check", "encode", "vectors", "write"],
)
def test_an_error_leaves_what_is_before_it_and_nothing_else(
    server: FaultyServer, run: Callable[..., IngestReport], prepare: Any, error: type[Exception], message: str
) -> None:
    encoder, counter = Watched(), Counter()
    source = prepare(server, encoder)
    with pytest.raises(error, match=message):
        run(iter(source), encoder, progress=counter)
    assert server.ledger.keys() == {point_id(document.id) for document in DOCUMENTS[: 4 * SIZE]}
    assert sum(counter.told) == 4 * SIZE


def test_an_error_of_the_source_is_raised_unchanged(server: FaultyServer, run: Callable[..., IngestReport]) -> None:
    error = LookupError("the cursor is gone")

    def source() -> Iterator[Document]:
        yield from DOCUMENTS[:BROKEN]
        raise error

    with pytest.raises(LookupError) as caught:
        run(source())
    assert caught.value is error
    assert server.ledger.keys() == {point_id(document.id) for document in DOCUMENTS[: 4 * SIZE]}


def test_an_ingest_that_is_stopped_finishes_what_is_encoded(
    server: FaultyServer, run: Callable[..., IngestReport]
) -> None:
    stop = threading.Event()
    encoder = Watched(before=lambda number: stop.set() if number == 2 else None)
    seen: list[Document] = []

    async def acknowledged(documents: Sequence[Document], outcome: Written) -> None:
        seen.extend(documents)

    report = run(iter(DOCUMENTS), encoder, Hooks(acknowledged=acknowledged, stopping=stop.is_set))
    assert encoder.calls == 3
    assert seen == DOCUMENTS[: 3 * SIZE]
    assert written(server) == [document.id for document in seen]
    assert report.documents == len(seen)


def test_the_model_waits_while_too_much_is_not_written(
    server: FaultyServer, run: Callable[..., IngestReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two chunks fill the memory: no third one is begun before the first is written."""
    config, words = CONFIG.encoding, 2
    size = SIZE * 4 * (words * WordEncoder.dim + config.dim)
    monkeypatch.setattr(pipeline, "_UNWRITTEN_BYTES", 2 * size)
    unwritten, most, guard = 0, 0, threading.Lock()

    def count(chunks: int) -> None:
        nonlocal unwritten, most
        with guard:
            unwritten += chunks
            most = max(most, unwritten)

    encoder = Watched(before=lambda number: count(1))
    waited = 0

    def judge(body: dict[str, Any], size: int) -> None:
        nonlocal waited
        if "points" in body:
            waited += 1
            if waited <= CHUNKS - 2:  # the next two are begun while this write is pending, and then no other
                assert encoder.begun.acquire(timeout=PATIENCE)
                if waited == 1:
                    assert encoder.begun.acquire(timeout=PATIENCE)
            count(-1)

    server.judge = judge
    assert run(iter(DOCUMENTS), encoder).documents == len(DOCUMENTS)
    assert most == 2


@pytest.mark.parametrize("busy", ["network", "encoder"])
def test_a_second_ctrl_c_ends_it_whatever_it_waits_for(
    server: FaultyServer, busy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answered, said = threading.Event(), threading.Event(), threading.Event()
    monkeypatch.setattr(interrupts, "say", lambda text: said.set())

    def gate() -> None:
        if busy == "network":
            asked.set()
            answered.wait(PATIENCE)

    def before(number: int) -> None:
        if busy == "encoder" and number == 1:
            asked.set()
            end = time.monotonic() + PATIENCE
            while time.monotonic() < end:
                pass

    def interrupt() -> None:
        asked.wait(PATIENCE)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        said.wait(PATIENCE)
        answered.wait(0.2)  # Python overlooks a signal that comes just before the main thread waits again
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    server.gate = gate
    killer = threading.Thread(target=interrupt)
    killer.start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        blocking(server, iter(DOCUMENTS), Watched(before=before), Hooks())
    assert time.monotonic() - started < PATIENCE / 2
    killer.join()
    answered.set()
    assert len(written(server)) <= SIZE


def test_a_cancelled_task_leaves_nothing_that_writes(server: FaultyServer) -> None:
    asked, answered = threading.Event(), threading.Event()

    def gate() -> None:
        asked.set()
        answered.wait(PATIENCE)

    async def cancel() -> int:
        client = AsyncQdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False, timeout=10)
        docs = await AsyncColbertCollection.create(
            "docs", client=client, encoder=WordEncoder(), config=CONFIG, vector_encoders={"meaning": Meaning()}
        )
        server.gate = gate
        task = asyncio.create_task(docs.ingest(iter(DOCUMENTS)))
        assert await asyncio.to_thread(asked.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}
        answered.set()
        await client.close()
        return server.requests

    assert asyncio.run(cancel()) == server.requests == 1
