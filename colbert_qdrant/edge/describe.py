"""Makes the answers of `get_collection`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdrant_client import models

from colbert_qdrant.edge.params import HNSW_DEFAULTS, OPTIMIZER_DEFAULTS

if TYPE_CHECKING:
    import qdrant_edge as edge

    from colbert_qdrant.edge.manifest import Manifest


def vector_params(manifest: Manifest) -> models.CollectionParams:
    """Returns the vectors that a collection was created with."""
    return models.CollectionParams(
        vectors=manifest.config.get("vectors") or {}, sparse_vectors=manifest.config.get("sparse_vectors")
    )


def collection_info(manifest: Manifest, shard: edge.ShardInfo) -> models.CollectionInfo:
    """Describes a collection as a server would."""
    return models.CollectionInfo(
        status=models.CollectionStatus.GREEN,
        optimizer_status=models.OptimizersStatusOneOf.OK,
        points_count=shard.points_count,
        indexed_vectors_count=shard.indexed_vectors_count,
        segments_count=shard.segments_count,
        config=_config(manifest),
        payload_schema={name: _index(info, manifest.index_params(name)) for name, info in shard.payload_schema.items()},
    )


def _config(manifest: Manifest) -> models.CollectionConfig:
    config = manifest.config
    # There is no flushing in the background, which is what 0 stands for.
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
