"""What goes over the wire when a collection is made: nothing that a server of that version does not know."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import QdrantClient
from werkzeug import Request, Response

from colbert_qdrant import (
    CapabilityError,
    ColbertCollection,
    CollectionConfig,
    DenseConfig,
    EdgeClient,
    LemurConfig,
    MuveraConfig,
)
from tests.encoders import WordEncoder
from tests.faults.server import INFO_CONFIG

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_httpserver import HTTPServer

    from colbert_qdrant.config import Storage

VERSIONS = [
    "1.10.1",
    "1.11.5",
    "1.12.6",
    "1.13.6",
    "1.14.1",
    "1.15.5",
    "1.16.3",
    "1.17.1",
    "1.18.3",
    "1.19.1",
    "1.20.0",
]
MUVERA = MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)


class RecordingServer:
    """Says that it has a version, has no collection, takes everything, and keeps the bodies of what it is told."""

    def __init__(self, server: HTTPServer, version: str) -> None:
        self.sent: list[tuple[str, str, Any]] = []
        self._version = version
        server.expect_request("/", method="GET").respond_with_json({"title": "qdrant", "version": version})
        server.expect_request("/collections/docs/exists").respond_with_json(self._body({"exists": False}))
        server.expect_request("/collections/docs__fde/exists").respond_with_json(self._body({"exists": False}))
        for path in ("/collections/docs", "/collections/docs/points", "/collections/docs/index"):
            server.expect_request(path, method="PUT").respond_with_handler(self._record)
        server.expect_request("/collections/docs", method="GET").respond_with_handler(self._info)

    def _body(self, result: Any) -> Any:
        return {"result": result, "status": "ok", "time": 0.0}

    def _record(self, request: Request) -> Response:
        self.sent.append((request.method, request.path, request.get_json()))
        result = True if request.path == "/collections/docs" else {"operation_id": 1, "status": "completed"}
        return Response(json.dumps(self._body(result)), content_type="application/json")

    def _info(self, _: Request) -> Response:
        config = {**INFO_CONFIG, "params": {"vectors": self.sent[0][2]["vectors"]}}
        info = {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "config": config,
            "payload_schema": {},
        }
        return Response(json.dumps(self._body(info)), content_type="application/json")

    def create(self, client: QdrantClient, config: CollectionConfig) -> dict[str, Any]:
        """Make a collection, and return what was sent for it."""
        ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config)
        method, path, body = self.sent[0]
        assert (method, path) == ("PUT", "/collections/docs")
        assert isinstance(body, dict)
        return body


def expected(version: str, *, storage: Storage, quantization: dict[str, Any] | None) -> dict[str, Any]:
    """The body for a server, written down from its documentation."""
    minor = int(version.split(".")[1])
    cold = {
        "memory": {"fde": False, "tokens": False, "graph": False, "payload": False},
        "balanced": {"fde": quantization is not None, "tokens": False, "graph": False, "payload": True},
        "disk": {"fde": True, "tokens": True, "graph": True, "payload": True},
    }[storage]

    def place(part: str) -> dict[str, Any]:
        if minor < 19:
            return {"on_disk": cold[part]}
        if part == "graph" and storage == "memory":
            return {"memory": "pinned"}
        return {"memory": "cold" if cold[part] else "cached"}

    fde = {
        "size": 32,
        "distance": "Dot",
        "datatype": "float16",
        "hnsw_config": {"m": 16, "ef_construct": 128, **place("graph")},
        **place("fde"),
    }
    if quantization is not None:
        ((kind, values),) = quantization.items()
        placed = (
            {"always_ram": storage != "disk"} if minor < 19 else {"memory": "cached" if storage == "disk" else "pinned"}
        )
        fde["quantization_config"] = {kind: {**values, **placed}}
    tokens = {
        "size": 32,
        "distance": "Dot",
        "datatype": "float16",
        "multivector_config": {"comparator": "max_sim"},
        "hnsw_config": {"m": 0, "payload_m": 0},
        **place("tokens"),
    }
    payload = {"on_disk_payload": cold["payload"]} if minor < 19 else {"payload": place("payload")}
    return {"vectors": {"fde": fde, "colbert": tokens}, "optimizers_config": {}, **payload}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("storage", ["memory", "balanced", "disk"])
def test_a_collection_is_made_in_the_words_of_the_version(
    httpserver: HTTPServer, remote: QdrantClient, version: str, storage: Storage
) -> None:
    server = RecordingServer(httpserver, version)
    body = server.create(remote, CollectionConfig(fde=MUVERA, storage=storage))
    metadata = body.pop("metadata", None)
    assert body == expected(version, storage=storage, quantization=None)
    has_metadata = version in VERSIONS[VERSIONS.index("1.16.3") :]
    assert (metadata is not None) == has_metadata
    # before there was metadata the fingerprint is kept in a point without vectors
    assert [path for _, path, _ in server.sent[1:]] == ([] if has_metadata else ["/collections/docs/points"])


QUANTIZATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "int8": ("1.10", {"scalar": {"type": "int8", "quantile": 0.99}}),
    "binary": ("1.10", {"binary": {}}),
    "turbo4": ("1.18", {"turbo": {"bits": "bits4"}}),
    "turbo2": ("1.18", {"turbo": {"bits": "bits2"}}),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", QUANTIZATIONS)
def test_a_quantization_is_said_in_the_words_of_the_version_or_refused(
    httpserver: HTTPServer, remote: QdrantClient, version: str, kind: Any
) -> None:
    since, values = QUANTIZATIONS[kind]
    server = RecordingServer(httpserver, version)
    config = CollectionConfig(fde=MUVERA, fde_quantization=kind)
    if VERSIONS.index(version) < next(n for n, each in enumerate(VERSIONS) if each.startswith(since)):
        with pytest.raises(CapabilityError, match=f"fde_quantization='{kind}' needs Qdrant {since}"):
            server.create(remote, config)
        assert server.sent == []
        return
    body = server.create(remote, config)
    body.pop("metadata", None)
    assert body == expected(version, storage="balanced", quantization=values)


@pytest.mark.parametrize(("datatype", "since"), [("turbo4", 19), ("turbo8", 20)])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_token_datatype_is_refused_until_the_version_that_has_it(
    httpserver: HTTPServer, remote: QdrantClient, version: str, datatype: Any, since: int
) -> None:
    server = RecordingServer(httpserver, version)
    config = CollectionConfig(fde=MUVERA, token_datatype=datatype)
    if int(version.split(".")[1]) < since:
        with pytest.raises(CapabilityError, match=rf"token_datatype='{datatype}' needs .* 1\.{since} .* use 'float16'"):
            server.create(remote, config)
        assert server.sent == []
    else:
        assert server.create(remote, config)["vectors"]["colbert"]["datatype"] == datatype


@pytest.mark.parametrize("version", ["1.11.5", "1.20.0"])
def test_shards_replicas_and_indexes(httpserver: HTTPServer, remote: QdrantClient, version: str) -> None:
    server = RecordingServer(httpserver, version)
    config = CollectionConfig(
        fde=MUVERA,
        segments=4,
        shard_number=6,
        replication_factor=3,
        write_consistency_factor=2,
        payload_indexes={"year": "integer", "title": "text"},
        tenant_field="customer",
    )
    body = server.create(remote, config)
    assert (body["shard_number"], body["replication_factor"], body["write_consistency_factor"]) == (6, 3, 2)
    assert body["optimizers_config"] == {"default_segment_number": 4}
    indexes = [body for _, path, body in server.sent if path.endswith("/index")]
    assert indexes == [
        {"field_name": "customer", "field_schema": {"type": "keyword", "is_tenant": True}},
        {"field_name": "year", "field_schema": "integer"},
        {"field_name": "title", "field_schema": "text"},
    ]


def test_the_layout_of_points_that_are_others(httpserver: HTTPServer, remote: QdrantClient) -> None:
    server = RecordingServer(httpserver, "1.16.0")
    config = CollectionConfig(
        fde=MUVERA, id_scheme="native", text_key=None, token_distance="cosine", dense={"": DenseConfig(dim=6)}
    )
    body = server.create(remote, config)
    assert body["vectors"]["colbert"]["distance"] == "Cosine"
    assert body["vectors"]["fde"]["distance"] == "Dot"
    assert body["vectors"][""] == {"size": 6, "distance": "Cosine"}
    stored = body["metadata"]["colbert_qdrant"]
    assert stored["id_scheme"] == "native"
    assert (stored["layout"]["text_key"], stored["layout"]["token_distance"]) == (None, "cosine")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            CollectionConfig(tenant_field="customer"),
            r"tenant_field='customer' needs .* 1\.11 .* is 1\.10: upgrade the server, or",
        ),
        (
            CollectionConfig(fde=LemurConfig(dim=8, hidden=8)),
            r"fitted to its collection needs .* 1\.13 .* use MuveraConfig",
        ),
        (CollectionConfig(fde=MuveraConfig(center=True)), r"fitted to its collection needs .* 1\.13"),
    ],
)
def test_what_an_old_server_has_not_is_refused_before_anything_is_sent(
    httpserver: HTTPServer, remote: QdrantClient, config: CollectionConfig, message: str
) -> None:
    server = RecordingServer(httpserver, "1.10.1")
    with pytest.raises(CapabilityError, match=message):
        server.create(remote, config)
    assert server.sent == []


def test_embedded_engines_have_no_shards(tmp_path: Path) -> None:
    config = CollectionConfig(fde=MUVERA, replication_factor=2)
    with EdgeClient(tmp_path) as edge, pytest.raises(CapabilityError, match="the embedded engine does not support it"):
        ColbertCollection.create("docs", client=edge, encoder=WordEncoder(), config=config)
    with pytest.raises(
        CapabilityError, match=r"replication_factor=2 needs a Qdrant server, .* local mode .* leave it out"
    ):
        ColbertCollection.create("docs", client=QdrantClient(":memory:"), encoder=WordEncoder(), config=config)
