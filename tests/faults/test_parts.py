"""Requests that are larger than a server takes: sent in parts, in order, under one deadline."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import grpc
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from colbert_qdrant import (
    AsyncColbertCollection,
    ColbertCollection,
    CollectionConfig,
    Document,
    MuveraConfig,
    RequestTimeoutError,
    RequestTooLargeError,
    RetryConfig,
    attach,
)
from colbert_qdrant.engines import blocking_engine
from colbert_qdrant.engines.faults import fault_of
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.engines.server import RestEngine
from colbert_qdrant.points.ids import point_id
from tests.encoders import WordEncoder, random_texts
from tests.faults.server import Answer, FaultyServer, failing, result_of
from tests.faults.strict import over_budget

if TYPE_CHECKING:
    from collections.abc import Callable

    from colbert_qdrant import SearchHits

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
QUICK = RetryConfig(attempts=6, first_wait=0.001, longest_wait=0.01, deadline=20)
QUERIES = random_texts(40)
IDS = [f"d{number}" for number in range(2_000)]
DENSE = models.QueryRequest(query=[0.5] * 200, using="dense", limit=100)


@pytest.fixture
def docs(client: QdrantClient) -> ColbertCollection:
    return ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=QUICK)


def refused(limit: int) -> Callable[[Any, int], Answer | None]:
    """A server that takes so many bytes, in the words of one of version 1.19."""
    said = "JSON payload ({} bytes) is larger than allowed (limit: {} bytes)."
    return lambda body, size: failing(400, said.format(size, limit)) if size > limit else None


def unread(limit: int) -> Callable[[Any, int], Answer | None]:
    """The same where the length was not known before."""
    said = f"JSON payload has exceeded limit ({limit} bytes)."
    return lambda body, size: failing(400, said) if size > limit else None


def by_proxy(limit: int) -> Callable[[Any, int], Answer | None]:
    return lambda body, size: Answer(status=413, body=b"<html>") if size > limit else None


def costly(most: int) -> Callable[[Any, int], Answer | None]:
    """A server with a limit of the rate, which a request that is more than that can never keep to."""

    def judge(body: dict[str, Any], size: int) -> Answer | None:
        cost = max(len(body.get(kind, [])) for kind in ("searches", "ids", "points"))
        return over_budget("Read") if cost > most else None

    return judge


JUDGES = {"400": refused(30_000), "unread": unread(30_000), "413": by_proxy(30_000), "429": costly(7)}


def found(server: FaultyServer) -> Callable[[Any, int], Answer | None]:
    """Answers each search with a point of its own, numbered as searches come."""
    judge, number = server.judge, 0

    def answer(body: dict[str, Any], size: int) -> Answer | None:
        nonlocal number
        said = judge(body, size)
        if said is not None or "searches" not in body:
            return said
        number += len(body["searches"])
        numbers = range(number - len(body["searches"]), number)
        payload = {"text": "river", "_id": "d0"}
        return result_of(
            [{"points": [{"id": each, "version": 0, "score": each, "payload": payload}]} for each in numbers]
        )

    return answer


@pytest.mark.parametrize("kind", JUDGES)
def test_searches(server: FaultyServer, docs: ColbertCollection, kind: str) -> None:
    server.judge = JUDGES[kind]
    server.judge = found(server)
    hits = docs.search_batch(QUERIES, with_payload=False, mode="exact")
    assert [each[0].score for each in hits] == list(range(40))
    sent = [body for body in server.bodies if JUDGES[kind](body, len(json.dumps(body))) is None]
    expected = [each.tolist() for each in WordEncoder().encode_queries(QUERIES)]
    assert [search["query"] for body in sent for search in body["searches"]] == expected
    assert 1 < len(sent) < 20


@pytest.mark.parametrize("kind", JUDGES)
def test_searches_of_a_users_own(
    server: FaultyServer, client: QdrantClient, docs: ColbertCollection, kind: str
) -> None:
    server.judge = JUDGES[kind]
    server.judge = found(server)
    own = attach(client, "docs", encoder=WordEncoder(), retry=QUICK)
    hits = own.search_batch(QUERIES, [DENSE] * 40)
    assert [each[0].id for each in hits] == list(range(40))


@pytest.mark.parametrize("kind", JUDGES)
def test_ids(server: FaultyServer, docs: ColbertCollection, kind: str) -> None:
    docs.upsert([Document(id, "river") for id in IDS[::100]])
    server.judge, server.bodies = JUDGES[kind], []
    few = IDS if kind != "429" else IDS[:200]
    assert [document.id for document in docs.get(few)] == [id for id in few if id in IDS[::100]]
    server.bodies.clear()
    docs.delete(ids=few)
    deleted = [
        id for body in server.bodies if JUDGES[kind](body, len(json.dumps(body))) is None for id in body["points"]
    ]
    assert deleted == [str(point_id(id)) for id in few]


def test_awaited_it_is_the_same(server: FaultyServer) -> None:
    async def search() -> list[SearchHits]:
        client = AsyncQdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False)
        arguments: Any = {"client": client, "encoder": WordEncoder(), "config": CONFIG, "retry": QUICK}
        docs = await AsyncColbertCollection.create("docs", **arguments)
        server.judge = refused(30_000)
        server.judge = found(server)
        hits = await docs.search_batch(QUERIES, mode="exact")
        await client.close()
        return hits

    assert [each[0].score for each in asyncio.run(search())] == list(range(40))


def test_vectors(server: FaultyServer, client: QdrantClient, docs: ColbertCollection) -> None:
    server.judge = refused(50_000)
    points = [models.PointVectors(id=number, vector={"fde": [0.5] * 500}) for number in range(100)]
    run_blocking(blocking_engine(client, retry=QUICK).update_vectors("docs", points))
    sent = [body for body in server.bodies if len(body["points"]) <= 12]
    assert [point["id"] for body in sent for point in body["points"]] == list(range(100))


def test_parts_are_small_enough_from_the_start(
    server: FaultyServer, docs: ColbertCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RestEngine, "MAX_REQUEST_BYTES", 60_000)
    server.judge, sizes = lambda body, size: sizes.append(size), list[int]()
    many = models.Filter(must=[models.HasIdCondition(has_id=[str(UUID(int=number)) for number in range(200)])])
    assert len(docs.search_batch(QUERIES, filter=many)) == 40
    docs.get([f"{number:032}" for number in range(3_000)])
    docs.delete(ids=[f"{number:032}" for number in range(3_000)])
    assert max(sizes) <= 60_100
    assert sum(sizes) / len(sizes) > 15_000  # and not smaller than it need be


def test_what_cannot_be_split_is_an_error_that_fits(server: FaultyServer, docs: ColbertCollection) -> None:
    server.judge = refused(100)
    with pytest.raises(RequestTooLargeError, match=r"search .*; search with fewer tokens.* prefer_grpc=True"):
        docs.search_batch(QUERIES)
    with pytest.raises(RequestTooLargeError, match=r"upsert .*; split the document, raise .* prefer_grpc=True"):
        docs.upsert([Document(1, "river stone")])
    with pytest.raises(RequestTooLargeError, match=r"count .*; send less at a time, raise .* prefer_grpc=True"):
        docs.count(where={"year": list(range(100))})
    server.judge, server.requests = costly(0), 0
    with pytest.raises(RequestTooLargeError, match=r"rate limit per minute .*strict_mode_config=…"):
        docs.search("river")
    assert server.requests == 1


def test_all_parts_have_one_deadline(server: FaultyServer, client: QdrantClient) -> None:
    short = RetryConfig(attempts=1, deadline=0.5)
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=short)

    def judge(body: dict[str, Any], size: int) -> Answer | None:
        if len(body["searches"]) > 1:
            return failing(413)
        return Answer(body=result_of([{"points": []}]).body, late=0.2)

    server.judge = judge
    with pytest.raises(RequestTimeoutError):
        docs.search_batch(QUERIES)
    assert server.requests < 12  # halved six times, and then three at most


def test_more_than_the_rate_of_writes_is_split(server: FaultyServer, docs: ColbertCollection) -> None:
    server.judge = costly(20)
    report = docs.ingest([Document(number, text) for number, text in enumerate(random_texts(50))])
    assert (report.documents, report.rejected) == (50, ())
    assert len(server.ledger) == 50


def test_grpc_has_a_remedy_of_its_own() -> None:
    class Failed(grpc.RpcError):
        def __init__(self, detail: str, code: grpc.StatusCode = grpc.StatusCode.RESOURCE_EXHAUSTED) -> None:
            self._detail = detail
            self._code = code

        def code(self) -> grpc.StatusCode:
            return self._code

        def details(self) -> str:
            return self._detail

    fault = fault_of(Failed("Sent message larger than max (2 vs. 1)"))
    assert fault is not None
    said = str(fault.error(operation="search", collection="docs", attempts=1))
    assert "search with fewer tokens, vectors or conditions, or raise that limit" in said
    fault = fault_of(Failed("request larger than rate limiter capacity, please try to split your request"))
    assert fault is not None
    assert not fault.retryable
    said = "Bad request: Exact search disabled!. Help: Set exact=false."
    fault = fault_of(Failed(said, grpc.StatusCode.INVALID_ARGUMENT))
    assert fault is not None
    assert "strict_mode_config=…" in str(fault.error(operation="count", collection="docs", attempts=1))
