"""An attached collection over real sockets: one request for each search, none that writes, all failures ours."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from grpc import StatusCode
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client import grpc as messages
from qdrant_client.conversions.conversion import payload_to_grpc

from colbert_qdrant import (
    AttachedCollection,
    AuthenticationError,
    CollectionNotFoundError,
    ConfigurationError,
    ServerError,
    attach,
    attach_async,
)
from tests.encoders import WordEncoder
from tests.faults.server import Answer, FaultyServer, failing
from tests.faults.test_http import QUICK
from tests.grpc_server import Server, connect, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

STORED = {3: "candle temple", 1: "harbor river", 2: "river"}
BY = models.QueryRequest(query=[1.0, 2.0], using="dense", limit=20)
RANKED = [1, 2, 3]  # for "harbor river"


def payload(text: str) -> dict[str, Any]:
    return {"text": text, "list": [1, 2.5, {"deep": None}]}


def found(*searches: dict[int, str]) -> Answer:
    results = [
        {"points": [{"id": id, "version": 1, "score": 0.5, "payload": payload(text)} for id, text in each.items()]}
        for each in searches
    ]
    return Answer(body=json.dumps({"result": results, "status": "ok", "time": 0.25}).encode())


@pytest.fixture(autouse=True)
def may_only_read(server: FaultyServer) -> None:
    server.read_only = True


@pytest.fixture
def docs(client: QdrantClient) -> AttachedCollection:
    return attach(client, "docs", encoder=WordEncoder(), retry=QUICK)


def paths(server: FaultyServer) -> list[bytes]:
    return [text.split(b" ", 1)[0].partition(b"?")[0] for text in server.texts]


def test_a_search_is_one_request_and_nothing_else(server: FaultyServer, docs: AttachedCollection) -> None:
    assert server.texts == []
    server.script = [found(STORED)]
    by = BY.model_copy(update={"with_vector": True, "with_payload": ["year"]})
    hits = docs.search("harbor river", by, filter=models.Filter(must=[models.HasIdCondition(has_id=[1])]))
    assert [(hit.id, hit.payload) for hit in hits] == [(id, payload(STORED[id])) for id in RANKED]
    assert paths(server) == [b"/collections/docs/points/query/batch"]
    (search,) = server.bodies[-1]["searches"]
    assert search == {
        "query": {"nearest": [1.0, 2.0]},
        "using": "dense",
        "limit": 20,
        "with_payload": True,
        "filter": {"must": [{"must": [{"has_id": [1]}]}]},
    }


def test_a_batch_is_one_request(server: FaultyServer, docs: AttachedCollection) -> None:
    server.script = [found(STORED, {2: "river"}, {})]
    hits = docs.search_batch(["harbor river", "river", "candle"], lambda query: BY)
    assert [[hit.id for hit in each] for each in hits] == [RANKED, [2], []]
    assert paths(server) == [b"/collections/docs/points/query/batch"]
    assert len(server.bodies[-1]["searches"]) == 3
    assert docs.search_batch([], []) == []
    assert len(server.texts) == 1


def test_an_event_loop_sends_no_more(server: FaultyServer) -> None:
    async def main() -> None:
        client = AsyncQdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False, timeout=1)
        docs = attach_async(client, "docs", encoder=WordEncoder(), retry=QUICK)
        server.script = [failing(503), found(STORED)]
        assert [hit.id for hit in await docs.search("harbor river", BY)] == RANKED
        await client.close()

    asyncio.run(main())
    assert paths(server) == [b"/collections/docs/points/query/batch"] * 2


def test_shards_are_those_of_the_request_or_else_of_all(server: FaultyServer, client: QdrantClient) -> None:
    docs = attach(client, "docs", encoder=WordEncoder(), shard_key="acme")
    docs.search_batch(["river", "river"], [BY, BY.model_copy(update={"shard_key": "other"})])
    assert [search["shard_key"] for search in server.bodies[-1]["searches"]] == ["acme", "other"]


def test_what_passes_is_sat_out(server: FaultyServer, docs: AttachedCollection) -> None:
    cut = Answer(body=found(STORED).body, cut=60)
    too_few, too_many = found(), found(dict.fromkeys(range(21), "river"))
    for first in (failing(503), failing(429, Retry_After="0"), cut, too_few, too_many):
        server.script = [first, found(STORED)]
        assert [hit.id for hit in docs.search("harbor river", BY)] == RANKED
        assert server.script == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (failing(403, "Forbidden"), AuthenticationError),
        (failing(404, "Collection `docs` doesn't exist!"), CollectionNotFoundError),
        (failing(500), ServerError),
        (found(), ServerError),
    ],
)
def test_what_fails_for_good_is_an_error_of_ours(
    server: FaultyServer, docs: AttachedCollection, answer: Answer, error: type[Exception]
) -> None:
    server.script = [answer] * 4
    with pytest.raises(error, match=r"search in collection 'docs' failed|collection 'docs' does not exist"):
        docs.search("river", BY)


def test_mistakes_are_found_before_anything_is_sent(server: FaultyServer, docs: AttachedCollection) -> None:
    with pytest.raises(ConfigurationError, match="is less than limit=21"):
        docs.search("river", BY, limit=21)
    assert server.texts == []


def test_texts_become_vectors_where_the_client_makes_them(server: FaultyServer) -> None:
    class Embedding(QdrantClient):
        """Stands for a client with FastEmbed."""

        def query_batch_points(self, collection_name: str, requests: Any, *others: Any, **named: Any) -> Any:
            made = [each.model_copy(update={"query": [float(len(each.query.text))]}) for each in requests]
            return super().query_batch_points(collection_name, made, *others, **named)

    client = Embedding(host="127.0.0.1", port=server.port, check_compatibility=False, timeout=1)
    server.script = [found(STORED)]
    by = models.QueryRequest(query=models.Document(text="river", model="some/model"), limit=20)
    assert len(attach(client, "docs", encoder=WordEncoder()).search("river", by)) == 3
    assert server.bodies[-1]["searches"][0]["query"] == {"nearest": [5.0]}
    client.close()


class Searchable(Server):
    """A server over gRPC with some points."""

    def QueryBatch(self, request: Any, context: Any) -> Any:  # noqa: N802 - a servicer's method
        if self.script:
            code, details, _ = self.script.pop(0)
            context.abort(code, details)
        points = [
            messages.ScoredPoint(id=messages.PointId(num=id), payload=payload_to_grpc(payload(text)), score=0.5)
            for id, text in STORED.items()
        ]
        return messages.QueryBatchResponse(result=[messages.BatchResult(result=points) for _ in request.query_points])


@pytest.fixture
def grpc_server() -> Iterator[Searchable]:
    service = Searchable()
    with serving(service):
        yield service


def test_over_grpc_it_is_the_same(grpc_server: Searchable) -> None:
    grpc_server.read_only = True
    client = connect(grpc_server.port, timeout=5)
    docs = attach(client, "docs", encoder=WordEncoder(), retry=QUICK)
    hits = docs.search("harbor river", BY)
    assert [(hit.id, hit.payload) for hit in hits] == [(id, payload(STORED[id])) for id in RANKED]
    assert len(grpc_server.texts) == 1
    grpc_server.script = [(StatusCode.UNAVAILABLE, "restarting", False)]
    assert docs.search("harbor river", BY) == hits
    assert len(grpc_server.texts) == 3
    client.close()
