"""What a server's version decides, with a stub server that answers as one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, get_args

import pytest
from werkzeug import Request, Response

from colbert_qdrant import (
    CapabilityError,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    LemurConfig,
)
from colbert_qdrant.capabilities import Feature
from colbert_qdrant.engines import blocking_engine
from colbert_qdrant.engines.runtime import run_blocking
from tests.encoders import WordEncoder
from tests.faults.server import INFO_CONFIG

if TYPE_CHECKING:
    from pytest_httpserver import HTTPServer
    from qdrant_client import QdrantClient


def answer_version(server: HTTPServer, version: str) -> None:
    server.expect_request("/", method="GET").respond_with_json({"title": "qdrant", "version": version})


@pytest.mark.parametrize(
    ("version", "metadata"),
    [("1.10.0", False), ("1.15.5", False), ("1.16.0", True), ("1.20.1-dev", True), ("2.0.0", True)],
)
def test_metadata_depends_on_the_version(
    httpserver: HTTPServer, remote: QdrantClient, version: str, *, metadata: bool
) -> None:
    answer_version(httpserver, version)
    capabilities = run_blocking(blocking_engine(remote).capabilities())
    assert (capabilities.engine, capabilities.has("metadata")) == ("server", metadata)


@pytest.mark.parametrize(
    ("feature", "since"),
    [
        ("search_params", "1.10"),
        ("sharding", "1.10"),
        ("shard_keys", "1.16"),
        ("strict_mode", "1.13"),
        ("payload_indexes", "1.10"),
        ("tenant_index", "1.11"),
        ("has_vector", "1.13"),
        ("dbsf", "1.11"),
        ("groups", "1.11"),
        ("acorn", "1.16"),
        ("formula", "1.14"),
        ("offset", "1.15"),
        ("bm25_inference", "1.16"),
        ("rrf_k", "1.16"),
        ("metadata", "1.16"),
        ("update_filter", "1.16"),
        ("insert_only", "1.17"),
        ("turbo_quantization", "1.18"),
        ("memory", "1.19"),
        ("vector_names", "1.19"),
        ("turbo4_datatype", "1.19"),
        ("turbo8_datatype", "1.20"),
        ("unindexed_words", "1.20"),
        ("sample", "1.11"),
        ("optimizations", "1.17"),
    ],
)
def test_features_depend_on_the_version(
    httpserver: HTTPServer, remote: QdrantClient, feature: Feature, since: str
) -> None:
    major, minor = map(int, since.split("."))
    for version in ((1, 10), (1, 12), (major, minor - 1), (major, minor), (major, minor + 1), (2, 0)):
        if version >= (1, 10):
            httpserver.clear()
            answer_version(httpserver, f"{version[0]}.{version[1]}.3")
            assert run_blocking(blocking_engine(remote).capabilities()).has(feature) == (version >= (major, minor)), (
                version
            )


def test_every_feature_has_its_version_tested() -> None:
    marks: list[pytest.Mark] = test_features_depend_on_the_version.pytestmark  # type: ignore[attr-defined]
    assert {feature for feature, _ in marks[0].args[1]} == set(get_args(Feature))


LEMUR = CollectionConfig(fde=LemurConfig(dim=8, hidden=8))


@pytest.mark.parametrize(
    ("version", "config", "message"),
    [
        ("1.12.6", LEMUR, "fitted to its collection needs Qdrant 1.13"),
        ("1.13.0", LEMUR, None),
        ("1.17.1", CollectionConfig(fde_quantization="turbo4"), "fde_quantization='turbo4' needs Qdrant 1.18"),
        ("1.17.1", CollectionConfig(fde_quantization="turbo2"), "use 'int8'"),
        ("1.18.0", CollectionConfig(fde_quantization="turbo4"), None),
        ("1.12.6", CollectionConfig(fde_quantization="int8"), None),
        ("1.12.6", CollectionConfig(), None),
    ],
)
def test_a_server_too_old_for_the_settings_is_refused_before_anything_is_created(
    httpserver: HTTPServer, remote: QdrantClient, version: str, config: CollectionConfig, message: str | None
) -> None:
    server = OldServer(httpserver, version)
    if message is None:
        ColbertCollection.create("docs", client=remote, encoder=WordEncoder(), config=config)
        assert server.created is not None
        return
    with pytest.raises(CapabilityError, match=message):
        ColbertCollection.create("docs", client=remote, encoder=WordEncoder(), config=config)
    assert server.created is None


@pytest.mark.parametrize(
    ("version", "message"), [("1.9.7", "is version 1.9, but multivectors need 1.10"), ("dev", "'dev'")]
)
def test_a_server_that_cannot_work_is_refused(
    httpserver: HTTPServer, remote: QdrantClient, version: str, message: str
) -> None:
    answer_version(httpserver, version)
    with pytest.raises(CapabilityError, match=message):
        run_blocking(blocking_engine(remote).capabilities())


def test_something_else_is_refused() -> None:
    with pytest.raises(
        ConfigurationError,
        match=r"must be a qdrant_client\.QdrantClient or .*, got str: make one with connect\(url\), ",
    ):
        blocking_engine("http://localhost:6333")  # type: ignore[arg-type]


class OldServer:
    """Just enough of an old server: keeps one collection, without metadata, and its points."""

    def __init__(self, server: HTTPServer, version: str = "1.12.4") -> None:
        self.created: dict[str, Any] | None = None
        self.points: dict[str, Any] = {}
        answer_version(server, version)
        server.expect_request("/collections/docs__fde/exists").respond_with_handler(
            lambda _: self._ok({"exists": False})
        )
        server.expect_request("/collections/docs/exists").respond_with_handler(
            lambda _: self._ok({"exists": self.created is not None})
        )
        server.expect_request("/collections/docs", method="PUT").respond_with_handler(self._create)
        server.expect_request("/collections/docs", method="GET").respond_with_handler(self._info)
        server.expect_request("/collections/docs/points", method="PUT").respond_with_handler(self._upsert)
        server.expect_request("/collections/docs/points", method="POST").respond_with_handler(self._retrieve)

    def _ok(self, result: Any) -> Response:
        body = {"result": result, "status": "ok", "time": 0.0}
        return Response(json.dumps(body), content_type="application/json")

    def _create(self, request: Request) -> Response:
        self.created = request.get_json()
        return self._ok(result=True)

    def _info(self, _: Request) -> Response:
        created = self.created or {}
        config = {**INFO_CONFIG, "params": {"vectors": created["vectors"]}}
        result = {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "config": config,
            "payload_schema": {},
        }
        return self._ok(result)

    def _upsert(self, request: Request) -> Response:
        self.points |= {point["id"]: point for point in request.get_json()["points"]}
        return self._ok({"operation_id": 1, "status": "completed"})

    def _retrieve(self, request: Request) -> Response:
        ids = request.get_json()["ids"]
        return self._ok([{"id": id, "payload": self.points[id]["payload"]} for id in ids if id in self.points])


def test_before_metadata_the_fingerprint_is_kept_in_a_point(httpserver: HTTPServer, remote: QdrantClient) -> None:
    server = OldServer(httpserver)
    encoder = WordEncoder()
    created = ColbertCollection.create("docs", client=remote, encoder=encoder)
    assert server.created is not None
    assert "metadata" not in server.created
    (reserved,) = server.points.values()
    assert reserved["vector"] == {}
    created.upsert([Document("a", "river")])
    opened = ColbertCollection.open("docs", client=remote, encoder=encoder)
    opened.check()
    assert opened.config == created.config
    assert len(server.points) == 2
