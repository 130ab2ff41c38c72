"""Servers that suites are run against: the model in this process, and a real one, over REST and over gRPC."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import pytest

if TYPE_CHECKING:
    from qdrant_client import AsyncQdrantClient, QdrantClient

ServerKind = Literal["model", "server", "server over gRPC"]

SERVERS: Final[tuple[ServerKind, ...]] = get_args(ServerKind)
"""`model` is that of `tests/server`, the others need a server at `QDRANT_URL`."""


def is_server(kind: str) -> bool:
    return kind in SERVERS


def address(kind: str, request: pytest.FixtureRequest) -> str:
    """Where a server listens; skips the test if there is none."""
    if kind == "model":
        url: str = request.getfixturevalue("model_url")
        return url
    if not os.environ.get("QDRANT_URL"):
        pytest.skip("no server: set QDRANT_URL (and QDRANT_API_KEY) to run the suite against one")
    if kind == "server over gRPC" and not os.environ.get("QDRANT_GRPC_PORT"):
        pytest.skip("no gRPC: set QDRANT_GRPC_PORT too, which is 6334 unless the server was told otherwise")
    return os.environ["QDRANT_URL"]


def connect(kind: str, url: str, client: type[QdrantClient | AsyncQdrantClient]) -> Any:
    """A client of a server."""
    options: dict[str, Any] = {"timeout": 60, "check_compatibility": False}  # old servers are tested on purpose
    if kind != "model":
        options["api_key"] = os.environ.get("QDRANT_API_KEY")
    if kind == "server over gRPC":
        options |= {"prefer_grpc": True, "grpc_port": int(os.environ["QDRANT_GRPC_PORT"])}
    return client(url=url, **options)
