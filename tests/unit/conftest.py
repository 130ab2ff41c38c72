from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qdrant_client import QdrantClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_httpserver import HTTPServer


@pytest.fixture
def remote(httpserver: HTTPServer) -> Iterator[QdrantClient]:
    """A client of a stub server."""
    client = QdrantClient(url=httpserver.url_for("/"), check_compatibility=False)
    yield client
    client.close()
