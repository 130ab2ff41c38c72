"""The engines that one suite is run against."""

from __future__ import annotations

import os
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from qdrant_client import QdrantClient

from colbert_qdrant import EdgeClient
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
