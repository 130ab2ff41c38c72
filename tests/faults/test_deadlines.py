"""No call takes longer than its deadline, whatever the server does; nothing of it is sent or left open afterwards."""

from __future__ import annotations

import asyncio
import math
import socket
import threading
import time
from contextlib import closing
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import pytest
from qdrant_client import models

from colbert_qdrant import (
    AsyncColbertCollection,
    AsyncMigration,
    ColbertCollection,
    ColbertQdrantError,
    CollectionConfig,
    Migration,
    MuveraConfig,
    RequestError,
    RequestTimeoutError,
    RetryConfig,
    attach,
    attach_async,
    connect,
    connect_async,
)
from colbert_qdrant.engines import async_engine, blocking_engine
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.points.point import Point
from tests.encoders import WordEncoder
from tests.faults.door import Door, Fault, standing
from tests.faults.engine import EngineServer
from tests.faults.server import serving
from tests.faults.test_http import CONFIG, DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE = 0.3
RETRY = RetryConfig(first_wait=0.01, longest_wait=0.02, deadline=DEADLINE)
FITTED = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2, center=True))
ENCODER = WordEncoder()
NEW: dict[str, Any] = {"encoder": ENCODER, "retry": RETRY}

REQUEST = models.QueryRequest(query=[0.5] * 16, using="fde", limit=9)

OF_COLLECTIONS: dict[str, Callable[[Any], Any]] = {
    "upsert": lambda docs: docs.upsert(DOCUMENTS),
    "ingest": lambda docs: docs.ingest(DOCUMENTS),
    "get": lambda docs: docs.get(["d1", "d2"]),
    "delete": lambda docs: docs.delete(ids="d1"),
    "delete where": lambda docs: docs.delete(where={"year": 2020}),
    "set_payload": lambda docs: docs.set_payload({"year": 2020}, ids="d1"),
    "delete_payload": lambda docs: docs.delete_payload("year", where={"year": 2020}),
    "count": lambda docs: docs.count(),
    "check": lambda docs: docs.check(),
    "repair": lambda docs: docs.repair(),
    "info": lambda docs: docs.info(),
    "wait_until_ready": lambda docs: docs.wait_until_ready(timeout=DEADLINE),
    "drop": lambda docs: docs.drop(),
    "search": lambda docs: docs.search("river"),
    "search_batch": lambda docs: docs.search_batch(["river", "bridge"]),
    "search_groups": lambda docs: docs.search_groups("river", group_by="year"),
    "more_like": lambda docs: docs.more_like("d1"),
}
OF_CLIENTS: dict[str, Callable[[Any, Any], Any]] = {
    "create": lambda of, client: of.collection.create("new", client=client, config=CONFIG, **NEW),
    "open": lambda of, client: of.collection.open("docs", client=client, **NEW),
    "open_or_create": lambda of, client: of.collection.open_or_create("docs", client=client, config=CONFIG, **NEW),
    "attach": lambda of, client: of.attach(client, "docs", **NEW).search("river", REQUEST, limit=5),
    "plan": lambda of, client: of.migration.plan(client, "docs", **NEW),
}
BLOCKING = SimpleNamespace(collection=ColbertCollection, migration=Migration, attach=attach)
AWAITED = SimpleNamespace(collection=AsyncColbertCollection, migration=AsyncMigration, attach=attach_async)

faults = pytest.mark.parametrize("fault", get_args(Fault))


@pytest.fixture(scope="module")
def server() -> Iterator[EngineServer]:
    with serving(EngineServer()) as running:
        with closing(connect(f"http://127.0.0.1:{running.port}")) as client:
            for name, config in (("docs", CONFIG), ("fitted", FITTED)):
                ColbertCollection.create(name, client=client, encoder=ENCODER, config=config)
        yield running


@faults
@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
def test_calls_end_in_time(server: EngineServer, fault: Fault, grpc: bool) -> None:
    outcomes: dict[str, Outcome] = {}

    def run(name: str, call: Callable[[], Any]) -> None:
        started = time.monotonic()
        with pytest.raises(ColbertQdrantError) as caught:
            call()
        outcomes[name] = Outcome(type(caught.value), time.monotonic() - started)

    with closing(connect(f"http://127.0.0.1:{server.port}")) as client, standing(fault) as door:
        faulty = connect(f"http://127.0.0.1:{door.port}", prefer_grpc=grpc, grpc_port=door.port, timeout=30)
        docs, fitted = (ColbertCollection.open(name, client=client, **NEW) for name in ("docs", "fitted"))
        for each in (docs, fitted):
            move(each, blocking_engine(faulty, retry=RETRY))
        calls = calls_of(BLOCKING, faulty, docs, fitted)
        before = threading.active_count()
        threads = [threading.Thread(target=run, args=item) for item in calls.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert_in_time(outcomes, calls)
        assert grpc or threading.active_count() <= before  # its channels are shared, and have threads of their own
        assert grpc or door.wait_until_left() == 0
        assert door.seen > 0
        faulty.close()


@faults
@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
def test_calls_that_are_awaited_end_in_time(server: EngineServer, fault: Fault, grpc: bool) -> None:
    outcomes: dict[str, Outcome] = {}

    async def run(name: str, call: Callable[[], Any]) -> None:
        started = time.monotonic()
        with pytest.raises(ColbertQdrantError) as caught:
            await call()
        outcomes[name] = Outcome(type(caught.value), time.monotonic() - started)

    async def run_all(door: Door) -> None:
        client = connect_async(f"http://127.0.0.1:{server.port}")
        faulty = connect_async(f"http://127.0.0.1:{door.port}", prefer_grpc=grpc, grpc_port=door.port, timeout=30)
        docs, fitted = [await AsyncColbertCollection.open(name, client=client, **NEW) for name in ("docs", "fitted")]
        for each in (docs, fitted):
            move(each, async_engine(faulty, retry=RETRY))
        calls = calls_of(AWAITED, faulty, docs, fitted)
        await asyncio.gather(*(run(*item) for item in calls.items()))
        assert_in_time(outcomes, calls)
        assert grpc or await asyncio.to_thread(door.wait_until_left) == 0
        await faulty.close()
        await client.close()

    with standing(fault) as door:
        asyncio.run(run_all(door))
        assert door.seen > 0


@pytest.mark.parametrize("awaited", [False, True], ids=["blocking", "awaited"])
def test_no_byte_is_sent_after_the_deadline(awaited: bool) -> None:
    """The operating system takes a whole write over at once, and would go on sending it when nobody waits any more."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**15)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(RequestTimeoutError, match="may still apply the write"):
            asyncio.run(upsert_awaited(url)) if awaited else upsert_blocking(url)
        connection, _ = listening.accept()
    with connection, connection.makefile("rb") as reader, pytest.raises(ConnectionResetError):
        reader.read(len(LARGE.payload["more"]) // 2)


LARGE = Point(id=1, vectors={}, payload={"more": "x" * 10**6})
"""So large that a server with a small buffer does not have it when the deadline is over."""


def upsert_blocking(url: str) -> None:
    with closing(connect(url)) as client:
        run_blocking(blocking_engine(client, retry=RETRY).upsert("docs", [LARGE]))


async def upsert_awaited(url: str) -> None:
    client = connect_async(url)
    try:
        await async_engine(client, retry=RETRY).upsert("docs", [LARGE])
    finally:
        await client.close()


class Outcome(NamedTuple):
    """How a call ended, and after how long."""

    error: type[Exception]
    seconds: float


def calls_of(of: Any, client: Any, docs: Any, fitted: Any) -> dict[str, Callable[[], Any]]:
    """All calls, with nothing to be given any more."""
    calls: dict[str, Callable[[], Any]] = {name: partial(call, docs) for name, call in OF_COLLECTIONS.items()}
    return (
        calls | {name: partial(call, of, client) for name, call in OF_CLIENTS.items()} | {"fit": partial(fit, fitted)}
    )


def fit(docs: Any) -> Any:
    return docs.fit(refit=True)


def move(docs: Any, engine: Any) -> None:
    """Have an open collection talk to another server, of whose version and collection it knows already."""
    engine._capabilities = docs._opened.engine._capabilities
    docs._opened.engine = engine
    docs._opened._asked = docs._opened._sure = math.inf  # it is not looked at before a write


def assert_in_time(outcomes: dict[str, Outcome], calls: dict[str, Any]) -> None:
    assert set(outcomes) == set(calls)
    assert {name: each for name, each in outcomes.items() if each.seconds > DEADLINE + 1} == {}
    odd = {name: each for name, each in outcomes.items() if not issubclass(each.error, RequestError)}
    assert set(odd) <= {"wait_until_ready"}  # which has a deadline of its own
