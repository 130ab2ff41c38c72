"""Groups, against local mode, and against a few lines of Python where local mode does otherwise.

What is different in local mode has a test at the end.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

from colbert_qdrant.edge import AsyncEdgeClient, EdgeClient
from colbert_qdrant.edge.collection import Collection
from colbert_qdrant.errors import CapabilityError, CollectionNotFoundError, ConfigurationError, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from random import Random

    from colbert_qdrant.engines import Client

Found = list[tuple[int | str, list[int]]]

DOT = models.VectorParams(size=1, distance=models.Distance.DOT)
FAR = models.VectorParams(size=1, distance=models.Distance.EUCLID)


def found(result: models.GroupsResult) -> Found:
    return [(group.id, [int(hit.id) for hit in group.hits]) for group in result.groups]


def load(client: Client, payloads: Sequence[Any], **vectors: models.VectorParams) -> None:
    """Points whose number is their only coordinate, and so their score."""
    names = vectors or {"near": DOT, "far": FAR}
    client.create_collection("docs", vectors_config=names)
    client.upsert(
        "docs",
        [
            models.PointStruct(id=n, vector={name: [float(n)] for name in names}, payload=payload)
            for n, payload in enumerate(payloads)
        ],
    )


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The limits of the queries that are sent to the engine."""
    limits: list[int | None] = []
    ask = Collection.query_batch

    def counted(self: Collection, operation: str, requests: Sequence[models.QueryRequest]) -> Any:
        limits.extend(request.limit for request in requests)
        return ask(self, operation, requests)

    monkeypatch.setattr(Collection, "query_batch", counted)
    return limits


def test_groups_by_their_best_points(client: EdgeClient) -> None:
    load(client, [{"k": key} for key in "abcabcaaaa"])
    result = client.query_points_groups("docs", "k", [1.0], using="near", limit=2, group_size=3)
    assert found(result) == [("a", [9, 8, 7]), ("c", [5, 2])]
    assert [hit.score for group in result.groups for hit in group.hits] == [9.0, 8.0, 7.0, 5.0, 2.0]
    everything = client.query_points_groups("docs", "k", [1.0], using="near")
    assert found(everything) == [("a", [9, 8, 7]), ("c", [5, 2]), ("b", [4, 1])]


def test_a_distance_that_is_small_is_good(client: EdgeClient) -> None:
    load(client, [{"k": key} for key in "abcabcaaaa"])
    result = client.query_points_groups("docs", "k", [4.2], using="far", limit=2, group_size=2)
    assert found(result) == [("b", [4, 1]), ("c", [5, 2])]


STRINGS = ["a", "a", "a", "b", "c", "d", "e", "1"]
INTEGERS = [1, 1, 1, 2, -3, 4, 10]
ODD = [None, True, 1.0, 2.5, {"k": "a"}, ["a"], []]
KINDS: list[list[Any]] = [STRINGS, INTEGERS, [*STRINGS, *INTEGERS]]


def value(random: Random, kind: Sequence[Any], *, odd: bool) -> Any:
    """A value, or a list of some."""
    choices = [*kind, *kind, *ODD] if odd else kind
    several = odd and random.random() < 0.3
    return random.choices(choices, k=random.randint(0, 3)) if several else random.choice(choices)


def payloads(random: Random) -> list[dict[str, Any]]:
    """Payloads whose fields have the same values, in different places."""
    kind, odd = random.choice(KINDS), random.random() < 0.5
    values = [value(random, kind, odd=odd) for _ in range(random.randint(1, 40))]
    stored: list[dict[str, Any]] = []
    for n, each in enumerate(values):
        items = [{"k": other} for other in values[n : n + n % 3]]
        stored.append({"k": each, "deep": {"k.k": each}, "items": items, "even": n % 2 == 0})
        if random.random() < 0.1:
            del stored[-1]["k"]
    return stored


EVEN = models.Filter(must=[models.FieldCondition(key="even", match=models.MatchValue(value=True))])
ALL = models.Prefetch(query=[-1.0], using="near", limit=40)
RRF = models.FusionQuery(fusion=models.Fusion.RRF)
SEARCHES: list[dict[str, Any]] = [
    {"query": [1.0], "using": "near"},
    {"query": [1.0], "using": "near", "query_filter": EVEN},
    {"query": [1.0], "using": "near", "score_threshold": 7.5},
    {"query": [17.3], "using": "far"},
    {"query": [1.0], "using": "near", "prefetch": ALL},
    {"query": [17.3], "using": "far", "prefetch": [ALL, ALL], "query_filter": EVEN},
    {"query": [1.0], "using": "near", "prefetch": models.Prefetch(query=[1.0], using="near", limit=40, prefetch=ALL)},
    {"query": RRF, "prefetch": [ALL]},
    {"query": None},
    {"query": None, "query_filter": EVEN},
]
FIELDS = ["k", "k", "k", "k[]", 'deep."k.k"', "items[].k", "items[0].k", "items[1].k", "items", "missing", "k.k"]


@settings(max_examples=100, derandomize=True, deadline=None, database=None, phases=[Phase.generate])
@given(st.randoms(use_true_random=True))
def test_the_same_as_in_local_mode(tmp_path_factory: pytest.TempPathFactory, random: Random) -> None:
    stored = payloads(random)
    local = QdrantClient(":memory:")
    with EdgeClient(tmp_path_factory.mktemp("groups")) as edge:
        for client in (edge, local):
            load(client, stored)
        for search in random.sample(SEARCHES, 4):
            field = random.choice(FIELDS)
            sizes: dict[str, Any] = {"limit": random.randint(1, 6), "group_size": random.randint(1, 4)}
            mine = edge.query_points_groups("docs", field, **search, **sizes)
            theirs = local.query_points_groups("docs", field, **search, **sizes)
            assert found(mine) == found(theirs), (field, search, sizes)
            assert [type(group.id) for group in mine.groups] == [type(group.id) for group in theirs.groups]
            for group, other in zip(mine.groups, theirs.groups, strict=True):
                assert [hit.payload for hit in group.hits] == [hit.payload for hit in other.hits]
                if isinstance(search["query"], list):
                    scores = [hit.score for hit in other.hits]
                    assert [hit.score for hit in group.hits] == pytest.approx(scores, rel=1e-5)
    local.close()


def test_payload_and_vectors_come_as_asked(client: EdgeClient) -> None:
    local = QdrantClient(":memory:")
    for each in (client, local):
        load(each, [{"k": "a", "text": "long", "n": n} for n in range(3)])
    choices: list[dict[str, Any]] = [
        {},
        {"with_payload": False},
        {"with_payload": ["n"]},
        {"with_payload": models.PayloadSelectorExclude(exclude=["k"])},
        {"with_vectors": True},
        {"with_vectors": ["far"], "with_payload": False},
    ]
    for choice in choices:
        mine, theirs = (
            each.query_points_groups("docs", "k", [1.0], using="near", **choice) for each in (client, local)
        )
        assert type(mine) is type(theirs)
        assert type(mine.groups[0]) is type(theirs.groups[0])
        assert type(mine.groups[0].hits[0]) is type(theirs.groups[0].hits[0])
        ignored = {"groups": {"__all__": {"hits": {"__all__": {"version"}}}}}
        assert mine.model_dump(exclude=ignored) == theirs.model_dump(exclude=ignored), choice
    local.close()


def test_as_many_points_as_it_takes_are_fetched_in_few_requests(client: EdgeClient, requests: list[int | None]) -> None:
    load(client, [{"k": key} for key in ("b", "c", "d", "d")] + [{"k": "a"}] * 3000)
    result = client.query_points_groups("docs", "k", [1.0], using="near", limit=3, group_size=2)
    assert found(result) == [("a", [3003, 3002]), ("d", [3, 2]), ("c", [1])]
    assert requests == [6, 24, 96, 384, 1536, 6144]


def test_groups_are_filled_without_a_look_at_all_points(client: EdgeClient, requests: list[int | None]) -> None:
    load(client, [{"k": n % 100} for n in range(3000)])
    result = client.query_points_groups("docs", "k", [1.0], using="near", limit=5, group_size=4)
    assert found(result) == [(key, [2900 + key - 100 * turn for turn in range(4)]) for key in range(99, 94, -1)]
    assert requests == [20, 20]


def test_one_request_is_enough_where_it_fills_the_groups(client: EdgeClient, requests: list[int | None]) -> None:
    load(client, [{"k": n // 10} for n in range(3000)])
    result = client.query_points_groups("docs", "k", [1.0], using="near", limit=2, group_size=10)
    assert found(result) == [(299, list(range(2999, 2989, -1))), (298, list(range(2989, 2979, -1)))]
    assert requests == [20]


COUNT, DIM = 120, 6
RNG = np.random.default_rng(11)
DENSE = RNG.normal(size=(COUNT, DIM)).astype(np.float32)
TOKENS = RNG.normal(size=(COUNT, 4, DIM)).astype(np.float32)
QUERY, QUERY_TOKENS = RNG.normal(size=DIM).astype(np.float32), RNG.normal(size=(3, DIM)).astype(np.float32)
DENSE_SCORES = DENSE @ QUERY
MAXSIM = np.einsum("qd,ntd->nqt", QUERY_TOKENS, TOKENS).max(axis=2).sum(axis=1)
KEYS = [int(n) for n in RNG.integers(0, 30, size=COUNT)]


@pytest.fixture(scope="module")
def chunks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeClient]:
    """Pieces of thirty documents, to be found by an encoding and ranked by MaxSim."""
    multi = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    vectors = {
        "dense": models.VectorParams(size=DIM, distance=models.Distance.DOT),
        "tokens": models.VectorParams(size=DIM, distance=models.Distance.DOT, multivector_config=multi),
    }
    with EdgeClient(tmp_path_factory.mktemp("chunks")) as client:
        client.create_collection("docs", vectors)
        client.upsert(
            "docs",
            [
                models.PointStruct(
                    id=n,
                    vector={"dense": DENSE[n].tolist(), "tokens": TOKENS[n].tolist()},
                    payload={"doc": KEYS[n], "even": n % 2 == 0},
                )
                for n in range(COUNT)
            ],
        )
        yield client


def best(scores: np.ndarray[Any, Any], among: Iterable[int] = range(COUNT)) -> list[int]:
    return sorted(among, key=lambda n: -scores[n])


def by_document(ranking: list[int], limit: int, size: int) -> Found:
    groups: dict[int | str, list[int]] = {}
    for n in ranking:
        groups.setdefault(KEYS[n], []).append(n)
    return [(key, hits[:size]) for key, hits in groups.items()][:limit]


@pytest.mark.parametrize("limit", [None, 1, 4, 30])
@pytest.mark.parametrize("size", [1, 3])
def test_the_candidates_of_a_prefetch_are_as_many_times_its_limit_as_a_group_has_points(
    chunks: EdgeClient, requests: list[int | None], limit: int | None, size: int
) -> None:
    prefetch = models.Prefetch(query=QUERY.tolist(), using="dense", limit=limit)
    result = chunks.query_points_groups(
        "docs", "doc", QUERY_TOKENS, using="tokens", prefetch=prefetch, limit=8, group_size=size
    )
    candidates = best(DENSE_SCORES)[: (limit or 10) * size]
    assert found(result) == by_document(best(MAXSIM, candidates), 8, size)
    assert len(requests) == 1
    assert prefetch.limit == limit


def test_nested_prefetches_and_filters(chunks: EdgeClient) -> None:
    inner = models.Prefetch(query=QUERY_TOKENS.tolist(), using="tokens", limit=20)
    prefetch = models.Prefetch(query=QUERY.tolist(), using="dense", limit=7, prefetch=inner)
    result = chunks.query_points_groups(
        "docs", "doc", QUERY_TOKENS, using="tokens", prefetch=[prefetch], query_filter=EVEN, group_size=2
    )
    candidates = best(DENSE_SCORES, best(MAXSIM, range(0, COUNT, 2))[:40])[:14]
    assert found(result) == by_document(best(MAXSIM, candidates), 10, 2)
    assert (prefetch.limit, inner.limit) == (7, 20)


@pytest.mark.parametrize("query", [QUERY_TOKENS, QUERY_TOKENS.tolist(), list(QUERY_TOKENS)])
def test_multivectors(chunks: EdgeClient, query: Any) -> None:
    result = chunks.query_points_groups("docs", "doc", query, using="tokens", limit=6, group_size=4)
    assert found(result) == by_document(best(MAXSIM), 6, 4)
    scores = [hit.score for group in result.groups for hit in group.hits]
    expected = [MAXSIM[n] for _, hits in by_document(best(MAXSIM), 6, 4) for n in hits]
    assert scores == pytest.approx(expected, rel=1e-5)


def test_through_a_graph(client: EdgeClient) -> None:
    vectors = models.VectorParams(size=8, distance=models.Distance.DOT)
    client.create_collection(
        "docs",
        vectors,
        hnsw_config=models.HnswConfigDiff(m=16, full_scan_threshold=10),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=1, default_segment_number=1),
    )
    rows = np.random.default_rng(3).normal(size=(2000, 8))
    points = [models.PointStruct(id=n, vector=row.tolist(), payload={"k": n % 200}) for n, row in enumerate(rows)]
    client.upsert("docs", points)
    client.create_payload_index("docs", "k", "integer")
    client.optimize("docs")
    result = client.query_points_groups("docs", "k", rows[7].tolist(), limit=10, group_size=5)
    assert client.get_collection("docs").indexed_vectors_count == 2000
    assert [len(group.hits) for group in result.groups] == [5] * 10
    scores = rows @ rows[7]
    for key, hits in found(result):
        assert hits == sorted(range(int(key), 2000, 200), key=lambda n: -scores[n])[:5]
    first = [group.hits[0].score for group in result.groups]
    assert first == sorted(first, reverse=True)


@pytest.mark.parametrize("index", ["keyword", "integer", "float", "bool", "text", "datetime", "uuid", "geo"])
@pytest.mark.parametrize("pair", [(1, 2), ("a", "b"), ("a", 2)])
def test_an_index_of_another_type_hides_nothing(
    client: EdgeClient, index: str, pair: tuple[int | str, int | str]
) -> None:
    load(client, [{"k": key} for _ in range(30) for key in pair])
    client.create_payload_index("docs", "k", index)
    client.optimize("docs")
    result = client.query_points_groups("docs", "k", [1.0], using="near", limit=1, group_size=31)
    assert found(result) == [(pair[1], list(range(59, 0, -2)))]


def test_an_alias_is_taken_too(client: EdgeClient) -> None:
    load(client, [{"k": "a"}])
    alias = models.CreateAlias(collection_name="docs", alias_name="alias")
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=alias)])
    assert found(client.query_points_groups("alias", "k", [1.0], using="near")) == [("a", [0])]


def test_what_is_refused(client: EdgeClient) -> None:
    load(client, [{"k": "a"}])
    wrong: list[dict[str, Any]] = [{"limit": 0}, {"group_size": 0}, {"limit": -1}]
    for sizes in wrong:
        with pytest.raises(ConfigurationError, match="must be at least 1"):
            client.query_points_groups("docs", "k", [1.0], using="near", **sizes)
    with pytest.raises(EngineError, match=r"query_points_groups on collection 'docs'.*invalid JSON path"):
        client.query_points_groups("docs", "no path", [1.0], using="near")
    with pytest.raises(CapabilityError, match="server"):
        client.query_points_groups("docs", "k", models.OrderByQuery(order_by="n"))
    with pytest.raises(CollectionNotFoundError):
        client.query_points_groups("nope", "k", [1.0])


def test_integers_that_no_filter_can_ask_for_are_groups_too(client: EdgeClient) -> None:
    load(client, [{"k": key} for key in (2**63, 2**64 - 1, 1, 1, 1, 1)])
    result = client.query_points_groups("docs", "k", [1.0], using="near", limit=3, group_size=2)
    assert found(result) == [(1, [5, 4]), (2**64 - 1, [1]), (2**63, [0])]
    result = client.query_points_groups("docs", "k", [9.0], using="far", limit=2, group_size=2)
    assert found(result) == [(1, [5, 4]), (2**64 - 1, [1])]


def test_no_number_is_too_large(client: EdgeClient) -> None:
    load(client, [{"k": "a"}, {"k": 2**64 - 1}])
    prefetch = models.Prefetch(query=[1.0], using="near", limit=2**63)
    choices: list[dict[str, Any]] = [{}, {"prefetch": prefetch}]
    for arguments in choices:
        result = client.query_points_groups(
            "docs", "k", [1.0], using="near", limit=2**64, group_size=2**64, **arguments
        )
        assert found(result) == [(2**64 - 1, [1]), ("a", [0])]


def test_in_a_process_of_its_own(tmp_path: Any) -> None:
    with EdgeClient(tmp_path) as client:
        load(client, [{"k": key} for key in ["a", "b", 7, ["a", 7]]])
        expected = client.query_points_groups("docs", "k", [1.0], using="near", with_vectors=True)

    async def ask() -> models.GroupsResult:
        async with AsyncEdgeClient(tmp_path) as client:
            result: models.GroupsResult = await client.query_points_groups(
                "docs", "k", np.array([1.0]), using="near", with_vectors=True
            )
            return result

    assert asyncio.run(ask()) == expected


# Where local mode differs.


def test_local_mode_has_no_limits_of_prefetches(client: EdgeClient) -> None:
    local = QdrantClient(":memory:")
    prefetch = models.Prefetch(query=[-1.0], using="near", limit=2)
    results = []
    for each in (client, local):
        load(each, [{"k": key} for key in "abcdefgh"])
        results.append(
            found(each.query_points_groups("docs", "k", [1.0], using="near", prefetch=prefetch, group_size=2))
        )
    assert results[0] == [("d", [3]), ("c", [2]), ("b", [1]), ("a", [0])]
    assert len(results[1]) == 8
    local.close()


def test_local_mode_ranks_points_that_are_in_no_group(client: EdgeClient) -> None:
    """A filter leaves them out before ranks are taken, here as on a server."""
    local = QdrantClient(":memory:")
    scores = []
    for each in (client, local):
        load(each, [{"k": "a"}, {}, {"k": "a"}])
        result = each.query_points_groups("docs", "k", RRF, prefetch=[models.Prefetch(query=[1.0], using="near")])
        assert found(result) == [("a", [2, 0])]
        scores.append([hit.score for hit in result.groups[0].hits])
    assert scores == [pytest.approx([1 / 2, 1 / 3]), pytest.approx([1 / 2, 1 / 4])]
    local.close()


def test_local_mode_keeps_integers_of_any_size(client: EdgeClient) -> None:
    local = QdrantClient(":memory:")
    results = []
    for each in (client, local):
        load(each, [{"k": 2**70}])
        results.append(found(each.query_points_groups("docs", "k", [1.0], using="near")))
    assert results == [[], [(2**70, [0])]]
    local.close()
