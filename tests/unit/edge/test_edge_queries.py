"""Queries, against brute force in numpy and qdrant-client's local mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant.edge import EdgeClient
from colbert_qdrant.errors import CapabilityError, SchemaMismatchError

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT, DIM, ROWS = 60, 8, 5
RNG = np.random.default_rng(7)
DENSE = RNG.normal(size=(COUNT, DIM)).astype(np.float32)
TOKENS = RNG.normal(size=(COUNT, ROWS, DIM)).astype(np.float32)
QUERY = RNG.normal(size=DIM).astype(np.float32)
QUERY_TOKENS = RNG.normal(size=(3, DIM)).astype(np.float32)
EVEN = models.Filter(must=[models.FieldCondition(key="even", match=models.MatchValue(value=True))])
LOW = models.Filter(must=[models.FieldCondition(key="n", range=models.Range(lt=30))])
SPARSE_QUERY = models.SparseVector(indices=[0, 2], values=[1.0, 0.5])

DENSE_SCORES = DENSE @ QUERY
MAXSIM = np.einsum("qd,ntd->nqt", QUERY_TOKENS, TOKENS).max(axis=2).sum(axis=1)
# Point n has the weights n/10 at n % 3 and 1 at 3.
SPARSE_SCORES = np.array([n / 10 * {0: 1.0, 1: 0.0, 2: 0.5}[n % 3] for n in range(COUNT)])


def best(scores: np.ndarray[Any, Any], among: Any = range(COUNT)) -> list[int]:
    return sorted(among, key=lambda n: -scores[n])


def ids(response: Any) -> list[int]:
    return [point.id for point in response.points]


def dense(**arguments: Any) -> models.Prefetch:
    return models.Prefetch(query=QUERY.tolist(), using="dense", **arguments)


def tokens(**arguments: Any) -> models.Prefetch:
    return models.Prefetch(query=QUERY_TOKENS.tolist(), using="tokens", **arguments)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EdgeClient, QdrantClient]]:
    multi = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    vectors = {
        "dense": models.VectorParams(size=DIM, distance=models.Distance.DOT),
        "tokens": models.VectorParams(size=DIM, distance=models.Distance.DOT, multivector_config=multi),
    }
    sparse = {"sparse": models.SparseVectorParams()}
    points = [
        models.PointStruct(
            id=n,
            vector={
                "dense": DENSE[n].tolist(),
                "tokens": TOKENS[n].tolist(),
                "sparse": models.SparseVector(indices=[n % 3, 3], values=[n / 10, 1.0]),
            },
            payload={"n": n, "even": n % 2 == 0},
        )
        for n in range(COUNT)
    ]
    local = QdrantClient(":memory:")
    with EdgeClient(tmp_path_factory.mktemp("queries")) as edge:
        edge.create_collection("docs", vectors, sparse_vectors_config=sparse)
        local.create_collection("docs", vectors, sparse_vectors_config=sparse)
        edge.upsert("docs", points)
        local.upsert("docs", points)
        yield edge, local
    local.close()


@pytest.fixture(scope="module")
def edge(engines: tuple[EdgeClient, QdrantClient]) -> EdgeClient:
    return engines[0]


@pytest.mark.parametrize(
    "query",
    [QUERY, QUERY.tolist(), models.NearestQuery(nearest=QUERY.tolist()), list(QUERY)],
    ids=["numpy", "list", "nearest", "numpy scalars"],
)
def test_dense(edge: EdgeClient, query: Any) -> None:
    found = edge.query_points("docs", query, using="dense", limit=7)
    assert ids(found) == best(DENSE_SCORES)[:7]
    scores = [point.score for point in found.points]
    assert scores == pytest.approx(sorted(DENSE_SCORES, reverse=True)[:7], rel=1e-5)


@pytest.mark.parametrize(
    "query",
    [QUERY_TOKENS, QUERY_TOKENS.tolist(), list(QUERY_TOKENS), models.NearestQuery(nearest=QUERY_TOKENS.tolist())],
    ids=["numpy", "lists", "numpy rows", "nearest"],
)
def test_multivector_is_maxsim(edge: EdgeClient, query: Any) -> None:
    found = edge.query_points("docs", query, using="tokens", limit=COUNT)
    assert ids(found) == best(MAXSIM)
    assert [point.score for point in found.points] == pytest.approx(sorted(MAXSIM, reverse=True), rel=1e-5)


def test_sparse(edge: EdgeClient) -> None:
    found = edge.query_points("docs", SPARSE_QUERY, using="sparse", limit=5)
    assert ids(found) == best(SPARSE_SCORES)[:5]
    assert found.points[0].score == pytest.approx(SPARSE_SCORES.max())


def test_limit_is_10_by_default_and_offset_skips(edge: EdgeClient) -> None:
    assert ids(edge.query_points("docs", QUERY, using="dense")) == best(DENSE_SCORES)[:10]
    assert ids(edge.query_points("docs", QUERY, using="dense", limit=4, offset=3)) == best(DENSE_SCORES)[3:7]


def test_score_threshold(edge: EdgeClient) -> None:
    threshold = float(np.sort(DENSE_SCORES)[-6:-4].mean())
    found = edge.query_points("docs", QUERY, using="dense", limit=COUNT, score_threshold=threshold)
    assert ids(found) == best(DENSE_SCORES)[:5]


def test_prefetch_is_reranked_by_maxsim(edge: EdgeClient) -> None:
    found = edge.query_points("docs", QUERY_TOKENS, using="tokens", prefetch=dense(limit=20), limit=5)
    assert ids(found) == best(MAXSIM, best(DENSE_SCORES)[:20])[:5]


def test_a_prefetch_without_limit_gives_10(edge: EdgeClient) -> None:
    found = edge.query_points("docs", QUERY_TOKENS, using="tokens", prefetch=[dense()], limit=COUNT)
    assert ids(found) == best(MAXSIM, best(DENSE_SCORES)[:10])


def test_prefetches_at_one_level_are_united(edge: EdgeClient) -> None:
    sparse = models.Prefetch(query=SPARSE_QUERY, using="sparse", limit=6)
    found = edge.query_points("docs", QUERY_TOKENS, using="tokens", prefetch=[dense(limit=6), sparse], limit=COUNT)
    assert ids(found) == best(MAXSIM, {*best(DENSE_SCORES)[:6], *best(SPARSE_SCORES)[:6]})


def test_nested_prefetches_with_filters_of_their_own(edge: EdgeClient) -> None:
    prefetch = dense(limit=8, prefetch=tokens(limit=15, filter=LOW))
    found = edge.query_points("docs", QUERY_TOKENS, using="tokens", prefetch=prefetch, limit=COUNT)
    inner = best(MAXSIM, range(30))[:15]
    assert ids(found) == best(MAXSIM, best(DENSE_SCORES, inner)[:8])


def test_the_filter_of_a_request_holds_in_every_prefetch(edge: EdgeClient) -> None:
    prefetch = dense(limit=8, prefetch=[tokens(limit=12, filter=LOW)])
    found = edge.query_points("docs", QUERY_TOKENS, using="tokens", prefetch=prefetch, query_filter=EVEN, limit=COUNT)
    inner = best(MAXSIM, range(0, 30, 2))[:12]
    assert ids(found) == best(MAXSIM, best(DENSE_SCORES, inner)[:8])


def test_threshold_and_parameters_of_a_prefetch(edge: EdgeClient) -> None:
    threshold = float(np.sort(DENSE_SCORES)[-5:-3].mean())
    params = models.SearchParams(
        exact=True,
        hnsw_ef=64,
        indexed_only=False,
        acorn=models.AcornSearchParams(enable=True, max_selectivity=0.4),
    )
    prefetch = dense(limit=30, score_threshold=threshold, params=params)
    found = edge.query_points("docs", QUERY_TOKENS, using="tokens", prefetch=prefetch)
    assert ids(found) == best(MAXSIM, best(DENSE_SCORES)[:4])


def rrf(k: int, weights: tuple[float, float]) -> dict[int, float]:
    scores: dict[int, float] = {}
    for weight, ranking in zip(weights, (best(DENSE_SCORES)[:10], best(MAXSIM)[:10]), strict=True):
        for position, n in enumerate(ranking):
            scores[n] = scores.get(n, 0.0) + 1 / ((position + 1) / weight + k - 1)
    return scores


@pytest.mark.parametrize(
    ("query", "k", "weights"),
    [
        (models.FusionQuery(fusion=models.Fusion.RRF), 2, (1.0, 1.0)),
        (models.RrfQuery(rrf=models.Rrf()), 2, (1.0, 1.0)),
        (models.RrfQuery(rrf=models.Rrf(k=60)), 60, (1.0, 1.0)),
        (models.RrfQuery(rrf=models.Rrf(k=5, weights=[3.0, 0.5])), 5, (3.0, 0.5)),
    ],
)
def test_rrf(edge: EdgeClient, query: models.Query, k: int, weights: tuple[float, float]) -> None:
    found = edge.query_points("docs", query, prefetch=[dense(), tokens()], limit=COUNT)
    assert {point.id: point.score for point in found.points} == pytest.approx(rrf(k, weights), rel=1e-5)


def test_dbsf_agrees_with_local_mode(engines: tuple[EdgeClient, QdrantClient]) -> None:
    query = models.FusionQuery(fusion=models.Fusion.DBSF)
    found, expected = (
        engine.query_points("docs", query, prefetch=[dense(limit=20), tokens(limit=20)], limit=COUNT)
        for engine in engines
    )
    assert len(found.points) > 20
    assert {point.id: point.score for point in found.points} == pytest.approx(
        {point.id: point.score for point in expected.points}, rel=1e-4
    )


@pytest.mark.parametrize("diversity", [None, 0.2, 0.9])
def test_mmr_agrees_with_local_mode(engines: tuple[EdgeClient, QdrantClient], diversity: float | None) -> None:
    query = models.NearestQuery(nearest=QUERY.tolist(), mmr=models.Mmr(diversity=diversity, candidates_limit=30))
    found, expected = (engine.query_points("docs", query, using="dense", limit=6) for engine in engines)
    assert ids(found) == ids(expected)
    assert len(ids(found)) == 6


def test_no_query_lists_points(edge: EdgeClient) -> None:
    assert sorted(ids(edge.query_points("docs", query_filter=EVEN, limit=COUNT))) == list(range(0, COUNT, 2))


def test_a_batch_answers_like_single_queries(edge: EdgeClient) -> None:
    requests = [
        models.QueryRequest(query=QUERY.tolist(), using="dense", limit=3, with_payload=True),
        models.QueryRequest(
            query=QUERY_TOKENS.tolist(), using="tokens", prefetch=dense(limit=9), filter=EVEN, with_vector=["dense"]
        ),
        models.QueryRequest(query=SPARSE_QUERY, using="sparse", offset=2, score_threshold=0.1),
    ]
    answers = edge.query_batch_points("docs", requests)
    singles = [
        edge.query_points(
            "docs",
            request.query,
            using=request.using,
            prefetch=request.prefetch,
            query_filter=request.filter,
            limit=request.limit or 10,
            offset=request.offset,
            score_threshold=request.score_threshold,
            with_payload=request.with_payload or False,
            with_vectors=request.with_vector or False,
        )
        for request in requests
    ]
    assert answers == singles
    assert [len(answer.points) for answer in answers] == [3, 9, 10]
    assert edge.query_batch_points("docs", []) == []


def test_payload_and_vectors_come_as_asked(edge: EdgeClient) -> None:
    def first(**arguments: Any) -> models.ScoredPoint:
        return edge.query_points("docs", QUERY, using="dense", limit=1, **arguments).points[0]

    n = best(DENSE_SCORES)[0]
    assert first().payload == {"n": n, "even": n % 2 == 0}
    assert first().vector is None
    assert first(with_payload=False).payload is None
    assert first(with_payload=["n"]).payload == {"n": n}
    assert first(with_payload=models.PayloadSelectorInclude(include=["even"])).payload == {"even": n % 2 == 0}
    assert first(with_payload=models.PayloadSelectorExclude(exclude=["even"])).payload == {"n": n}
    assert first(with_vectors=["dense"]).vector == {"dense": DENSE[n].tolist()}
    assert set(first(with_vectors=True).vector) == {"dense", "tokens", "sparse"}  # type: ignore[arg-type]


def test_results_are_what_qdrant_client_gives(engines: tuple[EdgeClient, QdrantClient]) -> None:
    found, expected = (
        engine.query_points("docs", QUERY.tolist(), using="dense", limit=1, with_vectors=True) for engine in engines
    )
    assert type(found) is type(expected)
    assert type(found.points[0]) is type(expected.points[0])
    mine, theirs = found.points[0].model_dump(), expected.points[0].model_dump()
    assert mine.keys() == theirs.keys()
    same = mine.keys() - {"vector", "score", "version"}
    assert {key: mine[key] for key in same} == {key: theirs[key] for key in same}
    assert mine["vector"]["sparse"]["indices"] == theirs["vector"]["sparse"]["indices"]
    for name in ("dense", "tokens"):
        np.testing.assert_allclose(mine["vector"][name], theirs["vector"][name], rtol=1e-6)


@pytest.mark.parametrize(
    "query",
    [
        5,
        "6f1f8a5e-0c62-4a57-9b5e-111111111111",
        models.NearestQuery(nearest=5),
        models.RecommendQuery(recommend=models.RecommendInput(positive=[1])),
        models.OrderByQuery(order_by="n"),
        models.Document(text="hello", model="m"),
    ],
    ids=lambda query: type(query).__name__,
)
def test_queries_that_need_a_server_are_refused(edge: EdgeClient, query: Any) -> None:
    with pytest.raises(CapabilityError, match="server"):
        edge.query_points("docs", query, using="dense")
    with pytest.raises(CapabilityError, match="server"):
        edge.query_points("docs", QUERY, using="dense", prefetch=models.Prefetch(query=query, using="dense"))


def test_points_drawn_at_random(edge: EdgeClient) -> None:
    query = models.SampleQuery(sample=models.Sample.RANDOM)
    for limit in (1, 10, 2 * COUNT):
        drawn = ids(edge.query_points("docs", query, query_filter=LOW, limit=limit))
        assert len(drawn) == len(set(drawn)) == min(limit, 30)
        assert set(drawn) <= set(range(30))


def test_parameters_that_need_a_server_are_refused(edge: EdgeClient) -> None:
    elsewhere = models.LookupLocation(collection="other")
    with pytest.raises(CapabilityError, match="lookup_from"):
        edge.query_points("docs", QUERY, using="dense", prefetch=dense(lookup_from=elsewhere))
    with pytest.raises(CapabilityError, match="shard_key"):
        edge.query_batch_points("docs", [models.QueryRequest(query=[1.0] * DIM, using="dense", shard_key="a")])


@pytest.mark.parametrize(
    ("query", "using"),
    [([1.0] * (DIM + 1), "dense"), ([[1.0] * 3], "tokens"), ([1.0] * DIM, "nope"), (SPARSE_QUERY, "dense")],
)
def test_queries_that_do_not_fit_the_collection(edge: EdgeClient, query: Any, using: str) -> None:
    with pytest.raises(SchemaMismatchError, match=r"query_points on collection 'docs'"):
        edge.query_points("docs", query, using=using)
