"""Writes over gRPC while the server fails: nothing is lost, nothing is stored twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from grpc import StatusCode
from qdrant_client import models

from colbert_qdrant import (
    AuthenticationError,
    ColbertCollection,
    CollectionNotFoundError,
    RateLimitedError,
    RequestTimeoutError,
    RequestTooLargeError,
    ServerError,
    UnreachableError,
    attach,
)
from colbert_qdrant.collection import writer
from colbert_qdrant.points.ids import point_id
from tests.encoders import WordEncoder
from tests.faults.test_http import BRIEF, CONFIG, DOCUMENTS, QUICK
from tests.grpc_server import Server, connect, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdrant_client import QdrantClient


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(Server()) as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[QdrantClient]:
    client = connect(server.port, timeout=5)
    yield client
    client.close()


@pytest.fixture
def docs(client: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> ColbertCollection:
    monkeypatch.setattr(writer, "MAX_BATCH_BYTES", 20_000)
    return ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=QUICK)


def assert_complete(server: Server) -> None:
    """Every document is there, and where it came more than once, the same."""
    bodies: dict[str, set[bytes]] = {}
    for request in server.upserts:
        for point in request.points:
            bodies.setdefault(point.id.uuid, set()).add(point.SerializeToString(deterministic=True))
    assert {id: len(each) for id, each in bodies.items()} == {point_id(document.id): 1 for document in DOCUMENTS}


PASSING = {
    "unavailable": [(StatusCode.UNAVAILABLE, "restarting", False)],
    "unavailable in a burst": [(StatusCode.UNAVAILABLE, "restarting", False)] * 3,
    "unavailable after it was stored": [(StatusCode.UNAVAILABLE, "connection reset", True)],
    "too late": [(StatusCode.DEADLINE_EXCEEDED, "deadline", False)],
    "too late, but stored": [(StatusCode.DEADLINE_EXCEEDED, "deadline", True)],
    "overloaded": [(StatusCode.RESOURCE_EXHAUSTED, "rate limit", False)] * 2,
    "internal": [(StatusCode.INTERNAL, "no leader", False)],
    "unknown": [(StatusCode.UNKNOWN, "", True)],
    "consensus": [(StatusCode.ABORTED, "consensus changes", False), (StatusCode.UNAVAILABLE, "no quorum", False)],
    "larger than a message": [(StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)", False)],
}


@pytest.mark.parametrize("script", PASSING.values(), ids=PASSING)
def test_what_passes_is_sat_out(
    server: Server, docs: ColbertCollection, script: list[tuple[StatusCode, str, bool]]
) -> None:
    server.script = list(script)
    assert docs.ingest(DOCUMENTS).documents == len(DOCUMENTS)
    assert server.script == []
    assert_complete(server)


@pytest.mark.parametrize(
    ("code", "error", "attempts"),
    [
        (StatusCode.DEADLINE_EXCEEDED, RequestTimeoutError, 4),
        (StatusCode.RESOURCE_EXHAUSTED, RateLimitedError, 4),
        (StatusCode.INTERNAL, ServerError, 4),
        (StatusCode.UNAUTHENTICATED, AuthenticationError, 1),
        (StatusCode.PERMISSION_DENIED, AuthenticationError, 1),
        (StatusCode.NOT_FOUND, CollectionNotFoundError, 1),
    ],
)
def test_what_lasts_is_an_error_that_says_so(
    server: Server, docs: ColbertCollection, code: StatusCode, error: type[Exception], attempts: int
) -> None:
    server.script = [(code, "told to fail", False)] * 20
    with pytest.raises(error, match=f"{code.name}: told to fail"):
        docs.ingest(DOCUMENTS)
    assert 20 - len(server.script) == attempts
    server.script = []
    docs.ingest(DOCUMENTS)
    assert_complete(server)


def test_what_is_not_reached_is_no_attempt(server: Server) -> None:
    client = connect(server.port, timeout=5)
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=BRIEF)
    server.script = [(StatusCode.UNAVAILABLE, "restarting", False)] * 4
    docs.upsert(DOCUMENTS[:1])
    assert server.script == []
    server.error = (StatusCode.UNAVAILABLE, "restarting")
    with pytest.raises(UnreachableError, match="UNAVAILABLE: restarting") as caught:
        docs.upsert(DOCUMENTS[:1])
    assert caught.value.attempts > BRIEF.attempts
    client.close()


TOO_LARGE = [
    (StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)"),
    (StatusCode.OUT_OF_RANGE, "Error, decoded message length too large: found 9 bytes, the limit is: 4 bytes"),
    (StatusCode.OUT_OF_RANGE, "Error, message length too large: found 9 bytes, the limit is: 4 bytes"),
    (StatusCode.RESOURCE_EXHAUSTED, "gRPC message exceeds maximum size 4: 9"),
    (StatusCode.RESOURCE_EXHAUSTED, "Received message exceeds the maximum configured message size."),
    (StatusCode.UNKNOWN, "Received http2 header with status: 413"),
]


@pytest.mark.parametrize("refusal", TOO_LARGE, ids=lambda each: each[1][:24])
def test_every_request_is_halved_until_it_is_taken(
    server: Server, client: QdrantClient, docs: ColbertCollection, refusal: tuple[StatusCode, str]
) -> None:
    ids, queries = [f"d{number}" for number in range(len(DOCUMENTS))], ["river stone"] * 100
    server.failure, server.most = refusal, 4_000
    assert docs.ingest(DOCUMENTS).documents == len(DOCUMENTS)
    assert_complete(server)
    server.most = 1_500
    assert docs.get(ids) == list(DOCUMENTS)
    assert len(docs.search_batch(queries)) == 100
    own = attach(client, "docs", encoder=WordEncoder(), retry=QUICK)
    assert len(own.search_batch(queries, [models.QueryRequest(query=[0.5] * 32, using="fde")] * 100)) == 100
    docs.delete(ids=ids)
    assert docs.get(ids) == []
    with pytest.raises(RequestTooLargeError, match=r"count .*; send less at a time, or raise that limit"):
        docs.count(where={"key": [*range(1_000)]})


def test_a_read_only_key_is_enough_to_open_and_search(server: Server, docs: ColbertCollection) -> None:
    docs.ingest(DOCUMENTS)
    server.read_only = True
    client = connect(server.port, timeout=5)
    same = ColbertCollection.open_or_create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=QUICK)
    assert same.search("river") == []
    assert same.get("d7") == [DOCUMENTS[7]]
    assert same.count() == same.info().documents == 60
    same.check()
    same.wait_until_ready(timeout=1)
    with pytest.raises(AuthenticationError, match="only read access"):
        same.upsert(DOCUMENTS[:1])
    with pytest.raises(AuthenticationError, match="only read access"):
        same.delete(ids="d1")
    client.close()
