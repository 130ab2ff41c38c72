"""Migrations on a server that builds graphs meanwhile, or puts them off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from colbert_qdrant import ConfigurationError, NotReadyError
from tests.faults.migrating import check_migrated, contents, filled, planned, stand_for
from tests.faults.reporter import Reporter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdrant_client import QdrantClient

    from tests.faults.engine import EngineServer


@pytest.fixture
def remote(engine: EngineServer) -> Iterator[QdrantClient]:
    with filled(engine.port, count=16) as client:
        yield client


def build_graphs_after(engine: EngineServer, request: str) -> None:
    """From such a request on, collections are yellow when they are asked the next few times."""

    def fault(method: str, path: str, body: Any) -> None:
        if path.endswith(request):
            engine.status = ["yellow"] * 3

    engine.fault = fault


def test_run_verify_switch_while_the_target_builds_graphs(engine: EngineServer, remote: QdrantClient) -> None:
    stand_for(remote, "live", "docs")
    migration = planned(remote, "computed")
    migration.run()
    build_graphs_after(engine, "count")
    reporter = Reporter()
    verdict = migration.verify(queries=3, progress=reporter)
    assert verdict.passed, verdict.reasons
    assert not engine.status
    assert len(reporter.totals) == reporter.stopped == 2
    migration.switch("live")
    assert {each.alias_name: each.collection_name for each in remote.get_aliases().aliases} == {"live": "new"}


def test_a_target_that_is_grey_after_a_restart_is_woken(engine: EngineServer, remote: QdrantClient) -> None:
    migration = planned(remote, "computed")
    migration.run()
    engine.asleep = True
    verdict = migration.verify(queries=3)
    assert verdict.passed, verdict.reasons
    assert not engine.asleep


def test_graphs_that_are_not_built_in_time(engine: EngineServer, remote: QdrantClient) -> None:
    migration = planned(remote, "computed")
    migration.run()
    build_graphs_after(engine, "count")
    verdict = migration.verify(queries=3, timeout=0)
    assert [reason for reason in verdict.reasons if "yellow" in reason and "0 s; verify(timeout=…) waits" in reason]
    engine.fault = lambda method, path, body: None
    engine.status = ["red"] * 1000
    assert any("red" in reason and "log" in reason for reason in migration.verify(queries=3).reasons)
    with pytest.raises(ConfigurationError, match="timeout must be a number of at least 0, got nan"):
        migration.verify(timeout=float("nan"))


@pytest.mark.parametrize("asleep", [True, False])
def test_in_place_a_run_waits_for_graphs(engine: EngineServer, remote: QdrantClient, asleep: bool) -> None:
    before = contents(remote, "docs")
    engine.asleep, engine.status = asleep, ["yellow"] * 4
    migration = planned(remote, "in place")
    assert not migration.details.blocked
    assert any("run() to wait" in risk.remedy for risk in migration.details.risks)
    migration.run()
    assert not engine.asleep
    assert not engine.status
    assert migration.verify(queries=3).passed
    check_migrated(remote, "in place", before)


def test_in_place_nothing_is_added_to_a_collection_that_gave_up(engine: EngineServer, remote: QdrantClient) -> None:
    migration = planned(remote, "in place")
    engine.status = ["red"] * 1000
    with pytest.raises(NotReadyError, match="is red, but vectors can be added safely only to a green collection"):
        migration.run()
    assert not any("/vectors/" in path for _, path, _ in engine.log)
