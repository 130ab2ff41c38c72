"""Builds the response of `get_collection`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

from colbert_qdrant.edge.params import HNSW_DEFAULTS, OPTIMIZER_DEFAULTS

if TYPE_CHECKING:
    import qdrant_edge as edge

    from colbert_qdrant.edge.manifest import Manifest

_BYTES: Final = {"float16": 2, "uint8": 1, "turbo8": 1, "turbo4": 0.5}
"""The bytes per number of storage types other than float32."""


def vector_params(manifest: Manifest) -> models.CollectionParams:
    """Return the vectors that a collection was created with."""
    return models.CollectionParams(
        vectors=manifest.config.get("vectors") or {}, sparse_vectors=manifest.config.get("sparse_vectors")
    )


def collection_info(manifest: Manifest, shard: edge.ShardInfo, *, built: bool) -> models.CollectionInfo:
    """Describe a collection as a server would; its status is grey while graphs are missing and no build is running.

    Args:
        manifest: The collection's manifest.
        shard: The engine's own description.
        built: Whether nothing was written since graphs were built. If not, the counts of vectors decide.
    """
    config = _config(manifest)
    built = built or _is_built(config, shard)
    return models.CollectionInfo(
        status=models.CollectionStatus.GREEN if built else models.CollectionStatus.GREY,
        optimizer_status=models.OptimizersStatusOneOf.OK,
        points_count=shard.points_count,
        indexed_vectors_count=shard.indexed_vectors_count,
        segments_count=shard.segments_count,
        config=config,
        payload_schema={name: _index(info, manifest.index_params(name)) for name, info in shard.payload_schema.items()},
    )


def _is_built(config: models.CollectionConfig, shard: edge.ShardInfo) -> bool:
    """Tell whether the vectors outside of graphs are too few to build another graph."""
    vectors = config.params.vectors or {}
    every = [vectors] if isinstance(vectors, models.VectorParams) else [*vectors.values()]
    outside = shard.points_count - shard.indexed_vectors_count / max(
        1, len(every)
    )  # the count includes all vector names
    sizes = [each.size * _BYTES.get(str(each.datatype), 4) for each in every if _has_graph(each, config.hnsw_config.m)]
    threshold = (config.optimizer_config.indexing_threshold or 0) * 1024
    return not threshold or outside * max(sizes, default=0) <= threshold


def _has_graph(vector: models.VectorParams, usual: int) -> bool:
    own = None if vector.hnsw_config is None else vector.hnsw_config.m
    return vector.multivector_config is None and (usual if own is None else own) > 0


def _config(manifest: Manifest) -> models.CollectionConfig:
    config = manifest.config
    # 0 means no flushing in the background.
    optimizers: dict[str, Any] = {**OPTIMIZER_DEFAULTS, "flush_interval_sec": 0, **config["optimizers_config"]}
    return models.CollectionConfig(
        params=vector_params(manifest),
        hnsw_config=models.HnswConfig(**(HNSW_DEFAULTS | (config.get("hnsw_config") or {}))),
        optimizer_config=models.OptimizersConfig(**optimizers),
        quantization_config=config.get("quantization_config"),
        metadata=manifest.metadata or None,
    )


def _index(info: edge.PayloadIndexInfo, params: models.PayloadSchemaParams | None) -> models.PayloadIndexInfo:
    kind = str(info.data_type).rsplit(".", maxsplit=1)[-1].lower()
    return models.PayloadIndexInfo(data_type=models.PayloadSchemaType(kind), params=params, points=info.points)
