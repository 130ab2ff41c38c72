"""Migrations of what is not as it should be, and by who asks for what cannot be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant import EdgeClient, Migration
from colbert_qdrant.migrate import MigrationPlan
from tests.migrations import FDE, SentenceEncoder, everything, require_kept
from tests.writers.common import COUNT, DIM, dense, texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from colbert_qdrant.qdrant import Client

TEXTS = texts(COUNT)
DENSE = models.VectorParams(size=DIM, distance=models.Distance.DOT)


@pytest.fixture(params=["memory", "edge"])
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Client]:
    client = QdrantClient(":memory:") if request.param == "memory" else EdgeClient(tmp_path / "store")
    yield client
    client.close()


def point(number: int, text: str | None = None) -> models.PointStruct:
    text = text or TEXTS[number % COUNT]
    return models.PointStruct(id=number, vector={"dense": dense(text)}, payload={"text": text, "number": number})


@pytest.fixture
def source(client: Client) -> Client:
    client.create_collection("docs", vectors_config={"dense": DENSE})
    client.upsert("docs", [point(number) for number in range(COUNT)])
    return client


def planned(client: Client, **more: Any) -> Migration:
    return Migration.plan(client, "docs", "new", **{"encoder": SentenceEncoder(), "fde": FDE, **more})


def test_a_filter_by_what_is_not_among_values(source: Client) -> None:
    others = models.FieldCondition(key="number", match=models.MatchExcept(**{"except": [1, 2]}))
    migration = planned(source, filter=models.Filter(must=[others]))
    migration.run()
    assert migration.verify().passed
    assert {*everything(source, "new")} == {*range(COUNT)} - {1, 2}
    plan = MigrationPlan.from_dict(json.loads(json.dumps(migration.to_dict())))
    assert plan.filter == models.Filter(must=[others])
    assert plan.same_as(migration.details)


def test_a_function_that_takes_texts_out_of_payloads(source: Client) -> None:
    migration = planned(source, text=lambda payload: payload.pop("text", None))
    migration.run()
    assert migration.verify().passed
    require_kept(everything(source, "docs"), everything(source, "new"))
