"""The engines that one suite is run against."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from qdrant_client import QdrantClient

from colbert_qdrant import AsyncEdgeClient, EdgeClient
from colbert_qdrant.collection.ingest import chunks
from tests.encoders import WordEncoder
from tests.servers import SERVERS, address, connect, is_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colbert_qdrant.engines import Client


@dataclass
class Engine:
    """One kind of engine: makes clients of one and the same store.

    Attributes:
        kind: Which engine.
        place: The folder of the store, or the address of the server.
        name: A name for a collection.
    """

    kind: str
    place: str
    name: str

    @property
    def path(self) -> Path:
        return Path(self.place)

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
            return EdgeClient(self.place)
        if self.kind == "path":
            return QdrantClient(path=self.place)
        if self.kind == "memory":
            return QdrantClient(":memory:")
        client: QdrantClient = connect(self.kind, self.place, QdrantClient)
        return client


@pytest.fixture(params=["edge", "memory", "path", *SERVERS])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    kind = request.param
    place = address(kind, request) if is_server(kind) else str(tmp_path / "store")
    engine = Engine(kind=kind, place=place, name=f"test-{uuid.uuid4().hex[:12]}")
    yield engine
    if is_server(kind):
        with engine.client() as client:
            remove_collections(client, engine.name)


def remove_collections(client: Client, name: str) -> None:
    """Deletes the collections of a test, whose names begin with its own."""
    for each in client.get_collections().collections:
        if each.name.startswith(name):
            client.delete_collection(each.name)


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


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an ingest divide its source into chunks of 10 documents."""
    monkeypatch.setattr(chunks, "_DOCUMENTS", 10)
