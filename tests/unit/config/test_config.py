from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace
from typing import Any, get_args

import pytest

from colbert_qdrant import (
    Bm25Config,
    CollectionConfig,
    ConfigurationError,
    DenseConfig,
    HnswConfig,
    LemurConfig,
    MuveraConfig,
    SparseConfig,
)
from colbert_qdrant.config import MuveraVariant

CONFIG = CollectionConfig(
    fde=MuveraConfig(k_sim=4, seed=7, fill_empty=True),
    hnsw=HnswConfig(m=8, full_scan_threshold=10),
    fde_datatype="float32",
    segments=3,
    fde_vector="first",
    text_key="page_content",
)


def test_survives_json() -> None:
    assert CollectionConfig.from_dict(json.loads(json.dumps(CONFIG.to_dict()))) == CONFIG
    assert CollectionConfig.from_dict({}) == CollectionConfig()
    assert CONFIG.to_dict()["fde"]["type"] == "muvera"


def test_what_an_older_version_stored_still_loads_and_compares_equal() -> None:
    stored = {"type": "muvera", "k_sim": 5, "dim_proj": 16, "r_reps": 20, "seed": 42, "fill_empty": True}
    assert MuveraConfig.from_dict(stored) == MuveraConfig(fill_empty=True)
    assert MuveraConfig(fill_empty=True).to_dict() == stored
    assert MuveraConfig().to_dict() == {**stored, "fill_empty": False}


def test_lemur_of_an_older_version_has_evenly_spaced_tokens_and_stays_as_it_was_stored() -> None:
    stored = {"type": "lemur", "dim": 8, "hidden": 32, "epochs": 0, "learn_tokens": 100, "own_weight": 8.0}
    stored |= {"own_tokens": 64, "fit_documents": 10, "training_documents": 10, "ridge": 0.001, "seed": 42}
    read = LemurConfig.from_dict(stored)
    assert (read.refinement, read.to_dict()) == ("spaced", stored)
    newer = replace(read, refinement="residual")
    assert newer == LemurConfig.from_dict(newer.to_dict()) != read
    assert LemurConfig().refinement == "residual"


def test_only_fastembeds_variant_fills_empty_cells_unless_told() -> None:
    assert [MuveraConfig(variant=each).fill_empty for each in get_args(MuveraVariant)] == [False, True]
    stored = {"type": "muvera", "k_sim": 5, "dim_proj": 16, "r_reps": 20, "seed": 42, "variant": "fastembed"}
    assert MuveraConfig.from_dict({**stored, "fill_empty": True}) == MuveraConfig(variant="fastembed")
    assert MuveraConfig.from_dict({**stored, "fill_empty": False}).fill_empty is False


@pytest.mark.parametrize("config", [MuveraConfig(final_projection=64), MuveraConfig(variant="fastembed")])
def test_what_came_later_is_stored_once_it_is_used(config: MuveraConfig) -> None:
    stored = json.loads(json.dumps(config.to_dict()))
    assert stored != MuveraConfig().to_dict()
    assert MuveraConfig.from_dict(stored) == config


def test_a_fitted_encoding_and_its_quantization_survive_json() -> None:
    fde = LemurConfig(dim=8, hidden=32, epochs=3, own_weight=0, ridge=0.01, seed=7)
    config = CollectionConfig(fde=fde, fde_quantization="turbo2")
    loaded = CollectionConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert loaded == config
    assert isinstance(loaded.fde, LemurConfig)
    assert LemurConfig.from_dict(fde.to_dict()) == fde


def test_settings_without_a_quantization_are_those_of_before_there_was_one() -> None:
    stored = CONFIG.to_dict()
    del stored["fde_quantization"]
    assert CollectionConfig.from_dict(stored) == CONFIG


@pytest.mark.parametrize("setting", ["fde_vector", "token_vector"])
def test_in_a_native_collection_any_vector_may_be_the_unnamed_one(setting: str) -> None:
    config = CollectionConfig(id_scheme="native", **{setting: ""})  # type: ignore[arg-type]
    assert CollectionConfig.from_dict({**config.to_dict(), "id_scheme": "native"}) == config
    with pytest.raises(ConfigurationError, match="two vectors have the name ''"):
        CollectionConfig(id_scheme="native", dense={"": DenseConfig(dim=3)}, **{setting: ""})  # type: ignore[arg-type]


@pytest.mark.parametrize("setting", [{"dense": {"": DenseConfig(dim=3)}}, {"sparse": {"": SparseConfig()}}])
@pytest.mark.parametrize("key", ["_id", "a.b", None])
def test_a_native_collection_survives_json(setting: dict[str, Any], key: str | None) -> None:
    config = CollectionConfig(id_scheme="native", text_key=key, token_distance="cosine", **setting)
    assert CollectionConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.native
    assert "" in config.prefetch_vectors


def test_a_cluster_and_its_indexes_survive_json() -> None:
    config = CollectionConfig(
        storage="disk",
        shard_number=3,
        replication_factor=2,
        payload_indexes={"year": "integer"},
        tenant_field="customer",
    )
    assert CollectionConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert config.indexes == {"customer": "keyword", "year": "integer"}


def test_settings_that_are_not_used_are_those_of_before_they_were_there() -> None:
    assert {"storage", "tenant_field", "payload_indexes", "shard_number"}.isdisjoint(CONFIG.to_dict())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dim": 0}, "dim must be between 1 and 65536"),
        ({"dim": 64, "hidden": 32}, "dim=64 is more than hidden=32, the number of features: raise hidden"),
        ({"epochs": -1}, "epochs must be between 0 and"),
        ({"learn_tokens": 0}, "learn_tokens must be between 1 and"),
        ({"own_weight": -1.0}, "own_weight must be a number of at least 0"),
        ({"own_weight": float("nan")}, "own_weight must be a number"),
        ({"own_tokens": 0}, "own_tokens must be at least 1"),
        ({"refinement": "all"}, "refinement='all': use one of 'residual', 'spaced'"),
        ({"fit_documents": 0}, "fit_documents must be at least 1"),
        ({"training_documents": 0}, "training_documents must be at least 1"),
        ({"ridge": 0}, "ridge must be a number of at least"),
        ({"ridge": float("inf")}, "ridge must be a number"),
        ({"seed": 2**32}, "seed must be between 0 and"),
    ],
)
def test_bad_settings_of_a_fit_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LemurConfig(**arguments)


def test_is_frozen_and_keyword_only() -> None:
    with pytest.raises(FrozenInstanceError):
        CONFIG.segments = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        MuveraConfig(5)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fde_datatype": "int8"}, "fde_datatype='int8': use one of 'float32', 'float16'"),
        ({"fde_quantization": "turbo8"}, "fde_quantization='turbo8': use one of 'turbo4', 'turbo2'"),
        ({"segments": 0}, "segments must be at least 1"),
        ({"storage": "tape"}, "storage='tape': use one of 'memory', 'balanced', 'disk'"),
        ({"token_datatype": "uint8"}, "token_datatype='uint8': use one of"),
        ({"shard_number": 0}, "shard_number must be at least 1"),
        ({"replication_factor": 2.5}, "replication_factor must be an integer"),
        ({"write_consistency_factor": 3, "replication_factor": 2}, "is more than replication_factor=2, so no write"),
        ({"payload_indexes": {"year": "int"}}, r"payload_indexes\['year'\]='int': use one of 'keyword', 'integer'"),
        ({"payload_indexes": {"": "text"}}, "payload_indexes has the key ''"),
        ({"tenant_field": ""}, "tenant_field='' is not a payload key: name one"),
        (
            {"tenant_field": "year", "payload_indexes": {"year": "integer"}},
            "is in payload_indexes as 'integer': use 'keyword' or 'uuid'",
        ),
        ({"fde_vector": "colbert"}, "two vectors have the name 'colbert'"),
        ({"text_key": "_id"}, "text_key and id_key are both '_id'"),
        ({"id_key": ""}, "must not be empty"),
        ({"text_key": None}, "text_key=None needs id_scheme='native'"),
        ({"text_key": 7}, "text_key=7 is not a string: name a payload key"),
        ({"text_key": "", "id_scheme": "native"}, "must not be empty"),
        ({"id_scheme": "uuid4"}, "id_scheme='uuid4': use one of 'uuid5', 'native'"),
        ({"token_distance": "euclid"}, "token_distance='euclid': use one of 'dot', 'cosine'"),
        ({"fde_vector": ""}, "a vector has the name ''"),
        ({"token_vector": ""}, "a vector has the name ''"),
        ({"bm25": Bm25Config(), "bm25_vector": ""}, "a vector has the name ''"),
        ({"fde_vector": "", "dense": {"": DenseConfig(dim=3)}}, "two vectors have the name ''"),
        ({"dense": {"": DenseConfig(dim=3)}, "sparse": {"": SparseConfig()}}, "two vectors have the name ''"),
        ({"fde": None}, "fde must be MuveraConfig, LemurConfig or 'auto', got None"),
        ({"hnsw": {"m": 4}}, "hnsw must be an HnswConfig, got {'m': 4}"),
    ],
)
def test_bad_settings_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CollectionConfig(**arguments)


@pytest.mark.parametrize("arguments", [{"m": -1}, {"ef_construct": 3}, {"full_scan_threshold": -1}, {"m": 1.5}])
def test_bad_graphs_are_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        HnswConfig(**arguments)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"colour": 1}, r"CollectionConfig does not know \['colour'\]: remove them, or upgrade"),
        ({"fde": {"type": "lattice"}}, "unknown FDE type 'lattice': use one of muvera, lemur"),
        ({"fde": {}}, "unknown FDE type None"),
        ({"fde": {"type": "lemur", "depth": 1}}, r"LemurConfig does not know \['depth'\]"),
        ({"fde": {"type": "muvera", "depth": 1}}, r"MuveraConfig does not know \['depth'\]"),
        ({"hnsw": {"links": 1}}, r"HnswConfig does not know \['links'\]"),
    ],
)
def test_settings_of_another_version_are_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CollectionConfig.from_dict(data)


@pytest.mark.parametrize("name", ["r_reps", "dim_proj"])
def test_a_number_that_is_too_long_to_print_is_refused(name: str) -> None:
    settings: Any = {name: 10**5000}
    with pytest.raises(ConfigurationError, match=rf"{name} must be between 1 and 1048576, got <int>"):
        MuveraConfig(**settings)
