"""A migration that is killed at any point is gone on with by another process: nothing is lost, doubled or half done."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.engine import EngineServer
from tests.faults.migrating import (
    Kind,
    check_aliases,
    check_migrated,
    contents,
    fill,
    killed,
    on_server,
    planned,
    resumed,
    step,
    work_on_server,
)
from tests.faults.server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGKILL = -9


def reset(server: EngineServer) -> None:
    for name in list(server.local.collections):
        server.local.delete_collection(name)
    server.local.aliases.clear()
    client = on_server(server.port)
    fill(client)
    client.create_payload_index("docs", "meta.n", "integer")
    client.close()
    server.log.clear()


def kill(server: EngineServer, kind: Kind, what: str, number: int, *, done: bool) -> None:
    """Have a process do a step, and the server kill it at a request of that number."""
    server.log.clear()
    server.deadly = (number, done)

    def deadly(process: Any) -> None:
        server.victim = lambda: process.pid

    assert killed(work_on_server, server.port, kind, what, deadly=deadly) == SIGKILL
    server.deadly = None


def requests_of(server: EngineServer, kind: Kind, what: str) -> int:
    server.log.clear()
    client = on_server(server.port)
    step(client, kind, what)
    client.close()
    return len(server.log)


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineServer]:
    with serving(EngineServer()) as running:
        yield running


@pytest.mark.parametrize("kind", ["computed", "fitted", "in place", "in place, fitted"])
def test_a_run_that_is_killed_is_gone_on_with(engine: EngineServer, kind: Kind) -> None:
    reset(engine)
    most = requests_of(engine, kind, "run")
    draw = random.Random(kind)
    for number in sorted(draw.sample(range(1, most + 1), 6)):
        done = draw.random() < 0.5
        reset(engine)
        client = on_server(engine.port)
        before = contents(client, "docs")
        kill(engine, kind, "run", number, done=done)
        kept = contents(client, "docs")
        assert set(kept) == set(before)
        again = resumed if draw.random() < 0.5 and is_begun(client, kind) else planned
        migration = again(client, kind)
        migration.run()
        verdict = migration.verify()
        assert verdict.passed, (number, done, verdict.reasons)
        check_migrated(client, kind, before)
        client.close()


def is_begun(client: Any, kind: Kind) -> bool:
    name = "docs" if kind.startswith("in place") else "new"
    if not client.collection_exists(name):
        return False
    return "colbert_qdrant_migration" in (client.get_collection(name).config.metadata or {})
