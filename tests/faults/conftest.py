"""What tests of faults share: a server that is an engine and fails as it is told to, and a client of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.engine import EngineServer
from tests.faults.migrating import on_server
from tests.faults.server import serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdrant_client import QdrantClient


@pytest.fixture
def engine() -> Iterator[EngineServer]:
    with serving(EngineServer()) as running:
        yield running


@pytest.fixture
def remote(engine: EngineServer) -> Iterator[QdrantClient]:
    client = on_server(engine.port)
    yield client
    client.close()
