"""A collection that is not there is an error that names similar ones, and what helps where it is raised."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import models

from colbert_qdrant import (
    AsyncColbertCollection,
    AsyncEdgeClient,
    ColbertCollection,
    ColbertQdrantError,
    CollectionNotFoundError,
    EdgeClient,
    Migration,
    attach,
    attach_async,
)
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

REQUEST = models.QueryRequest(query=[1.0, 2.0], limit=100)


def search(client: Client, name: str) -> None:
    attach(client, name, encoder=WordEncoder()).search("one", REQUEST)


def open(client: Client, name: str) -> None:
    ColbertCollection.open(name, client=client, encoder=WordEncoder())


def plan(client: Client, name: str) -> None:
    Migration.plan(client, name, encoder=WordEncoder())


REMEDIES: dict[Any, str] = {
    search: "pass the name of an existing collection whose payloads have texts",
    open: "check the name, or create it with ColbertCollection.create",
    plan: "check its name, and check that client belongs to the source's engine",
}


@pytest.mark.parametrize("use", REMEDIES)
def test_similar_names_and_the_remedy(engine: Engine, client: Client, use: Callable[[Client, str], None]) -> None:
    vectors = models.VectorParams(size=2, distance=models.Distance.DOT)
    client.create_collection(f"{engine.name}-notes", vectors_config=vectors)
    with pytest.raises(CollectionNotFoundError) as raised:
        use(client, f"{engine.name}-ntoes")
    assert str(raised.value) == (
        f"collection '{engine.name}-ntoes' does not exist (existing names: '{engine.name}-notes'): {REMEDIES[use]}"
    )


@pytest.mark.parametrize("use", REMEDIES)
def test_where_there_is_none_at_all(tmp_path: Path, use: Callable[[Client, str], None]) -> None:
    with EdgeClient(tmp_path) as client:
        with pytest.raises(CollectionNotFoundError) as raised:
            use(client, "docs")
        assert str(raised.value) == f"collection 'docs' does not exist (there are no collections): {REMEDIES[use]}"


def test_a_missing_collection_that_a_vector_is_looked_up_in_is_another(client: Client, engine: Engine) -> None:
    client.create_collection(engine.name, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    request = models.QueryRequest(query=7, lookup_from=models.LookupLocation(collection="elsewhere"), limit=100)
    with pytest.raises(ColbertQdrantError) as raised:
        attach(client, engine.name, encoder=WordEncoder()).search("one", request)
    assert "pass the name" not in str(raised.value)


def test_awaited(tmp_path: Path, runner: asyncio.Runner) -> None:
    async def work() -> None:
        async with AsyncEdgeClient(tmp_path) as client:
            with pytest.raises(
                CollectionNotFoundError, match=r"there are no collections\): .* AsyncColbertCollection\.create"
            ):
                await AsyncColbertCollection.open("docs", client=client, encoder=WordEncoder())
            with pytest.raises(CollectionNotFoundError, match="pass the name of an existing collection"):
                await attach_async(client, "docs", encoder=WordEncoder()).search("one", REQUEST)

    runner.run(work())
