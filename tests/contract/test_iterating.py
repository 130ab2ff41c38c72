"""Streaming all documents out of a collection, on every engine."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, models

from colbert_qdrant import (
    AsyncColbertCollection,
    ClosedError,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    DenseConfig,
    Document,
    MuveraConfig,
)
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=4), dense={"meaning": DenseConfig(dim=2)})
TEXTS = random_texts(90)
IDS: list[Any] = [*range(40), *map(str, range(40)), *(UUID(int=number) for number in range(10))]
DOCUMENTS = [
    Document(id, text, {"n": n, "deep": {"x": [n, None]}}, vectors={"meaning": [1.0, 0.0]})
    for n, (id, text) in enumerate(zip(IDS, TEXTS, strict=True))
]


@pytest.fixture
def docs(engine: Engine, client: Client) -> ColbertCollection:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=CONFIG)
    docs.upsert(DOCUMENTS)
    return docs


def by_id(documents: Sequence[Document]) -> dict[tuple[type, Any], Document]:
    found = {(type(each.id), each.id): each for each in documents}
    assert len(found) == len(documents)
    return found


def test_every_document_comes_once_and_whole(docs: ColbertCollection) -> None:
    found = list(docs.iterate())
    assert by_id(found) == by_id(DOCUMENTS)
    assert all(list(each.vectors["meaning"]) == [1, 0] and each.tokens is None for each in found)


def test_token_matrices_come_with_their_documents(docs: ColbertCollection) -> None:
    encoder = WordEncoder()
    for document in docs.iterate(with_tokens=True):
        [expected] = encoder.encode_documents([document.text])
        assert isinstance(document.tokens, np.ndarray)
        assert document.tokens.dtype == np.float32
        assert np.array_equal(document.tokens, expected)
    with pytest.raises(ConfigurationError, match="with_tokens"):
        docs.iterate(with_tokens=5)  # type: ignore[arg-type]


def test_documents_that_match_a_filter(docs: ColbertCollection) -> None:
    odd = models.Filter(must=[models.FieldCondition(key="n", range=models.Range(gte=20))])
    assert sorted(each.payload["n"] for each in docs.iterate(where={"n": {"lt": 50}}, filter=odd)) == [*range(20, 50)]
    assert list(docs.iterate(where={"n": -1})) == []


def test_wrong_filters_are_refused_at_the_call(docs: ColbertCollection) -> None:
    with pytest.raises(ConfigurationError, match="where"):
        docs.iterate(where=5)  # type: ignore[arg-type]
    docs.close()
    with pytest.raises(ClosedError):
        docs.iterate()


def test_stopping_early_leaves_the_collection_usable(docs: ColbertCollection) -> None:
    stream = docs.iterate()
    assert next(stream) in DOCUMENTS
    stream.close()
    assert list(stream) == []
    assert docs.count() == 90


def test_documents_that_change_in_the_meantime_do_not_disturb_the_others(docs: ColbertCollection) -> None:
    found = []
    for document in docs.iterate():
        found.append(document)
        if len(found) == 2:
            docs.delete(ids=[each.id for each in found])
            docs.set_payload({"seen": True}, where={"n": {"lt": 30}})
    ids = {(type(each.id), each.id) for each in found}
    assert len(ids) == len(found) == 90


def test_an_asynchronous_stream() -> None:
    async def main() -> None:
        client = AsyncQdrantClient(":memory:")
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        await docs.upsert(DOCUMENTS)
        assert by_id([each async for each in docs.iterate()]) == by_id(DOCUMENTS)
        async with aclosing(docs.iterate(where={"n": 7})) as stream:
            async for document in stream:
                assert document == DOCUMENTS[7]
                break
        await client.close()

    asyncio.run(main())
