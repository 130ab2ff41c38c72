"""Settings, encodings, reports and hits go to other processes; what holds a client says what to do instead."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient

import colbert_qdrant
from colbert_qdrant import (
    AsyncEdgeClient,
    Bm25Config,
    ColbertCollection,
    CollectionConfig,
    DenseConfig,
    Document,
    EdgeClient,
    HnswConfig,
    LemurConfig,
    LemurEncoder,
    Migration,
    MuveraConfig,
    MuveraEncoder,
    RetryConfig,
    Rrf,
    Secret,
    SparseConfig,
    attach,
    attach_async,
    connect,
    fde_report,
    muvera_fitness,
)
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MUVERA = MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)
SMALL = CollectionConfig(fde=MUVERA)
LEARNED = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=100)
COPIES: dict[str, Callable[[Any], Any]] = {
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "old pickle": lambda value: pickle.loads(pickle.dumps(value, protocol=2)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


@pytest.fixture(scope="module")
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture(scope="module")
def docs(client: QdrantClient) -> ColbertCollection:
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=SMALL)
    docs.ingest(Document(number, text, {"n": number % 3}) for number, text in enumerate(random_texts(24)))
    return docs


@pytest.fixture(scope="module")
def values(docs: ColbertCollection, client: QdrantClient) -> dict[str, Any]:
    """Something of each public class that is a value, by what it is."""
    encoder, texts = WordEncoder(), random_texts(12)
    fde = MuveraEncoder(MUVERA, token_dim=encoder.dim)
    smaller = replace(SMALL, fde=MuveraConfig(k_sim=1, dim_proj=4, r_reps=2))
    migration = Migration.plan(client, "docs", "target", encoder=encoder, config=smaller, reencode=True)
    report = migration.run()
    hits = docs.search("boat", timings=True, limit=3)
    return {
        "Bm25Config": Bm25Config(),
        "CollectionConfig": CollectionConfig(dense={"e": DenseConfig(dim=4)}, sparse={"s": SparseConfig()}),
        "CollectionState": docs.info(),
        "DenseConfig": DenseConfig(dim=4),
        "Document": Document("a", "text", {"tags": ["x"], "deep": {"n": 1.5}}),
        "FdeReport": fde_report(fde, texts, texts[:2], encoder=encoder, depths=(2, 5), candidates=10, graph=False),
        "HnswConfig": HnswConfig(),
        "IngestReport": docs.ingest([Document(0, "boat")]),
        "LemurConfig": LEARNED,
        "MigrationPlan": migration.details,
        "MigrationReport": report,
        "MuveraConfig": SMALL.fde,
        "MuveraFitness": muvera_fitness(encoder.encode_queries(texts[:4]), encoder.encode_documents(texts)),
        "RetryConfig": RetryConfig(),
        "Rrf": Rrf(),
        "SearchGroup": docs.search_groups("boat", "n")[0],
        "SearchHit": hits[0],
        "SearchHits": hits,
        "SearchTimings": hits.timings,
        "SparseConfig": SparseConfig(),
        "VectorState": docs.info().fde,
        "Verdict": migration.verify(sample=2, queries=2),
    }


@pytest.mark.parametrize("way", COPIES)
def test_values_are_equal_on_the_other_side(values: dict[str, Any], way: str) -> None:
    for name, value in values.items():
        again = COPIES[way](value)
        assert type(again) is type(value) is getattr(colbert_qdrant, name)
        assert again == value
        assert repr(again) == repr(value)


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("kind", ["muvera", "lemur"])
def test_encodings_encode_the_same_on_the_other_side(kind: str, way: str) -> None:
    encoder = WordEncoder()
    tokens = encoder.encode_documents(random_texts(120))
    fde: MuveraEncoder | LemurEncoder = MuveraEncoder(MUVERA, token_dim=encoder.dim)
    if kind == "lemur":
        fde = LemurEncoder.fit(tokens, config=LEARNED)
    before = fde.encode_documents(tokens)
    again = COPIES[way](fde)
    np.testing.assert_array_equal(again.encode_documents(tokens), before)
    np.testing.assert_array_equal(again.encode_queries(tokens), fde.encode_queries(tokens))
    assert again.fingerprint() == fde.fingerprint()


HOLDERS: dict[str, tuple[Callable[[QdrantClient, Path], object], str]] = {
    "ColbertCollection": (
        lambda client, _: ColbertCollection.open("docs", client=client, encoder=WordEncoder()),
        r"ColbertCollection\('docs'.* open it with ColbertCollection\.open in the process",
    ),
    "AttachedCollection": (
        lambda client, _: attach(client, "docs", encoder=WordEncoder()),
        r"AttachedCollection\('docs'.* call attach in the process",
    ),
    "AsyncAttachedCollection": (
        lambda *_: attach_async(AsyncQdrantClient(":memory:"), "docs", encoder=WordEncoder()),
        r"AsyncAttachedCollection\('docs'.* call attach_async in the process",
    ),
    "Migration": (
        lambda client, _: Migration.plan(client, "docs", "other", encoder=WordEncoder(), config=SMALL, reencode=True),
        r"Migration\('docs'.* create it with Migration\.plan, or continue it with Migration\.resume",
    ),
    "EdgeClient": (lambda _, folder: EdgeClient(folder), "EdgeClient has its store open.* send the path"),
    "AsyncEdgeClient": (
        lambda _, folder: AsyncEdgeClient(folder),
        "AsyncEdgeClient has its store open.* send the path",
    ),
    "Secret": (lambda *_: Secret("key"), "make the client in the process that uses it"),
}


@pytest.mark.usefixtures("docs")
@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("kind", HOLDERS)
def test_what_holds_a_client_says_what_to_do_instead(client: QdrantClient, tmp_path: Path, kind: str, way: str) -> None:
    make, message = HOLDERS[kind]
    value = make(client, tmp_path)
    assert type(value) is getattr(colbert_qdrant, kind)
    with pytest.raises(TypeError, match=message):
        COPIES[way](value)


def test_a_copy_closes_no_store(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        with pytest.raises(TypeError):
            copy.copy(client)
        assert client.get_collections().collections == []


def test_a_client_of_connect_says_how_to_make_another() -> None:
    with pytest.raises(TypeError, match="api_key_env or api_key_file") as raised:
        pickle.dumps(connect("http://localhost:1", api_key="correct-horse"))
    assert "correct-horse" not in str(raised.value)
