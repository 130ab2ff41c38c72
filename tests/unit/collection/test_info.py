"""What a server says about a collection, and waiting for it: a stub server answers with one state after another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from werkzeug import Request, Response

from colbert_qdrant import CollectionConfig, EngineError, NotReadyError
from colbert_qdrant.collection.info import read_state, wait_until_ready
from colbert_qdrant.engines import blocking_engine
from colbert_qdrant.engines.runtime import run_blocking
from tests.faults.server import INFO_CONFIG

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
        server.expect_request("/collections/docs", method="GET").respond_with_handler(self._info)
        server.expect_request("/collections/docs/points/count").respond_with_json(self._body({"count": 7}))

    def _body(self, result: Any) -> Any:
        return {"result": result, "status": "ok", "time": 0.0}

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
    assert state.indexed_vectors == 5
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
        (YELLOW, NotReadyError, r"not ready after 0 s \(status yellow, 0 writes queued\): wait longer"),
        ({**GREEN, "update_queue": {"length": 5}}, NotReadyError, "5 writes queued"),
        ({**YELLOW, "status": "grey"}, NotReadyError, "built at the next write, as after a restart. Write a document"),
        (
            {"status": "red", "optimizer_status": {"error": "No space left"}},
            EngineError,
            "its optimizer gave up: No space left. Look into the server's log",
        ),
    ],
)
def test_what_will_not_be_ready_is_said(
    httpserver: HTTPServer, remote: QdrantClient, state: dict[str, Any], error: type[Exception], message: str
) -> None:
    answers = Answers(httpserver, [state])
    with pytest.raises(error, match=message):
        run_blocking(wait_until_ready(blocking_engine(remote), "docs", CONFIG, timeout=0))
    assert answers.asked == 1
