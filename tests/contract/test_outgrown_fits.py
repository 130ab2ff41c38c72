"""A collection that has outgrown the few documents that its encoding was fitted to says so, on every engine."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from colbert_qdrant import (
    AsyncColbertCollection,
    AsyncEdgeClient,
    ColbertCollection,
    ColbertQdrantWarning,
    CollectionConfig,
    Document,
    LemurConfig,
    MuveraConfig,
)
from colbert_qdrant.collection.artefacts import REMEMBERED
from colbert_qdrant.fde import Fitted
from tests.contract.test_fitting import assert_encoded
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

DOCUMENTS = [Document(number, text) for number, text in enumerate(random_texts(60))]
MESSAGE = r"was fitted to only 5 documents, and now has \d+.*Call repair\(\)"
LEMUR = LemurConfig(dim=4, hidden=32, epochs=0, learn_tokens=100)
CONFIGS = [
    LEMUR,
    MuveraConfig(k_sim=2, dim_proj=4, r_reps=2, center=True),
    MuveraConfig(k_sim=2, dim_proj=4, r_reps=2, partition="kmeans"),
]


def create(client: Client, name: str, fde: FdeConfig = LEMUR) -> ColbertCollection:
    """A collection whose encoding is fitted to five documents."""
    config = CollectionConfig(fde=fde)
    docs = ColbertCollection.create(name, client=client, encoder=WordEncoder(), config=config)
    docs.ingest(DOCUMENTS[:5])
    return docs


@pytest.mark.parametrize("fde", CONFIGS, ids=["lemur", "centred", "kmeans"])
def test_it_is_named_and_mended(client: Client, engine: Engine, fde: FdeConfig) -> None:
    docs = create(client, engine.name, fde)
    docs.upsert(DOCUMENTS[:49])
    assert docs.check() == ()
    docs.upsert(DOCUMENTS[49:50])
    with pytest.warns(ColbertQdrantWarning, match=MESSAGE):
        docs.upsert(DOCUMENTS[50:])
    docs.upsert(DOCUMENTS[50:])  # it is said once
    (sentence,) = docs.check()
    assert "fitted to only 5 documents, and now has 60" in sentence
    assert sentence in docs.info().warnings
    with pytest.warns(ColbertQdrantWarning, match=MESSAGE):
        opened = ColbertCollection.open(engine.name, client=client, encoder=WordEncoder())
    assert len(opened.repair()) == 1
    assert (opened.check(), docs.check()) == ((), ())
    assert_encoded(opened, client, DOCUMENTS)
    REMEMBERED.clear()
    again = ColbertCollection.open(engine.name, client=client, encoder=WordEncoder())
    assert isinstance(again.fde, Fitted)
    assert again.fde.fitted_documents == 60


def test_a_refit_by_hand_mends_it(client: Client, engine: Engine) -> None:
    docs = create(client, engine.name)
    docs.upsert(DOCUMENTS)
    assert len(docs.check()) == 1
    docs.fit(refit=True)
    assert docs.check() == ()


def test_a_fit_that_saw_all_that_was_asked_for_is_never_outgrown(client: Client, engine: Engine) -> None:
    docs = create(client, engine.name, replace(LEMUR, fit_documents=5))
    docs.upsert(DOCUMENTS)
    docs.upsert(DOCUMENTS)
    assert docs.check() == ()


def test_an_artefact_of_an_earlier_version_opens(
    client: Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_documents(self: Fitted, documents: int | None, **_: int | None) -> Fitted:
        return self

    with monkeypatch.context() as patch:
        patch.setattr(Fitted, "fitted_to", without_documents)
        docs = create(client, engine.name)
        assert isinstance(docs.fde, Fitted)
        data = docs.fde.to_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert set(json.loads(header["__metadata__"]["colbert_qdrant"])) == {"config", "version"}
    REMEMBERED.clear()
    opened = ColbertCollection.open(engine.name, client=client, encoder=WordEncoder())
    opened.upsert(DOCUMENTS)
    assert opened.check() == ()
    assert_encoded(opened, client, DOCUMENTS)
    assert isinstance(opened.fde, Fitted)
    assert opened.fde.to_bytes() == data


def test_awaited(tmp_path: Path, runner: asyncio.Runner) -> None:
    async def work() -> None:
        async with AsyncEdgeClient(tmp_path) as client:
            config = CollectionConfig(fde=LEMUR)
            docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config)
            await docs.ingest(DOCUMENTS[:5])
            await docs.upsert(DOCUMENTS)
            with pytest.warns(ColbertQdrantWarning, match=MESSAGE):
                await docs.upsert(DOCUMENTS[:1])
            assert len((await docs.info()).warnings) == 1
            await docs.repair()
            assert await docs.check() == ()

    runner.run(work())
