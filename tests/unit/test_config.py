from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from colbert_qdrant import CollectionConfig, ConfigurationError, HnswConfig, MuveraConfig

CONFIG = CollectionConfig(
    fde=MuveraConfig(k_sim=4, seed=7, fill_empty=False),
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


def test_is_frozen_and_keyword_only() -> None:
    with pytest.raises(FrozenInstanceError):
        CONFIG.segments = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        MuveraConfig(5)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fde_datatype": "int8"}, "fde_datatype='int8': use 'float16' or 'float32'"),
        ({"segments": 0}, "segments must be at least 1"),
        ({"fde_vector": "colbert"}, "fde_vector and token_vector are both 'colbert'"),
        ({"text_key": "_id"}, "text_key and id_key are both '_id'"),
        ({"id_key": ""}, "must not be empty"),
        ({"fde": None}, "fde must be a MuveraConfig, got None"),
        ({"hnsw": {"m": 4}}, "hnsw must be a HnswConfig, got {'m': 4}"),
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
        ({"colour": 1}, r"CollectionConfig does not know \['colour'\]: written by a newer version"),
        ({"fde": {"type": "lattice"}}, "unknown FDE type 'lattice': this version knows 'muvera'"),
        ({"fde": {"type": "muvera", "depth": 1}}, r"MuveraConfig does not know \['depth'\]"),
        ({"hnsw": {"links": 1}}, r"HnswConfig does not know \['links'\]"),
    ],
)
def test_settings_of_another_version_are_refused(data: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CollectionConfig.from_dict(data)
