"""Searches by BM25 alone, on every engine, against BM25 as in the books and against the engine's own sparse search."""

from __future__ import annotations

import asyncio
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, models

from colbert_qdrant import (
    AsyncColbertCollection,
    Bm25Config,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    InvalidQueryError,
    LemurConfig,
    MuveraConfig,
    ReadyTokens,
    Rrf,
)
from colbert_qdrant.encoders.bm25 import LocalBm25
from tests.contract.test_hybrid import EVEN, QUERY, TEXTS, assert_best, bm25_scores
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant import TokenEmbeddings
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

MUVERA = MuveraConfig(k_sim=2, dim_proj=8, r_reps=4)
CONFIG = CollectionConfig(fde=MUVERA, bm25=Bm25Config())
DOCUMENTS = [
    Document(number, text, {"even": number % 2 == 0, "part": f"p{number % 3}"}) for number, text in enumerate(TEXTS)
]
FOUND = {number for number, score in enumerate(bm25_scores(QUERY)) if score > 0}


class DocumentsOnly(WordEncoder):
    """An encoder that fails if it has to encode queries."""

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        raise AssertionError(f"no model is needed for {texts}")


@pytest.fixture
def docs(engine: Engine, client: Client) -> ColbertCollection:
    docs = ColbertCollection.create(engine.name, client=client, encoder=DocumentsOnly(), config=CONFIG)
    docs.ingest(DOCUMENTS)
    return docs


def sparse(query: str) -> models.SparseVector:
    (vector,) = LocalBm25(Bm25Config()).queries([query])
    assert vector is not None
    return vector


def test_bm25_finds_and_ranks_without_the_model(docs: ColbertCollection, client: Client) -> None:
    assert 20 < len(FOUND) < len(TEXTS)
    hits = docs.search(QUERY, mode="bm25", limit=80)
    assert {hit.id for hit in hits} == FOUND
    assert_best(hits, bm25_scores(QUERY))
    assert {hit.id: hit.text for hit in hits} == {number: TEXTS[number] for number in FOUND}
    assert {hit.found_by for hit in hits} == {()}
    points = client.query_points(docs.name, query=sparse(QUERY), using="bm25", limit=80).points
    assert sorted(hit.score for hit in hits) == pytest.approx(sorted(point.score for point in points))
    assert [(hit.text, hit.payload) for hit in docs.search(QUERY, mode="bm25", with_payload=False)] == [(None, {})] * 10


def test_pages_filters_and_thresholds(docs: ColbertCollection) -> None:
    whole = docs.search(QUERY, mode="bm25", limit=40)
    pages = [docs.search(QUERY, mode="bm25", limit=10, offset=offset) for offset in (0, 10, 20, 30)]
    assert [hit for page in pages for hit in page] == whole
    even = docs.search(QUERY, mode="bm25", limit=80, where={"even": True})
    assert even == docs.search(QUERY, mode="bm25", limit=80, filter=EVEN)
    assert {hit.id for hit in even} == {number for number in FOUND if number % 2 == 0}
    threshold = (whole[4].score + whole[20].score) / 2
    above = docs.search(QUERY, mode="bm25", limit=40, score_threshold=threshold)
    assert above == [hit for hit in whole if hit.score > threshold]
    assert 5 <= len(above) < 20
    timed = docs.search(QUERY, mode="bm25", timings=True)
    assert timed.timings is not None
    assert timed.timings.request > 0


def test_queries_whose_words_are_not_found_have_no_hits(docs: ColbertCollection) -> None:
    assert docs.search("the of and", mode="bm25") == []
    assert docs.search("zeppelin", mode="bm25") == []
    assert docs.search_groups("the of and", "part", mode="bm25") == []
    nothing, some = docs.search_batch(["the of and", QUERY], mode="bm25", limit=5)
    assert (nothing, some) == ([], docs.search(QUERY, mode="bm25", limit=5))
    assert docs.search_batch([], mode="bm25") == []


def test_queries_bring_their_own_vectors(docs: ColbertCollection) -> None:
    tokens = WordEncoder().encode_queries(["anchor"])
    expected = docs.search(QUERY, mode="bm25", limit=20)
    assert docs.search(tokens, mode="bm25", limit=20, vectors={"bm25": sparse(QUERY)}) == expected
    assert docs.search("anchor", mode="bm25", limit=20, vectors={"bm25": sparse(QUERY)}) == expected
    with pytest.raises(ConfigurationError, match=r"no vector 'bm25' to search with: pass the query as text, pass vec"):
        docs.search(tokens, mode="bm25")
    for query in ("", " ", "\ud800"):
        with pytest.raises(InvalidQueryError, match="query 0 is "):
            docs.search(query, mode="bm25")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prefetch": ["bm25"]}, "mode='bm25' has no candidates to fuse: omit prefetch and fusion"),
        ({"fusion": Rrf()}, "mode='bm25' has no candidates to fuse"),
        ({"token_threshold": 0.5}, r"token_threshold=0\.5 needs MaxSim scores, but mode='bm25'"),
        ({"candidates": 5, "limit": 10}, "candidates=5 is less than limit=10"),
        ({"vectors": {"fde": [1.0]}}, r"vectors has \['fde'\]"),
        ({"vectors": {"bm25": [1.0]}}, "'bm25' is .* not a sparse vector"),
    ],
)
def test_options_that_do_not_go_with_bm25(docs: ColbertCollection, options: Any, message: str) -> None:
    with pytest.raises((ConfigurationError, InvalidQueryError), match=message):
        docs.search(QUERY, mode="bm25", **options)


def test_groups_are_ranked_by_bm25(docs: ColbertCollection) -> None:
    scores = bm25_scores(QUERY)
    groups = docs.search_groups(QUERY, "part", mode="bm25", group_size=2)
    assert {group.key for group in groups} == {"p0", "p1", "p2"}
    for group in groups:
        best = np.sort(scores[int(str(group.key)[1:]) :: 3])[::-1][:2]
        assert [hit.score for hit in group.hits] == pytest.approx(best.tolist(), rel=2e-3)
    assert [group.hits[0].score for group in groups] == sorted((group.hits[0].score for group in groups), reverse=True)


def test_a_collection_needs_no_fit_and_no_encoder(engine: Engine, client: Client) -> None:
    encoder = WordEncoder()
    config = CollectionConfig(fde=LemurConfig(dim=16, fit_documents=100), bm25=Bm25Config())
    ready = ReadyTokens(dim=encoder.dim, model="words")
    docs = ColbertCollection.create(engine.name, client=client, encoder=ready, config=config)
    tokens = encoder.encode_documents(TEXTS)
    docs.upsert([Document(each.id, each.text, tokens=tokens[number]) for number, each in enumerate(DOCUMENTS)])
    with warnings.catch_warnings(action="error"):
        hits = ColbertCollection.open(engine.name, client=client).search(QUERY, mode="bm25", limit=80)
    assert {hit.id for hit in hits} == FOUND


def test_a_collection_without_bm25_is_told_how_to_get_it(engine: Engine, client: Client) -> None:
    docs = ColbertCollection.create(
        engine.name, client=client, encoder=DocumentsOnly(), config=CollectionConfig(fde=MUVERA)
    )
    message = r"mode='bm25' needs a BM25 vector, .*: create a collection with CollectionConfig\(bm25=Bm25Config\(\)\)"
    with pytest.raises(ConfigurationError, match=message):
        docs.search(QUERY, mode="bm25")
    with pytest.raises(ConfigurationError, match=message):
        docs.search_groups(QUERY, "part", mode="bm25")


def test_bm25_in_an_event_loop() -> None:
    async def found() -> set[Any]:
        client = AsyncQdrantClient(":memory:")
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=DocumentsOnly(), config=CONFIG)
        await docs.ingest(DOCUMENTS)
        return {hit.id for hit in await docs.search(QUERY, mode="bm25", limit=80)}

    assert asyncio.run(found()) == FOUND
