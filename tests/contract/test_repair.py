"""A repair of documents some of which cannot be encoded: all others get their vectors, and these are named."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant import (
    AsyncColbertCollection,
    AsyncEdgeClient,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    InvalidDocumentError,
    InvalidTokensError,
    Migration,
    MuveraConfig,
    TokenEmbeddings,
)
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2), text_key="meta.body", id_scheme="native")
BAD = {3: "unreadable", 5: "huge", 6: "long"}
TEXTLESS: dict[int, Any] = {7: {}, 8: {"meta": {"body": "  "}}, 9: {"meta": {"body": 12}}}


class PickyEncoder(WordEncoder):
    """Cannot encode some texts, each in its own way."""

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        if "unreadable" in texts:
            raise ValueError("no such character")
        made = super().encode_documents(texts)
        if not {"huge", "long"} & set(texts):
            return made
        matrices = [np.array(matrix) for matrix in made]
        for place, text in enumerate(texts):
            if text == "huge":
                matrices[place] = matrices[place] * 1e9
            elif text == "long":
                matrices[place] = np.ones((2**15 + 1, self.dim), np.float32)
        return TokenEmbeddings.from_matrices(matrices)


def points() -> list[models.PointStruct]:
    """As another program writes them."""
    payloads: dict[int, Any] = {number: {"meta": {"body": f"word{number} among others"}} for number in range(12)}
    payloads |= {number: {"meta": {"body": text}} for number, text in BAD.items()} | TEXTLESS
    return [models.PointStruct(id=number, vector={}, payload=payload) for number, payload in payloads.items()]


def check_found(docs: ColbertCollection) -> None:
    for number in {*range(12)} - {*BAD, *TEXTLESS}:
        for mode in ("two-stage", "exact"):
            assert docs.search(f"word{number}", limit=1, mode=mode)[0].id == number


@pytest.fixture
def docs(client: Client, engine: Engine) -> ColbertCollection:
    docs = ColbertCollection.create(engine.name, client=client, encoder=PickyEncoder(), config=CONFIG)
    client.upsert(engine.name, points(), wait=True)
    if not docs.check():
        pytest.skip("the engine does not tell which points lack a vector")
    return docs


def test_documents_that_cannot_be_encoded_are_named_and_all_others_are_mended(docs: ColbertCollection) -> None:
    (sentence,) = docs.repair()
    assert sentence.startswith("6 documents with only a text were encoded. 3 documents cannot be encoded")
    assert "3: document 3 cannot be encoded (ValueError: no such character)" in sentence
    assert "5: document 5 has a value of" in sentence
    assert "6: document 6" in sentence
    assert sentence.endswith("3 documents have no text under 'meta.body' to encode: 7, 8, 9.")
    check_found(docs)
    (left,) = docs.check()
    assert left.startswith("3 documents have a text under 'meta.body' but no token vectors")
    (again,) = docs.repair()
    assert again.startswith("0 documents with only a text were encoded")


def test_an_error_names_them_after_all_others_are_mended(docs: ColbertCollection) -> None:
    with pytest.raises(InvalidDocumentError, match=r"repaired, except for 3 documents") as raised:
        docs.repair(on_error="raise")
    assert [line.split(":")[0].strip() for line in str(raised.value).splitlines()[1:]] == ["3", "5", "6"]
    check_found(docs)


def test_what_is_mended_in_the_payload_is_encoded_by_the_next_repair(docs: ColbertCollection, client: Client) -> None:
    docs.repair()
    for number in BAD:
        client.set_payload(docs.name, {"meta": {"body": f"word{number} mended"}}, points=[number], wait=True)
    assert docs.repair(on_error="raise")[0].startswith("3 documents with only a text were encoded")
    assert docs.check() == ()


def test_another_treatment_is_refused_before_anything_is_done(docs: ColbertCollection) -> None:
    with pytest.raises(ConfigurationError, match="on_error"):
        docs.repair(on_error="ignore")  # type: ignore[arg-type]
    assert docs.check()[0].startswith("9 documents")


def test_awaited(tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncEdgeClient(tmp_path) as client:
            docs = await AsyncColbertCollection.create("docs", client=client, encoder=PickyEncoder(), config=CONFIG)
            await client.upsert("docs", points())
            with pytest.raises(InvalidDocumentError, match="except for 3 documents"):
                await docs.repair(on_error="raise")
            (sentence,) = await docs.repair()
            assert sentence.startswith("0 documents with only a text were encoded. 3 documents cannot")
            assert (await docs.search("word11", limit=1))[0].id == 11

    asyncio.run(work())


@pytest.mark.parametrize("number", BAD)
def test_a_migration_names_the_document_that_cannot_be_encoded(client: Client, engine: Engine, number: int) -> None:
    vectors = models.VectorParams(size=1, distance=models.Distance.DOT)
    client.create_collection(engine.name, vectors_config=vectors)
    texts = {id: f"word{id} among others" for id in range(12)} | {number: BAD[number]}
    client.upsert(
        engine.name,
        [models.PointStruct(id=id, vector=[1.0], payload={"text": text}) for id, text in texts.items()],
        wait=True,
    )
    with pytest.raises((InvalidDocumentError, InvalidTokensError), match=rf"(document|point) {number}\b"):
        Migration.plan(client, engine.name, encoder=PickyEncoder(), fde=CONFIG.encoding, text_key="text").run()
