"""The settings of collections: what a server takes, and how it describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from qdrant_client import models

from tests.server.refusals import RefusedError, invalid, no_variant, too_small

if TYPE_CHECKING:
    from collections.abc import Mapping

    Body = dict[str, Any]

MAX_SIZE: Final = 65_536
DATATYPES: Final = frozenset({None, "float32", "float16", "uint8", "turbo4"})
_LONGEST_NAME: Final = 255
_HNSW: Final = {
    "m": 16,
    "ef_construct": 100,
    "full_scan_threshold": 10_000,
    "max_indexing_threads": 0,
    "on_disk": False,
}
_OPTIMIZERS: Final = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "default_segment_number": 0,
    "max_segment_size": None,
    "memmap_threshold": None,
    "indexing_threshold": 10_000,
    "flush_interval_sec": 5,
    "max_optimization_threads": None,
    "prevent_unoptimized": None,
}
_WAL: Final = {"wal_capacity_mb": 32, "wal_segments_ahead": 0, "wal_retain_closed": 1}
_PARAMS: Final[Body] = {
    "shard_number": 1,
    "replication_factor": 1,
    "write_consistency_factor": 1,
    "on_disk_payload": True,
}
_OPTIONAL: Final = ("sharding_method", "read_fan_out_factor", "sparse_vectors", "payload")
_DISABLED: Final = "Disabled"
_LEAST_HNSW: Final = {"full_scan_threshold": 10, "ef_construct": 4}


def check_name(name: str) -> None:
    where = "path parameters"
    for letter in "/:":
        if letter in name:
            raise invalid("collection_name", f'collection name cannot contain "{letter}" char', where)
    if len(name) > _LONGEST_NAME:
        raise invalid("collection_name", f'value "{name}" invalid, must be from 1 to 255 characters', where)
    if name == "..":
        raise RefusedError(500, "Service internal error: Invalid path to delete: STORAGE/collections/..")


def check_creation(body: Body) -> None:
    """Says what is wrong with the settings of a new collection."""
    vectors = vector_params(body)
    try:
        if not all(each["size"] and each.get("datatype") in DATATYPES for each in vectors.values()):
            raise no_variant("VectorsConfig")
        for each in vectors.values():
            models.VectorParams(**each)
    except (ValidationError, KeyError, TypeError) as error:
        raise no_variant("VectorsConfig") from error
    for name, params in vectors.items():
        place = "vectors.?" if name else "vectors"
        if params["size"] > MAX_SIZE:
            raise invalid(f"{place}.size", f"value {params['size']} invalid, must be from 1 to {MAX_SIZE}")
        _check_hnsw(f"{place}.hnsw_config", params.get("hnsw_config"))
    _check_hnsw("hnsw_config", body.get("hnsw_config"))
    for name in ("shard_number", "replication_factor", "write_consistency_factor"):
        if body.get(name) == 0:
            raise too_small(name, 0, 1)


def vector_params(config: Mapping[str, Any]) -> dict[str, Any]:
    """The dense vectors by name; a single one without a name is that of ""."""
    vectors = config.get("vectors") or {}
    return {"": vectors} if "size" in vectors and not isinstance(vectors["size"], dict) else dict(vectors)


def merged(config: Body, change: Body) -> Body:
    """The settings of a collection after a change."""
    made = dict(config)
    metadata = {**(config.get("metadata") or {}), **(change.get("metadata") or {})}
    made["metadata"] = {key: value for key, value in metadata.items() if value is not None}
    if change.get("vectors"):
        old = vector_params(config)
        new = {name: _deeper(old[name], diff) for name, diff in change["vectors"].items()}
        made["vectors"] = new[""] if config["vectors"] == old.get("") else {**old, **new}
    for name, diff in {**change, **(change.get("params") or {})}.items():
        if name in ("hnsw_config", "optimizers_config", *_PARAMS, *_OPTIONAL):
            made[name] = _deeper(config.get(name) or {}, diff) if isinstance(diff, dict) else diff
    if "quantization_config" in change:
        wanted = change["quantization_config"]
        made["quantization_config"] = None if wanted == _DISABLED else wanted
    return made


def settings(config: Body, strict: Body) -> Body:
    """How a server describes the settings of a collection."""
    vectors = config.get("vectors") or {}
    named = vectors if "size" in vectors else dict(sorted(vectors.items()))
    params = {"vectors": named, **{name: config.get(name) or value for name, value in _PARAMS.items()}}
    optional = {name: config[name] for name in _OPTIONAL if config.get(name)}
    described: Body = {
        "params": {**params, **optional},
        "hnsw_config": {**_HNSW, **(config.get("hnsw_config") or {})},
        "optimizer_config": {**_OPTIMIZERS, **(config.get("optimizers_config") or {})},
        "wal_config": {**_WAL, **(config.get("wal_config") or {})},
        "quantization_config": config.get("quantization_config"),
    }
    if config.get("metadata"):
        described["metadata"] = config["metadata"]
    if strict:
        described["strict_mode_config"] = strict
    return described


def _check_hnsw(place: str, value: Mapping[str, Any] | None) -> None:
    for name, least in _LEAST_HNSW.items():
        given = (value or {}).get(name)
        if given is not None and given < least:
            raise too_small(f"{place}.{name}", given, least)


def _deeper(old: Body, diff: Body) -> Body:
    made = {**old, **{k: _deeper(old.get(k) or {}, v) if isinstance(v, dict) else v for k, v in diff.items()}}
    return {name: value for name, value in made.items() if value != _DISABLED}
