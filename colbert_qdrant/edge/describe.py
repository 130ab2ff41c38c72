"""Makes the answers of `get_collection`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

from colbert_qdrant.edge.params import HNSW_DEFAULTS, OPTIMIZER_DEFAULTS

if TYPE_CHECKING:
    import qdrant_edge as edge

    from colbert_qdrant.edge.manifest import Manifest

_BYTES: Final = {"float16": 2, "uint8": 1, "turbo8": 1, "turbo4": 0.5}
"""The bytes of a number that is stored in another way than as float32."""


def vector_params(manifest: Manifest) -> models.CollectionParams:
    """Returns the vectors that a collection was created with."""
    return models.CollectionParams(
        vectors=manifest.config.get("vectors") or {}, sparse_vectors=manifest.config.get("sparse_vectors")
    )


def collection_info(manifest: Manifest, shard: edge.ShardInfo, *, built: bool) -> models.CollectionInfo:
    """Describes a collection as a server would, with status grey while graphs are neither built nor being built.

    Args:
        manifest: The collection's manifest.
        shard: The engine's own description.
        built: Whether nothing was written since graphs were built; else the numbers of vectors tell.
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
    """Tells whether too few vectors are outside of graphs for another one."""
    vectors = config.params.vectors or {}
    every = [vectors] if isinstance(vectors, models.VectorParams) else [*vectors.values()]
    outside = shard.points_count - shard.indexed_vectors_count / max(1, len(every))  # it counts those of all names
    sizes = [each.size * _BYTES.get(str(each.datatype), 4) for each in every if _has_graph(each, config.hnsw_config.m)]
    threshold = (config.optimizer_config.indexing_threshold or 0) * 1024
    return not threshold or outside * max(sizes, default=0) <= threshold


def _has_graph(vector: models.VectorParams, usual: int) -> bool:
    own = None if vector.hnsw_config is None else vector.hnsw_config.m
    return vector.multivector_config is None and (usual if own is None else own) > 0


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
