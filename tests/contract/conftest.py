"""The engines that one suite is run against."""

from __future__ import annotations

import asyncio
import os
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from qdrant_client import QdrantClient

from colbert_qdrant import AsyncEdgeClient, EdgeClient
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from colbert_qdrant.engines import Client


@dataclass
class Engine:
    """One kind of engine: makes clients of one and the same store."""

    kind: str
    path: Path
    name: str

    @property
    def persistent(self) -> bool:
        return self.kind != "memory"

    @contextmanager
    def client(self) -> Iterator[Client]:
        client = self._connect()
        try:
            yield client
        finally:
            client.close()

    def _connect(self) -> Client:
        if self.kind == "edge":
            return EdgeClient(self.path)
        if self.kind == "path":
            return QdrantClient(path=str(self.path))
        if self.kind == "memory":
            return QdrantClient(":memory:")
        return QdrantClient(url=os.environ["QDRANT_URL"], api_key=os.environ.get("QDRANT_API_KEY"), timeout=60)


@pytest.fixture(params=["edge", "memory", "path", "server"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "server" and not os.environ.get("QDRANT_URL"):
        pytest.skip("no server: set QDRANT_URL (and QDRANT_API_KEY) to run the suite against one")
    engine = Engine(kind=request.param, path=tmp_path / "store", name=f"test-{uuid.uuid4().hex[:12]}")
    yield engine
    if engine.kind == "server":
        with engine.client() as client:
            client.delete_collection(engine.name)
            client.delete_collection(f"{engine.name}__fde")


@pytest.fixture
def client(engine: Engine) -> Iterator[Client]:
    with engine.client() as client:
        yield client


@pytest.fixture
def encoder() -> WordEncoder:
    return WordEncoder()


@pytest.fixture(scope="session")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="session")
def async_edge(runner: asyncio.Runner, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsyncEdgeClient]:
    """One for all tests, who leave it empty: its process takes longer to start than they do."""
    client = AsyncEdgeClient(tmp_path_factory.mktemp("edge"))
    yield client
    runner.run(client.close())


async def empty(client: AsyncEdgeClient) -> None:
    """Delete all collections, and their aliases with them."""
    for each in (await client.get_collections()).collections:
        await client.delete_collection(each.name)
    assert (await client.get_aliases()).aliases == []
