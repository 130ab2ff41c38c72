"""The engines that migrations are tested within and between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient

from colbert_qdrant import EdgeClient
from tests.contract.conftest import remove_collections
from tests.contract.migration import awaited
from tests.servers import address, connect

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from colbert_qdrant.engines import Client


def make(request: pytest.FixtureRequest, kind: str, *, is_awaited: bool) -> Any:
    if is_awaited:
        runner: asyncio.Runner = request.getfixturevalue("runner")
        awaited.patch_classes(request.module, request.getfixturevalue("monkeypatch"), runner)
        if kind == "edge":
            return awaited.AwaitedEdge(request.getfixturevalue("async_edge"), runner)
        return awaited.Awaited(AsyncQdrantClient(":memory:"), runner)
    if kind == "model":
        return connect(kind, address(kind, request), QdrantClient)
    return EdgeClient(request.getfixturevalue("tmp_path") / "store") if kind == "edge" else QdrantClient(":memory:")


@pytest.fixture
def local(request: pytest.FixtureRequest) -> Iterator[QdrantClient]:
    client = make(request, "memory", is_awaited=getattr(request, "param", "") == "awaited")
    yield client
    client.close()


@pytest.fixture
def edge(request: pytest.FixtureRequest) -> Iterator[EdgeClient]:
    client = make(request, "edge", is_awaited=getattr(request, "param", "") == "awaited")
    yield client
    client.close()


@pytest.fixture(params=["memory", "edge", "model"])
def client(request: pytest.FixtureRequest) -> Iterator[Client]:
    """The parameter says which, and whether it is an asynchronous one: see `awaited.both_ways`."""
    how, _, kind = request.param.rpartition(" ")
    client = make(request, kind, is_awaited=how == "awaited")
    yield client
    if kind == "model":
        remove_collections(client, "")
    client.close()
