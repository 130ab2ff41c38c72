"""Computes a collection's parameters after a vector is added, changed or removed.

No function here calls an engine. The parameters are plain JSON values, as in a manifest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import qdrant_edge as edge
from pydantic import BaseModel
from qdrant_client import models

from colbert_qdrant.edge.bounds import check_bounds
from colbert_qdrant.edge.fields import read_fields, same_member
from colbert_qdrant.edge.manifest import dump_models
from colbert_qdrant.edge.names import check_name
from colbert_qdrant.errors import ConfigurationError, SchemaMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from enum import Enum

    from colbert_qdrant.edge.params import CreateParams

    Config = dict[str, Any]
    VectorNameConfig = models.DenseVectorNameConfig | models.SparseVectorNameConfig

M = TypeVar("M", bound=BaseModel)

MAX_SIZE = 65536
_MAX_NAME_BYTES = 200
_UNNAMED = ""
_KINDS = ("vectors", "sparse_vectors")


def check_new_vectors(params: CreateParams, where: str) -> None:
    """Raise `ConfigurationError` unless a server would accept the vectors of a new collection."""
    for kind in (params["vectors"], params["sparse_vectors"]):
        for name in kind or () if not isinstance(kind, models.VectorParams) else ():
            _check_vector_name(name)
    check_bounds(dict(params), where)


def _check_vector_name(name: str) -> None:
    if name != _UNNAMED:
        check_name(name, "a vector", max_bytes=_MAX_NAME_BYTES)


def with_vector(config: Config, where: str, name: str, value: VectorNameConfig) -> Config:
    """Return the parameters with an additional vector, or the same object if the vector exists already.

    Raises:
        ConfigurationError: If the vector is invalid.
        SchemaMismatchError: If a different vector of that name exists.
    """
    _check_vector_name(name)
    kind, params = _params(value, where, name)
    for each in _KINDS:
        found = _vectors_by_name(config, each).get(name)
        if found is None:
            continue
        if each == kind and _fixed_parameters(type(params)(**found)) == _fixed_parameters(params):
            return config
        raise SchemaMismatchError(
            f"{where} has a different vector {name!r} already ({each} {found}): choose another name, or remove that "
            "vector with delete_vector_name first"
        )
    return config | {kind: _vectors_by_name(config, kind) | {name: dump_models(params)}}


def without_vector(config: Config, where: str, name: str) -> Config:
    """Return the parameters without a vector, or the same object if the vector does not exist.

    Raises:
        ConfigurationError: If the collection has no other vector.
    """
    kinds = {kind: vectors for kind in _KINDS if (vectors := _vectors_by_name(config, kind))}
    kept = {kind: {other: v for other, v in vectors.items() if other != name} for kind, vectors in kinds.items()}
    if kept == kinds:
        return config
    if not any(kept.values()):
        raise ConfigurationError(
            f"{where} needs a vector, and {name!r} is its only one: add another vector first, or delete the collection"
        )
    return {key: value for key, value in (config | kept).items() if value}


def with_changes(config: Config, where: str, changes: Mapping[str, models.VectorParamsDiff]) -> Config:
    """Return the parameters with changes to dense vectors; raises `SchemaMismatchError` if a vector is missing."""
    check_bounds(dict(changes), f"{where}: ")
    vectors = _vectors_by_name(config, "vectors")
    unknown = sorted(changes.keys() - vectors.keys())
    if unknown:
        raise SchemaMismatchError(f"{where} has no dense vector {unknown[0]!r}: use one of {sorted(vectors)}")
    changed = {
        name: dump_models(_apply_changes(models.VectorParams(**vectors[name]), diff)) for name, diff in changes.items()
    }
    if all(vectors[name] == values for name, values in changed.items()):
        return config
    return config | {"vectors": changed[_UNNAMED] if _is_unnamed(config["vectors"]) else vectors | changed}


def creation_operation(config: Config, name: str) -> edge.UpdateOperation:
    """Return the engine's operation that adds a vector of the parameters."""
    if name in _vectors_by_name(config, "sparse_vectors"):
        sparse = models.SparseVectorParams(**_vectors_by_name(config, "sparse_vectors")[name])
        index = sparse.index or models.SparseIndexParams()
        modifier = None if sparse.modifier is models.Modifier.NONE else sparse.modifier
        return edge.UpdateOperation.create_sparse_vector(
            name, _member(edge.Modifier, modifier), _member(edge.VectorStorageDatatype, index.datatype)
        )
    dense = models.VectorParams(**_vectors_by_name(config, "vectors")[name])
    multi = dense.multivector_config
    return edge.UpdateOperation.create_dense_vector(
        name,
        dense.size,
        _member(edge.Distance, dense.distance),
        None if multi is None else edge.MultiVectorConfig(_member(edge.MultiVectorComparator, multi.comparator)),
        _member(edge.VectorStorageDatatype, dense.datatype),
    )


def _vectors_by_name(config: Config, kind: str) -> dict[str, Any]:
    """Return the vectors of a kind by name; the unnamed vector has the name ""."""
    vectors: dict[str, Any] = config.get(kind) or {}
    return {_UNNAMED: vectors} if _is_unnamed(vectors) else vectors


def _is_unnamed(vectors: dict[str, Any]) -> bool:
    return "size" in vectors and not isinstance(vectors["size"], dict)  # a vector may have the name "size"


def _member(kind: type[Any], value: Enum | None) -> Any:
    return None if value is None else same_member(kind, value)


def _params(
    value: VectorNameConfig, where: str, name: str
) -> tuple[str, models.VectorParams] | tuple[str, models.SparseVectorParams]:
    if isinstance(value, models.SparseVectorNameConfig):
        sparse = read_fields(value.sparse, "modifier", "datatype")
        datatype = sparse.get("datatype")
        index = datatype and models.SparseIndexParams(datatype=models.Datatype(datatype.value))
        return "sparse_vectors", models.SparseVectorParams(modifier=sparse.get("modifier"), index=index)
    if not isinstance(value, models.DenseVectorNameConfig):
        raise ConfigurationError(
            f"vector_name_config must be a DenseVectorNameConfig or a SparseVectorNameConfig, got {value!r}"
        )
    dense = read_fields(value.dense, "size", "distance", "multivector_config", "datatype")
    if not 1 <= dense["size"] <= MAX_SIZE:
        raise ConfigurationError(
            f"{where}: the size of vector {name!r} must be between 1 and {MAX_SIZE}, got {dense['size']}"
        )
    if "datatype" in dense:
        dense["datatype"] = models.Datatype(dense["datatype"].value)
    return "vectors", models.VectorParams(**dense)


def _fixed_parameters(params: models.VectorParams | models.SparseVectorParams) -> Any:
    """Return the parameters of a vector that cannot change."""
    if isinstance(params, models.SparseVectorParams):
        index = params.index or models.SparseIndexParams()
        return params.modifier or models.Modifier.NONE, index.datatype or models.Datatype.FLOAT32
    return params.size, params.distance, params.multivector_config, params.datatype or models.Datatype.FLOAT32


def _apply_changes(params: models.VectorParams, diff: models.VectorParamsDiff) -> models.VectorParams:
    values = read_fields(diff, "hnsw_config", "quantization_config", "on_disk", "memory")
    if "hnsw_config" in values:
        empty = values["hnsw_config"] == models.HnswConfigDiff()
        hnsw = params.hnsw_config or models.HnswConfigDiff()
        values["hnsw_config"] = None if empty else _merge(hnsw, values["hnsw_config"].model_dump(exclude_none=True))
    if values.get("quantization_config") == models.Disabled.DISABLED:
        values["quantization_config"] = None
    return _merge(params, values)


def _merge(model: M, values: dict[str, Any]) -> M:
    if "on_disk" in values:
        values.setdefault("memory", None)  # an older `memory` would override the new `on_disk`
    return model.model_copy(update=values)
