"""What a server says about a collection, and waiting for it: a stub server answers with one state after another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from werkzeug import Request, Response

from colbert_qdrant import CollectionConfig, EngineError, NotReadyError
from colbert_qdrant.collection.info import read_state
from colbert_qdrant.collection.waiting import wait_until_ready
from colbert_qdrant.engines import blocking_engine
from colbert_qdrant.engines.runtime import run_blocking
from tests.faults.server import BUILT, INFO_CONFIG, cluster_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_httpserver import HTTPServer
    from qdrant_client import QdrantClient

CONFIG = CollectionConfig()
GREEN: dict[str, Any] = {"status": "green", "optimizer_status": "ok"}
YELLOW: dict[str, Any] = {"status": "yellow", "optimizer_status": "ok"}


class Answers:
    """Serves one collection, whose state changes every time that it is asked for; the last one stays."""

    def __init__(self, server: HTTPServer, states: Sequence[dict[str, Any]], version: str = "1.19.1") -> None:
        self.asked = 0
        self._states = states
        server.expect_request("/").respond_with_json({"title": "qdrant", "version": version})
        self.waiting, self.sharding = [0], "auto"
        self.shards: dict[str, Any] | None = cluster_of(Active=3)
        server.expect_request("/collections/docs/cluster").respond_with_handler(self._cluster)
        server.expect_request("/collections/docs/optimizations").respond_with_handler(self._optimizations)
        server.expect_request("/collections/docs", method="GET").respond_with_handler(self._info)
        server.expect_request("/collections/docs/points/count").respond_with_json(self._body({"count": 7}))

    def _body(self, result: Any) -> Any:
        return {"result": result, "status": "ok", "time": 0.0}

    def _cluster(self, _: Request) -> Response:
        if self.shards is None:
            return Response(json.dumps({"status": {"error": "Forbidden: no access"}}), status=403)
        return Response(json.dumps(self._body(self.shards)), content_type="application/json")

    def _optimizations(self, _: Request) -> Response:
        waiting = self.waiting.pop(0) if len(self.waiting) > 1 else self.waiting[0]
        running = {"uuid": str(uuid4()), "optimizer": "indexing", "status": "optimizing", "progress": {"name": "all"}}
        found = {
            "summary": {**BUILT, "queued_points": waiting // 2},
            "running": [{**running, "segments": [{"uuid": str(uuid4()), "points_count": waiting - waiting // 2}]}],
        }
        return Response(json.dumps(self._body(found)), content_type="application/json")

    def _info(self, _: Request) -> Response:
        state = self._states[min(self.asked, len(self._states) - 1)]
        self.asked += 1
        result = {
            "segments_count": 4,
            "points_count": 8,
            "indexed_vectors_count": 5,
            "config": {
                "params": {
                    "vectors": {
                        "fde": {
                            "size": 32,
                            "distance": "Dot",
                            "datatype": "float16",
                            "memory": "cold",
                            "quantization_config": {"turbo": {"bits": "bits4", "memory": "pinned"}},
                        },
                        "colbert": {
                            "size": 8,
                            "distance": "Dot",
                            "on_disk": False,
                            "hnsw_config": {"m": 0},
                            "multivector_config": {"comparator": "max_sim"},
                        },
                    },
                    "shard_number": 3,
                    "replication_factor": 2,
                    "sharding_method": self.sharding,
                },
                **INFO_CONFIG,
                "hnsw_config": {**INFO_CONFIG["hnsw_config"], "m": 24},
                "strict_mode_config": {"enabled": True, "max_query_limit": 50, "search_allow_exact": False},
            },
            "payload_schema": {"year": {"data_type": "integer", "points": 7}},
            **state,
        }
        return Response(json.dumps(self._body(result)), content_type="application/json")


def test_everything_that_the_server_says(httpserver: HTTPServer, remote: QdrantClient) -> None:
    Answers(httpserver, [{**GREEN, "update_queue": {"length": 2}, "warnings": [{"message": "old"}]}])
    state = run_blocking(read_state(blocking_engine(remote), "docs", CONFIG))
    assert (state.engine, state.version, state.documents, state.segments) == ("server", (1, 19), 8, 4)
    assert (state.shards, state.replicas, state.queued, state.warnings) == (3, 2, 2, ("old",))
    assert (state.indexed_documents, state.inactive_copies) == (8, ())
    assert (state.fde.dim, state.fde.datatype, state.fde.quantization) == (32, "float16", "turbo")
    assert (state.fde.graph, state.fde.memory) == (24, "cold")
    assert (state.tokens.dim, state.tokens.datatype, state.tokens.quantization) == (8, "float32", None)
    assert (state.tokens.graph, state.tokens.memory) == (0, "cached")
    assert state.indexes == {"year": "integer"}
    assert state.strict_mode == {"max_query_limit": 50, "search_allow_exact": False}
    assert not state.ready


def test_waits_until_the_graph_is_built_and_the_queue_is_empty(httpserver: HTTPServer, remote: QdrantClient) -> None:
    queued = {**GREEN, "update_queue": {"length": 1}}
    answers = Answers(httpserver, [YELLOW, YELLOW, queued, GREEN])
    state = run_blocking(wait_until_ready(blocking_engine(remote), "docs", CONFIG, timeout=60))
    assert state.ready
    assert answers.asked == 4


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (
            YELLOW,
            NotReadyError,
            r"not ready after 0 s \(status yellow, 0 writes queued, 5 of 8 documents indexed\): wait",
        ),
        ({**GREEN, "update_queue": {"length": 5}}, NotReadyError, "5 writes queued"),
        ({**YELLOW, "status": "grey"}, NotReadyError, "graphs only after the next write: write a document"),
        (
            {"status": "red", "optimizer_status": {"error": "No space left"}},
            EngineError,
            r"its optimizer failed \(No space left\): check the server's log",
        ),
    ],
)
def test_what_will_not_be_ready_is_said(
    httpserver: HTTPServer, remote: QdrantClient, state: dict[str, Any], error: type[Exception], message: str
) -> None:
    answers = Answers(httpserver, [state])
    answers.waiting = [6]  # in two copies each
    with pytest.raises(error, match=message):
        run_blocking(wait_until_ready(blocking_engine(remote), "docs", CONFIG, timeout=0))
    assert answers.asked <= 2


class Bar:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def start(self, total: int | None) -> None:
        self.told.append(f"of {total}")

    def advance(self, documents: int) -> None:
        self.told.append(documents)

    def stop(self) -> None:
        self.told.append("end")


def test_progress_is_told_by_the_documents_that_are_built(httpserver: HTTPServer, remote: QdrantClient) -> None:
    answers = Answers(httpserver, [YELLOW, YELLOW, YELLOW, YELLOW, GREEN])
    answers.waiting = [16, 6, 6, 0]  # points, of which each is there twice
    bar = Bar()
    run_blocking(wait_until_ready(blocking_engine(remote), "docs", CONFIG, timeout=60, progress=bar))
    assert bar.told == ["of 8", 5, 3, "end"]


def test_nothing_is_told_of_what_is_ready_or_cannot_be_known(httpserver: HTTPServer, remote: QdrantClient) -> None:
    bar = Bar()
    Answers(httpserver, [GREEN], version="1.16.0")
    state = run_blocking(wait_until_ready(blocking_engine(remote), "docs", CONFIG, timeout=60, progress=bar))
    assert (bar.told, state.indexed_documents) == ([], None)


def test_copies_that_are_not_active_are_counted_and_named(httpserver: HTTPServer, remote: QdrantClient) -> None:
    answers = Answers(httpserver, [GREEN])
    dead = [{"shard_id": number, "peer_id": 8, "state": "Dead"} for number in range(4)]
    answers.shards = {**cluster_of(Active=3, Partial=1), "remote_shards": dead}
    state = run_blocking(wait_until_ready(blocking_engine(remote), "docs", CONFIG, timeout=1))
    assert state.inactive_copies == (
        "shard 0 on peer 8: Dead",
        "shard 1 on peer 8: Dead",
        "shard 2 on peer 8: Dead",
        "shard 3 on peer 7: Partial",
        "shard 3 on peer 8: Dead",
    )
    [warning] = state.warnings
    assert warning.startswith("5 shard replicas are not active (shard 0 on peer 8: Dead; shard 1 on peer 8: Dead; ")
    assert "restart their nodes" in warning
    assert state.shards == 4


def test_a_key_that_may_not_see_the_cluster_gets_the_rest(httpserver: HTTPServer, remote: QdrantClient) -> None:
    answers = Answers(httpserver, [GREEN])
    answers.shards = None
    state = run_blocking(read_state(blocking_engine(remote), "docs", CONFIG))
    assert (state.inactive_copies, state.shards, state.replicas) == (None, 3, 2)


def test_shards_of_all_keys_are_counted(httpserver: HTTPServer, remote: QdrantClient) -> None:
    answers = Answers(httpserver, [GREEN])
    answers.sharding = "custom"
    answers.shards = cluster_of(key="acme", Active=5, Dead=1)
    state = run_blocking(read_state(blocking_engine(remote), "docs", CONFIG))
    assert (state.shards, state.inactive_copies) == (6, ("shard 5 of key 'acme' on peer 7: Dead",))
    answers.shards = None
    assert run_blocking(read_state(blocking_engine(remote), "docs", CONFIG)).shards is None
