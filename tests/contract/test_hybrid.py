"""Searches that prefetch by several vectors, on every engine, against candidates and scores computed here."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant import (
    Blend,
    Bm25Config,
    CapabilityError,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    DenseConfig,
    Document,
    InvalidDocumentError,
    InvalidQueryError,
    LemurConfig,
    MuveraConfig,
    Rrf,
    SchemaMismatchError,
    SparseConfig,
    TokenEmbeddings,
    maxsim,
)
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from colbert_qdrant import SearchHits
    from colbert_qdrant.config.vectors import Distance
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

# no stop words and no word endings: BM25 counts just these
WORDS = ["anchor", "basalt", "copper", "dolphin", "ember", "falcon", "glacier", "harbor", "iceberg", "jasper", "kelp"]
RANDOM = np.random.default_rng(5)
DRAWN = [RANDOM.choice(WORDS, size) for size in RANDOM.integers(3, 12, 200)]
# no two with the same words, so that MaxSim of any query tells them apart
TEXTS = list({frozenset(drawn): " ".join(drawn) for drawn in DRAWN}.values())[:80]
DENSE = RANDOM.normal(size=(80, 6)).astype(np.float32)
DOCUMENTS = [
    Document(number, text, {"even": number % 2 == 0, "rank": number}, vectors={"meaning": DENSE[number]})
    for number, text in enumerate(TEXTS)
]
QUERY = "copper falcon kelp"
MEANING = RANDOM.normal(size=6).astype(np.float32)
EVEN = models.Filter(must=[models.FieldCondition(key="even", match=models.MatchValue(value=True))])
SEEN_COPPER = models.Filter(
    must=[
        models.FieldCondition(key="seen", match=models.MatchValue(value=True)),
        models.FieldCondition(key="text", match=models.MatchValue(value="copper")),
    ]
)
CONFIG = CollectionConfig(
    fde=MuveraConfig(k_sim=2, dim_proj=8, r_reps=4),
    bm25=Bm25Config(),
    dense={"meaning": DenseConfig(dim=6, distance="dot")},
    sparse={"words": SparseConfig()},
)


class WordCounts:
    """A sparse encoder: how often each of the words is in a text."""

    def encode_documents(self, texts: Sequence[str]) -> list[dict[int, float]]:
        return [{WORDS.index(word): float(count) for word, count in Counter(text.split()).items()} for text in texts]

    encode_queries = encode_documents


@pytest.fixture
def docs(engine: Engine, client: Client) -> ColbertCollection:
    docs = ColbertCollection.create(
        engine.name, client=client, encoder=WordEncoder(), config=CONFIG, vector_encoders={"words": WordCounts()}
    )
    docs.ingest(DOCUMENTS)
    return docs


def bm25_scores(query: str) -> np.ndarray:
    """BM25 as in the books, with the idf of Lucene, and the settings of `Bm25Config`."""
    texts = [text.split() for text in TEXTS]
    scores, mean = np.zeros(len(texts)), sum(map(len, texts)) / len(texts)
    for word in query.split():
        having = sum(word in text for text in texts)
        idf = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
        for number, text in enumerate(texts):
            count = text.count(word)
            scores[number] += idf * count * 2.2 / (count + 1.2 * (0.25 + 0.75 * len(text) / mean))
    return scores


def word_scores(query: str) -> np.ndarray:
    wanted = Counter(query.split())
    return np.array([sum(wanted[word] for word in text.split()) for text in TEXTS], float)


def exact_scores(query: str) -> np.ndarray:
    encoder = WordEncoder()
    scores: np.ndarray = maxsim(encoder.encode_queries([query]), encoder.encode_documents(TEXTS))[0]
    return scores


def telling() -> TokenEmbeddings:
    """A query in which every word counts, so that no two documents have the same score."""
    words = WordEncoder().encode_queries([" ".join(WORDS)])
    weights = np.random.default_rng(11).uniform(0.5, 1.5, (len(WORDS), 1))
    return TokenEmbeddings((words.values * weights).astype(np.float32), words.lengths)


def assert_best(hits: SearchHits, scores: np.ndarray, among: set[Any] | None = None) -> None:
    """The hits are the best by these scores; which of equal ones is open."""
    chosen = range(len(scores)) if among is None else among
    best = sorted((scores[number] for number in chosen), reverse=True)[: len(hits)]
    assert [hit.score for hit in hits] == pytest.approx(best, rel=2e-3)
    assert [scores[hit.id] for hit in hits] == pytest.approx(best, rel=2e-3)  # type: ignore[index]
    assert all(among is None or hit.id in among for hit in hits)


def best_of(scores: np.ndarray, count: int, *, positive: bool = False) -> set[int]:
    """The best by these scores, with all that are equal to the last."""
    order = np.sort(scores)[::-1]
    return {
        int(number)
        for number in np.flatnonzero(scores >= order[count - 1] - 1e-6)
        if not positive or scores[number] > 0
    }


GIVEN = {"meaning": {"meaning": MEANING}}
LEGS: dict[str, Callable[[], np.ndarray]] = {
    "bm25": lambda: bm25_scores(QUERY),
    "meaning": lambda: DENSE @ MEANING,
    "words": lambda: word_scores(QUERY),
}


@pytest.mark.parametrize("leg", LEGS)
def test_maxsim_ranks_the_best_of_a_leg(docs: ColbertCollection, leg: str) -> None:
    scores = LEGS[leg]()
    hits = docs.search(QUERY, prefetch={leg: 12}, limit=12, vectors=GIVEN.get(leg))
    found = {hit.id for hit in hits}
    assert len(found) == 12
    assert found <= best_of(scores, 12)
    assert {number for number in range(80) if scores[number] > np.sort(scores)[-12] + 1e-6} <= found
    assert_best(hits, exact_scores(QUERY), among=found)


def test_maxsim_ranks_the_union_of_all_vectors(docs: ColbertCollection) -> None:
    hits = docs.search(QUERY, mode="hybrid", fusion="maxsim", candidates=10, limit=10, vectors={"meaning": MEANING})
    alone = {
        name: docs.search(QUERY, prefetch={name: 10}, limit=10, vectors=GIVEN.get(name))
        for name in CONFIG.prefetch_vectors
    }
    union = {hit.id for found in alone.values() for hit in found}
    assert_best(hits, exact_scores(QUERY), among=union)


def test_hits_say_which_vectors_found_them(docs: ColbertCollection) -> None:
    hits = docs.search(QUERY, prefetch={"meaning": 8, "words": 5}, limit=10, vectors={"meaning": MEANING})
    assert len(hits) == 10
    dense, words = DENSE @ MEANING, word_scores(QUERY)
    for hit in hits:
        assert hit.found_by
        assert ("meaning" in hit.found_by) == (hit.id in best_of(dense, 8))
        assert "words" not in hit.found_by or hit.id in best_of(words, 5)
    assert docs.search(QUERY)[0].found_by == ()


def test_a_filter_holds_for_every_leg(docs: ColbertCollection) -> None:
    for fusion in ("maxsim", "blend", "rrf", Rrf(weights={"bm25": 3}), "dbsf"):
        hits = docs.search(QUERY, mode="hybrid", fusion=fusion, limit=20, filter=EVEN, vectors={"meaning": MEANING})
        assert len(hits) == 20
        assert all(hit.payload["even"] for hit in hits)


@pytest.mark.parametrize("rrf", ["rrf", Rrf(k=3), Rrf(weights={"meaning": 3.0})])
def test_ranks_are_fused(docs: ColbertCollection, rrf: Any) -> None:
    tokens = telling()
    ranked = {
        "fde": [hit.id for hit in docs.search(tokens, prefetch={"fde": 10}, limit=10)],
        "meaning": np.argsort(-DENSE @ MEANING)[:10].tolist(),
    }
    settings = rrf if isinstance(rrf, Rrf) else Rrf()
    expected: dict[Any, float] = defaultdict(float)
    for leg, order in ranked.items():
        for rank, number in enumerate(order):
            expected[number] += settings.weights.get(leg, 1.0) / (rank + settings.k)
    prefetch = {"fde": 10, "meaning": 10}
    hits = docs.search(tokens, prefetch=prefetch, fusion=rrf, limit=10, vectors={"meaning": MEANING})
    assert [hit.score for hit in hits] == pytest.approx(sorted(expected.values(), reverse=True)[:10], rel=1e-5)
    assert [hit.score for hit in hits] == pytest.approx([expected[hit.id] for hit in hits], rel=1e-5)


@pytest.mark.parametrize("heavy", ["bm25", "meaning", "words"])
def test_a_heavier_vector_wins(docs: ColbertCollection, heavy: str) -> None:
    prefetch = {"fde": 10, "bm25": 10, "meaning": 10, "words": 10}
    fusion = Rrf(weights={heavy: 100})
    hits = docs.search(QUERY, prefetch=prefetch, fusion=fusion, limit=10, vectors={"meaning": MEANING})
    assert hits[0].id in best_of(LEGS[heavy](), 1)
    assert {hit.id for hit in hits} <= best_of(LEGS[heavy](), 10)


def standardized(scores: np.ndarray) -> np.ndarray:
    return np.asarray((scores - scores.mean()) / scores.std())


def standing_out(scores: np.ndarray) -> np.ndarray:
    return np.asarray(np.maximum(standardized(scores) - 1, 0))


def blended(
    query: TokenEmbeddings | str, alpha: float, docs: ColbertCollection, *, count: int = 25
) -> dict[Any, float]:
    """A blend of MaxSim and the dense vector of all candidates, by the formula."""
    tokens = WordEncoder().encode_queries([query]) if isinstance(query, str) else query
    encoded = docs.search(tokens, mode="fde", limit=count)
    near = np.argsort(-DENSE @ MEANING)[:count]
    union: list[Any] = sorted({*(hit.id for hit in encoded), *near.tolist()}, key=int)
    own = maxsim(tokens, WordEncoder().encode_documents([TEXTS[number] for number in union]))[0]
    meaning = np.maximum((DENSE @ MEANING)[union], (DENSE @ MEANING)[near[-1]])
    return dict(zip(union, alpha * standardized(own) + (1 - alpha) * standing_out(meaning), strict=True))


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_maxsim_and_a_dense_vector_are_blended(docs: ColbertCollection, alpha: float) -> None:
    tokens = telling()
    expected = blended(tokens, alpha, docs)
    options: dict[str, Any] = {"vectors": {"meaning": MEANING}, "fusion": Blend(alpha=alpha)}
    hits = docs.search(tokens, prefetch={"fde": 25, "meaning": 25}, limit=20, **options)
    assert [hit.score for hit in hits] == pytest.approx(sorted(expected.values(), reverse=True)[:20], abs=2e-3)
    assert [hit.score for hit in hits] == pytest.approx([expected[hit.id] for hit in hits], abs=2e-3)
    assert all(hit.text == TEXTS[hit.payload["rank"]] and hit.payload["rank"] == hit.id for hit in hits)
    page = docs.search(tokens, prefetch={"fde": 25, "meaning": 25}, limit=6, offset=8, with_payload=False, **options)
    assert [hit.id for hit in page] == [hit.id for hit in hits[8:14]]
    assert all(hit.text is None for hit in page)
    above = docs.search(tokens, prefetch={"fde": 25, "meaning": 25}, limit=20, score_threshold=hits[4].score, **options)
    assert [hit.id for hit in above] == [hit.id for hit in hits if hit.score >= hits[4].score]


@pytest.mark.parametrize("distance", ["euclid", "manhattan"])
def test_the_nearest_documents_are_the_best_ones(engine: Engine, client: Client, distance: Distance) -> None:
    config = replace(CONFIG, dense={"meaning": DenseConfig(dim=6, distance=distance)})
    docs = ColbertCollection.create(
        engine.name, client=client, encoder=WordEncoder(), config=config, vector_encoders={"words": WordCounts()}
    )
    docs.ingest(DOCUMENTS)
    order = 2 if distance == "euclid" else 1
    nearest = np.argsort(np.linalg.norm(DENSE - MEANING, ord=order, axis=1))[:20].tolist()
    fusions: list[Any] = [Rrf(weights={"meaning": 100}), Blend(alpha=0)]
    for fusion in fusions:
        options: dict[str, Any] = {"vectors": {"meaning": MEANING}, "fusion": fusion}
        hits = docs.search(QUERY, prefetch={"fde": 20, "meaning": 20}, limit=2, **options)
        assert [hit.id for hit in hits] == nearest[:2]


def test_a_hybrid_search_blends_maxsim_with_bm25(docs: ColbertCollection) -> None:
    prefetch = {"fde": 80, "bm25": 80}
    hits = docs.search(telling_text(), mode="hybrid", prefetch=prefetch, limit=80)
    own, words = exact_scores(telling_text()), bm25_scores(telling_text())
    expected = 0.65 * standardized(own) + 0.35 * standing_out(words)
    assert_best(hits, expected)
    explicit = docs.search(telling_text(), prefetch=prefetch, fusion="blend", limit=80)
    assert explicit == hits
    assert docs.search_batch([QUERY, telling_text()], mode="hybrid", prefetch=prefetch, limit=80)[1] == hits


def telling_text() -> str:
    """Words of which BM25 finds some in every document."""
    return " ".join(WORDS)


def test_the_weights_of_a_blend_are_those_of_the_other_vectors(docs: ColbertCollection) -> None:
    options: dict[str, Any] = {"vectors": {"meaning": MEANING}, "limit": 10}
    only = docs.search(QUERY, prefetch={"fde": 80, "meaning": 80}, fusion=Blend(alpha=0.2), **options)
    weighted = Blend(alpha=0.2, weights={"bm25": 0, "words": 0})
    legs = {"fde": 80, "bm25": 80, "words": 80, "meaning": 80}
    hits = docs.search(QUERY, prefetch=legs, fusion=weighted, **options)
    assert [hit.id for hit in hits] == [hit.id for hit in only]
    assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in only])


def test_groups_are_those_of_the_blended_ranking(docs: ColbertCollection) -> None:
    prefetch = {"fde": 80, "bm25": 80}
    ranked = docs.search(QUERY, mode="hybrid", prefetch=prefetch, limit=80)
    try:
        groups = docs.search_groups(QUERY, "even", mode="hybrid", prefetch=prefetch, limit=2, group_size=3)
    except CapabilityError:
        return
    assert groups == []  # a server groups by strings and integers only
    groups = docs.search_groups(QUERY, "rank", mode="hybrid", prefetch=prefetch, limit=5, group_size=3)
    assert [(group.key, [hit.id for hit in group.hits]) for group in groups] == [
        (hit.id, [hit.id]) for hit in ranked[:5]
    ]
    assert groups[0].hits[0].text == TEXTS[ranked[0].id]  # type: ignore[index]


@pytest.mark.parametrize("threshold", ["score_threshold", "token_threshold"])
def test_a_threshold_of_a_hybrid_search_needs_a_fusion(docs: ColbertCollection, threshold: str) -> None:
    options: dict[str, Any] = {threshold: 0.1, "vectors": {"meaning": MEANING}}
    with pytest.raises(ConfigurationError, match=f"{threshold}=0.1 is ambiguous"):
        docs.search(QUERY, mode="hybrid", **options)
    assert docs.search(QUERY, mode="hybrid", fusion="maxsim", **options)


def test_documents_bring_vectors_or_an_encoder_makes_them(engine: Engine, client: Client) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=CONFIG)
    docs.upsert([Document("a", "copper"), Document("b", "falcon", vectors={"words": {3: 1.0}, "meaning": [1] * 6})])
    sparse = models.SparseVector(indices=[3], values=[1.0])
    assert [hit.id for hit in docs.search("copper", prefetch=["words"], vectors={"words": sparse})] == ["b"]
    again = ColbertCollection.open(
        engine.name, client=client, encoder=WordEncoder(), vector_encoders={"words": WordCounts()}
    )
    again.upsert([Document("a", "copper")])
    assert {hit.id for hit in again.search("copper", prefetch=["words"])} == {"a"}


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        ({"other": [1.0]}, r"document 'a' brings a vector 'other', but the collection has only \['meaning', "),
        ({"meaning": [1.0]}, r"document 'a': vector 'meaning' of shape \(1,\) is invalid: pass 6 finite numbers"),
        ({"meaning": [float("nan")] * 6}, "is invalid: pass 6 finite numbers"),
        ({"meaning": "abc"}, "is not numeric: pass 6 numbers"),
        ({"words": [1.0]}, "is not a sparse vector: pass a models.SparseVector, or a dict"),
        ({"words": {1.5: 1.0}}, "has invalid or duplicate indices"),
        ({"words": {-1: 1.0}}, "has invalid or duplicate indices"),
        ({"words": {1: float("inf")}}, "a dict of finite numbers"),
        ({"words": {1: 1e39}}, "a dict of finite numbers"),
    ],
)
def test_vectors_that_cannot_be_stored(engine: Engine, client: Client, vectors: Any, message: str) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=CONFIG)
    with pytest.raises(InvalidDocumentError, match=message):
        docs.upsert([Document("b", "falcon"), Document("a", "copper", vectors=vectors)])
    assert docs.count() == 0


def test_a_collection_that_lost_its_further_vectors_is_not_opened(engine: Engine, client: Client) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=CONFIG)
    docs.check()
    info = client.get_collection(engine.name)
    kept = {name: info.config.params.vectors[name] for name in ("fde", "colbert")}  # type: ignore[index]
    other = models.VectorParams(size=7, distance=models.Distance.DOT)
    client.delete_collection(engine.name)
    client.create_collection(
        engine.name,
        vectors_config={**kept, "meaning": other},
        sparse_vectors_config={"bm25": models.SparseVectorParams()},
        metadata=info.config.metadata,
    )
    with pytest.raises(SchemaMismatchError) as caught:
        docs.check()
    needed = "vector 'meaning' must be a single vector of 6 dimensions with distance Dot, but has 7 dimensions and"
    assert needed in str(caught.value)
    assert "sparse vector 'bm25' must have the modifier IDF" in str(caught.value)
    assert "sparse vector 'words' is missing" in str(caught.value)


def test_documents_keep_the_vectors_they_brought_when_they_are_read_and_written(engine: Engine, client: Client) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=CONFIG)
    docs.upsert([Document("a", "copper", vectors={"words": {3: 1.5}, "meaning": DENSE[0]}), Document("b", "falcon")])
    docs.upsert([replace(document, payload={"seen": True}) for document in docs.get(["a", "b"])])
    (point,) = client.scroll(engine.name, scroll_filter=SEEN_COPPER, with_vectors=["words", "meaning"])[0]
    assert isinstance(point.vector, dict)
    assert point.vector["meaning"] == pytest.approx(DENSE[0].tolist())
    assert point.vector["words"] == models.SparseVector(indices=[3], values=[1.5])
    assert [dict(document.vectors) for document in docs.get("b")] == [{}]
    opened = ColbertCollection.open(
        engine.name, client=client, encoder=WordEncoder(), vector_encoders={"words": WordCounts()}
    )
    assert [set(document.vectors) for document in opened.get("a")] == [{"meaning"}]


class Short:
    """A dense encoder of fewer dimensions than are needed."""

    def encode_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0] for _ in texts]

    encode_queries = encode_documents


def test_what_an_encoder_makes_is_checked(engine: Engine, client: Client) -> None:
    docs = ColbertCollection.create(
        engine.name, client=client, encoder=WordEncoder(), config=CONFIG, vector_encoders={"meaning": Short()}
    )
    with pytest.raises(
        InvalidDocumentError, match=r"document 'a': vector 'meaning' of shape \(1,\) is invalid: pass 6"
    ):
        docs.upsert([Document("a", "copper")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prefetch": ["other"]}, r"the vector 'other', which .*: use 'fde', 'bm25', 'meaning', 'words'"),
        ({"prefetch": {"bm25": 0}}, r"prefetch\['bm25'\]=0: use an integer of at least 1"),
        ({"prefetch": []}, "pass a list of vector names"),
        ({"prefetch": {}, "offset": 10}, "pass a list of vector names"),
        ({"prefetch": "bm25"}, "pass a list of vector names"),
        ({"prefetch": ["bm25"], "mode": "exact"}, "has no candidates to fuse"),
        ({"fusion": "mean"}, "fusion='mean': use one of"),
        ({"prefetch": ["meaning"]}, r"the query has no vector 'meaning' to search with: .*vectors=\{'meaning': …\}"),
        ({"prefetch": ["words", "bm25"], "fusion": Rrf(weights={"meaning": 1})}, r"entries for \['meaning'\]"),
        ({"fusion": "blend"}, "fusion='blend' needs a vector besides the FDE"),
        ({"prefetch": ["fde", "bm25"], "fusion": Blend(weights={"fde": 1})}, "alpha is the weight of MaxSim"),
        (
            {"vectors": {"meanin": [1.0]}},
            r"vectors has \['meanin'\], but the search prefetches by \['fde'\]",
        ),
    ],
)
def test_searches_that_cannot_be(docs: ColbertCollection, arguments: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        docs.search(QUERY, **arguments)


def test_vectors_of_queries_are_checked(docs: ColbertCollection) -> None:
    with pytest.raises(InvalidQueryError, match=r"vector 'meaning' of shape \(2,\) is invalid: pass 6"):
        docs.search(QUERY, prefetch=["meaning"], vectors={"meaning": [1.0, 2.0]})
    with pytest.raises(ConfigurationError, match="there are 1 vectors 'meaning' for 2 texts"):
        docs.search_batch([QUERY, QUERY], prefetch=["meaning"], vectors={"meaning": [MEANING]})


def test_a_query_of_stop_words_finds_nothing_by_bm25(docs: ColbertCollection) -> None:
    assert docs.search("the of and", prefetch=["bm25"]) == []
    assert len(docs.search("the of and", prefetch=["bm25", "fde"])) == 10
    both = docs.search_batch(["the of and", QUERY], prefetch=["bm25"])
    assert (len(both[0]), len(both[1])) == (0, 10)
    weighted = Rrf(weights={"bm25": 2.0})
    both = docs.search_batch(["the of and", QUERY], prefetch=["bm25", "fde"], fusion=weighted)
    assert (len(both[0]), len(both[1])) == (10, 10)
    both = docs.search_batch(["the of and", QUERY], prefetch=["bm25", "fde"], fusion="blend")
    assert (len(both[0]), len(both[1])) == (10, 10)


@pytest.mark.parametrize("fusion", ["maxsim", "blend", "rrf", Rrf(weights={"bm25": 2})])
def test_an_encoding_that_is_not_fitted_loses_no_candidates(engine: Engine, client: Client, fusion: Any) -> None:
    config = CollectionConfig(fde=LemurConfig(dim=16, fit_documents=100), bm25=Bm25Config())
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=config)
    docs.upsert([Document(number, text, {"even": number % 2 == 0}) for number, text in enumerate(TEXTS)])
    hits = docs.search("copper", mode="hybrid", fusion=fusion, limit=40, filter=EVEN)
    assert {hit.id for hit in hits} == set(range(0, 80, 2))
    with_word = {number for number in range(0, 80, 2) if "copper" in TEXTS[number].split()}
    assert {hit.id for hit in hits if hit.found_by} == with_word
    if fusion == "maxsim":
        assert_best(hits, exact_scores("copper"), among=set(range(0, 80, 2)))


def test_a_formula_holds_before_the_encoding_is_fitted(engine: Engine, client: Client) -> None:
    if engine.kind == "edge":
        pytest.skip("it has no formulas")
    config = CollectionConfig(fde=LemurConfig(dim=16, fit_documents=100))
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=config)
    docs.upsert([Document(number, text, {"rank": number}) for number, text in enumerate(TEXTS)])
    boosted = models.FormulaQuery(formula=models.SumExpression(sum=["$score", "rank"]))
    assert_best(docs.search(QUERY, fusion=boosted, limit=10), exact_scores(QUERY) + np.arange(80))


def test_only_token_vectors_of_a_query_are_no_text_for_bm25(docs: ColbertCollection) -> None:
    tokens = WordEncoder().encode_queries([QUERY])
    with pytest.raises(ConfigurationError, match="no vector 'bm25' to search with: pass the query as text"):
        docs.search(tokens, mode="hybrid", vectors={"meaning": MEANING})


def test_a_formula_boosts_maxsim(docs: ColbertCollection) -> None:
    boosted = models.FormulaQuery(
        formula=models.SumExpression(sum=["$score", models.MultExpression(mult=["rank", 0.5])])
    )
    hits = docs.search(QUERY, fusion=boosted, candidates=80, limit=10)
    assert_best(hits, exact_scores(QUERY) + 0.5 * np.arange(80))


@pytest.mark.parametrize("arguments", [{}, {"mode": "hybrid"}, {"mode": "exact"}, {"mode": "fde"}])
def test_pages_are_the_parts_of_one_list(docs: ColbertCollection, arguments: Any) -> None:
    tokens = telling()
    if arguments.get("mode") == "hybrid":
        arguments = {"prefetch": ["fde", "meaning"], "vectors": {"meaning": MEANING}}
    if arguments.get("mode") not in ("exact", "fde"):
        arguments = {**arguments, "candidates": 60}
    whole = docs.search(tokens, limit=40, **arguments)
    pages = [docs.search(tokens, limit=10, offset=offset, **arguments) for offset in (0, 10, 20, 30)]
    assert [hit.id for page in pages for hit in page] == [hit.id for hit in whole]


def test_no_page_goes_past_the_candidates(docs: ColbertCollection) -> None:
    assert len(docs.search(QUERY, limit=10, offset=70)) == 10
    with pytest.raises(ConfigurationError, match=r"offset=<int> and limit=10 exceed the 100 candidates"):
        docs.search("river", limit=10, offset=10**5000, candidates=100)
    with pytest.raises(ConfigurationError, match=r"offset=95 and limit=10 exceed the 100 candidates: raise candidates"):
        docs.search(QUERY, limit=10, offset=95)
    with pytest.raises(ConfigurationError, match="offset must be at least 0"):
        docs.search(QUERY, offset=-1)


def test_thresholds(docs: ColbertCollection) -> None:
    scores = np.sort(exact_scores(QUERY))[::-1]
    threshold = float(scores[7] + scores[8]) / 2 if scores[7] > scores[8] + 0.1 else float(scores[7]) - 0.05
    wanted = int((scores > threshold).sum())
    assert len(docs.search(QUERY, limit=80, candidates=80, score_threshold=threshold)) == wanted
    assert len(docs.search(QUERY, limit=80, candidates=80, token_threshold=threshold / 3)) == wanted
    assert len(docs.search(QUERY, limit=80, mode="exact", token_threshold=threshold / 3, score_threshold=0)) == wanted
    with pytest.raises(ConfigurationError, match="token_threshold=0\\.5 needs MaxSim scores"):
        docs.search(QUERY, mode="fde", token_threshold=0.5)


def test_documents_that_are_most_like_one(docs: ColbertCollection) -> None:
    scores = exact_scores(TEXTS[7])
    hits = docs.more_like(7, limit=20, candidates=80)
    assert 7 not in {hit.id for hit in hits}
    assert_best(hits, scores, among=set(range(80)) - {7})
    assert all(hit.payload["even"] for hit in docs.more_like(7, limit=5, filter=EVEN))
    assert all(hit.payload["even"] for hit in docs.more_like(7, limit=5, where={"even": True}))
    with pytest.raises(InvalidQueryError, match="has no document 'nobody'"):
        docs.more_like("nobody")


GROUPED = [Document(number, text, {"book": f"b{number % 7}"}) for number, text in enumerate(TEXTS)]


WITHOUT_SPACES = {
    "chinese": ("渡轮中午离开港口。", ["港口", "渡轮", "中午"]),
    "japanese": ("フェリーは正午に港を出ます。", ["フェリー", "正午", "港"]),
    "thai": ("เรือข้ามฟากออกจากท่าเรือตอนเที่ยง", ["ท่าเรือ", "ตอนเที่ยง"]),
}


@pytest.mark.parametrize("language", WITHOUT_SPACES)
def test_words_of_languages_without_spaces_are_found(engine: Engine, client: Client, language: str) -> None:
    text, words = WITHOUT_SPACES[language]
    config = CollectionConfig(fde=CONFIG.fde, bm25=Bm25Config(language=language))
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=config)
    docs.upsert([Document(1, text), Document(2, "something else"), Document(3, "ฟาก 午後 下午")])
    for word in words:
        assert [hit.id for hit in docs.search(word, prefetch=["bm25"])] == [1]


def test_a_language_that_cannot_be_split_is_refused() -> None:
    for language in ("khmer", "lao", "burmese", "korean", "klingon", "", "zh", "Chinese", None):
        with pytest.raises(ConfigurationError, match=r"language=.*'chinese'.*; for another language, .*SparseConfig"):
            Bm25Config(language=language)  # type: ignore[arg-type]


@pytest.fixture
def books(engine: Engine, client: Client) -> ColbertCollection:
    config = CollectionConfig(fde=CONFIG.fde, payload_indexes={"book": "keyword"})
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=config)
    docs.ingest(GROUPED)
    return docs


@pytest.mark.parametrize("mode", ["two-stage", "exact"])
def test_the_best_of_each_group(books: ColbertCollection, mode: Any) -> None:
    tokens = telling()
    scores = maxsim(tokens, WordEncoder().encode_documents(TEXTS))[0]
    best = {f"b{book}": sorted(range(book, 80, 7), key=lambda number: -scores[number])[:3] for book in range(7)}
    order = sorted(best, key=lambda book: -scores[best[book][0]])
    groups = books.search_groups(tokens, "book", group_size=3, limit=4, mode=mode, candidates=80)
    assert [group.key for group in groups] == order[:4]
    assert [[hit.id for hit in group.hits] for group in groups] == [best[book] for book in order[:4]]
    chosen = books.search_groups(tokens, "book", group_size=1, where={"book": ["b2", "b5"]})
    assert {group.key for group in chosen} == {"b2", "b5"}
    assert books.search_groups(tokens, "nothing") == []
    threshold = float(np.sort(scores)[-6:-4].mean()) / len(tokens[0])
    good = books.search_groups(tokens, "book", group_size=80, limit=7, candidates=80, token_threshold=threshold)
    assert sorted(hit.id for group in good for hit in group.hits) == sorted(np.argsort(-scores)[:5].tolist())


def test_groups_that_cannot_be(books: ColbertCollection) -> None:
    for arguments, message in (
        ({"group_by": ""}, "group_by: '' is not a valid payload path"),
        ({"group_by": "book", "group_size": 0}, "group_size must be at least 1"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            books.search_groups(QUERY, **arguments)
    with pytest.raises(InvalidQueryError, match="takes one query, got 2"):
        books.search_groups(WordEncoder().encode_queries(["copper", "falcon"]), "book")
