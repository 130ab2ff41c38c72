"""What a server hands out instead of what this library wrote: an error, and no memory or time for it."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from safetensors.numpy import save

from colbert_qdrant import (
    ArtefactError,
    CapabilityError,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    EngineError,
    LemurConfig,
    MuveraConfig,
    RetryConfig,
    SchemaMismatchError,
    SearchHit,
    ServerError,
)
from colbert_qdrant.capabilities import Capabilities
from colbert_qdrant.fde import encoder_from_bytes
from colbert_qdrant.points.convert import to_document
from colbert_qdrant.search.hits import to_hits
from tests.encoders import WordEncoder, random_texts
from tests.faults.server import Answer, FaultyServer, serving

CONFIG = CollectionConfig()
SMALL = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))


def headed(header: bytes, *, size: int | None = None) -> bytes:
    """A safetensors file with a header of one's own, whose size it may lie about."""
    return (len(header) if size is None else size).to_bytes(8, "little") + header


def described(settings: Any) -> bytes:
    return headed(json.dumps({"__metadata__": {"colbert_qdrant": json.dumps(settings)}}).encode())


TENSOR = json.dumps(
    {
        "__metadata__": {"colbert_qdrant": json.dumps({"config": {"type": "lemur"}, "version": 1})},
        "weight": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]},
    }
).encode()
ARTEFACTS = {
    "nothing": b"",
    "a header without end": headed(b"{}", size=2**63),
    "a header of 64 MB": headed(b" " * 2**26),
    "a header nested deeply": headed(b"[" * 200_000),
    "settings nested deeply": headed(json.dumps({"__metadata__": {"colbert_qdrant": "[" * 200_000}}).encode()),
    "a header that is a list": headed(b"[]"),
    "settings that are a list": described([]),
    "settings that are a number": described(3),
    "a type that is a list": described({"config": {"type": []}, "version": 1}),
    "a config that is a text": described({"config": "lemur", "version": 1}),
    "a tensor of 4 TB": headed(TENSOR),
}


@pytest.mark.parametrize("data", ARTEFACTS.values(), ids=ARTEFACTS)
def test_an_artefact_that_is_none(data: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ArtefactError):
            encoder_from_bytes(data)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


def test_an_artefact_with_settings_that_would_fill_the_memory() -> None:
    config = {**MuveraConfig(center=True, final_projection=64).to_dict(), "r_reps": 10**12}
    metadata = {"colbert_qdrant": json.dumps({"config": config, "version": 1})}
    data = save({"mean": np.zeros(8, np.float32)}, metadata=metadata)
    with pytest.raises(ConfigurationError, match="must be between 1 and 1048576"):
        encoder_from_bytes(data)


@pytest.mark.parametrize(
    "settings",
    [
        {"type": "muvera", "r_reps": 10**12, "final_projection": 64},
        {"type": "muvera", "dim_proj": 10**12, "final_projection": 64},
        {"type": "muvera", "k_sim": 10**9},
        {"type": "lemur", "hidden": 10**9},
        {"type": "lemur", "learn_tokens": 10**12},
        {"type": "lemur", "epochs": 10**12},
    ],
)
def test_stored_settings_that_would_fill_the_memory(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"must be between"):
        CollectionConfig.from_dict({"fde": settings})


def test_the_largest_settings_are_allowed() -> None:
    assert MuveraConfig(r_reps=2**16, k_sim=4, dim_proj=1, final_projection=64).raw_dim == 2**20
    assert LemurConfig(hidden=2**17, learn_tokens=2**20).hidden == 2**17


PAYLOADS: list[dict[str, Any] | None] = [
    None,
    {},
    {"text": "a"},
    {"_id": None, "text": "a"},
    {"_id": [1], "text": "a"},
    {"_id": True, "text": "a"},
    {"_id": 2.5, "text": "a"},
    {"_id": {}, "text": "a"},
    {"_id": {"uuid": "x"}, "text": "a"},
    {"_id": {"uuid": [1]}, "text": "a"},
    {"_id": 1, "text": ["a"]},
    {"_id": 1, "text": 7},
]


@pytest.mark.parametrize("payload", PAYLOADS, ids=repr)
def test_a_point_that_holds_no_document(payload: dict[str, Any] | None) -> None:
    point = models.ScoredPoint(id=1, version=0, score=1.0, payload=payload)
    with pytest.raises(SchemaMismatchError, match="another application wrote or changed it"):
        to_hits([point], CONFIG, with_payload=True)
    with pytest.raises(SchemaMismatchError, match="another application wrote or changed it"):
        to_document(models.Record(id=1, payload=payload), CONFIG)


@pytest.mark.parametrize("id", ["a", "", 7, -1, UUID(int=7)], ids=repr)
def test_all_others_are_read(id: Any) -> None:
    stored = {"uuid": str(id)} if not isinstance(id, str | int) else id
    point = models.ScoredPoint(id=1, version=0, score=1.0, payload={"_id": stored, "text": "a", "year": 2})
    assert to_hits([point], CONFIG, with_payload=True) == [SearchHit(id, 1.0, "a", {"year": 2})]
    assert to_hits([point], CONFIG, with_payload=False) == [SearchHit(id, 1.0)]


@pytest.mark.parametrize("text", [{}, {"text": None}], ids=repr)
def test_a_document_may_have_no_text(text: dict[str, Any]) -> None:
    payload = {"_id": 1, "year": 2, **text}
    point = models.ScoredPoint(id=1, version=0, score=1.0, payload=payload)
    assert to_hits([point], CONFIG, with_payload=True) == [SearchHit(1, 1.0, None, {"year": 2})]
    assert to_document(models.Record(id=1, payload=payload), CONFIG) == Document(1, "", {"year": 2})


HIT = {"id": 1, "version": 0, "score": 0.5, "payload": {"_id": 1, "text": "a"}}
ANSWERS: dict[str, Any] = {
    "no answer": [],
    "three answers": [{"points": []}] * 3,
    "more hits than asked for": [{"points": [HIT] * 21}],
    "a score that is none": [{"points": [{**HIT, "score": float("nan")}]}],
    "an endless score": [{"points": [{**HIT, "score": float("inf")}]}],
}


@pytest.mark.parametrize("result", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_to_another_search(result: Any) -> None:
    with serving(FaultyServer()) as server:
        client = QdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False)
        docs = ColbertCollection.create(
            "docs", client=client, encoder=WordEncoder(), config=SMALL, retry=RetryConfig(attempts=1)
        )
        server.script = [Answer(body=json.dumps({"result": result, "status": "ok", "time": 0}).encode())]
        with pytest.raises(ServerError, match="the response could not be read"):
            docs.search("river", limit=10)
        client.close()


GROUPS: dict[str, Any] = {
    "more groups than asked for": [{"id": number, "hits": [HIT]} for number in range(3)],
    "more hits than asked for": [{"id": 1, "hits": [HIT] * 5}],
    "a score that is none": [{"id": 1, "hits": [{**HIT, "score": float("nan")}]}],
}


@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
def test_groups_that_nobody_asked_for(groups: Any) -> None:
    with serving(FaultyServer()) as server:
        client = QdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False)
        docs = ColbertCollection.create(
            "docs", client=client, encoder=WordEncoder(), config=SMALL, retry=RetryConfig(attempts=1)
        )
        body = {"result": {"groups": groups}, "status": "ok", "time": 0}
        server.script = [Answer(body=json.dumps(body).encode())]
        with pytest.raises(ServerError, match="the response could not be read"):
            docs.search_groups("river", "year", limit=2, group_size=4)
        client.close()


class EndlessClient(QdrantClient):
    """Has one page more, always."""

    pages = 0

    def scroll(self, *arguments: Any, **named: Any) -> Any:
        self.pages += 1
        named["offset"] = None
        records, _ = super().scroll(*arguments, **named)
        return records if self.pages % 2 else [], self.pages


def test_pages_without_end() -> None:
    client = EndlessClient(":memory:")
    config = CollectionConfig(fde=LemurConfig(dim=8, hidden=32, epochs=0, fit_documents=1_000))
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config)
    docs.upsert([Document(number, text) for number, text in enumerate(random_texts(20))])
    with pytest.raises(EngineError, match=r"returned far more points than the .* that it reports"):
        docs.fit()
    assert client.pages < 1_000


def test_points_without_the_vector_that_they_were_chosen_by(monkeypatch: pytest.MonkeyPatch) -> None:
    client = QdrantClient(":memory:")
    config = CollectionConfig(fde=LemurConfig(dim=8, hidden=32, epochs=0, fit_documents=1_000))
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config)
    docs.upsert([Document(1, "river stone")])
    monkeypatch.setattr(client, "scroll", lambda *_, **__: ([models.Record(id=1, payload={}, vector={})], None))
    with pytest.raises(SchemaMismatchError, match="was returned without the vector 'colbert'"):
        docs.fit()


@pytest.mark.parametrize("version", ["", "unknown", "1", "9" * 100_000 + ".1", "1." + "9" * 100_000, "x" * 1_000_000])
def test_a_version_that_is_none(version: str) -> None:
    with pytest.raises(CapabilityError, match="not a number such as") as caught:
        Capabilities.of_server(version)
    assert len(str(caught.value)) < 200
