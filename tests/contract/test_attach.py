"""Collections without token vectors: one's own searches bring candidates, and their texts are ranked by MaxSim."""

from __future__ import annotations

import asyncio
import inspect
import json
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from colbert_qdrant import (
    AsyncAttachedCollection,
    AsyncEdgeClient,
    AttachedCollection,
    ColbertQdrantWarning,
    CollectionNotFoundError,
    ConfigurationError,
    EdgeClient,
    InvalidDocumentError,
    InvalidQueryError,
    InvalidTokensError,
    SchemaMismatchError,
    SearchHits,
    TokenEmbeddings,
    attach,
    attach_async,
)
from colbert_qdrant.attach import rank
from tests.encoders import WORDS, WordEncoder, random_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

COUNT = 60
TEXTS = random_texts(COUNT, seed=3)
IDS: list[Any] = [
    number if number % 3 else f"00000000-0000-4000-8000-{number:012}" for number in range(COUNT)
]  # some are whole numbers, some UUIDs
DENSE = np.random.default_rng(4).normal(size=(COUNT, 6)).astype(np.float32)
PAYLOADS: list[dict[str, Any]] = [
    {
        "text": text,
        "even": number % 2 == 0,
        "meta": {"text": text, "parts": [{"text": "preface"}, {"text": text}]},
        "a key": text,
        "_node_content": json.dumps({"text": text}),
        "nothing": None,
    }
    for number, text in enumerate(TEXTS)
]
QUERY, OTHER = "harbor river zebra", "candle temple"
EVEN = models.Filter(must=[models.FieldCondition(key="even", match=models.MatchValue(value=True))])
LAYOUT: Any = {
    "vectors_config": {"dense": models.VectorParams(size=6, distance=models.Distance.DOT)},
    "sparse_vectors_config": {"words": models.SparseVectorParams()},
}


def counts(text: str) -> models.SparseVector:
    found = Counter(WORDS.index(word) for word in text.split())
    return models.SparseVector(indices=list(found), values=[float(count) for count in found.values()])


def points() -> list[models.PointStruct]:
    return [
        models.PointStruct(id=id, vector={"dense": dense.tolist(), "words": counts(text)}, payload=payload)
        for id, text, dense, payload in zip(IDS, TEXTS, DENSE, PAYLOADS, strict=True)
    ]


def vector_of(query: str) -> np.ndarray:
    return np.random.default_rng(len(query)).normal(size=6).astype(np.float32)


def by_dense(query: str, *, limit: int = 20, **others: Any) -> models.QueryRequest:
    return models.QueryRequest(query=vector_of(query).tolist(), using="dense", limit=limit, **others)


def by_words(query: str) -> models.QueryRequest:
    return models.QueryRequest(query=counts(query), using="words", limit=COUNT)


def by_both(query: str) -> models.QueryRequest:
    searches = [by_dense(query, limit=12), by_words(query)]
    prefetch = [models.Prefetch(query=each.query, using=each.using, limit=each.limit) for each in searches]
    return models.QueryRequest(prefetch=prefetch, query=models.FusionQuery(fusion=models.Fusion.RRF), limit=COUNT)


def best(scores: np.ndarray, limit: int, among: Iterable[int] | None = None) -> set[int]:
    """The places of the highest scores."""
    places = list(range(len(scores)) if among is None else among)
    return set(sorted(places, key=lambda place: -scores[place])[:limit])


def dense_best(query: str, limit: int, among: Iterable[int] | None = None) -> set[int]:
    return best(DENSE @ vector_of(query), limit, among)


def with_words_of(query: str) -> set[int]:
    return {place for place, text in enumerate(TEXTS) if set(text.split()) & set(query.split())}


def exact(query: str, texts: Iterable[str]) -> np.ndarray:
    """MaxSim, as it is defined."""
    encoder = WordEncoder()
    (tokens,) = encoder.encode_queries([query])
    return np.array([(tokens @ document.T).max(axis=1).sum() for document in encoder.encode_documents(list(texts))])


def assert_ranked(hits: SearchHits, query: str, candidates: Iterable[int], *, limit: int = 10) -> None:
    """They are the best of the candidates, with the scores that MaxSim gives, and with nothing changed."""
    places = sorted(candidates)
    scores = dict(zip(places, exact(query, [TEXTS[place] for place in places]), strict=True))
    found = [IDS.index(hit.id) for hit in hits]
    assert len(found) == min(limit, len(places))
    assert set(found) <= set(places)
    assert np.allclose([hit.score for hit in hits], sorted(scores.values(), reverse=True)[:limit], atol=1e-5)
    assert np.allclose([hit.score for hit in hits], [scores[place] for place in found], atol=1e-5)
    assert [(hit.text, hit.payload) for hit in hits] == [(TEXTS[place], PAYLOADS[place]) for place in found]


@pytest.fixture
def docs(engine: Engine, client: Client, encoder: WordEncoder) -> AttachedCollection:
    client.create_collection(engine.name, **LAYOUT)
    client.upsert(engine.name, points=points(), wait=True)
    return attach(client, engine.name, encoder=encoder)


def test_candidates_of_a_dense_search(docs: AttachedCollection) -> None:
    assert_ranked(docs.search(QUERY, by_dense(QUERY)), QUERY, dense_best(QUERY, 20))
    assert_ranked(docs.search(QUERY, by_dense(QUERY, limit=3), limit=3), QUERY, dense_best(QUERY, 3), limit=3)


def test_candidates_of_a_sparse_search(docs: AttachedCollection) -> None:
    assert 10 < len(with_words_of(OTHER)) < COUNT
    assert_ranked(docs.search(OTHER, by_words, limit=COUNT), OTHER, with_words_of(OTHER), limit=COUNT)


def test_candidates_of_a_fused_search(docs: AttachedCollection) -> None:
    candidates = dense_best(OTHER, 12) | with_words_of(OTHER)
    assert len(with_words_of(OTHER)) < len(candidates) < COUNT
    assert_ranked(docs.search(OTHER, by_both, limit=COUNT), OTHER, candidates, limit=COUNT)


def test_without_a_limit_there_are_a_hundred_candidates(docs: AttachedCollection) -> None:
    request = models.QueryRequest(query=vector_of(QUERY).tolist(), using="dense")
    assert_ranked(docs.search(QUERY, request), QUERY, range(COUNT))


def test_the_caller_s_request_stays_as_it_is(docs: AttachedCollection) -> None:
    request = by_dense(QUERY, filter=EVEN, with_payload=["even"], with_vector=True)
    before = request.model_dump_json()
    hits = docs.search(QUERY, request, filter=EVEN)
    assert request.model_dump_json() == before
    assert_ranked(hits, QUERY, dense_best(QUERY, 20, range(0, COUNT, 2)))


def either(*places: int) -> models.Filter:
    """All that have at least one of the ids: each condition holds once, so a second count of it would show."""
    has: list[Any] = [models.HasIdCondition(has_id=[IDS[place]]) for place in places]
    return models.Filter(min_should=models.MinShould(conditions=has, min_count=1))


def test_both_filters_hold(docs: AttachedCollection) -> None:
    assert_ranked(docs.search(QUERY, by_dense(QUERY), filter=EVEN), QUERY, dense_best(QUERY, 20, range(0, COUNT, 2)))
    hits = docs.search(QUERY, by_dense(QUERY, filter=either(2, 3, 4, 6, 7)), filter=EVEN)
    assert_ranked(hits, QUERY, [2, 4, 6])
    hits = docs.search(QUERY, by_dense(QUERY, filter=EVEN), filter=either(2, 3, 4, 6, 7))
    assert_ranked(hits, QUERY, [2, 4, 6])


def test_a_filter_holds_in_each_prefetch(docs: AttachedCollection) -> None:
    leg = models.Prefetch(query=vector_of(QUERY).tolist(), using="dense", limit=8, filter=either(*range(40)))
    request = models.QueryRequest(prefetch=[leg], query=models.FusionQuery(fusion=models.Fusion.RRF), limit=20)
    assert_ranked(docs.search(QUERY, request), QUERY, dense_best(QUERY, 8, range(40)))
    assert_ranked(docs.search(QUERY, request, filter=EVEN), QUERY, dense_best(QUERY, 8, range(0, 40, 2)))
    hits = docs.search(QUERY, request, filter=either(*range(0, COUNT, 2)))
    assert_ranked(hits, QUERY, dense_best(QUERY, 8, range(0, 40, 2)))


def test_a_batch_is_its_queries(docs: AttachedCollection, encoder: WordEncoder) -> None:
    queries = [QUERY, OTHER, QUERY]
    together = docs.search_batch(queries, by_dense, limit=7)
    found = dense_best(QUERY, 20) | dense_best(OTHER, 20)
    assert encoder.encoded == len({TEXTS[place] for place in found})
    assert together == docs.search_batch(queries, [by_dense(query) for query in queries], limit=7)
    for query, hits in zip(queries, together, strict=True):
        assert_ranked(hits, query, dense_best(query, 20), limit=7)
        assert [hit.id for hit in hits] == [hit.id for hit in docs.search(query, by_dense, limit=7)]


def test_a_large_batch_is_ranked_in_parts(
    docs: AttachedCollection, client: Client, encoder: WordEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rank, "_CHUNK_TEXTS", 7)
    docs = attach(client, docs.name, encoder=encoder, cache_documents=0)
    queries = [" ".join(TEXTS[place].split()[:3]) for place in range(8)]
    for query, hits in zip(queries, docs.search_batch(queries, by_dense), strict=True):
        assert_ranked(hits, query, dense_best(query, 20))
    found = set().union(*(dense_best(query, 20) for query in queries))
    assert encoder.encoded == len({TEXTS[place] for place in found}) > 7  # each once, without a cache


@pytest.mark.parametrize("cached", [True, False])
def test_texts_are_encoded_once_as_long_as_there_is_memory(
    docs: AttachedCollection, client: Client, *, cached: bool
) -> None:
    encoder = WordEncoder()
    docs = attach(client, docs.name, encoder=encoder, cache_documents=100_000 if cached else 0)
    first = docs.search(QUERY, by_dense(QUERY))
    texts = len({TEXTS[place] for place in dense_best(QUERY, 20)})
    assert encoder.encoded == texts
    assert docs.search(QUERY, by_dense(QUERY)) == first
    assert encoder.encoded == (texts if cached else 2 * texts)


def test_a_collection_with_one_vector_without_a_name(engine: Engine, client: Client) -> None:
    params = models.VectorParams(size=6, distance=models.Distance.EUCLID)
    client.create_collection(engine.name, vectors_config=params)
    stored = [
        models.PointStruct(id=id, vector=vector.tolist(), payload=payload)
        for id, vector, payload in zip(IDS, DENSE, PAYLOADS, strict=True)
    ]
    client.upsert(engine.name, points=stored, wait=True)
    request = models.QueryRequest(query=vector_of(QUERY).tolist(), limit=20)
    nearest = best(-np.linalg.norm(DENSE - vector_of(QUERY), axis=1), 20)
    assert_ranked(attach(client, engine.name, encoder=WordEncoder()).search(QUERY, request), QUERY, nearest)


@pytest.mark.parametrize("key", ["meta.text", "meta.parts[1].text", '"a key"', 'meta."parts"[1].text'])
def test_a_text_inside_of_a_payload(docs: AttachedCollection, client: Client, key: str) -> None:
    nested = attach(client, docs.name, encoder=WordEncoder(), text_key=key)
    assert_ranked(nested.search(QUERY, by_dense(QUERY)), QUERY, dense_best(QUERY, 20))


def test_several_texts_of_a_payload(docs: AttachedCollection, client: Client) -> None:
    nested = attach(client, docs.name, encoder=WordEncoder(), text_key="meta.parts[].text")
    hits = nested.search(QUERY, by_dense(QUERY))
    places = [IDS.index(hit.id) for hit in hits]
    assert [hit.text for hit in hits] == [f"preface\n{TEXTS[place]}" for place in places]
    assert np.allclose([hit.score for hit in hits], exact(QUERY, [f"preface {TEXTS[place]}" for place in places]))


def test_a_text_that_a_function_finds(docs: AttachedCollection, client: Client) -> None:
    def text(payload: dict[str, Any]) -> str | None:
        found: str = json.loads(payload["_node_content"])["text"]
        return found if payload["even"] else None

    own = attach(client, docs.name, encoder=WordEncoder(), text=text)
    candidates = [place for place in dense_best(QUERY, 20) if place % 2 == 0]
    assert_ranked(own.search(QUERY, by_dense(QUERY)), QUERY, candidates)


def test_points_without_a_text_are_left_out_and_counted(
    docs: AttachedCollection, client: Client, engine: Engine
) -> None:
    without: list[Any] = [{}, {"text": ""}, {"text": " \n"}, {"text": None}, {"text": 7}, {"text": ["a"]}]
    vector = {"dense": (vector_of(QUERY) * 100).tolist()}  # the very best candidates
    client.upsert(
        engine.name,
        points=[models.PointStruct(id=1000 + n, vector=vector, payload=payload) for n, payload in enumerate(without)],
        wait=True,
    )
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always", ColbertQdrantWarning)
        for _ in range(2):
            assert_ranked(docs.search(QUERY, by_dense(QUERY)), QUERY, dense_best(QUERY, 14))
    (warning,) = shown
    assert str(warning.message) == (
        f"6 of 20 candidates in collection {engine.name!r} have no text under 'text' and are omitted. "
        "This warning appears once."
    )


class PickyEncoder(WordEncoder):
    """Cannot encode some texts, each in its own way; breaks down if it is asked for one that is `fatal`."""

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        for text in texts:
            if text.startswith("unreadable"):
                raise KeyError(text)
            if text == "fatal":
                raise RuntimeError("CUDA error")
        made = super().encode_documents(texts)
        matrices = [np.array(matrix) for matrix in made]
        for matrix, text in zip(matrices, texts, strict=True):
            matrix[:] = np.nan if text == "undefined" else matrix
        return TokenEmbeddings.from_matrices(matrices)


def add(client: Client, name: str, texts: Sequence[str]) -> None:
    """Add points that are the very best candidates, with ids from 1000."""
    vector = {"dense": (vector_of(QUERY) * 100).tolist()}
    payloads = [{"text": text, "even": True} for text in texts]
    client.upsert(
        name,
        points=[models.PointStruct(id=1000 + n, vector=vector, payload=each) for n, each in enumerate(payloads)],
        wait=True,
    )


@pytest.mark.parametrize("cache", [0, 2**20])
def test_texts_that_cannot_be_encoded_are_left_out_and_named(
    docs: AttachedCollection, client: Client, cache: int
) -> None:
    add(client, docs.name, ["unreadable", "undefined", "unreadable", "unreadable too"])
    docs = attach(client, docs.name, encoder=PickyEncoder(), cache_documents=cache)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always", ColbertQdrantWarning)
        for _ in range(2):
            first, second = docs.search_batch([QUERY, OTHER], [by_dense(QUERY), by_dense(OTHER)])
            assert_ranked(first, QUERY, dense_best(QUERY, 16))
            assert 1000 not in [hit.id for hit in second]
    (warning,) = [str(each.message) for each in shown]
    assert f"collection {docs.name!r}: 3 of " in warning
    assert "document 1001 has NaN or infinite values" in warning
    assert "document 1003 cannot be encoded (KeyError: 'unreadable too')" in warning
    assert "text 0" not in warning


def test_an_encoder_that_encodes_no_candidate_is_an_error_that_names_one(
    docs: AttachedCollection, client: Client
) -> None:
    add(client, docs.name, ["unreadable", "unreadable too", "undefined", "fatal"])
    docs = attach(client, docs.name, encoder=PickyEncoder())
    bad = models.Filter(must=[models.HasIdCondition(has_id=[1000, 1001])])
    with pytest.raises(InvalidDocumentError, match=r"document 100[01] cannot be encoded \(KeyError") as raised:
        docs.search(QUERY, by_dense(QUERY), filter=bad)
    assert isinstance(raised.value.__cause__, KeyError)
    undefined = models.Filter(must=[models.HasIdCondition(has_id=[1002])])
    with pytest.raises(InvalidTokensError, match="document 1002 has NaN"):
        docs.search(QUERY, by_dense(QUERY), filter=undefined)
    with pytest.raises(RuntimeError, match="CUDA error"):  # which is not about a text
        docs.search(QUERY, by_dense(QUERY))


def test_an_encoder_that_gives_something_else_is_an_error(docs: AttachedCollection, client: Client) -> None:
    class Short(WordEncoder):
        def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
            return super().encode_documents(texts[1:])

    with pytest.raises(InvalidDocumentError, match="make it return one matrix of"):
        attach(client, docs.name, encoder=Short()).search(QUERY, by_dense(QUERY))


def test_a_function_that_fails_for_a_payload_is_an_error_that_names_the_point(
    docs: AttachedCollection, client: Client
) -> None:
    only = models.Filter(must=[models.HasIdCondition(has_id=[IDS[3]])])
    own = attach(client, docs.name, encoder=WordEncoder(), text=lambda payload: payload["absent"])
    with pytest.raises(InvalidDocumentError, match=rf"text=… failed for point '{IDS[3]}' \(KeyError: 'absent'\)"):
        own.search(QUERY, by_dense(QUERY), filter=only)


def test_a_key_that_no_candidate_has_is_an_error_that_names_those_it_has(
    docs: AttachedCollection, client: Client
) -> None:
    wrong = attach(client, docs.name, encoder=WordEncoder(), text_key="page_content")
    with pytest.raises(SchemaMismatchError, match=r"none of the 20 .* under 'page_content'.*'_node_content'.*'text'"):
        wrong.search(QUERY, by_dense(QUERY))
    nobody = models.Filter(must=[models.HasIdCondition(has_id=[9999])])
    assert wrong.search(QUERY, by_dense(QUERY), filter=nobody) == []


def test_ties_come_in_the_order_of_ids(engine: Engine, client: Client) -> None:
    client.create_collection(engine.name, **LAYOUT)
    ids: list[int | str] = [30, 7, 200, "ffffffff-0000-4000-8000-000000000000", "0fffffff-0000-4000-8000-000000000000"]
    client.upsert(
        engine.name,
        points=[
            models.PointStruct(id=id, vector={"dense": DENSE[n].tolist()}, payload={"text": "river harbor"})
            for n, id in enumerate(ids)
        ],
        wait=True,
    )
    hits = attach(client, engine.name, encoder=WordEncoder()).search("river", by_dense(QUERY))
    assert [hit.id for hit in hits] == [7, 30, 200, ids[4], ids[3]]


def test_a_lowest_score_and_timings(docs: AttachedCollection) -> None:
    every = docs.search(QUERY, by_dense(QUERY))
    assert every.timings is None
    lowest = every[4].score
    hits = docs.search(QUERY, by_dense(QUERY), score_threshold=lowest, timings=True)
    assert hits == [hit for hit in every if hit.score >= lowest]
    timings = hits.timings
    assert timings is not None
    assert timings.rank is not None
    assert min(timings.encode, timings.fde, timings.request, timings.rank) > 0


def test_mistakes_say_what_is_wrong(docs: AttachedCollection, client: Client) -> None:
    search: Callable[..., Any] = docs.search
    batch: Callable[..., Any] = docs.search_batch
    wrong: Any
    for wrong in (None, [0.1] * 6, {"query": 1}, vector_of, [by_dense(QUERY)]):
        with pytest.raises(ConfigurationError, match=r"models\.QueryRequest"):
            search(QUERY, wrong)
    for wrong in (by_dense(QUERY), [by_dense(QUERY)], [by_dense(QUERY)] * 3, None):
        with pytest.raises(ConfigurationError, match="for 2 queries: pass a list of one"):
            batch([QUERY, OTHER], wrong)
    with pytest.raises(ConfigurationError, match=r"limit of 9 candidates is less than limit=10: raise"):
        search(QUERY, by_dense(QUERY, limit=9))
    with pytest.raises(ConfigurationError, match="limit must be at least 1"):
        search(QUERY, by_dense(QUERY), limit=0)
    for query in ("", " ", None, 7):
        with pytest.raises(InvalidQueryError, match="pass a text that is not empty"):
            search(query, by_dense(QUERY))
    with pytest.raises(InvalidQueryError, match="call search"):
        batch(QUERY, by_dense)
    with pytest.raises(CollectionNotFoundError, match="no-such-collection"):
        attach(client, "no-such-collection", encoder=WordEncoder()).search(QUERY, by_dense(QUERY))


@pytest.mark.parametrize("key", ["", ".", "a..b", "a.", "[0]", "a[", "a[-1]", "two words", 'a"b', None, 7])
def test_what_is_no_path_is_refused_at_once(key: Any) -> None:
    with pytest.raises(ConfigurationError, match="is not a valid payload path"):
        attach(QdrantClient(":memory:"), "docs", encoder=WordEncoder(), text_key=key)


def test_a_client_of_the_other_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="attach_async"):
        attach(AsyncQdrantClient(":memory:"), "docs", encoder=WordEncoder())  # type: ignore[arg-type]
    with EdgeClient(tmp_path) as client, pytest.raises(ConfigurationError, match="or attach, "):
        attach_async(client, "docs", encoder=WordEncoder())  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="cache_documents must be at least 0"):
        attach(QdrantClient(":memory:"), "docs", encoder=WordEncoder(), cache_documents=-1)


def signatures(cls: type) -> dict[str, str]:
    names = [name for name in dir(cls) if not name.startswith("_")]
    return {name: str(inspect.signature(value)) for name in names if callable(value := getattr(cls, name))}


def test_both_have_the_same_methods_and_parameters() -> None:
    assert signatures(AttachedCollection) == signatures(AsyncAttachedCollection)
    awaited = str(inspect.signature(attach_async)).replace("Async", "")
    assert str(inspect.signature(attach)) == awaited


@pytest.mark.parametrize("kind", ["edge", "memory"])
def test_awaited_it_is_the_same(kind: str, tmp_path: Path) -> None:
    queries = [QUERY, OTHER, *TEXTS[:6]]
    requests = [by_dense(QUERY), by_both(OTHER), *map(by_words, TEXTS[:3]), *map(by_both, TEXTS[3:6])]
    reference = QdrantClient(":memory:")
    reference.create_collection("docs", **LAYOUT)
    reference.upsert("docs", points=points())
    blocking = attach(reference, "docs", encoder=WordEncoder(), text_key="meta.text")
    wanted = blocking.search_batch(queries, by_both, filter=EVEN)

    async def main() -> None:
        client: Any = AsyncEdgeClient(tmp_path) if kind == "edge" else AsyncQdrantClient(":memory:")
        await client.create_collection("docs", **LAYOUT)
        await client.upsert("docs", points=points())
        docs = attach_async(client, "docs", encoder=WordEncoder(), text_key="meta.text", cache_documents=5_000)
        found = await docs.search_batch(queries, by_both, filter=EVEN, timings=True)
        alone = await asyncio.gather(*map(docs.search, queries, requests))
        await client.close()
        for hits, others in zip(found, wanted, strict=True):
            assert [(hit.id, hit.text, hit.payload) for hit in hits] == [(o.id, o.text, o.payload) for o in others]
            assert np.allclose([hit.score for hit in hits], [other.score for other in others], atol=1e-5)
            assert hits.timings is not None
        assert_ranked(alone[0], QUERY, dense_best(QUERY, 20))
        assert all(len(hits) == 10 for hits in alone)

    asyncio.run(asyncio.wait_for(main(), timeout=120))


def test_it_is_shown_without_secrets() -> None:
    docs = attach(QdrantClient(":memory:"), "docs", encoder=WordEncoder())
    assert repr(docs) == "AttachedCollection('docs', token_dim=32)"
    assert (docs.name, docs.encoder.dim) == ("docs", 32)
