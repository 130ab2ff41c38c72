"""Payloads and vectors that are changed without encoding, on servers with faults and over gRPC."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from colbert_qdrant import (
    ColbertCollection,
    CollectionConfig,
    DenseConfig,
    Document,
    MuveraConfig,
    RetryConfig,
    ServerError,
)
from tests.encoders import WordEncoder
from tests.faults.grpc_engine import GrpcEngine
from tests.faults.server import Answer, failing
from tests.grpc_server import connect, serving

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from tests.faults.engine import EngineServer

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2), dense={"meaning": DenseConfig(dim=2)})
DOCUMENTS = [Document(number, f"river {number}", {"n": number, "meta": {"a": 1}}) for number in range(5)]
ACKNOWLEDGED = {"result": {"operation_id": 1, "status": "acknowledged"}, "status": "ok", "time": 0.0}
FAST = RetryConfig(attempts=3, first_wait=0.001, longest_wait=0.002, deadline=20)


def filled(client: QdrantClient) -> ColbertCollection:
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=FAST)
    docs.upsert(Document(each.id, each.text, each.payload, vectors={"meaning": [1, 0]}) for each in DOCUMENTS)
    return docs


def change_and_check(docs: ColbertCollection) -> None:
    docs.set_payload({"b": [1, {"c": None}]}, key="meta", ids=[1, 99])
    docs.set_payload({"seen": True}, where={"n": {"gte": 3}})
    docs.delete_payload(["meta.a", "seen"], ids=[1, 4])
    docs.update_vectors("meaning", {2: [0, 1]})
    assert [dict(each.payload) for each in docs.get(range(5))] == [
        {"n": 0, "meta": {"a": 1}},
        {"n": 1, "meta": {"b": [1, {"c": None}]}},
        {"n": 2, "meta": {"a": 1}},
        {"n": 3, "meta": {"a": 1}, "seen": True},
        {"n": 4, "meta": {}},
    ]
    assert [list(each.vectors["meaning"]) for each in docs.get([1, 2])] == [[1, 0], [0, 1]]


def test_changes_over_grpc(engine: EngineServer) -> None:
    with serving(GrpcEngine(engine)) as running:
        client = connect(running.port)
        change_and_check(filled(client))
        client.close()


def test_changes_are_sent_again_until_they_are_applied(engine: EngineServer, remote: QdrantClient) -> None:
    docs, sent = filled(remote), list[str]()

    def failing_once(method: str, path: str, body: Any) -> Answer | None:
        if "/points/payload" not in path and "/points/vectors" not in path:
            return None
        sent.append(path)
        if len(sent) % 3 == 1:
            return failing(503, "no leader")
        return Answer(body=json.dumps(ACKNOWLEDGED).encode()) if len(sent) % 3 == 2 else None

    engine.fault = failing_once
    change_and_check(docs)
    assert len(sent) % 3 == 0


def test_a_change_whose_outcome_is_unknown_says_so(engine: EngineServer, remote: QdrantClient) -> None:
    docs = filled(remote)
    engine.fault = lambda method, path, body: failing(500, "replicas failed") if "payload" in path else None
    with pytest.raises(ServerError, match="The server may still apply the write"):
        docs.set_payload({"x": 1}, ids=1)
    with pytest.raises(ServerError, match="The server may still apply the write"):
        docs.delete_payload("n", ids=1)
    engine.fault = lambda method, path, body: None
    assert docs.get(1)[0].payload == DOCUMENTS[1].payload
