"""Numbers that engines return changed are the same in a copy: floats of 16 and 17 digits, and lengths under cosine."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant import ColbertCollection, Migration, MuveraConfig
from colbert_qdrant.points.digests import Snapshot, is_same_payload
from tests.contract.migration.awaited import both_ways
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from pathlib import Path

    from colbert_qdrant import EdgeClient
    from colbert_qdrant.engines import Client

FDE = MuveraConfig(k_sim=5, dim_proj=16, r_reps=8)
COUNT = 60
RANDOM = random.Random(1)
PAYLOADS: list[dict[str, Any]] = [
    {
        "text": text,
        "score": RANDOM.random(),
        "place": {"lon": RANDOM.uniform(-180, 180), "lat": RANDOM.uniform(-90, 90)},
        "list": [RANDOM.random() * 10.0 ** RANDOM.randint(-30, 30) for _ in range(4)],
    }
    for text in random_texts(COUNT, words=(4, 9))
]


def write(client: Client, *numbers: int) -> None:
    points = [models.PointStruct(id=n, vector={"a": [1.0, float(n)]}, payload=PAYLOADS[n]) for n in numbers]
    client.upsert("docs", points, wait=True)


def planned(client: Client, **more: Any) -> Migration:
    client.create_collection("docs", vectors_config={"a": models.VectorParams(size=2, distance=models.Distance.DOT)})
    write(client, *range(COUNT - 1))
    return Migration.plan(client, "docs", "target", encoder=WordEncoder(), fde=FDE, **more)


@both_ways("memory", "edge")
def test_a_migration_ends_and_is_switched_to(client: Client) -> None:
    migration = planned(client)
    assert migration.run().points == COUNT - 1
    assert migration.run().points == 0
    assert migration.verify(queries=3).passed
    write(client, COUNT - 1)
    migration.switch("docs-alias")
    docs = ColbertCollection.open("docs-alias", client=client, encoder=WordEncoder())
    assert docs.count() == COUNT
    (document,) = docs.get(COUNT - 1)
    assert is_same_payload(document.payload, PAYLOADS[COUNT - 1])
    migration.cleanup(confirm=lambda _: True)
    assert not client.collection_exists("docs")


def test_into_an_embedded_engine(local: QdrantClient, edge: EdgeClient) -> None:
    migration = planned(local, target_client=edge)
    migration.run()
    assert migration.run().points == 0
    assert migration.verify(queries=3).passed


def test_a_number_that_is_another_is_noticed(local: QdrantClient, edge: EdgeClient) -> None:
    migration = planned(local, target_client=edge)
    migration.run()
    edge.set_payload("target", {"score": PAYLOADS[7]["score"] * (1 + 1e-11)}, points=[7])
    (check,) = [each for each in migration.verify(queries=3).checks if each.name == "payloads"]
    assert check.passed is False
    assert "1 point with a different payload (7)" in check.detail


def test_a_copy_is_known_by_its_payload_but_for_last_digits(edge: EdgeClient) -> None:
    edge.create_collection("docs", vectors_config={"a": models.VectorParams(size=2, distance=models.Distance.DOT)})
    write(edge, *range(COUNT))
    stored = edge.retrieve("docs", ids=[*range(COUNT)])
    assert any(record.payload != PAYLOADS[int(record.id)] for record in stored)
    snapshot = Snapshot([])
    snapshot.add([models.Record(id=n, payload=payload) for n, payload in enumerate(PAYLOADS)])
    assert all(map(snapshot.is_as_copied, stored))
    other = {**PAYLOADS[7], "score": PAYLOADS[7]["score"] * (1 + 1e-10)}
    assert not snapshot.is_as_copied(models.Record(id=7, payload=other))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"a": 0.1}, {"a": 0.10000000000000002}, True),
        ({"a": [1.5, {"b": 1e300}]}, {"a": [1.5, {"b": 1.0000000000000002e300}]}, True),
        ({"a": 0.1}, {"a": 0.1000000000001}, False),
        ({"a": 1}, {"a": 1.0}, False),
        ({"a": True}, {"a": 1}, False),
        ({"a": 2**53 + 1}, {"a": 2**53}, False),
        ({"a": 0.1}, {"a": 0.1, "b": None}, False),
        ({"a": [0.1]}, {"a": [0.1, 0.1]}, False),
        ({"a": "0.1"}, {"a": "0.10"}, False),
    ],
)
def test_only_the_last_digits_of_floats_may_differ(one: Any, other: Any, *, same: bool) -> None:
    assert is_same_payload(one, other) is same


def test_a_length_that_cosine_ignores_is_no_difference(tmp_path: Path, edge: EdgeClient) -> None:
    """The client's local mode returns vectors unnormalized once its folder is reopened."""
    params = models.VectorParams(size=2, distance=models.Distance.COSINE)
    writer = QdrantClient(path=str(tmp_path / "local"))
    writer.create_collection("docs", vectors_config={"a": params})
    write(writer, *range(10))
    writer.close()
    reader = QdrantClient(path=str(tmp_path / "local"))
    for client, target_client in ((reader, None), (reader, edge)):
        migration = Migration.plan(
            client, "docs", "target", encoder=WordEncoder(), fde=FDE, target_client=target_client
        )
        migration.run()
        assert migration.run().points == 0
        assert migration.verify(queries=3).passed
        other = models.PointVectors(id=3, vector={"a": [3.0, -1.0]})
        (target_client or client).update_vectors("target", [other])
        assert not migration.verify(queries=3).passed
    reader.close()
