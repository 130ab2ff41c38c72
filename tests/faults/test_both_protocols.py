"""Clients of `connect` write documents over gRPC where that is the same server, and over REST everywhere else."""

# ruff: noqa: N802  a servicer's methods have the names of the protocol

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

import grpc
import pytest
from qdrant_client import grpc as messages

from colbert_qdrant import (
    AsyncColbertCollection,
    AuthenticationError,
    ColbertCollection,
    ConfigurationError,
    RetryConfig,
    connect,
    connect_async,
)
from colbert_qdrant.collection import writer
from colbert_qdrant.engines import choice
from colbert_qdrant.points.ids import point_id
from tests.encoders import WordEncoder
from tests.faults.door import standing
from tests.faults.server import Answer, FaultyServer, cluster_of, failing, serving
from tests.faults.test_http import CONFIG, DOCUMENTS
from tests.grpc_server import Server
from tests.grpc_server import serving as serving_grpc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Kind = Literal["blocking", "async"]
QUICK = RetryConfig(first_wait=0.001, longest_wait=0.01, deadline=20)


class GrpcNode(Server):
    """The gRPC port of a node, which may stop listening after some upserts.

    Attributes:
        peer: Its id.
        asked: How often it was asked for the shards of a collection.
        before: Runs before each upsert.
    """

    def __init__(self) -> None:
        super().__init__()
        self.peer, self.asked = 7, 0
        self.before: Callable[[], object] = lambda: None

    def CollectionClusterInfo(self, request: Any, context: Any) -> Any:
        self.asked += 1
        return messages.CollectionClusterInfoResponse(peer_id=self.peer, shard_count=1)

    def Upsert(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.before()
        return super().Upsert(request, context)

    @property
    def ids(self) -> list[str]:
        return [point.id.uuid for request in self.upserts for point in request.points]


class Rest(FaultyServer):
    """The REST port of a node, also under a path."""

    def answer(self, method: str, path: str, body: dict[str, Any], size: int) -> Answer:
        return super().answer(method, path.removeprefix("/prefix"), body, size)


@pytest.fixture
def rest() -> Iterator[FaultyServer]:
    with serving(Rest()) as running:
        yield running


@pytest.fixture
def node() -> Iterator[GrpcNode]:
    with serving_grpc(GrpcNode()) as running:
        yield running


@pytest.fixture(params=["blocking", "async"])
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_BATCH_BYTES", 20_000)


def ingest(kind: Kind, rest: FaultyServer, grpc_port: int, *, path: str = "", **options: Any) -> float:
    """Write all documents and search, with a client of its own; return the seconds of the writes."""
    url = f"http://127.0.0.1:{rest.port}{path}"
    settings: dict[str, Any] = {"encoder": WordEncoder(), "config": CONFIG, "retry": QUICK}
    if kind == "blocking":
        client = connect(url, grpc_port=grpc_port, timeout=5, **options)
        docs = ColbertCollection.open_or_create("docs", client=client, **settings)
        started = time.monotonic()
        assert docs.ingest(DOCUMENTS).documents == len(DOCUMENTS)
        seconds = time.monotonic() - started
        assert docs.search("river") == []
        client.close()
        return seconds

    async def ingest() -> float:
        client = connect_async(url, grpc_port=grpc_port, timeout=5, **options)
        docs = await AsyncColbertCollection.open_or_create("docs", client=client, **settings)
        started = time.monotonic()
        assert (await docs.ingest(DOCUMENTS)).documents == len(DOCUMENTS)
        seconds = time.monotonic() - started
        assert await docs.search("river") == []
        await client.close()
        return seconds

    return asyncio.run(ingest())


IDS = {str(point_id(document.id)) for document in DOCUMENTS}


def test_documents_go_over_grpc_and_searches_over_rest(
    kind: Kind, rest: FaultyServer, node: GrpcNode, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "colbert_qdrant")
    ingest(kind, rest, node.port)
    assert sorted(node.ids) == sorted(IDS)
    assert rest.ledger == {}
    assert rest.requests == 1  # the search
    assert node.asked == 1
    assert [each.getMessage() for each in caplog.records if "documents are sent" in each.getMessage()] == [
        f"documents are sent over gRPC, to port {node.port}"
    ]


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def assert_all_over_rest(rest: FaultyServer, caplog: pytest.LogCaptureFixture, reason: str) -> None:
    assert {id: len(bodies) for id, bodies in rest.ledger.items()} == dict.fromkeys(IDS, 1)
    (said,) = [each.getMessage() for each in caplog.records if "documents are sent" in each.getMessage()]
    assert said.startswith("documents are sent over REST, which is slower: ")
    assert reason in said


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("closed", "does not accept connections"),
        ("hangs", "DEADLINE_EXCEEDED"),
        ("resets", "UNAVAILABLE"),
        ("speaks HTTP", "UNAVAILABLE"),
        ("another server", "belongs to another server"),
        ("another service", "UNIMPLEMENTED"),
        ("forbidden over gRPC", "PERMISSION_DENIED"),
        ("forbidden over REST", "does not tell whether"),
        ("a path", "the URL has a path"),
    ],
)
def test_documents_go_over_rest_if_the_grpc_port_is_no_use(
    kind: Kind, rest: FaultyServer, node: GrpcNode, caplog: pytest.LogCaptureFixture, what: str, reason: str
) -> None:
    caplog.set_level(logging.INFO, "colbert_qdrant")
    port, path = node.port, ""
    with ExitStack() as running:
        if what == "closed":
            port = unused_port()
        elif what in ("hangs", "resets"):
            port = running.enter_context(standing("never answers" if what == "hangs" else "resets")).port
        elif what == "speaks HTTP":
            port = rest.port
        elif what == "another server":
            node.peer = 8
        elif what == "another service":
            port = running.enter_context(serving_grpc(Server())).port
        elif what == "forbidden over gRPC":
            node.failure = (grpc.StatusCode.PERMISSION_DENIED, "Forbidden")
        elif what == "forbidden over REST":
            rest.cluster = None
        else:
            path = "/prefix"
        seconds = ingest(kind, rest, port, path=path)
    assert_all_over_rest(rest, caplog, reason)
    assert node.upserts == []
    assert seconds < 3


def test_a_port_that_dies_in_the_middle_is_given_up(
    kind: Kind, rest: FaultyServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "colbert_qdrant")
    node, ended = GrpcNode(), ExitStack()
    ended.enter_context(serving_grpc(node))

    def fail() -> None:
        if len(node.upserts) == 2:
            node.error = (grpc.StatusCode.UNAVAILABLE, "shutting down")

    node.before = fail
    ingest(kind, rest, node.port)
    ended.close()
    assert len(node.upserts) == 2
    assert sorted([*node.ids, *rest.ledger]) == sorted(IDS)
    said = [each for each in caplog.records if "documents are sent over REST" in each.getMessage()]
    assert [each.levelname for each in said] == ["WARNING"]
    assert str(node.port) in said[0].getMessage()


def test_a_port_that_is_back_is_used_again(
    kind: Kind, rest: FaultyServer, node: GrpcNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice, "_AGAIN_SECONDS", 0.0)
    node.script = [(grpc.StatusCode.UNAVAILABLE, "restarting", False)]
    ingest(kind, rest, node.port)
    assert sorted(node.ids) == sorted(IDS)
    assert node.asked == 2


def test_many_writers_ask_once(rest: FaultyServer, node: GrpcNode) -> None:
    with connect_to(rest, node) as docs, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda document: docs.upsert([document]), DOCUMENTS[:20]))
    assert len(node.ids) == 20
    assert node.asked == 1


def test_many_tasks_ask_once(rest: FaultyServer, node: GrpcNode) -> None:
    async def write() -> None:
        client = connect_async(f"http://127.0.0.1:{rest.port}", grpc_port=node.port, timeout=5)
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        await asyncio.gather(*(docs.upsert([document]) for document in DOCUMENTS[:20]))
        await client.close()

    asyncio.run(write())
    assert len(node.ids) == 20
    assert node.asked == 1


def test_one_attempt_is_enough_if_rest_works(rest: FaultyServer, node: GrpcNode) -> None:
    with connect_to(rest, node) as docs:
        docs.upsert(DOCUMENTS[:1])
        node.error = (grpc.StatusCode.UNAVAILABLE, "shutting down")
        docs.upsert(DOCUMENTS[1:2])
    assert node.ids == [point_id(DOCUMENTS[0].id)]
    assert list(rest.ledger) == [point_id(DOCUMENTS[1].id)]


class connect_to:  # noqa: N801 - used as a function
    """A new collection over both protocols, without retries."""

    def __init__(self, rest: FaultyServer, node: GrpcNode, **options: Any) -> None:
        self.client = connect(f"http://127.0.0.1:{rest.port}", grpc_port=node.port, timeout=5, **options)

    def __enter__(self) -> ColbertCollection:
        retry = RetryConfig(attempts=1)
        return ColbertCollection.create("docs", client=self.client, encoder=WordEncoder(), config=CONFIG, retry=retry)

    def __exit__(self, *_: object) -> None:
        self.client.close()


def test_what_the_server_refuses_over_grpc_is_not_sent_over_rest(rest: FaultyServer, node: GrpcNode) -> None:
    node.error = (grpc.StatusCode.PERMISSION_DENIED, "Forbidden")
    with connect_to(rest, node) as docs, pytest.raises(AuthenticationError, match="PERMISSION_DENIED"):
        docs.upsert(DOCUMENTS[:1])
    assert rest.ledger == {}


def test_the_key_goes_to_both_ports(rest: FaultyServer, node: GrpcNode) -> None:
    with connect_to(rest, node, api_key="opensesame") as docs:
        docs.upsert(DOCUMENTS[:1])
    assert node.metadata["authorization"] == "Bearer opensesame"
    assert {head["authorization"] for head in rest.heads} == {"Bearer opensesame"}


def test_nothing_is_asked_before_the_first_write(rest: FaultyServer, node: GrpcNode) -> None:
    with connect_to(rest, node) as docs:
        assert docs.search("river") == []
        assert docs.count() == 0
    assert (node.asked, node.heads) == (0, [])


def test_a_node_of_the_same_cluster_may_answer(rest: FaultyServer, node: GrpcNode) -> None:
    node.peer = 9
    rest.cluster = cluster_of(Active=1) | {
        "remote_shards": [{"shard_id": 0, "peer_id": 9, "state": "Active"}],
    }
    with connect_to(rest, node) as docs:
        docs.upsert(DOCUMENTS[:1])
    assert node.ids


def test_a_forked_process_uses_rest(rest: FaultyServer, node: GrpcNode, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect_to(rest, node) as docs:
        docs.upsert(DOCUMENTS[:1])
        monkeypatch.setattr(os, "getpid", lambda: -1)
        docs.upsert(DOCUMENTS[1:2])
        monkeypatch.undo()
    assert list(rest.ledger) == [point_id(DOCUMENTS[1].id)]


@pytest.mark.parametrize("value", ["rest", None, 1, []])
def test_an_unknown_preference_is_refused(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"prefer_grpc must be 'auto', True or False, got"):
        connect("http://localhost", prefer_grpc=value)


@pytest.mark.parametrize("prefer_grpc", [True, False])
def test_a_chosen_protocol_stays(rest: FaultyServer, node: GrpcNode, prefer_grpc: bool) -> None:
    rest.greeting = [failing(500)] if prefer_grpc else []
    with connect_to(rest, node, prefer_grpc=prefer_grpc) as docs:
        docs.upsert(DOCUMENTS[:1])
    assert bool(node.ids) == prefer_grpc
    assert bool(rest.ledger) != prefer_grpc
    assert node.asked == 0
