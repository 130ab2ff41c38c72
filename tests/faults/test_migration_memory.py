"""Migrations of large payloads: no request asks for more of them than fit into some bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qdrant_client import models

from colbert_qdrant.migrate import sample
from colbert_qdrant.points import page_size
from tests.faults.migrating import on_server, planned

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdrant_client import QdrantClient

    from tests.faults.engine import EngineServer

POINTS, LARGE, PAGE = 60, 10_000, 60_000


@pytest.fixture
def remote(engine: EngineServer) -> Iterator[QdrantClient]:
    client = on_server(engine.port)
    params = models.VectorParams(size=4, distance=models.Distance.DOT)
    client.create_collection("docs", vectors_config={"dense": params})
    points = [
        models.PointStruct(
            id=number,
            vector={"dense": [1.0] * 4},
            payload={"document": f"the river runs past {number}", "blob": "z" * LARGE},
        )
        for number in range(POINTS)
    ]
    client.upsert("docs", points)
    yield client
    client.close()


def test_pages_are_bounded_by_bytes(
    engine: EngineServer, remote: QdrantClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_size, "PAGE_BYTES", PAGE)
    engine.log.clear()
    migration = planned(remote, "computed")
    migration.run()
    assert migration.verify(queries=3).passed
    migration.run()  # which compares all that is there
    planned(remote, "in place").run()
    asked = [
        len(body["ids"]) if "ids" in body else body["limit"]
        for _, path, body in engine.log
        if path.endswith(("/points", "/scroll")) and body.get("with_payload") is True
    ]
    assert max(asked) <= PAGE / LARGE
    assert sum(asked) >= 5 * POINTS


def test_a_sample_of_large_points_is_small(remote: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_size, "PAGE_BYTES", 5 * LARGE)
    monkeypatch.setattr(sample, "_BYTES", 5 * LARGE)
    assert 5 <= planned(remote, "computed").details.costs.sample <= 10
    monkeypatch.setattr(sample, "_BYTES", 100 * LARGE)
    assert planned(remote, "computed").details.costs.sample == 32
