"""``fde="auto"`` chooses the encoding of a collection by a sample, on every engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from colbert_qdrant import (
    ColbertCollection,
    CollectionConfig,
    CollectionExistsError,
    ConfigurationError,
    Document,
    LemurConfig,
    Migration,
    MuveraConfig,
    TokenEmbeddings,
)
from colbert_qdrant.inspection import choice

if TYPE_CHECKING:
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine
    from tests.encoders import WordEncoder

AUTO = CollectionConfig(fde="auto")
FEW = ["river bridge", "tall mountain", "blue engine"]


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> TokenEmbeddings:
    """Documents whose tokens nearly share a direction, which are measured with a small LEMUR."""
    monkeypatch.setattr(choice, "_MEASURED_LEMUR", LemurConfig(dim=32, hidden=128, epochs=0, learn_tokens=512))
    values = np.random.default_rng(3).standard_normal((120 * 8, 32)) + 12
    return TokenEmbeddings(values / np.linalg.norm(values, axis=1, keepdims=True), [8] * 120)


def test_crowded_tokens_get_lemur_and_the_collection_tells_why(
    engine: Engine, client: Client, encoder: WordEncoder, crowded: TokenEmbeddings
) -> None:
    made = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=AUTO, sample=crowded)
    assert made.config == CollectionConfig(fde=LemurConfig())
    found = made.info().fde_choice
    assert found is not None
    assert found.config == LemurConfig()
    assert found.reason.startswith("LEMUR: ")
    assert found.measurements["anisotropy"] > 0.9
    assert found.measurements["lemur"] > found.measurements["muvera"]
    for config in (None, AUTO, CollectionConfig(fde=LemurConfig())):
        opened = ColbertCollection.open(engine.name, client=client, encoder=encoder, config=config)
        assert opened.config == made.config
        assert opened.info().fde_choice == found
    assert (
        ColbertCollection.open_or_create(engine.name, client=client, encoder=encoder, config=AUTO).config == made.config
    )


def test_few_documents_get_muvera_and_none_of_them_is_stored(
    engine: Engine, client: Client, encoder: WordEncoder
) -> None:
    sample: list[str | Document] = [
        *FEW[:1],
        Document("b", FEW[1]),
        Document("c", tokens=encoder.encode_documents(FEW[2:])[0]),
    ]
    docs = ColbertCollection.open_or_create(engine.name, client=client, encoder=encoder, config=AUTO, sample=sample)
    assert docs.config == CollectionConfig()
    assert docs.info().documents == 0
    found = docs.info().fde_choice
    assert found is not None
    assert found.reason == "MUVERA: 3 documents are too few to fit an encoding to, and MUVERA needs no fit."
    assert found.measurements["tokens"] == 2
    docs.upsert([Document(str(number), text) for number, text in enumerate(FEW)])
    assert docs.search("tall mountain", limit=1)[0].id == "1"
    assert ColbertCollection.open(engine.name, client=client, encoder=encoder).info().fde_choice == found


def test_without_auto_nothing_is_recorded(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    config = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
    assert (
        ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config).info().fde_choice is None
    )


@pytest.mark.parametrize(
    ("config", "sample", "message"),
    [
        (AUTO, None, r"pass some of your documents as sample=…, or fde=choose_fde\(tokens\).config"),
        (AUTO, [], "pass some of your documents as sample=…"),
        (
            AUTO,
            (text for text in FEW),
            "sample must be a list of documents or texts, or TokenEmbeddings, got generator",
        ),
        (AUTO, "river", "sample must be a list of documents or texts, or TokenEmbeddings, got str 'river'"),
        (AUTO, ["river", 3], "sample must be .*, got an item 3"),
        (None, FEW, r"sample is measured for CollectionConfig\(fde='auto'\) only: leave it out, or set fde='auto'"),
    ],
)
def test_a_missing_or_wrong_sample_is_refused_before_anything_is_made(
    engine: Engine, client: Client, encoder: WordEncoder, config: CollectionConfig | None, sample: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config, sample=sample)
    assert not client.collection_exists(engine.name)
    assert encoder.calls == 0


def test_a_taken_name_is_refused_before_the_sample_is_encoded(
    engine: Engine, client: Client, encoder: WordEncoder
) -> None:
    ColbertCollection.create(engine.name, client=client, encoder=encoder)
    with pytest.raises(CollectionExistsError):
        ColbertCollection.create(engine.name, client=client, encoder=encoder, config=AUTO, sample=FEW)
    assert encoder.calls == 0


def test_a_migration_names_the_remedy(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    ColbertCollection.create(engine.name, client=client, encoder=encoder)
    with pytest.raises(ConfigurationError, match=r"pass fde=choose_fde\(tokens\).config here"):
        Migration.plan(client, engine.name, "new", config=AUTO)
