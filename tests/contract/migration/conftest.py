"""The engines that migrations are tested within and between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qdrant_client import QdrantClient

from colbert_qdrant import EdgeClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from colbert_qdrant.engines import Client


@pytest.fixture
def local() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[EdgeClient]:
    client = EdgeClient(tmp_path / "store")
    yield client
    client.close()


@pytest.fixture(params=["memory", "edge"])
def client(request: pytest.FixtureRequest) -> Client:
    client: Client = request.getfixturevalue("local" if request.param == "memory" else "edge")
    return client
