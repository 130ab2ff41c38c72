"""A migration that is killed at any point is gone on with by another process: nothing is lost, doubled or half done."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import models

from colbert_qdrant import EdgeClient
from colbert_qdrant.points.ids import RESERVED_POINT
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
    stand_for,
    step,
    work_in_edge,
    work_on_server,
)
from tests.processes import PROCESSES

if TYPE_CHECKING:
    from pathlib import Path

    from colbert_qdrant.engines import Client
    from tests.faults.engine import EngineServer

SIGKILL = -9


def reset(server: EngineServer) -> None:
    for name in list(server.local.collections):
        server.local.delete_collection(name)
    server.local.aliases.clear()
    client = on_server(server.port)
    fill(client)
    client.create_payload_index("docs", "meta.n", models.PayloadSchemaType.INTEGER)
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


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("computed", "1.15.5"),  # which keeps the state in a point
        ("computed", "1.19.1"),
        ("fitted", "1.19.1"),
        ("in place", "1.19.1"),
        ("in place, fitted", "1.19.1"),
    ],
)
def test_a_run_that_is_killed_is_gone_on_with(engine: EngineServer, kind: Kind, version: str) -> None:
    engine.version = version
    reset(engine)
    most = requests_of(engine, kind, "run")
    draw = random.Random(kind)
    for number in draw.sample(range(most // 3, most + 1), 4):
        done = draw.random() < 0.5
        reset(engine)
        client = on_server(engine.port)
        before = contents(client, "docs")
        kill(engine, kind, "run", number, done=done)
        assert unharmed(before, contents(client, "docs"))
        go_on(client, kind, before, draw)
        client.close()


def test_an_alias_stands_for_one_of_two_collections_whenever_a_switch_or_rollback_is_killed(
    engine: EngineServer,
) -> None:
    reset(engine)
    draw, client = random.Random(3), on_server(engine.port)
    stand_for(client, "live", "docs")
    before = contents(client, "docs")
    migration = planned(client, "computed")
    migration.run()
    assert migration.verify(queries=3).passed
    last = {what: requests_of(engine, "computed", what) for what in ("switch", "rollback")}
    for _ in range(4):
        for what, end in (("switch", "new"), ("rollback", "docs")):
            number = draw.randint(last[what] - 14, last[what])
            kill(engine, "computed", what, number, done=draw.random() < 0.5)
            check_aliases(client, {"live": {"docs", "new"}})
            step(client, "computed", what)
            assert check_aliases(client, {"live": {end}}) == {"live": end}
    state = (client.get_collection("new").config.metadata or {})["colbert_qdrant_migration"]
    assert state["switches"] == []
    check_migrated(client, "computed", before)
    client.close()


@pytest.mark.parametrize("kind", ["in place", "in place, fitted"])
def test_a_rollback_in_place_that_is_killed_is_ended_or_undone(engine: EngineServer, kind: Kind) -> None:
    draw = random.Random(kind)
    reset(engine)
    client = on_server(engine.port)
    before = contents(client, "docs")
    planned(client, kind).run()
    last = 8
    for round in range(3):
        kill(engine, kind, "rollback", draw.randint(7, 7 + last), done=draw.random() < 0.5)
        assert unharmed(before, contents(client, "docs"))
        if round % 2:
            go_on(client, kind, before, draw)
        else:
            if is_begun(client, kind):
                resumed(client, kind).rollback()
            assert contents(client, "docs") == before
            assert not client.get_collection("docs").config.metadata
            go_on(client, kind, before, draw)
    client.close()


@pytest.mark.parametrize("kind", ["computed", "fitted", "in place", "in place, fitted"])
def test_in_a_store(tmp_path: Path, kind: Kind) -> None:
    draw, shared = random.Random(kind), PROCESSES.Value("q", 0)
    ends: dict[str, int] = {}
    path = tmp_path / "store"
    for _ in range(3):
        with EdgeClient(path) as client:
            for each in client.get_collections().collections:
                client.delete_collection(each.name)
            fill(client)
            stand_for(client, "live", "docs")
            before = contents(client, "docs")
        for what in ("run", "rollback") if kind.startswith("in place") else ("run", "switch", "rollback"):
            deadly = draw.randint(ends[what] // 3, ends[what]) if ends.get(what) else 0
            code = killed(work_in_edge, str(path), kind, what, deadly, shared)
            assert code == (9 if deadly else 0), (kind, what, deadly)
            ends.setdefault(what, shared.value)
            with EdgeClient(path) as client:
                check_aliases(client, {"live": {"docs", "new"} if what != "run" else {"docs"}})
                assert unharmed(before, contents(client, "docs"))
                if deadly and what == "run":
                    go_on(client, kind, before, draw)
                elif what == "run":
                    assert resumed(client, kind).verify(queries=3).passed
                elif not kind.startswith("in place"):
                    step(client, kind, what)
                    check_aliases(client, {"live": {"new" if what == "switch" else "docs"}})
                    check_migrated(client, kind, before)
                elif is_begun(client, kind):
                    resumed(client, kind).rollback()
                    assert contents(client, "docs") == before


def unharmed(before: dict[Any, Any], now: dict[Any, Any]) -> bool:
    """Whether all that there was is there, whatever was added."""
    return set(before) == set(now) and all(
        payload == now[id][0] and named.items() <= now[id][1].items() for id, (payload, named) in before.items()
    )


def go_on(client: Client, kind: Kind, before: dict[Any, Any], draw: random.Random) -> None:
    """End what was killed, in one of the two ways."""
    again = resumed if is_begun(client, kind) and draw.random() < 0.5 else planned
    migration = again(client, kind)
    migration.run()
    verdict = migration.verify(queries=3)
    assert verdict.passed, verdict.reasons
    check_migrated(client, kind, before)


def is_begun(client: Client, kind: Kind) -> bool:
    name = "docs" if kind.startswith("in place") else "new"
    if not client.collection_exists(name):
        return False
    reserved = client.retrieve(name, [RESERVED_POINT])
    kept = client.get_collection(name).config.metadata or (reserved[0].payload if reserved else None)
    return "colbert_qdrant_migration" in (kept or {})
