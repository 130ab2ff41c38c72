"""A collection is only ever opened with what it was built with, on every engine."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import models

from colbert_qdrant import (
    Bm25Config,
    ColbertCollection,
    ColbertQdrantWarning,
    CollectionConfig,
    CollectionExistsError,
    Document,
    FingerprintMismatchError,
    HnswConfig,
    Migration,
    MuveraConfig,
    MuveraEncoder,
    SchemaMismatchError,
)
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

MUVERA = MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)
CONFIG = CollectionConfig(fde=MUVERA)
VECTOR = models.VectorParams(size=4, distance=models.Distance.DOT)


@pytest.fixture
def name(engine: Engine, client: Client, encoder: WordEncoder) -> str:
    collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    collection.upsert([Document("a", "river bridge")])
    return engine.name


def test_another_model_is_refused_with_both_names(name: str, client: Client) -> None:
    with pytest.raises(FingerprintMismatchError) as caught:
        ColbertCollection.open(name, client=client, encoder=WordEncoder(salt="other"))
    assert caught.value.differences["encoder.salt"] == ("", "other")
    message = str(caught.value)
    assert name in message
    assert "encoder.name: built with 'words', opened with 'words other'" in message
    assert "encoder.salt: built with '', opened with 'other'" in message
    assert "Open it with the encoder that it was built with" in message


def test_another_dimension_is_refused(name: str, client: Client) -> None:
    with pytest.raises(FingerprintMismatchError) as caught:
        ColbertCollection.open(name, client=client, encoder=WordEncoder(dim=8))
    assert caught.value.differences["encoder.dim"] == (32, 8)


def test_every_other_setting_is_listed(name: str, client: Client, encoder: WordEncoder) -> None:
    other = CollectionConfig(
        fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2, seed=7, fill_empty=True),
        text_key="body",
    )
    with pytest.raises(FingerprintMismatchError) as caught:
        ColbertCollection.open_or_create(name, client=client, encoder=encoder, config=other)
    assert caught.value.differences == {
        "fde.config.seed": (42, 7),
        "fde.config.fill_empty": (False, True),
        "layout.text_key": ("text", "body"),
    }
    assert "Open it without a config, to use the stored one, or ingest the documents into a new" in str(caught.value)


def test_a_collection_of_the_release_that_filled_empty_cells_keeps_filling_them(
    engine: Engine, client: Client, encoder: WordEncoder
) -> None:
    filled = CollectionConfig(fde=replace(MUVERA, fill_empty=True))
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=filled)
    docs.upsert([Document("a", "river bridge"), Document("b", "mountain")])
    of_0_1 = {"type": "muvera", "k_sim": 2, "dim_proj": 4, "r_reps": 2, "seed": 42, "fill_empty": True}
    assert docs.config.to_dict()["fde"] == of_0_1
    before = docs.search("bridge", mode="fde")
    with pytest.warns(ColbertQdrantWarning, match="fills empty cells, and keeps doing so, while the config leaves"):
        opened = ColbertCollection.open(engine.name, client=client, encoder=encoder, config=CONFIG)
    assert opened.config == filled
    assert opened.search("bridge", mode="fde") == before
    opened.upsert([Document("c", "mountain")])
    found = {hit.id: hit.score for hit in opened.search("bridge", mode="fde")}
    assert found["c"] == found["b"]
    assert found["c"] != pytest.approx(_score_of_empty_cells("bridge", "mountain", encoder), rel=0.05)
    assert ColbertCollection.open(engine.name, client=client, encoder=encoder).config == filled


def _score_of_empty_cells(query: str, text: str, encoder: WordEncoder) -> float:
    fde = MuveraEncoder(MUVERA, token_dim=encoder.dim)
    queries, documents = encoder.encode_queries([query]), encoder.encode_documents([text])
    return float(fde.encode_queries(queries)[0] @ fde.encode_documents(documents)[0])


@pytest.mark.parametrize(
    ("other", "config", "named"),
    [
        (WordEncoder(salt="other"), None, "encoder=…"),
        (WordEncoder(dim=16), None, "encoder=…"),
        (WordEncoder(), CollectionConfig(fde=MuveraConfig(k_sim=3, dim_proj=4, r_reps=2)), "config=…"),
        (WordEncoder(), CollectionConfig(fde=CONFIG.fde, bm25=Bm25Config()), "config=…"),
        (WordEncoder(), CollectionConfig(fde=CONFIG.fde, hnsw=HnswConfig(m=8), fde_datatype="float32"), "config=…"),
    ],
    ids=["encoder", "dimension", "encoding", "vector", "layout"],
)
def test_the_remedy_moves_the_documents(
    name: str, client: Client, other: WordEncoder, config: CollectionConfig | None, named: str
) -> None:
    ColbertCollection.open(name, client=client, encoder=WordEncoder()).upsert([Document("a", "a long river")])
    with pytest.raises(FingerprintMismatchError) as caught:
        ColbertCollection.open(name, client=client, encoder=other, config=config)
    assert f"new collection with Migration.plan(client, name, {named})." in str(caught.value)
    Migration.plan(client, name, target=f"{name}-new", encoder=other, config=config).run()
    docs = ColbertCollection.open(f"{name}-new", client=client, encoder=other, config=config)
    assert [hit.id for hit in docs.search("river")] == ["a"]


@pytest.mark.parametrize(
    "made",
    [
        {"vectors_config": VECTOR},
        {"vectors_config": {"colbert": VECTOR}},
        {"vectors_config": {}, "sparse_vectors_config": {"words": models.SparseVectorParams()}},
    ],
    ids=["unnamed", "named", "sparse"],
)
def test_a_collection_of_somebody_else_is_not_to_be_dropped(
    engine: Engine, client: Client, encoder: WordEncoder, made: dict[str, Any]
) -> None:
    client.create_collection(engine.name, **made)
    for call in (ColbertCollection.create, ColbertCollection.open, ColbertCollection.open_or_create):
        with pytest.raises((CollectionExistsError, SchemaMismatchError)) as caught:
            call(engine.name, client=client, encoder=encoder)
        assert "with attach, move them to a new collection with Migration.plan" in str(caught.value)
        assert "drop" not in str(caught.value)
    assert client.collection_exists(engine.name)


def test_without_a_config_the_stored_one_is_used(name: str, client: Client, encoder: WordEncoder) -> None:
    assert ColbertCollection.open(name, client=client, encoder=encoder).config == CONFIG
    assert ColbertCollection.open(name, client=client, encoder=encoder, config=CONFIG).config == CONFIG


def test_an_algorithm_that_changed_silently_is_refused(
    name: str, client: Client, encoder: WordEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = MuveraEncoder.encode_documents
    monkeypatch.setattr(MuveraEncoder, "encode_documents", lambda self, tokens: original(self, tokens)[:, ::-1])
    with pytest.raises(FingerprintMismatchError, match="no longer encode a fixed matrix to the same"):
        ColbertCollection.open(name, client=client, encoder=encoder)


def test_a_foreign_collection_is_refused(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    vectors: dict[str, models.VectorParams] = {"dense": models.VectorParams(size=4, distance=models.Distance.COSINE)}
    client.create_collection(engine.name, vectors_config=vectors)
    with pytest.raises(SchemaMismatchError) as caught:
        ColbertCollection.open(engine.name, client=client, encoder=encoder)
    assert "its dense vectors: 'dense'" in str(caught.value)
    assert "vector 'fde' is missing" in str(caught.value)
    assert "vector 'colbert' is missing" in str(caught.value)


def test_a_look_alike_without_a_fingerprint_is_refused(name: str, engine: Engine, client: Client) -> None:
    config = CollectionConfig()
    look_alike = f"{name}-look-alike"
    vectors: dict[str, Any] = {
        "fde": models.VectorParams(size=config.encoding.dim, distance=models.Distance.DOT),
        "colbert": models.VectorParams(
            size=32,
            distance=models.Distance.DOT,
            multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
        ),
    }
    client.create_collection(look_alike, vectors_config=vectors)
    with pytest.raises(SchemaMismatchError, match="was not created by colbert-qdrant"):
        ColbertCollection.open(look_alike, client=client, encoder=WordEncoder())
    client.delete_collection(look_alike)


def test_a_cosine_fde_is_refused(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    vectors: dict[str, models.VectorParams] = {
        "fde": models.VectorParams(size=CollectionConfig().encoding.dim, distance=models.Distance.COSINE),
        "colbert": models.VectorParams(
            size=32,
            distance=models.Distance.DOT,
            multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
        ),
    }
    client.create_collection(engine.name, vectors_config=vectors)
    with pytest.raises(
        SchemaMismatchError,
        match=r"must have distance Dot, .* FDE carries information, but has Cosine",
    ):
        ColbertCollection.open(engine.name, client=client, encoder=encoder)


class WithQueries(WordEncoder):
    """Words with settings of queries."""

    def __init__(self, *, document: str = "", **query: Any) -> None:
        super().__init__()
        self._settings = {"query": query, "document": {"prompt": document}}

    def fingerprint(self) -> dict[str, Any]:
        return {**super().fingerprint(), **self._settings}


@pytest.mark.parametrize("query", [{"length": 64}, {"prompt": "query: "}, {"prefix": "[Q]"}, {}])
def test_settings_of_queries_may_change(client: Client, engine: Engine, query: dict[str, Any]) -> None:
    built = ColbertCollection.create(engine.name, client=client, encoder=WithQueries(length=32), config=CONFIG)
    built.upsert([Document(1, "river")])
    docs = ColbertCollection.open(engine.name, client=client, encoder=WithQueries(**query), config=CONFIG)
    docs.upsert([Document(2, "bridge")])
    assert (docs.check(), [hit.id for hit in docs.search("bridge", limit=1)]) == ((), [2])
    assert built.check() == ()
    with pytest.raises(FingerprintMismatchError, match=r"encoder\.document\.prompt"):
        ColbertCollection.open(engine.name, client=client, encoder=WithQueries(document="other", **query))


def test_payload_indexes_may_change(name: str, client: Client, encoder: WordEncoder) -> None:
    choices: list[Any] = [{"kind": "keyword"}, {"year": "integer", "team": "keyword"}, {}]
    for keys in choices:
        config = replace(CONFIG, payload_indexes=keys)
        docs = ColbertCollection.open(name, client=client, encoder=encoder, config=config)
        assert set(keys) <= set(docs.config.indexes)
        docs.upsert([Document(1, "river", {"kind": "a", "year": 7})])
        assert docs.check() == ()
    schema = client.get_collection(name).payload_schema
    assert schema.keys() == {"kind", "year", "team"} or not schema  # local mode has none


def test_another_type_of_payload_index_is_refused(client: Client, engine: Engine, encoder: WordEncoder) -> None:
    config = replace(CONFIG, payload_indexes={"kind": "keyword"})
    ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config)
    with pytest.raises(FingerprintMismatchError, match=r"layout\.payload_indexes\.kind"):
        ColbertCollection.open(
            engine.name, client=client, encoder=encoder, config=replace(CONFIG, payload_indexes={"kind": "text"})
        )


@pytest.mark.parametrize(
    ("setting", "value", "shown"),
    [
        ("hnsw", HnswConfig(m=32), "layout.hnsw.m: built with 16, opened with 32"),
        ("hnsw", HnswConfig(ef_construct=64), "layout.hnsw.ef_construct: built with 128, opened with 64"),
        ("storage", "disk", "layout.storage: built with None, opened with 'disk'"),
        ("fde_quantization", "int8", "layout.fde_quantization: built with None, opened with 'int8'"),
        ("segments", 4, "layout.segments: built with None, opened with 4"),
        ("shard_number", 2, "layout.shard_number: built with None, opened with 2"),
        ("replication_factor", 2, "layout.replication_factor: built with None, opened with 2"),
    ],
)
@pytest.mark.parametrize("how", ["open", "open_or_create"])
def test_settings_of_graph_storage_and_copies_are_kept_with_a_warning(
    name: str, client: Client, encoder: WordEncoder, how: str, setting: str, value: Any, shown: str
) -> None:
    config = replace(CONFIG, **{setting: value})
    with pytest.warns(ColbertQdrantWarning, match=re.escape(shown)) as said:
        docs: ColbertCollection = getattr(ColbertCollection, how)(name, client=client, encoder=encoder, config=config)
    assert len(said) == 1
    assert docs.config == CONFIG
    docs.upsert([Document("b", "window")])
    assert (docs.check(), docs.search("window", limit=1)[0].id) == ((), "b")


@pytest.mark.parametrize(
    "other",
    [
        {"fde_datatype": "float32"},
        {"token_datatype": "float32"},
        {"id_key": "key"},
        {"fde": replace(MUVERA, dim_proj=2, r_reps=4)},
    ],
    ids=lambda other: next(iter(other)),
)
def test_what_changes_stored_points_is_refused(
    name: str, client: Client, encoder: WordEncoder, other: dict[str, Any]
) -> None:
    with pytest.raises(FingerprintMismatchError):
        ColbertCollection.open(name, client=client, encoder=encoder, config=replace(CONFIG, **other))


def test_settings_of_a_fit_that_there_is_none_of_may_change(name: str, client: Client, encoder: WordEncoder) -> None:
    config = replace(CONFIG, fde=replace(MUVERA, fit_documents=7))
    assert ColbertCollection.open(name, client=client, encoder=encoder, config=config).check() == ()


def test_a_tenants_field_may_be_added(name: str, client: Client, encoder: WordEncoder) -> None:
    config = replace(CONFIG, tenant_field="team")
    docs = ColbertCollection.open(name, client=client, encoder=encoder, config=config)
    assert docs.config.tenant_field == "team"
    assert docs.check() == ()
    schema = client.get_collection(name).payload_schema
    assert "team" in schema or not schema  # local mode has none
    assert ColbertCollection.open(name, client=client, encoder=encoder).check() == ()


def test_another_version_of_an_encoding_is_refused_with_its_remedy(
    name: str, client: Client, encoder: WordEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MuveraEncoder, "VERSION", 2)
    with pytest.raises(FingerprintMismatchError, match=r"fde\.version: built with 1, opened with 2") as caught:
        ColbertCollection.open(name, client=client, encoder=encoder)
    assert "Install colbert-qdrant and numpy in the versions" in str(caught.value)
    assert "Open it without a config" not in str(caught.value)
