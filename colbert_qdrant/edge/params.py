"""Converts qdrant-client's collection parameters to Edge's configuration, with Qdrant's defaults."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypedDict

import qdrant_edge as edge
from qdrant_client import models

from colbert_qdrant.edge.fields import read_fields, same_member, unsupported_error

if TYPE_CHECKING:
    from collections.abc import Mapping

HNSW_DEFAULTS: dict[str, Any] = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}
OPTIMIZER_DEFAULTS: dict[str, Any] = {
    "deleted_threshold": 0.2,
    "vacuum_min_vector_number": 1000,
    "indexing_threshold": 10_000,
}

_MEMORY: dict[str, type[Any]] = {"memory": edge.Memory}
_QUANTIZATIONS: dict[str, tuple[str, type[Any], tuple[str, ...], dict[str, type[Any]]]] = {
    "ScalarQuantization": ("scalar", edge.ScalarQuantizationConfig, ("quantile",), {"type": edge.ScalarType}),
    "ProductQuantization": ("product", edge.ProductQuantizationConfig, (), {"compression": edge.CompressionRatio}),
    "BinaryQuantization": (
        "binary",
        edge.BinaryQuantizationConfig,
        (),
        {"encoding": edge.BinaryQuantizationEncoding, "query_encoding": edge.BinaryQuantizationQueryEncoding},
    ),
    "TurboQuantization": ("turbo", edge.TurboQuantQuantizationConfig, (), {"bits": edge.TurboQuantBitSize}),
}


class CreateParams(TypedDict):
    """The parameters of `create_collection`, except the name and the metadata."""

    vectors: models.VectorParams | Mapping[str, models.VectorParams] | None
    sparse_vectors: Mapping[str, models.SparseVectorParams] | None
    hnsw_config: models.HnswConfigDiff | None
    optimizers_config: models.OptimizersConfigDiff | None
    quantization_config: models.QuantizationConfig | None


def stored_params(config: Mapping[str, Any]) -> CreateParams:
    """Return the parameters of a collection from the plain values in its manifest."""
    made = models.CreateCollection(**config)
    return {
        "vectors": made.vectors,
        "sparse_vectors": made.sparse_vectors,
        "hnsw_config": made.hnsw_config,
        "optimizers_config": made.optimizers_config,
        "quantization_config": made.quantization_config,
    }


def with_segments(value: models.OptimizersConfigDiff | None) -> models.OptimizersConfigDiff:
    """Set the default number of segments; a query uses one thread per segment."""
    value = value or models.OptimizersConfigDiff()
    if value.default_segment_number is not None:
        return value
    return value.model_copy(update={"default_segment_number": min(os.cpu_count() or 1, 8)})


def edge_config(params: CreateParams) -> edge.EdgeConfig:
    """Return Edge's configuration of a collection; raises `CapabilityError` if Edge does not support a parameter."""
    hnsw = _hnsw_values(params["hnsw_config"], HNSW_DEFAULTS)
    vectors = params["vectors"] or {}
    return edge.EdgeConfig(
        vectors=_dense(vectors, hnsw)
        if isinstance(vectors, models.VectorParams)
        else {name: _dense(vector, hnsw) for name, vector in vectors.items()},
        sparse_vectors={name: _sparse(value) for name, value in (params["sparse_vectors"] or {}).items()},
        hnsw_config=edge.HnswIndexConfig(**hnsw),
        optimizers=_optimizers(with_segments(params["optimizers_config"])),
        quantization_config=_quantization(params["quantization_config"]),
    )


def _dense(value: models.VectorParams, hnsw: dict[str, Any]) -> edge.EdgeVectorParams:
    values = read_fields(
        value,
        *("size", "on_disk", "multivector_config", "hnsw_config", "quantization_config"),
        enums={"distance": edge.Distance, "datatype": edge.VectorStorageDatatype, **_MEMORY},
    )
    if value.multivector_config is not None:
        comparator = read_fields(value.multivector_config, enums={"comparator": edge.MultiVectorComparator})
        values["multivector_config"] = edge.MultiVectorConfig(**comparator)
    if value.hnsw_config is not None:
        values["hnsw_config"] = edge.HnswIndexConfig(**_hnsw_values(value.hnsw_config, hnsw))
    values["quantization_config"] = _quantization(value.quantization_config)
    return edge.EdgeVectorParams(**values)


def _sparse(value: models.SparseVectorParams) -> edge.EdgeSparseVectorParams:
    index = read_fields(value, "index", "modifier").get("index") or models.SparseIndexParams()
    enums: dict[str, type[Any]] = {"datatype": edge.VectorStorageDatatype, **_MEMORY}
    values = read_fields(index, "full_scan_threshold", "on_disk", enums=enums)
    if value.modifier is not None and value.modifier != models.Modifier.NONE:
        values["modifier"] = same_member(edge.Modifier, value.modifier)
    return edge.EdgeSparseVectorParams(**values)


def _hnsw_values(value: models.HnswConfigDiff | None, defaults: dict[str, Any]) -> dict[str, Any]:
    if value is None:
        return dict(defaults)
    names = (*HNSW_DEFAULTS, "max_indexing_threads", "on_disk", "payload_m", "inline_storage")
    return defaults | read_fields(value, *names, enums=_MEMORY)


def _optimizers(value: models.OptimizersConfigDiff) -> edge.EdgeOptimizersConfig:
    names = (*OPTIMIZER_DEFAULTS, "default_segment_number", "max_segment_size", "prevent_unoptimized")
    return edge.EdgeOptimizersConfig(**read_fields(value, *names))


def _quantization(value: models.QuantizationConfig | None) -> edge.QuantizationConfigType | None:
    if value is None:
        return None
    kind = type(value).__name__
    if kind not in _QUANTIZATIONS:
        raise unsupported_error(f"`{kind}`")
    field, config, names, enums = _QUANTIZATIONS[kind]
    values = read_fields(read_fields(value, field)[field], "always_ram", *names, enums={**enums, **_MEMORY})
    made: edge.QuantizationConfigType = config(**values)
    return made
