"""The collections of this library among all others, on every engine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from qdrant_client import AsyncQdrantClient, models

from colbert_qdrant import (
    AsyncColbertCollection,
    ColbertCollection,
    CollectionConfig,
    CollectionSummary,
    ConfigurationError,
    Document,
    LemurConfig,
    MuveraConfig,
    list_collections,
    list_collections_async,
)
from tests.contract.conftest import remove_collections
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

MUVERA = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
LEMUR = CollectionConfig(fde=LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=50))
DOCUMENTS = [Document(number, text) for number, text in enumerate(random_texts(60))]


def listed(client: Client, engine: Engine) -> list[CollectionSummary]:
    return [each for each in list_collections(client) if each.name.startswith(engine.name)]


def test_own_collections_are_listed_and_no_others(engine: Engine, client: Client) -> None:
    name, words = engine.name, WordEncoder(salt="other")
    client.create_collection(
        f"{name} foreign", vectors_config={"": models.VectorParams(size=2, distance=models.Distance.DOT)}
    )
    assert listed(client, engine) == []
    ColbertCollection.create(f"{name} b", client=client, encoder=words, config=MUVERA).upsert(DOCUMENTS[:3])
    fitted = ColbertCollection.create(f"{name} a", client=client, encoder=WordEncoder(), config=LEMUR)
    assert [(each.name, each.fitted) for each in listed(client, engine)] == [(f"{name} a", False), (f"{name} b", True)]
    fitted.ingest(DOCUMENTS)
    client.update_collection_aliases(
        [
            models.CreateAliasOperation(
                create_alias=models.CreateAlias(collection_name=f"{name} b", alias_name=f"{name} {alias}")
            )
            for alias in ("now", "also")
        ]
    )
    assert listed(client, engine) == [
        CollectionSummary(name=f"{name} a", documents=60, encoder="words", fitted=True),
        CollectionSummary(
            name=f"{name} b", aliases=(f"{name} also", f"{name} now"), documents=3, encoder="words other", fitted=True
        ),
    ]
    for each in (f"{name} a", f"{name} b"):
        client.delete_collection(each)
    assert listed(client, engine) == []  # what a fit left behind is no collection
    remove_collections(client, name)


def test_a_collection_of_a_later_version_is_listed_with_the_reason(engine: Engine, client: Client) -> None:
    ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=MUVERA)
    client.update_collection(engine.name, metadata={"colbert_qdrant": {"format": 999}})
    [found] = listed(client, engine)
    assert found.problem is not None
    assert "upgrade colbert-qdrant" in found.problem


def test_listing_in_an_event_loop() -> None:
    async def main() -> None:
        client = AsyncQdrantClient(":memory:")
        assert await list_collections_async(client) == []
        await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=MUVERA)
        assert [each.name for each in await list_collections_async(client)] == ["docs"]
        with pytest.raises(ConfigurationError, match="async"):
            list_collections(client)  # type: ignore[arg-type]
        await client.close()

    asyncio.run(main())
