"""Settings keep plain values: NumPy's scalars and enums are taken for what they stand for, wherever settings are."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

import numpy as np
import pytest
from qdrant_client import models

import colbert_qdrant as cq
from colbert_qdrant.encoders.checkpoint.spec import Pooling, QueryExpansion, Side
from colbert_qdrant.engines.connect import ServerSettings
from colbert_qdrant.migrate.decide import MigrationOptions
from colbert_qdrant.points.fingerprint import Fingerprint
from colbert_qdrant.search.options import CheckedOptions, check_grouping

SETTINGS: list[tuple[Any, dict[str, Any]]] = [
    (
        cq.MuveraConfig,
        {"k_sim": 3, "dim_proj": 4, "r_reps": 2, "seed": 7, "fill_empty": False, "final_projection": 16}
        | {"center": True, "partition": "kmeans", "fit_documents": 9},
    ),
    (
        cq.LemurConfig,
        {"dim": 8, "hidden": 16, "epochs": 1, "learn_tokens": 64, "own_weight": 0.5, "own_tokens": 4}
        | {"refinement": "spaced"}
        | {"fit_documents": 10, "training_documents": 10, "ridge": 0.25, "seed": 3},
    ),
    (cq.HnswConfig, {"m": 8, "ef_construct": 20, "full_scan_threshold": 10}),
    (cq.Bm25Config, {"language": "german", "k": 1.5, "b": 0.5, "avg_len": 20.0, "ascii_folding": True}),
    (cq.DenseConfig, {"dim": 3, "distance": "dot"}),
    (cq.SparseConfig, {"idf": True}),
    (cq.RetryConfig, {"attempts": 2, "first_wait": 0.25, "longest_wait": 2.0, "deadline": 9.5}),
    (cq.Rrf, {"k": 3, "weights": {"fde": 2.0, "bm25": 0.5}}),
    (
        cq.CollectionConfig,
        {"storage": "disk", "fde_datatype": "float32", "fde_quantization": "int8", "token_datatype": "turbo4"}
        | {"segments": 2, "shard_number": 3, "replication_factor": 2, "write_consistency_factor": 1}
        | {"payload_indexes": {"year": "integer"}, "tenant_field": "who", "fde_vector": "f", "token_vector": "t"}
        | {"text_key": "body", "id_scheme": "native", "token_distance": "cosine", "sharding": "custom"},
    ),
    (QueryExpansion, {"length": 8, "attend": True, "token": "[MASK]", "strategy": "min"}),
    (Pooling, {"factor": 2.0, "protected": 0, "normalize": False}),
    (Side, {"length": 8, "prefix": "[Q]", "prompt": "a", "skip_special": True}),
    (MigrationOptions, {"text_key": "body", "token_vector": "t", "reencode": True, "strategy": "in_place"}),
    (
        CheckedOptions,
        {"limit": 3, "offset": 0, "candidates": 20, "mode": "hybrid", "with_payload": False, "timings": True}
        | {"prefetch": {"fde": 10}, "fusion": "rrf", "score_threshold": 0.5},
    ),
    (
        ServerSettings,
        {"url": "http://localhost", "api_key": None, "api_key_env": None, "api_key_file": None, "ca_file": None}
        | {"auth_token_provider": None, "prefer_grpc": True, "grpc_port": 7000, "timeout": 2.5}
        | {"client_certificate": None, "client_key": None, "allow_insecure": True},
    ),
]


def odd(value: Any) -> Any:
    """What stands for a value."""
    if isinstance(value, dict):
        return {odd(key): odd(each) for key, each in value.items()}
    if isinstance(value, bool):
        return np.bool_(value)
    if isinstance(value, str):
        make: Any = Enum
        return make("Chosen", {"THIS": value}, type=str)(value)
    return {int: np.int64, float: np.float32, type(None): lambda each: each}[type(value)](value)


@pytest.mark.parametrize(("kind", "values"), SETTINGS, ids=lambda each: getattr(each, "__name__", ""))
def test_what_stands_for_a_value_is_that_value(kind: Any, values: dict[str, Any]) -> None:
    expected, made = kind(**values), kind(**odd(values))
    assert repr(made) == repr(expected)
    assert made == expected
    for name in values:
        assert type(getattr(made, name)) is type(getattr(expected, name)), name


def test_all_public_settings_are_among_them() -> None:
    public = {getattr(cq, name) for name in cq.__all__ if name.endswith("Config")}
    assert public <= {kind for kind, _ in SETTINGS}


def test_the_fingerprint_is_that_of_plain_values() -> None:
    values = {kind: given for kind, given in SETTINGS if kind in (cq.CollectionConfig, cq.MuveraConfig)}
    made, expected = (
        cq.CollectionConfig(
            **change({**values[cq.CollectionConfig], "sharding": "auto"}),
            fde=cq.MuveraConfig(**change(values[cq.MuveraConfig])),
        )
        for change in (odd, lambda plain: plain)
    )
    assert json.dumps(made.to_dict()) == json.dumps(expected.to_dict())
    one, other = (
        Fingerprint.of(
            encoder={"dim": 8}, fde={"config": config.encoding.to_dict(), "token_dim": 8}, config=config, canary=None
        )
        for config in (made, expected)
    )
    assert one == other
    assert json.dumps(one.to_dict()) == json.dumps(other.to_dict())


def test_the_clients_enum_names_an_index() -> None:
    config = cq.CollectionConfig(payload_indexes={"year": models.PayloadSchemaType.INTEGER})  # type: ignore[dict-item]
    assert repr(config.payload_indexes) == "{'year': 'integer'}"


@pytest.mark.parametrize("wrong", [np.float64(3.0), np.bool_(True), np.array([3]), np.timedelta64(3)])
def test_what_stands_for_something_else_is_refused(wrong: Any) -> None:
    with pytest.raises(cq.ConfigurationError, match="k_sim must be an integer"):
        cq.MuveraConfig(k_sim=wrong)


def test_a_vector_among_the_options_stays_an_array() -> None:
    vector = np.ones(3, np.float32)
    assert CheckedOptions(vectors={"dense": vector}).vectors == {"dense": vector}


def test_arguments_are_taken_for_what_they_stand_for() -> None:
    assert repr(check_grouping(odd("year"), odd(2))) == "('year', 2)"
    encoder = cq.MuveraEncoder(cq.MuveraConfig(r_reps=1), token_dim=odd(8))
    assert type(encoder.token_dim) is int
    documents = cq.TokenEmbeddings(np.random.default_rng(0).standard_normal((60, 8)), [3] * 20)
    depths: Any = np.array([10, 20])
    report = cq.fde_report(encoder, documents, documents[:5], depths=depths, candidates=odd(15), graph=odd(False))
    assert (repr(report.candidates), repr([*report.exact.recall])) == ("15", "[10, 20]")
    assert cq.muvera_fitness(documents, documents, seed=odd(3)) == cq.muvera_fitness(documents, documents, seed=3)
