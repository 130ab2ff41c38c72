"""The stub server that speaks HTTP, and a client of it."""

from __future__ import annotations

import tests.environment  # noqa: F401 - before the libraries that it is for

# isort: split
import gc
import os
from typing import TYPE_CHECKING

import pytest
from qdrant_client import QdrantClient

from tests.faults.server import FaultyServer, serving
from tests.server.listener import serving as serving_model

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator


def pytest_configure(config: pytest.Config) -> None:
    """Small collections are warned about; tests of warnings ask for them."""
    config.addinivalue_line("filterwarnings", "ignore::colbert_qdrant.errors.ColbertQdrantWarning")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported and collected stays: no time is spent on looking for garbage in it, now or later."""
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(*gc.get_threshold()[:2], 100)  # all else is looked through less often, too
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Evaluations without a folder write to a temporary one, never to the user's cache."""
    os.environ["COLBERT_QDRANT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def model_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The model of a server; its address."""
    with serving_model(tmp_path_factory.mktemp("model")) as url:
        yield url


@pytest.fixture
def server() -> Iterator[FaultyServer]:
    with serving(FaultyServer()) as running:
        yield running


@pytest.fixture
def client(server: FaultyServer) -> Iterator[QdrantClient]:
    client = QdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False, timeout=1)
    yield client
    client.close()
