"""An ingest with several chunks under way stores on every engine what one chunk after the other would."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from colbert_qdrant import (
    AsyncColbertCollection,
    ColbertCollection,
    CollectionConfig,
    Document,
    LemurConfig,
    MuveraConfig,
)
from colbert_qdrant.collection.ingest import chunks
from colbert_qdrant.collection.ingest.ingest import ingest
from colbert_qdrant.collection.ingest.options import CheckedIngest
from colbert_qdrant.collection.ingest.pipeline import Hooks
from colbert_qdrant.engines.runtime import run_blocking
from tests.contract.conftest import empty
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Iterator, Sequence

    from colbert_qdrant import AsyncEdgeClient, TokenEmbeddings
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

SIZE = 4
MUVERA = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
LEMUR = CollectionConfig(fde=LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=2 * SIZE))
DOCUMENTS = [Document(number, text) for number, text in enumerate(random_texts(6 * SIZE, seed=5))]


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "_DOCUMENTS", SIZE)


def versions() -> Iterator[Document]:
    """The same ids in every chunk, with other texts and numbers of tokens."""
    for version in range(1, 7):
        for number in range(SIZE):
            yield Document(number, " ".join(["river"] * version), {"version": version})


def test_the_last_version_of_a_document_wins(engine: Engine, client: Client) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=MUVERA)
    report = docs.ingest(versions())
    assert (report.documents, report.replaced, report.tokens) == (SIZE, 5 * SIZE, 6 * SIZE)
    assert [document.payload for document in docs.get(range(SIZE))] == [{"version": 6}] * SIZE
    assert docs.check() == ()


def test_the_last_version_wins_in_an_event_loop(runner: asyncio.Runner, async_edge: AsyncEdgeClient) -> None:
    async def source() -> AsyncIterator[Document]:
        for document in versions():
            yield document

    async def run() -> None:
        docs = await AsyncColbertCollection.create("docs", client=async_edge, encoder=WordEncoder(), config=MUVERA)
        report = await docs.ingest(source())
        assert (report.documents, report.replaced, report.tokens) == (SIZE, 5 * SIZE, 6 * SIZE)
        assert [document.payload for document in await docs.get(range(SIZE))] == [{"version": 6}] * SIZE
        await empty(async_edge)

    runner.run(run())


def test_an_error_of_the_source_after_a_fit_leaves_all_chunks_before_it_encoded(engine: Engine, client: Client) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=LEMUR)

    def source() -> Iterator[Document]:
        yield from DOCUMENTS[: 3 * SIZE + 1]
        raise LookupError("the cursor is gone")

    with pytest.raises(LookupError, match="the cursor is gone"):
        docs.ingest(source())
    assert docs.count() == 3 * SIZE
    assert docs.fde is not None
    assert docs.check() == ()
    assert docs.search(DOCUMENTS[2 * SIZE].text, mode="fde", limit=1)[0].id == 2 * SIZE


class Stopping(WordEncoder):
    """Asks for the end when it encodes its third chunk."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__()
        self._stop, self._chunks = stop, 0

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        self._chunks += 1
        if self._chunks == 3:
            self._stop.set()
        return super().encode_documents(texts)


def test_an_ingest_that_is_stopped_stores_what_is_encoded_and_the_next_one_fits(engine: Engine, client: Client) -> None:
    stop = threading.Event()
    docs = ColbertCollection.create(engine.name, client=client, encoder=Stopping(stop), config=LEMUR)
    report = run_blocking(ingest(docs._opened, iter(DOCUMENTS), CheckedIngest(), Hooks(stopping=stop.is_set)))
    assert report.documents == docs.count() == 3 * SIZE
    docs.ingest(DOCUMENTS[3 * SIZE :])
    assert docs.fde is not None
    assert docs.count() == len(DOCUMENTS)
    assert docs.check() == ()
