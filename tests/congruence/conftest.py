"""One client of each engine."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from qdrant_client import QdrantClient

from colbert_qdrant import EdgeClient
from tests.congruence.engines import Engine, GraphEdge, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from colbert_qdrant.engines import Client


@pytest.fixture(scope="module", params=["edge", "edge with graphs", "memory", "server"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if request.param == "server" and not os.environ.get("QDRANT_URL"):
        pytest.skip("no server: set QDRANT_URL (and QDRANT_API_KEY) to compare one too")
    with closing(_client(request.param, tmp_path_factory.mktemp("store"))) as client:
        yield Engine(request.param, client)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with EdgeClient(tmp_path_factory.mktemp("store")) as client:
        yield Engine("edge", client)


@pytest.fixture(scope="module")
def memory() -> Iterator[Engine]:
    with closing(QdrantClient(":memory:")) as client:
        yield Engine("memory", client)


def _client(kind: Kind, path: Path) -> Client:
    if kind == "edge":
        return EdgeClient(path)
    if kind == "edge with graphs":
        return GraphEdge(path)
    if kind == "memory":
        return QdrantClient(":memory:")
    return QdrantClient(url=os.environ["QDRANT_URL"], api_key=os.environ.get("QDRANT_API_KEY"), timeout=60)
