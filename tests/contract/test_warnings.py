"""What users would not notice is warned of: once for each collection and kind, at the line of theirs."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import models

from colbert_qdrant import (
    AsyncColbertCollection,
    AsyncEdgeClient,
    Bm25Config,
    ColbertCollection,
    ColbertQdrantWarning,
    ColbertReranker,
    CollectionConfig,
    ConfigurationError,
    DenseConfig,
    Document,
    LemurConfig,
    MuveraConfig,
    SparseConfig,
    TokenEmbeddings,
    attach,
)
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator
    from pathlib import Path

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

SMALL = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2), text_key="page_content", id_scheme="native")
LONG = "one two three four five"


@pytest.fixture
def docs(client: Client, engine: Engine) -> ColbertCollection:
    """A collection whose encoder takes three words."""
    return ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(longest=3), config=SMALL)


@contextmanager
def recording() -> Iterator[list[str]]:
    """Have all that is warned of here, also what is said again, in a list."""
    messages: list[str] = []
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        yield messages
    assert {(each.category, each.filename) for each in shown} <= {(ColbertQdrantWarning, __file__)}
    messages += [str(each.message) for each in shown]


@pytest.mark.parametrize("method", ["upsert", "ingest"])
def test_documents_that_were_truncated(docs: ColbertCollection, method: str) -> None:
    with recording() as messages:
        for start in (0, 10):
            texts = ["one", LONG, f"six {LONG}"]
            getattr(docs, method)([Document(number, text) for number, text in enumerate(texts, start)])
    (message,) = messages
    assert message.startswith(
        f"collection {docs.name!r}: 2 of 3 documents (1, 2) are longer than the encoder's maximum"
    )
    assert "document_length" in message


def test_documents_that_were_truncated_by_a_repair(docs: ColbertCollection, client: Client) -> None:
    client.upsert(docs.name, [models.PointStruct(id=7, vector={}, payload={"page_content": LONG})], wait=True)
    if not docs.check():
        pytest.skip("the engine does not tell which points lack a vector")
    with recording() as messages:
        docs.repair()
    (message,) = messages
    assert "1 of 1 documents (7)" in message


def test_queries_that_were_truncated(docs: ColbertCollection) -> None:
    docs.upsert([Document(1, "one")])
    with recording() as messages:
        for _ in range(2):
            docs.search_batch(["one", LONG])
            docs.search_groups(LONG, "kind")
    (message,) = messages
    assert message.startswith(f"collection {docs.name!r}: 1 of 2 queries are longer than the encoder's maximum")


def test_texts_and_queries_of_an_attached_collection(docs: ColbertCollection, client: Client) -> None:
    docs.upsert([Document(1, LONG)])
    own = attach(client, docs.name, encoder=WordEncoder(longest=2), text_key="page_content")
    request = models.QueryRequest(query=[0.5] * SMALL.encoding.dim, using="fde", limit=10)
    with recording() as messages:
        for _ in range(2):
            own.search(LONG, request)
    queries, documents = messages
    assert "1 of 1 queries are longer" in queries
    assert "1 of 1 documents ('one two three four f…') are longer" in documents


UNSPLIT = {"Chinese": "渡轮离开港口", "Japanese": "船が港を出る", "Thai": "เรือออกจากท่า", "mixed": "iPhone发布会在北京"}


@pytest.mark.parametrize(
    ("language", "texts", "warned"),
    [
        ("english", UNSPLIT, True),
        ("hebrew", {"Khmer": "សាឡាងចាកចេញ"}, True),
        ("chinese", UNSPLIT, False),
        ("thai", UNSPLIT, False),
        ("japanese", {"Burmese": "ဖယ်ရီသည်ဆိပ်ကမ်း", "Lao": "ເຮືອອອກຈາກທ່າ"}, True),
        (
            "english",
            {"Korean": "페리는 항구를 떠난다", "Hebrew": "המעבורת עוזבת", "quoted": "the ferry called 渡"},
            False,
        ),
    ],
)
def test_texts_that_bm25_does_not_split(
    client: Client, engine: Engine, language: str, texts: dict[str, str], *, warned: bool
) -> None:
    config = CollectionConfig(fde=SMALL.fde, bm25=Bm25Config(language=language))
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=config)
    with recording() as messages:
        for _ in range(2):
            docs.upsert([Document("plain", "one"), *(Document(*each) for each in texts.items())])
    assert len(messages) == warned
    for message in messages:
        assert f"{len(texts)} of {len(texts) + 1} documents ('{next(iter(texts))}'" in message
        assert f"Bm25Config(language='{language}') does not split them" in message


def test_texts_and_queries_of_a_reranker() -> None:
    reranker = ColbertReranker(WordEncoder(longest=2))
    texts = ["one"] * 300 + [LONG, "two", LONG]
    with recording() as messages:
        for _ in range(2):
            assert len(reranker(["one", LONG], iter(texts))) == 2
            reranker("two", TokenEmbeddings([[1.0] * 32], [1], truncated=[True]))
    queries, documents = messages
    assert queries.startswith("ColbertReranker: 1 of 2 queries are longer")
    assert documents.startswith("ColbertReranker: 2 of 303 documents (300, 302) are longer")


def test_a_fit_to_few_documents(client: Client, engine: Engine) -> None:
    config = CollectionConfig(fde=LemurConfig(dim=16, hidden=16, epochs=0))
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=config)
    with pytest.warns(ColbertQdrantWarning, match="is fitted to only 3 documents"):
        docs.ingest([Document(number, f"word{number}") for number in range(3)])


@pytest.mark.filterwarnings("error")
def test_nothing_is_said_where_nothing_is_wrong(docs: ColbertCollection) -> None:
    docs.ingest([Document(1, "one two three")])
    docs.search("one two")
    docs.search_batch([docs.encoder.encode_queries(["one"])][0])


def test_awaited_and_as_errors(tmp_path: Path, runner: asyncio.Runner) -> None:
    async def work() -> None:
        async with AsyncEdgeClient(tmp_path) as client:
            encoder = WordEncoder(longest=3)
            docs = await AsyncColbertCollection.create("docs", client=client, encoder=encoder, config=SMALL)
            with warnings.catch_warnings():
                warnings.simplefilter("error", ColbertQdrantWarning)
                with pytest.raises(ColbertQdrantWarning, match="1 of 1 documents"):
                    await docs.upsert([Document(1, LONG)])
            assert await docs.count() == 0  # a user who makes it an error has nothing written

    runner.run(work())


@pytest.mark.parametrize(
    "search",
    [
        lambda docs: docs.search("one", mode="hybrid"),
        lambda docs: docs.search_batch(["one"], mode="hybrid"),
        lambda docs: docs.search_groups("one", "kind", mode="hybrid"),
    ],
    ids=["search", "search_batch", "search_groups"],
)
def test_a_hybrid_search_needs_a_second_vector(docs: ColbertCollection, search: Any) -> None:
    docs.upsert([Document(1, "one")])
    with pytest.raises(ConfigurationError, match=r"mode='hybrid' needs a second vector .*Bm25Config.*'two-stage'"):
        search(docs)


def test_a_hybrid_search_prefetches_by_a_second_vector(client: Client, engine: Engine) -> None:
    config = CollectionConfig(fde=SMALL.fde, bm25=Bm25Config(), dense={"meaning": DenseConfig(dim=4)})
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=config)
    docs.upsert([Document(1, "one")])
    for prefetch in (["fde"], {"fde": 20}, ("fde",)):
        with pytest.raises(ConfigurationError, match=r"prefetch names no other: add 'bm25' or 'meaning' to prefetch="):
            docs.search("one", mode="hybrid", prefetch=prefetch)
        assert docs.search("one", prefetch=prefetch)
    assert docs.search("one", mode="hybrid", prefetch=["bm25"])


@pytest.mark.parametrize(
    "more",
    [{"bm25": Bm25Config()}, {"dense": {"meaning": DenseConfig(dim=4)}}, {"sparse": {"words": SparseConfig()}}],
    ids=lambda more: next(iter(more)),
)
def test_a_hybrid_search_by_any_second_vector(client: Client, engine: Engine, more: Any) -> None:
    vectors: dict[str, Any] = {"meaning": [1.0, 0, 0, 0]} if "dense" in more else {}
    vectors |= {"words": {1: 1.0}} if "sparse" in more else {}
    config = CollectionConfig(fde=SMALL.fde, **more)
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=config)
    docs.upsert([Document(1, "one", vectors=vectors)])
    assert [hit.id for hit in docs.search("one", mode="hybrid", vectors=vectors)] == [1]
