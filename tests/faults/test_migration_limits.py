"""Migrations of collections whose servers are in strict mode: they end right, or a plan says what to lift."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import models

from colbert_qdrant import CollectionConfig, MigrationError
from tests.faults.migrating import Kind, check_migrated, contents, filled, planned, stand_for
from tests.faults.server import Answer, failing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdrant_client import QdrantClient

    from tests.faults.engine import EngineServer

COUNT = 16


@pytest.fixture
def remote(engine: EngineServer) -> Iterator[QdrantClient]:
    with filled(engine.port, count=COUNT) as client:
        yield client


@pytest.mark.parametrize(
    "limits",
    [
        {"search_allow_exact": False},
        {"filter_max_conditions": 1},
        {"filter_max_conditions": 2, "condition_max_size": 2},
        {"max_query_limit": 3, "search_max_batchsize": 1},
        {"unindexed_filtering_retrieve": False, "unindexed_filtering_update": False},
        {"upsert_max_batchsize": 2},
        {"write_rate_limit": 5, "read_rate_limit": 600},
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("kind", ["computed", "in place"])
def test_limits_that_a_migration_keeps_to(
    engine: EngineServer, remote: QdrantClient, kind: Kind, limits: dict[str, Any]
) -> None:
    before = contents(remote, "docs")
    engine.strict["docs"] = {"enabled": True, **limits}
    stand_for(remote, "live", "docs")
    migration = planned(remote, kind)
    migration.run()
    remote.delete("docs", models.PointIdsList(points=[1]))
    del before[1]
    migration.run()
    verdict = migration.verify(queries=3)
    assert {check.name for check in verdict.checks if check.passed is False} <= {"untouched"}, verdict.reasons
    if kind == "computed":
        assert engine.strict["new"] == engine.strict["docs"]
        migration.switch("live")
        migration.rollback()
    engine.strict.clear()
    check_migrated(remote, kind, before)


def test_a_filter_that_a_migration_cannot_add_to(engine: EngineServer, remote: QdrantClient) -> None:
    engine.strict["docs"] = {"enabled": True, "filter_max_conditions": 1}
    some = models.Filter(must=[models.FieldCondition(key="meta.n", range=models.Range(lt=9))])
    migration = planned(remote, "computed", filter=some)
    engine.log.clear()
    with pytest.raises(MigrationError, match=r"filter_max_conditions.*strict_mode_config"):
        migration.run()
    assert not engine.log


def test_documents_that_are_too_long_for_the_server(engine: EngineServer, remote: QdrantClient) -> None:
    engine.strict["docs"] = {"enabled": True, "multivector_config": {"colbert": {"max_vectors": 2}}}
    migration = planned(remote, "in place")
    engine.log.clear()
    with pytest.raises(MigrationError, match=r"up to \d+ token vectors.* allows 2 .*pool.*strict_mode_config"):
        migration.run()
    assert not engine.log
    later = planned(remote, "computed")
    assert any("allows 2" in risk.problem and not risk.blocks for risk in later.details.risks)
    later.run()
    other = CollectionConfig(fde=later.details.config.fde, token_vector="tokens")
    assert not planned(remote, "in place", fde=None, config=other).details.blocked


def test_vectors_that_take_more_than_the_server_allows(engine: EngineServer, remote: QdrantClient) -> None:
    engine.strict["docs"] = {"enabled": True, "max_collection_vector_size_bytes": 5_000}
    migration = planned(remote, "in place")
    engine.log.clear()
    with pytest.raises(MigrationError, match=r"max_collection_vector_size_bytes=5,000.*strict_mode_config"):
        migration.run()
    assert not engine.log
    assert not planned(remote, "computed").details.blocked


def test_requests_are_halved_where_the_server_takes_small_ones_only(engine: EngineServer, remote: QdrantClient) -> None:
    before = contents(remote, "docs")

    def fault(method: str, path: str, body: Any) -> Answer | None:
        many = len(body.get("ids", ())) if isinstance(body, dict) else 0
        return failing(413, "Payload too large") if many > 3 else None

    engine.fault = fault
    migration = planned(remote, "computed")
    migration.run()
    assert migration.run().present == len(before)
    assert migration.verify(queries=3).passed
    check_migrated(remote, "computed", before)
