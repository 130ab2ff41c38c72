"""Documents whose ids are stored: they are replaced, skipped if they are unchanged, or refused, on every engine."""

from __future__ import annotations

import datetime as dt
import uuid
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant import (
    ColbertCollection,
    ColbertQdrantWarning,
    CollectionConfig,
    ConfigurationError,
    DenseConfig,
    Document,
    InvalidDocumentError,
    LemurConfig,
    MuveraConfig,
    Passage,
    SparseConfig,
)
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

MUVERA = MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)
CONFIG = CollectionConfig(fde=MUVERA)
TEXTS = random_texts(40)
DOCUMENTS = [Document(number, text, {"number": number}) for number, text in enumerate(TEXTS)]


pytestmark = pytest.mark.usefixtures("small_chunks")


@pytest.fixture
def docs(engine: Engine, client: Client, encoder: WordEncoder) -> ColbertCollection:
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    docs.ingest(DOCUMENTS)
    encoder.encoded = 0
    return docs


def texts_of(docs: ColbertCollection) -> dict[Any, str]:
    return {each.id: each.text for each in docs.get([*range(100)])}


def test_only_what_changed_is_encoded(docs: ColbertCollection, encoder: WordEncoder) -> None:
    changed = [*DOCUMENTS, Document(90, "a new text")]
    changed[3] = Document(3, "another text", {"number": 3})
    changed[17] = Document(17, TEXTS[17], {"number": 17.0})
    changed[25] = Document(25, TEXTS[25])
    report = docs.ingest(changed, on_conflict="skip")
    assert (report.documents, report.unchanged, report.replaced, encoder.encoded) == (4, 37, 0, 4)
    assert texts_of(docs) == {each.id: each.text for each in changed}
    assert dict(docs.get(17)[0].payload) == {"number": 17.0}
    assert docs.ingest(changed, on_conflict="skip").unchanged == 41


def test_the_last_of_several_documents_with_the_same_id_is_stored(
    docs: ColbertCollection, encoder: WordEncoder
) -> None:
    other, stored = Document(5, "another text"), DOCUMENTS[5]
    for documents, wanted in (
        ([other, stored], stored),
        ([stored, other], other),
        ([*DOCUMENTS[:5], other, *DOCUMENTS[6:], stored], stored),  # in other chunks
        ([other, *DOCUMENTS[6:], stored, stored], stored),
        ([stored, *DOCUMENTS[6:], other], other),
    ):
        report = docs.ingest(documents, on_conflict="skip")
        assert docs.get(5)[0].text == wanted.text
        assert report.documents + report.unchanged + report.replaced == len(documents)
    assert docs.count() == 40


def test_points_without_vectors_count_as_changed(
    docs: ColbertCollection, client: Client, engine: Engine, encoder: WordEncoder
) -> None:
    ids = [record.id for record in client.scroll(engine.name, limit=3)[0]]
    client.delete_vectors(engine.name, vectors=["colbert"], points=ids[:1])
    client.delete_vectors(engine.name, vectors=["fde"], points=ids[1:3])
    assert docs.ingest(DOCUMENTS, on_conflict="skip").documents == 3
    assert docs.check() == ()


def test_payloads_of_all_kinds_are_recognized(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    payload = {
        "at": dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC),
        "array": np.arange(3),
        "nested": {"b": [1, 2.5, None, {"c": True}], "a": "ü€😀"},
        "number": 0.1 + 0.2,
        "big": 2**60,
        "nothing": float("nan"),
    }
    documents = [Document(id, "a text", payload) for id in (1, "1", uuid.UUID(int=1))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ColbertQdrantWarning)
        docs.ingest(documents)
        assert docs.ingest(documents, on_conflict="skip").unchanged == 3


def test_own_vectors_count(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    config = CollectionConfig(
        fde=MUVERA,
        dense={"cosine": DenseConfig(dim=3), "dot": DenseConfig(dim=3, distance="dot")},
        sparse={"sparse": SparseConfig()},
    )
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config)
    vectors: dict[str, Any] = {
        "cosine": [0.1, 0.2, 0.7],
        "dot": np.array([0.1, 0.2, 0.7]),
        "sparse": models.SparseVector(indices=[7, 3], values=[0.1, 0.7]),
    }
    documents = [Document(1, "a text", {}, vectors)]
    docs.ingest(documents)
    assert docs.ingest(documents, on_conflict="skip").unchanged == 1
    assert docs.ingest([Document(1, "a text")], on_conflict="skip").unchanged == 1  # it keeps its vectors
    tiny = [1e-5, 2e-5, 3e-5]  # which some engines do not scale
    for name, other in (
        ("cosine", [0.1, 0.2, 0.71]),
        ("cosine", tiny),
        ("dot", [0.1, 0.2, 0.70001]),
        ("sparse", {3: 0.7, 8: 0.1}),
    ):
        changed = [Document(1, "a text", {}, {**vectors, name: other})]
        assert docs.ingest(changed, on_conflict="skip").documents == 1
        assert docs.ingest(changed, on_conflict="skip").unchanged == 1
        docs.ingest(documents)


def test_ready_tokens_count(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    tokens = np.random.default_rng(0).standard_normal((5, encoder.dim)).astype(np.float32)
    docs.ingest([Document(1, "a text", tokens=tokens), Document(2, tokens=tokens)])
    same = [Document(1, "a text", tokens=tokens.tolist()), Document(2, tokens=tokens)]
    assert docs.ingest(same, on_conflict="skip").unchanged == 2
    other = tokens.copy()
    other[4, 3] += 0.01
    report = docs.ingest([Document(1, "a text", tokens=other), Document(2, tokens=tokens[:4])], on_conflict="skip")
    assert (report.documents, encoder.encoded) == (2, 0)


def test_native_collections(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    config = CollectionConfig(fde=MUVERA, id_scheme="native", text_key="meta.text")
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config)
    docs.ingest(DOCUMENTS)
    encoder.encoded = 0
    changed = [Document(0, "another text", {"number": 0}), *DOCUMENTS[1:]]
    report = docs.ingest(changed, on_conflict="skip")
    assert (report.documents, report.unchanged, encoder.encoded) == (1, 39, 1)


def test_an_encoding_that_is_not_fitted_yet_is_no_change(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    config = CollectionConfig(fde=LemurConfig(dim=8, hidden=16, epochs=0, learn_tokens=50, fit_documents=1000))
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config)
    docs.ingest(DOCUMENTS[:20], fit=False)
    assert docs.ingest(DOCUMENTS[:20], on_conflict="skip").unchanged == 20
    assert docs.fde is not None
    report = docs.ingest(DOCUMENTS, on_conflict="skip")
    assert (report.documents, report.unchanged) == (20, 20)


def test_conflicts_are_refused(docs: ColbertCollection, encoder: WordEncoder) -> None:
    new = [Document(number, f"a new text {number}") for number in range(90, 96)]
    with pytest.raises(InvalidDocumentError, match="document 7 is stored already: leave out documents that are stored"):
        docs.ingest([*new, Document(7, "another text")], on_conflict="error")
    assert docs.count() == 40
    report = docs.ingest([*new, Document(7, "another text"), new[0]], on_conflict="error", on_error="skip")
    assert report.documents == 6
    assert [each.id for each in report.rejected] == [7, 90]
    assert docs.get(7)[0].text == TEXTS[7]
    assert encoder.encoded == 6


def test_what_has_left_the_source_is_deleted(docs: ColbertCollection, encoder: WordEncoder) -> None:
    left = [each for number, each in enumerate(DOCUMENTS) if number != 3 and number % 5]
    report = docs.ingest([*left, Document(90, "a new text")], on_conflict="skip", sync=True)
    assert (report.documents, report.unchanged, report.deleted) == (1, len(left), 40 - len(left))
    assert texts_of(docs) == {**{each.id: each.text for each in left}, 90: "a new text"}
    assert docs.check() == ()


def test_nothing_is_deleted_for_a_source_that_is_empty_broken_or_unreadable(docs: ColbertCollection) -> None:
    with pytest.raises(ConfigurationError, match="the source has no documents, so sync=True would delete all"):
        docs.ingest([], sync=True)
    with pytest.raises(InvalidDocumentError):
        docs.ingest(iter([DOCUMENTS[0], Document("bad", "")]), sync=True)
    with pytest.raises(ConfigurationError, match="would delete the documents of all other shards"):
        docs.ingest(DOCUMENTS, sync=True, shard=(0, 2))
    with pytest.warns(ColbertQdrantWarning, match="rows whose stored documents are unknown, so nothing was"):
        report = docs.ingest([DOCUMENTS[0], Document(1.5, "a")], on_error="skip", sync=True)  # type: ignore[arg-type]
    assert (docs.count(), report.deleted) == (40, 0)


def test_a_rejected_document_stays_as_it_is_stored(docs: ColbertCollection) -> None:
    report = docs.ingest([DOCUMENTS[0], Document(1, "")], on_error="skip", sync=True)
    assert (report.deleted, texts_of(docs)) == (38, {0: TEXTS[0], 1: TEXTS[1]})


def test_what_earlier_calls_stored_stays(docs: ColbertCollection, tmp_path: Any) -> None:
    docs.ingest(DOCUMENTS[:30], resume=tmp_path / "docs.journal")
    report = docs.ingest([*DOCUMENTS[:30], Document(90, "a new text")], resume=tmp_path / "docs.journal", sync=True)
    assert (report.documents, report.resumed, report.deleted) == (1, 30, 10)
    assert set(texts_of(docs)) == {*range(30), 90}


def test_passages_of_a_document_that_has_left_the_source_are_deleted(
    engine: Engine, client: Client, encoder: WordEncoder
) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    docs.ingest([Document("a", "one two three"), Document("b", "four five")], chunker=Words())
    assert docs.count() == 5
    with pytest.warns(ColbertQdrantWarning, match="rows whose stored documents are unknown, so nothing was deleted"):
        docs.ingest([Document("a", "one two"), Document("b", "")], chunker=Words(), on_error="skip", sync=True)
    assert docs.count() == 4
    report = docs.ingest([Document("a", "one two")], chunker=Words(), on_conflict="skip", sync=True)
    assert (report.unchanged, report.deleted, docs.count()) == (2, 2, 2)


class Words:
    """Makes a passage of each word."""

    def chunk(self, document: Document) -> list[Passage]:
        return [Passage(text=word, start=0, end=len(word)) for word in document.text.split()]
