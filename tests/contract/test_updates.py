"""Changing payloads and vectors of stored documents without encoding them again, on every engine."""

from __future__ import annotations

from datetime import datetime
from math import inf, nan
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant import (
    Bm25Config,
    ColbertCollection,
    ColbertQdrantWarning,
    CollectionConfig,
    ConfigurationError,
    DenseConfig,
    Document,
    InvalidDocumentError,
    MuveraConfig,
    SparseConfig,
)
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

FDE = MuveraConfig(k_sim=2, dim_proj=4, r_reps=4)
CONFIG = CollectionConfig(
    fde=FDE,
    bm25=Bm25Config(),
    dense={"meaning": DenseConfig(dim=3)},
    sparse={"words": SparseConfig()},
    payload_indexes={"year": "integer"},
)
DOCUMENTS = [
    Document(1, "copper falcon", {"year": 2020, "a.b": "dot", "meta": {"lang": "en", "deep": {"x": 1}}}),
    Document("1", "copper kelp", {"year": 2021, "list": [{"name": "n", "age": 1}, {"name": "m"}]}),
    Document(UUID(int=1), "ember glacier kelp", {"year": 2022}),
]


@pytest.fixture
def docs(engine: Engine, client: Client) -> ColbertCollection:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=CONFIG)
    docs.upsert(
        Document(each.id, each.text, each.payload, vectors={"meaning": [1, 0, 0], "words": {1: 1.0}})
        for each in DOCUMENTS
    )
    return docs


@pytest.fixture
def native(engine: Engine, client: Client) -> ColbertCollection:
    config = CollectionConfig(fde=FDE, id_scheme="native", text_key="metadata.parts[].text")
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=config)
    payload = {"metadata": {"parts": [{"text": "copper falcon"}], "page": 1}, "text": "the user's own"}
    docs.upsert([Document(1, "copper falcon", payload)])
    return docs


def payloads(docs: ColbertCollection) -> list[dict[str, Any]]:
    return [dict(each.payload) for each in docs.get([each.id for each in DOCUMENTS])]


def points(client: Client, name: str) -> dict[Any, tuple[Any, Any]]:
    """All points as the engine has them."""
    records, _ = client.scroll(name, limit=100, with_payload=True, with_vectors=True)
    return {each.id: (each.payload, each.vector) for each in records}


def test_set_payload_changes_only_the_given_keys_of_the_given_documents(docs: ColbertCollection) -> None:
    encoder = docs.encoder
    assert isinstance(encoder, WordEncoder)
    before, calls = docs.search("copper kelp", limit=3), encoder.calls
    docs.set_payload({"year": 1999, "new": [1, {"x": None}]}, ids=[1, UUID(int=1)])
    assert payloads(docs) == [
        {**DOCUMENTS[0].payload, "year": 1999, "new": [1, {"x": None}]},
        DOCUMENTS[1].payload,
        {"year": 1999, "new": [1, {"x": None}]},
    ]
    assert [each.text for each in docs.get([1, "1"])] == ["copper falcon", "copper kelp"]
    assert encoder.calls == calls
    after = docs.search("copper kelp", limit=3)
    assert [(hit.id, hit.score) for hit in after] == [(hit.id, hit.score) for hit in before]
    assert {hit.id for hit in docs.search("kelp", where={"year": 1999})} == {1, UUID(int=1)}


def test_set_payload_by_payload(docs: ColbertCollection) -> None:
    docs.set_payload({"old": True}, where={"year": {"lt": 2022}}, filter=models.Filter(must=[has("meta")]))
    assert ["old" in each for each in payloads(docs)] == [True, False, False]
    docs.set_payload({"year": 2022}, where={"year": 2021})  # the change makes the document leave the filter
    assert [each["year"] for each in payloads(docs)] == [2020, 2022, 2022]


def has(key: str) -> models.Filter:
    return models.Filter(must_not=[models.IsEmptyCondition(is_empty=models.PayloadField(key=key))])


def test_ids_that_are_not_stored_are_ignored_and_never_made(docs: ColbertCollection) -> None:
    docs.set_payload({"seen": True}, ids=["missing", 1, 404])
    docs.set_payload({"seen": True}, ids=[])
    docs.delete_payload("year", ids=["missing", 1])
    docs.update_vectors("meaning", {"missing": [0, 1, 0], 1: [0, 1, 0], 404: [0, 1, 0]})
    docs.update_vectors("meaning", {404: [0, 1, 0]})
    docs.update_vectors("meaning", {})
    assert docs.count() == 3
    assert payloads(docs)[0] == {key: value for key, value in DOCUMENTS[0].payload.items() if key != "year"} | {
        "seen": True
    }
    assert docs.get(1)[0].vectors["meaning"] == [0, 1, 0]
    assert docs.get("1")[0].vectors["meaning"] == [1, 0, 0]


def test_values_are_stored_as_those_of_documents(docs: ColbertCollection) -> None:
    values = {"when": datetime(2024, 6, 1, 12), "uuid": UUID(int=7), "np": np.float32(0.5), "t": (1, 2)}
    docs.set_payload(values, ids=1)
    docs.upsert([Document("other", "ember", values)])
    stored = docs.get([1, "other"])
    assert {key: stored[0].payload[key] for key in values} == stored[1].payload


def test_none_removes_a_key_and_nan_does_so_with_a_warning(docs: ColbertCollection) -> None:
    docs.set_payload({"year": None, "missing": None}, ids=1)
    assert "year" not in payloads(docs)[0]
    with pytest.warns(ColbertQdrantWarning, match="set_payload got NaN under payload key 'year'"):
        docs.set_payload({"year": nan, "inner": {"x": nan}}, ids="1")
    assert payloads(docs)[1] == {"list": DOCUMENTS[1].payload["list"], "inner": {"x": None}}


def test_set_payload_in_an_inner_object(docs: ColbertCollection) -> None:
    docs.set_payload({"lang": "de"}, key="meta", ids=[1, "1"])
    docs.set_payload({"y": 2}, key="meta.deep", ids=[1, "1"])
    assert [each["meta"] for each in payloads(docs)[:2]] == [
        {"lang": "de", "deep": {"x": 1, "y": 2}},
        {"lang": "de", "deep": {"y": 2}},
    ]
    docs.set_payload({"deep": {"z": 3}}, key="meta", ids=1)
    assert payloads(docs)[0]["meta"] == {"lang": "de", "deep": {"z": 3}}


def test_delete_payload_by_paths(docs: ColbertCollection) -> None:
    docs.delete_payload(['"a.b"', "meta.deep.x", "missing.key", "list[].age"], where={"year": {"lt": 2022}})
    assert payloads(docs) == [
        {"year": 2020, "meta": {"lang": "en", "deep": {}}},
        {"year": 2021, "list": [{"name": "n"}, {"name": "m"}]},
        {"year": 2022},
    ]
    docs.delete_payload("list", ids="1")
    assert payloads(docs)[1] == {"year": 2021}


@pytest.mark.parametrize(
    ("payload", "error", "message"),
    [
        ({"text": "another"}, InvalidDocumentError, "'text' holds the document's text.*upsert the document"),
        ({"_id": 5}, InvalidDocumentError, "'_id' is the document's id"),
        ({"_colbert_qdrant_write": {}}, InvalidDocumentError, "is reserved for colbert-qdrant"),
        ({"x": inf}, InvalidDocumentError, "'x' is inf, which JSON cannot represent"),
        ({"year": 1.5}, InvalidDocumentError, "its index of type 'integer' would not find"),
        ({"x": 2**70}, InvalidDocumentError, "64 bits"),
        ({1: "x"}, InvalidDocumentError, "key 1 has type int"),
        ({"x": b"y"}, InvalidDocumentError, "bytes, which JSON does not support"),
        ({"x": "\ud800"}, InvalidDocumentError, "not valid Unicode"),
        ({}, ConfigurationError, "payload has no keys"),
        ([("a", 1)], ConfigurationError, "pass a dict of the keys to set"),
    ],
)
def test_a_payload_that_cannot_be_set_changes_nothing(
    docs: ColbertCollection, payload: Any, error: type[Exception], message: str
) -> None:
    if isinstance(payload, dict) and payload:
        payload = {"fine": 1, **payload}
    with pytest.raises(error, match=message):
        docs.set_payload(payload, ids=[1, "1"])
    assert payloads(docs) == [each.payload for each in DOCUMENTS]


def test_documents_to_change_must_be_given(docs: ColbertCollection) -> None:
    with pytest.raises(ConfigurationError, match="set_payload got neither ids nor a filter: pass either ids"):
        docs.set_payload({"x": 1})
    with pytest.raises(ConfigurationError, match="delete_payload got both ids and a filter"):
        docs.delete_payload("year", ids=1, where={"year": 2020})
    with pytest.raises(ConfigurationError, match="set_payload would change every document"):
        docs.set_payload({"x": 1}, filter=models.Filter())
    with pytest.raises(ConfigurationError, match="leads into a list"):
        docs.set_payload({"x": 1}, key="list[0]", ids=1)
    with pytest.raises(ConfigurationError, match="one element of a list"):
        docs.delete_payload("list[0]", ids=1)
    for keys in ([], "a..b", 5, [None]):
        with pytest.raises(ConfigurationError, match="key"):
            docs.delete_payload(keys, ids=1)  # type: ignore[arg-type]
    for key in ("text", "_id", "_colbert_qdrant_write", "_id.uuid"):
        with pytest.raises(InvalidDocumentError, match=key.partition(".")[0]):
            docs.delete_payload(["year", key], ids=1)
    assert payloads(docs) == [each.payload for each in DOCUMENTS]


def test_the_text_of_a_native_payload_is_protected_and_the_rest_is_not(native: ColbertCollection) -> None:
    for payload, key in (
        ({"metadata": {}}, None),
        ({"parts": []}, "metadata"),
    ):
        with pytest.raises(InvalidDocumentError, match="holds the document's text"):
            native.set_payload(payload, key=key, ids=1)
    for path in ("metadata", "metadata.parts", "metadata.parts[]", "metadata.parts[0].text", "metadata.parts[].text"):
        with pytest.raises(InvalidDocumentError, match="holds the document's text"):
            native.delete_payload(path, ids=1)
    native.set_payload({"page": 2}, key="metadata", ids=1)
    native.set_payload({"text": "changed", "_id": 7}, where={"metadata.page": 2})
    native.delete_payload("metadata.parts[].other", ids=1)
    [document] = native.get(1)
    assert document.text == "copper falcon"
    assert document.payload == {
        "metadata": {"parts": [{"text": "copper falcon"}], "page": 2},
        "text": "changed",
        "_id": 7,
    }


def test_update_vectors_replaces_one_vector_and_keeps_the_rest(
    docs: ColbertCollection, client: Client, engine: Engine
) -> None:
    before = points(client, engine.name)
    docs.update_vectors("meaning", {1: np.array([0, 0, 2.0]), "1": [0, 3, 0]})
    docs.update_vectors("words", {1: {7: 2.0}, "1": models.SparseVector(indices=[8], values=[1.0])})
    after = points(client, engine.name)
    assert after.keys() == before.keys()
    for id, (payload, vectors) in after.items():
        assert payload == before[id][0]
        for name in ("colbert", "fde", "bm25"):
            assert vectors[name] == before[id][1][name]
    assert [each.vectors["meaning"] for each in docs.get([1, "1", UUID(int=1)])] == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert [each.vectors["words"].indices for each in docs.get([1, "1", UUID(int=1)])] == [[7], [8], [1]]
    [hit] = docs.search("ember", prefetch={"words": 1}, vectors={"words": {7: 1.0}}, limit=1)
    assert hit.id == 1


@pytest.mark.parametrize(
    ("name", "vectors", "error", "message"),
    [
        (
            "meaning",
            {1: [0, 1, 0], "1": [1, 2]},
            InvalidDocumentError,
            r"document '1': vector 'meaning' of shape \(2,\)",
        ),
        ("meaning", {1: [0, 1, nan]}, InvalidDocumentError, "pass 3 finite numbers"),
        ("words", {1: [1, 2]}, InvalidDocumentError, "not a sparse vector"),
        ("meaning", {1.5: [0, 1, 0]}, InvalidDocumentError, "id 1.5 has type float"),
        ("meaning", [[0, 1, 0]], ConfigurationError, "pass a dict of vectors by document id"),
        ("colbert", {1: [[1.0] * 32]}, ConfigurationError, "the token vectors.*upsert the document"),
        ("fde", {1: [1.0]}, ConfigurationError, "the encoding of the token vectors.*upsert the document"),
        ("bm25", {1: {1: 1.0}}, ConfigurationError, "made from the text.*upsert the document"),
        ("other", {}, ConfigurationError, r"no further vector 'other': name one of \['meaning', 'words'\]"),
    ],
)
def test_vectors_that_cannot_be_stored_change_nothing(
    docs: ColbertCollection, name: str, vectors: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        docs.update_vectors(name, vectors)
    assert [each.vectors["meaning"] for each in docs.get([1, "1"])] == [[1, 0, 0], [1, 0, 0]]


def test_many_ids_are_changed_in_several_requests(docs: ColbertCollection) -> None:
    docs.upsert([Document(f"many {number}", "ember", {"number": number}) for number in range(600)])
    docs.set_payload({"seen": True}, ids=[f"many {number}" for number in range(600)])
    assert docs.count(where={"seen": True}) == 600
    docs.delete_payload("seen", where={"number": {"lt": 500}})
    assert docs.count(where={"seen": True}) == 100
