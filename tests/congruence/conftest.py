"""One client of each engine."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from qdrant_client import QdrantClient

from colbert_qdrant import EdgeClient
from tests.congruence.engines import Engine, GraphEdge, Kind
from tests.servers import SERVERS, address, connect, is_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colbert_qdrant.engines import Client


@pytest.fixture(scope="module", params=["edge", "edge with graphs", "memory", *SERVERS])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    kind = request.param
    place = address(kind, request) if is_server(kind) else str(tmp_path_factory.mktemp("store"))
    with closing(_client(kind, place)) as client:
        yield Engine(kind, client)


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Engine]:
    with closing(_client(request.param, address(request.param, request))) as client:
        yield Engine(request.param, client)


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with EdgeClient(tmp_path_factory.mktemp("store")) as client:
        yield Engine("edge", client)


@pytest.fixture(scope="module")
def memory() -> Iterator[Engine]:
    with closing(QdrantClient(":memory:")) as client:
        yield Engine("memory", client)


def _client(kind: Kind, place: str) -> Client:
    if kind == "edge":
        return EdgeClient(place)
    if kind == "edge with graphs":
        return GraphEdge(place)
    if kind == "memory":
        return QdrantClient(":memory:")
    client: QdrantClient = connect(kind, place, QdrantClient)
    return client
