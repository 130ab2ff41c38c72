"""A write that a server applies when nobody waits for it any more does not undo a later one."""

from __future__ import annotations

import asyncio
import os
from contextlib import closing, contextmanager
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
from grpc import StatusCode

from colbert_qdrant import (
    AsyncColbertCollection,
    ColbertCollection,
    Document,
    InvalidDocumentError,
    Migration,
    RequestError,
    RetryConfig,
    connect,
    connect_async,
)
from colbert_qdrant.engines.order import Writer
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.points.ids import point_id
from colbert_qdrant.points.stamp import STAMP
from tests.encoders import WordEncoder
from tests.faults.engine import EngineServer
from tests.faults.grpc_engine import GrpcEngine
from tests.faults.server import Answer, failing, serving
from tests.faults.test_http import CONFIG
from tests.grpc_server import serving as serving_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colbert_qdrant.points.point import Point

ENCODER = WordEncoder()
RETRY = RetryConfig(attempts=2, first_wait=0.001, longest_wait=0.002, deadline=0.2)


class LateServer(EngineServer):
    """Keeps writes and does not answer; applies them when it is told to.

    Attributes:
        holding: How many of the next writes it keeps.
        kept: Set when it keeps one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.holding = 0
        self.held: list[tuple[str, Any]] = []
        self.kept = Event()
        self.fault = self._hold

    def _hold(self, method: str, path: str, body: Any) -> Answer | None:
        if method != "PUT" or not path.endswith("/points") or not self.holding:
            return None
        self.holding -= 1
        self.held.append((path, body))
        self.kept.set()
        return Answer(cut=0)

    def apply(self) -> None:
        for path, body in self.held:
            self._rightly("PUT", path, body)


class LateGrpcServer(GrpcEngine):
    """The same over gRPC."""

    def __init__(self, engine: EngineServer) -> None:
        super().__init__(engine)
        self.holding = 0
        self.held: list[Any] = []

    def Upsert(self, request: Any, context: Any) -> Any:  # noqa: N802 - a name of the protocol
        if self.holding:
            self.holding -= 1
            self.held.append(request)
            context.abort(StatusCode.DEADLINE_EXCEEDED, "too late")
        return super().Upsert(request, context)

    def apply(self) -> None:
        for request in self.held:
            super().Upsert(request, None)


@contextmanager
def running(*, grpc: bool = False, version: str = "1.19.0") -> Iterator[tuple[Any, ColbertCollection]]:
    with serving(LateServer()) as rest, serving_grpc(LateGrpcServer(rest)) as late:
        url, rest.version = f"http://127.0.0.1:{rest.port}", version
        with closing(connect(url, prefer_grpc=grpc, grpc_port=late.port)) as client:
            docs = ColbertCollection.create("docs", client=client, encoder=ENCODER, config=CONFIG, retry=RETRY)
            yield (late if grpc else rest), docs


def document(id: str, version: int) -> Document:
    return Document(id, "river", {"version": version, "kind": "water"})


def version_of(docs: ColbertCollection, id: str) -> int:
    return int(docs.get(id)[0].payload["version"])


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
def test_a_later_write_wins_over_one_that_failed(grpc: bool) -> None:
    with running(grpc=grpc) as (server, docs):
        docs.upsert([document("a", 0), document("b", 0)])
        server.holding = 1_000_000
        with pytest.raises(RequestError, match="may still apply the write"):
            docs.upsert([document("a", 1), document("b", 1), document("new", 1)])
        server.holding = 0
        docs.upsert([document("a", 2), document("new", 2)])
        server.apply()
        assert [version_of(docs, id) for id in ("a", "b", "new")] == [2, 1, 2]  # what nobody wrote again is applied
        docs.upsert([document("a", 3)])
        server.apply()
        assert version_of(docs, "a") == 3


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
def test_a_later_write_wins_over_an_attempt_that_another_one_made_good(grpc: bool) -> None:
    with running(grpc=grpc) as (server, docs):
        server.holding = 1
        docs.upsert([document("a", 1)])
        assert len(server.held) == 1
        server.apply()
        assert version_of(docs, "a") == 1  # once more the same
        docs.upsert([document("a", 2)])
        server.apply()
        assert version_of(docs, "a") == 2


def test_a_later_write_wins_over_one_that_was_cancelled() -> None:
    async def run(server: LateServer) -> list[Document]:
        client = connect_async(f"http://127.0.0.1:{server.port}")
        retry = replace(RETRY, deadline=60, first_wait=60, longest_wait=60)
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=ENCODER, config=CONFIG, retry=retry)
        server.holding = 1
        begun = asyncio.create_task(docs.upsert([document("a", 1)]))
        await asyncio.to_thread(server.kept.wait, 10)
        begun.cancel()
        with pytest.raises(asyncio.CancelledError):
            await begun
        await docs.upsert([document("a", 2)])
        server.apply()
        found = await docs.get("a")
        await client.close()
        return found

    with serving(LateServer()) as server:
        assert asyncio.run(run(server)) == [document("a", 2)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_process_is_another_writer() -> None:
    async def ignored(points: Sequence[Point], only: Any) -> None:
        names.append(only.must_not[0].must[0].match.value)

    async def write() -> None:
        await writer.begin("docs", [], ignored)()

    names: list[str] = []
    writer, read, written = Writer(), *os.pipe()
    run_blocking(write())
    if os.fork() == 0:
        run_blocking(write())
        os.write(written, names[1].encode())
        os._exit(0)
    os.close(written)
    run_blocking(write())
    with os.fdopen(read) as pipe:
        assert names[0] == names[1] != pipe.read() != ""
    os.wait()


def test_nobody_sees_the_stamp() -> None:
    with running() as (server, docs):
        server.holding = 1
        docs.upsert([document("a", 1), document("b", 1)])
        docs.upsert([document("a", 2), document("c", 2)])
        assert [stamp_of(server, id) is not None for id in ("a", "b", "c")] == [True, False, False]
        payload = {"version": 2, "kind": "water"}
        server.indexes["docs"]["kind"] = "keyword"
        assert docs.get("a")[0].payload == payload
        assert {hit.id: hit.payload for hit in docs.search("river")}["a"] == payload
        assert {hit.id: hit.payload for hit in docs.more_like("b")}["a"] == payload
        (group,) = docs.search_groups("river", group_by="kind", group_size=3)
        assert {hit.id: hit.payload for hit in group.hits}["a"] == payload
        client: Any = docs._opened.engine.client
        migration = Migration.plan(client, "docs", "copy", encoder=ENCODER)
        migration.run()
        assert stamp_of(server, "a", collection="copy") is None
        with pytest.raises(InvalidDocumentError, match=rf"'d': payload key '{STAMP}' is reserved"):
            docs.upsert([Document("d", "river", {STAMP: {}})])


def test_points_carry_nothing_and_no_request_is_sent_for_it() -> None:
    requests = {}
    for conditions in (True, False):
        with running() as (server, docs):
            server.strict["docs"] = {"enabled": True, "unindexed_filtering_update": conditions}
            client: Any = docs._opened.engine.client
            same = ColbertCollection.open("docs", client=client, encoder=ENCODER)
            before = len(server.log)
            same.upsert([document("a", 1)])
            same.upsert([document("a", 2)])
            assert stamp_of(server, "a") is None
            requests[conditions] = [(method, path) for method, path, _ in server.log[before:]]
            assert ("update_filter" in server.log[-1][2]) is conditions
    assert requests[True] == requests[False]


def test_older_servers_get_no_conditions() -> None:
    with running(version="1.15.5") as (server, docs):
        docs.upsert([document("a", 1)])
        assert not any("update_filter" in body for _, _, body in server.log)


@pytest.mark.parametrize(
    "strict",
    [{"unindexed_filtering_update": False}, {"filter_max_conditions": 1}, {"write_rate_limit": 1_000}],
    ids=lambda strict: next(iter(strict)),
)
def test_where_conditions_are_not_allowed_none_are_sent(strict: dict[str, Any]) -> None:
    with running() as (server, docs):
        docs.upsert([document("a", 1)])
        assert "update_filter" in server.log[-1][2]
        server.strict["docs"] = {"enabled": True, **strict}
        server.fault = lambda method, path, body: (
            failing(400, 'Bad request: Index required but not found for "writer"') if "update_filter" in body else None
        )
        docs.upsert([document("a", 2)])  # the limits are others than when the collection was opened
        assert version_of(docs, "a") == 2
        assert [method for method, _, body in server.log if "update_filter" in body] == ["PUT", "PUT"]
        client: Any = docs._opened.engine.client
        ColbertCollection.open("docs", client=client, encoder=ENCODER).upsert([document("a", 3)])
        assert [method for method, _, body in server.log if "update_filter" in body] == ["PUT", "PUT"]


def stamp_of(server: EngineServer, id: str, *, collection: str = "docs") -> Any:
    """What a point carries, as it is stored."""
    (record,) = server.local.retrieve(collection, [point_id(id)])
    return (record.payload or {}).get(STAMP)
