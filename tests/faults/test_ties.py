"""Equal scores: a server returns them in any order, and others of them every time; here the answer stays the same."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant import ColbertCollection, CollectionConfig, Document, EdgeClient, MuveraConfig, attach
from tests.encoders import WordEncoder
from tests.faults.engine import EngineServer
from tests.faults.server import result_of, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))


class Shuffling(EngineServer):
    """A server that returns equal scores in any order, as real ones do where candidates are ranked."""

    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(7)
        self.searches: list[dict[str, Any]] = []

    def _of_points(self, method: str, name: str, rest: str, body: dict[str, Any]) -> Any:
        if rest != "points/query/batch":
            return super()._of_points(method, name, rest, body)
        self.searches += body["searches"]
        whole = [{**each, "limit": 10_000, "offset": None} for each in body["searches"]]
        found = super()._of_points(method, name, rest, {"searches": whole})
        for answer, asked in zip(found, body["searches"], strict=True):
            start = asked.get("offset") or 0
            points = sorted(answer.points, key=lambda point: (-point.score, self.random.random()))
            answer.points = points[start : start + asked["limit"]]
        return found


@pytest.fixture
def server() -> Iterator[Shuffling]:
    with serving(Shuffling()) as running:
        yield running


def filled(client: QdrantClient, texts: list[str]) -> ColbertCollection:
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
    docs.upsert([Document(number, text) for number, text in enumerate(texts)])
    return docs


def answers(docs: ColbertCollection, **options: Any) -> set[tuple[Any, ...]]:
    return {tuple(hit.id for hit in docs.search("river stone", candidates=60, **options)) for _ in range(20)}


FEW = ["river stone"] * 3 + ["river lake"] * 8 + ["tree"] * 49
MANY = ["river stone"] * 3 + ["river lake"] * 47 + ["tree"] * 10


def test_a_few_equal_ones(server: Shuffling, client: QdrantClient) -> None:
    docs = filled(client, FEW)
    assert answers(docs, limit=5) == {(0, 1, 2, 3, 4)}
    assert answers(docs, limit=5, offset=5) == {(5, 6, 7, 8, 9)}
    assert answers(docs, limit=3) == {(0, 1, 2)}
    assert len(server.searches) == 3 * 20  # one request each


@pytest.mark.parametrize("how", [{}, {"prefetch": ["fde"]}], ids=["two-stage", "prefetch"])
def test_many_equal_ones_are_all_looked_at(server: Shuffling, client: QdrantClient, how: Any) -> None:
    docs = filled(client, MANY)
    assert answers(docs, limit=5, **how) == {(0, 1, 2, 3, 4)}
    assert len(server.searches) == 2 * 20
    assert server.searches[-1]["limit"] == 60
    assert answers(docs, limit=5, offset=30, **how) == {(30, 31, 32, 33, 34)}
    pages = [docs.search("river stone", limit=7, offset=start, candidates=70, **how) for start in range(0, 60, 7)]
    assert [hit.id for page in pages for hit in page] == list(range(60))


def test_a_batch_asks_once_more_only_for_those_in_doubt(server: Shuffling, client: QdrantClient) -> None:
    docs = filled(client, MANY)
    first, second = docs.search_batch(["river stone", "river stone tree"], limit=3)
    assert [hit.id for hit in first] == [hit.id for hit in second] == [0, 1, 2]
    server.searches.clear()
    few, many = docs.search_batch(["river stone", "river lake"], limit=3)
    assert ([hit.id for hit in few], [hit.id for hit in many]) == ([0, 1, 2], [3, 4, 5])
    assert len(server.searches) == 3


def test_what_strict_mode_allows_is_asked_for(server: Shuffling, client: QdrantClient) -> None:
    filled(client, MANY)
    server.strict["docs"] = {"enabled": True, "max_query_limit": 8}
    docs = ColbertCollection.open("docs", client=client, encoder=WordEncoder())
    assert len(docs.search("river stone", limit=8)) == 8
    assert [hit.id for hit in docs.search("river stone", limit=3)] == [0, 1, 2]


def test_scores_are_float32_on_every_way(client: QdrantClient, server: Shuffling) -> None:
    """Over REST a score is the shortest decimal number that names a float32: another double."""
    docs = filled(client, FEW)
    point = {"id": 1, "version": 0, "payload": {"_id": 1, "text": "river"}}
    server.fault = lambda method, path, body: result_of([{"points": [{**point, "score": 0.1}]}])
    (hit,) = docs.search("river")
    assert (type(hit.score), hit.score) == (float, float(np.float32(0.1)))


def test_candidates_of_a_users_own_search(client: QdrantClient, server: Shuffling) -> None:
    filled(client, MANY)
    own = attach(client, "docs", encoder=WordEncoder())
    request = models.QueryRequest(query=[0.5] * 32, using="fde", limit=60)
    found = {tuple(hit.id for hit in own.search("river stone", request, limit=5)) for _ in range(5)}
    assert len(found) == 1
    assert server.searches
    scores = [hit.score for hit in own.search("river stone", request)]
    assert scores == [float(np.float32(score)) for score in scores]


def test_equal_groups_come_by_their_key(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as edge:
        docs = ColbertCollection.create("docs", client=edge, encoder=WordEncoder(), config=CONFIG)
        shelves = ["m", "a", "z", "k", "b"]
        docs.upsert([Document(number, "river", {"shelf": shelf}) for number, shelf in enumerate(shelves)])
        assert [group.key for group in docs.search_groups("river", "shelf", mode="exact")] == sorted(shelves)
