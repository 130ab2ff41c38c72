"""Points with token vectors but no encoding, as other programs write them: named, and mended without a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant import (
    AsyncColbertCollection,
    Bm25Config,
    ColbertCollection,
    CollectionConfig,
    DenseConfig,
    Document,
    InvalidDocumentError,
    LemurConfig,
    MuveraConfig,
)
from tests.contract.conftest import empty
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from colbert_qdrant import AsyncEdgeClient, TokenEmbeddings
    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

MUVERA = MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)
LEMUR = LemurConfig(dim=32, hidden=64, epochs=2)
OTHERS = range(10, 16)


class NoModel(WordEncoder):
    """Encodes queries, and what tells encoders apart, and no document."""

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        assert not any("among others" in text for text in texts)
        return super().encode_documents(texts)


def points(numbers: Sequence[int], *, times: float = 1.0) -> list[models.PointStruct]:
    """As another program writes them, which knows the token vectors' name and none of the encoding."""
    return [
        models.PointStruct(
            id=number,
            vector={"colbert": (matrix * times).tolist()},
            payload={"text": f"word{number} among others"},
        )
        for number, matrix in zip(
            numbers, WordEncoder().encode_documents([f"word{each} among others" for each in numbers]), strict=True
        )
    ]


def make(
    client: Client, name: str, fde: FdeConfig = MUVERA, encoders: Any = None, **settings: Any
) -> ColbertCollection:
    config = CollectionConfig(fde=fde, text_key="text", id_scheme="native", **settings)
    docs = ColbertCollection.create(name, client=client, encoder=WordEncoder(), config=config, vector_encoders=encoders)
    docs.ingest([Document(number, f"word{number} among others") for number in range(8)])
    return docs


def reopened(client: Client, name: str) -> ColbertCollection:
    return ColbertCollection.open(name, client=client, encoder=NoModel())


def found(docs: ColbertCollection, number: int) -> bool:
    return docs.search(f"word{number}", limit=1, mode="two-stage")[0].id == number


@pytest.fixture
def docs(client: Client, engine: Engine) -> ColbertCollection:
    make(client, engine.name)
    client.upsert(engine.name, points(OTHERS), wait=True)
    return reopened(client, engine.name)


def test_they_are_named_with_the_remedy(docs: ColbertCollection) -> None:
    (sentence,) = docs.check()
    assert sentence.startswith("6 documents have token vectors but no encoding")
    assert "No two-stage search finds such documents: call repair()" in sentence
    assert sentence in docs.info().warnings


def test_a_repair_computes_their_encodings_from_their_token_vectors(docs: ColbertCollection, client: Client) -> None:
    ids = list(OTHERS)
    before = {each.id: each for each in client.retrieve(docs.name, ids=ids, with_vectors=True)}
    assert not any(found(docs, number) for number in ids)
    assert docs.repair() == ("6 documents without an encoding got it from the token vectors.",)
    assert all(found(docs, number) for number in [*ids, *range(8)])
    assert docs.check() == docs.repair() == ()
    assert docs.count() == 14
    assert docs.fde is not None
    for each in client.retrieve(docs.name, ids=ids, with_vectors=True):
        vector: Any = each.vector
        old: Any = before[each.id].vector
        assert each.payload == before[each.id].payload
        assert np.array_equal(vector["colbert"], old["colbert"])
        tokens = WordEncoder().encode_documents([f"word{each.id} among others"])
        np.testing.assert_allclose(vector["fde"], docs.fde.encode_documents(tokens)[0], rtol=5e-3, atol=5e-3)


def test_a_repair_that_failed_halfway_is_gone_on_with(
    docs: ColbertCollection, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupts:
        def start(self, total: int | None) -> None:
            assert total == 6

        def advance(self, documents: int) -> None:
            raise KeyboardInterrupt

        def stop(self) -> None: ...

    monkeypatch.setattr("colbert_qdrant.collection.stored._PAGE_POINTS", 2)
    with pytest.raises(KeyboardInterrupt):
        docs.repair(progress=Interrupts())
    assert docs.check()[0].startswith("4 documents have token vectors but no encoding")
    assert reopened(client, docs.name).repair()[0].startswith("4 documents without an encoding")
    assert all(found(docs, number) for number in OTHERS)


def test_one_whose_encoding_cannot_be_stored_is_named_and_all_others_are_mended(client: Client, engine: Engine) -> None:
    make(client, engine.name, fde_datatype="float16", token_datatype="float32")
    client.upsert(engine.name, [*points(range(10, 15)), *points([15], times=1e6)], wait=True)
    docs = reopened(client, engine.name)
    (sentence,) = docs.repair()
    assert sentence.startswith("5 documents without an encoding got it from the token vectors. 1 document")
    assert "no two-stage search finds them (15: document 15 has a value of" in sentence
    assert all(found(docs, number) for number in range(10, 15))
    with pytest.raises(InvalidDocumentError, match="document 15 has a value of"):
        docs.repair(on_error="raise")


def test_in_a_collection_with_a_fitted_encoding(client: Client, engine: Engine) -> None:
    made = make(client, engine.name, LEMUR)
    client.upsert(engine.name, points(OTHERS), wait=True)
    docs = reopened(client, engine.name)
    assert docs.check()[0].startswith("6 documents have token vectors but no encoding")
    assert docs.repair()[0].startswith("6 documents without an encoding")
    assert docs.check() == made.check() == ()
    assert all(found(docs, number) for number in OTHERS)


def test_with_documents_that_have_a_text_only(client: Client, engine: Engine) -> None:
    docs = make(client, engine.name)
    only = models.PointStruct(id=20, vector={}, payload={"text": "word20 among others"})
    client.upsert(engine.name, [*points(OTHERS), only], wait=True)
    assert len(docs.check()) == 2
    first, second = docs.repair()
    assert first.startswith("1 document with only a text")
    assert second.startswith("6 documents without an encoding")
    assert all(found(docs, number) for number in [*OTHERS, 20])
    assert docs.check() == ()


def test_awaited(runner: asyncio.Runner, async_edge: AsyncEdgeClient) -> None:
    async def work() -> None:
        config = CollectionConfig(fde=MUVERA, id_scheme="native", text_key="text")
        docs = await AsyncColbertCollection.create("docs", client=async_edge, encoder=WordEncoder(), config=config)
        await async_edge.upsert("docs", points(OTHERS))
        assert (await docs.info()).warnings == await docs.check() != ()
        assert (await docs.repair())[0].startswith("6 documents without an encoding")
        assert (await docs.search("word11", limit=1))[0].id == 11
        await empty(async_edge)

    runner.run(work())


class Lengths:
    """A dense encoder."""

    def encode_documents(self, texts: Sequence[str]) -> list[list[float]]:
        return [[1.0, float(len(text))] for text in texts]

    encode_queries = encode_documents


@pytest.mark.parametrize("bm25", [True, False], ids=["bm25", "dense"])
def test_a_further_vector_that_a_text_gives(client: Client, engine: Engine, *, bm25: bool) -> None:
    name, further = ("bm25", {"bm25": Bm25Config()}) if bm25 else ("own", {"dense": {"own": DenseConfig(dim=2)}})
    encoders: Any = None if bm25 else {"own": Lengths()}
    docs = make(client, engine.name, encoders=encoders, **further)
    docs.upsert([Document(30, "the")])  # BM25 has no vector for it
    assert docs.check() == ()
    client.upsert(engine.name, points(OTHERS), wait=True)
    bare = models.PointStruct(id=40, vector={"colbert": [[0.5] * 32], "fde": [0.5] * MUVERA.dim}, payload={})
    client.upsert(engine.name, [bare], wait=True)
    docs = ColbertCollection.open(engine.name, client=client, encoder=NoModel(), vector_encoders=encoders)
    (_, sentence) = docs.check()
    assert sentence.startswith(f"6 documents have a text but no vector {name!r}")
    assert docs.repair()[1] == f"6 documents without the vector {name!r} got it from the text."
    assert docs.check() == docs.repair() == ()
    for number in [*OTHERS, *range(8)]:
        (point,) = client.retrieve(engine.name, ids=[number], with_vectors=True)
        vector: Any = point.vector
        assert set(vector) == {"colbert", "fde", name}
    if not bm25:
        assert docs.search("word11", prefetch={"own": 50}, limit=1)[0].id == 11
