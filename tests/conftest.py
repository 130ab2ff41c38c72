"""The stub server that speaks HTTP, and a client of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qdrant_client import QdrantClient

from tests.faults.server import FaultyServer, serving

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving(FaultyServer()) as running:
        yield running


@pytest.fixture
def client(server: FaultyServer) -> Iterator[QdrantClient]:
    client = QdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False, timeout=1)
    yield client
    client.close()
