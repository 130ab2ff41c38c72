"""Describes the state of a collection."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from qdrant_client import models

from colbert_qdrant.collection.metadata import CHOICE_KEY, count_documents, read_metadata
from colbert_qdrant.config import CollectionConfig
from colbert_qdrant.engines import Engine
from colbert_qdrant.errors import SchemaMismatchError
from colbert_qdrant.inspection import FdeChoice
from colbert_qdrant.points.schema import datatype_of, named_vectors

_MAX_MESSAGE: Final = 300
_MAX_WARNINGS: Final = 100
_SHOWN_COPIES: Final = 3
_ACTIVE: Final = (models.ReplicaState.ACTIVE, models.ReplicaState.RESHARDINGSCALEDOWN)


@dataclass(frozen=True, kw_only=True)
class VectorState:
    """How one of the two vectors of every document is stored.

    Attributes:
        dim: Dimensions; for the multivector, those of a token vector.
        datatype: The stored datatype; ``"float32"`` if the engine does not report it.
        quantization: The kind of the quantized copy, such as ``"turbo"``; ``None`` without quantization.
        graph: Links per node of the HNSW graph; 0 without a graph.
        memory: ``"cold"`` (on disk), ``"cached"`` or ``"pinned"``; ``None`` if the engine does not report it.
    """

    dim: int
    datatype: str
    quantization: str | None
    graph: int
    memory: str | None


@dataclass(frozen=True, kw_only=True)
class CollectionState:
    """The state of a collection and the settings in force.

    Attributes:
        engine: ``"server"``, ``"edge"`` or ``"local"``.
        version: Major and minor version of a server.
        documents: Number of documents; an estimate if the server's strict mode forbids exact counts.
        status: ``"green"``: everything is built. ``"yellow"``: graphs are being built. ``"grey"``: the next write will
            start that. ``"red"``: the engine failed to build them.
        problem: The error message of the optimizer, if it failed.
        segments: Number of segments of all shards.
        indexed_documents: Number of documents that are in a graph, or in a segment that is too small for one. ``None``
            if the engine does not report it; servers do since 1.17, over REST.
        queued: Number of writes that are accepted but not yet applied; ``None`` if the engine does not report it.
            Servers do since 1.17.
        fde: The vector of the encodings.
        tokens: The multivector of the token embeddings.
        shards: Number of shards of all shard keys; ``None`` on embedded engines, and if the key may not read it.
        replicas: The replication factor; ``None`` on embedded engines.
        inactive_copies: Each replica of a shard that is not active, with shard, peer and state. A replica is inactive
            on a node that is down, for example. ``None`` on embedded engines, and if the key may not read it.
        indexes: Types of payload indexes by payload key.
        strict_mode: Limits of the server's strict mode by name; empty if strict mode is off.
        fde_choice: The measurements by which ``fde="auto"`` chose the encoding, and the reason; ``None`` if you set it.
        warnings: The warnings of the server, and a sentence for each problem that `repair` fixes.
    """

    engine: str
    version: tuple[int, int] | None
    documents: int
    status: Literal["green", "yellow", "grey", "red"]
    problem: str | None
    segments: int
    indexed_documents: int | None
    queued: int | None
    fde: VectorState
    tokens: VectorState
    shards: int | None
    replicas: int | None
    inactive_copies: tuple[str, ...] | None
    indexes: Mapping[str, str]
    strict_mode: Mapping[str, Any]
    fde_choice: FdeChoice | None
    warnings: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether all writes are applied and all graphs are built."""
        return self.status == "green" and not self.queued


async def read_state(engine: Engine, collection: str, config: CollectionConfig) -> CollectionState:
    """Read the state of a collection from its engine; write nothing."""
    return await state_of(engine, collection, config, await engine.get_collection(collection))


async def state_of(
    engine: Engine, collection: str, config: CollectionConfig, info: models.CollectionInfo
) -> CollectionState:
    """Read the rest of the state of a collection, given its description."""
    capabilities = await engine.capabilities()
    vectors = named_vectors(info)
    if not {config.fde_vector, config.token_vector} <= set(vectors):
        raise SchemaMismatchError(
            f"collection {collection!r} no longer has the vectors {config.fde_vector!r} and {config.token_vector!r}, "
            "because another program recreated it: open it again"
        )
    fallback = info.config.hnsw_config.m
    optimizer: Any = info.optimizer_status
    params: Any = info.config.params
    strict = info.config.strict_mode_config
    limits = {} if strict is None or not strict.enabled else strict.model_dump(exclude_none=True, exclude={"enabled"})
    reserved = not capabilities.has("metadata")
    documents = max(0, (info.points_count or 0) - reserved)  # an estimate, in case the server forbids exact counts
    if limits.get("search_allow_exact") is not False:
        documents = await count_documents(engine, collection)
    cluster = await engine.cluster_info(collection)
    inactive = None if cluster is None else _inactive_copies(cluster)
    on_server = capabilities.engine == "server"
    return CollectionState(
        engine=capabilities.engine,
        version=capabilities.version,
        documents=documents,
        status=info.status.value,
        problem=None if isinstance(optimizer, models.OptimizersStatusOneOf) else str(optimizer.error)[:_MAX_MESSAGE],
        segments=info.segments_count,
        indexed_documents=await read_indexed_documents(engine, collection, info, documents),
        queued=None if info.update_queue is None else info.update_queue.length,
        fde=_vector(vectors[config.fde_vector], fallback),
        tokens=_vector(vectors[config.token_vector], fallback),
        shards=_shards(params, cluster) if on_server else None,
        replicas=params.replication_factor if on_server else None,
        inactive_copies=inactive,
        indexes={key: index.data_type.value for key, index in info.payload_schema.items()},
        strict_mode=limits,
        fde_choice=await read_choice(engine, collection, info),
        warnings=(
            *(warning.message[:_MAX_MESSAGE] for warning in (info.warnings or ())[:_MAX_WARNINGS]),
            *_warnings_of(inactive or ()),
        ),
    )


async def read_choice(engine: Engine, collection: str, info: models.CollectionInfo) -> FdeChoice | None:
    """Read why ``fde="auto"`` chose the encoding of a collection; ``None`` if nothing was chosen."""
    here = (await engine.capabilities()).has("metadata") and collection not in engine.reserved
    metadata = info.config.metadata if here else await read_metadata(engine, collection, info)
    stored = (metadata or {}).get(CHOICE_KEY)
    return FdeChoice.from_dict(stored) if isinstance(stored, dict) else None


async def read_indexed_documents(
    engine: Engine, collection: str, info: models.CollectionInfo, documents: int
) -> int | None:
    """Count the documents that are not in a segment that waits to be built; the engine counts every replica."""
    found = await engine.optimizations(collection)
    if found is None:
        return None
    running = sum(segment.points_count for each in found.running for segment in each.segments)
    waiting = found.summary.queued_points + running
    return max(0, documents - math.ceil(waiting / (info.config.params.replication_factor or 1)))


def _shards(params: models.CollectionParams, cluster: models.CollectionClusterInfo | None) -> int | None:
    """Return the number of shards; the settings have only the number per shard key."""
    if cluster is not None:
        return cluster.shard_count
    return None if params.sharding_method == models.ShardingMethod.CUSTOM else params.shard_number


def _inactive_copies(cluster: models.CollectionClusterInfo) -> tuple[str, ...]:
    copies: list[tuple[models.LocalShardInfo | models.RemoteShardInfo, int]] = [
        *((shard, cluster.peer_id) for shard in cluster.local_shards),
        *((shard, shard.peer_id) for shard in cluster.remote_shards),
    ]
    return tuple(
        f"shard {shard.shard_id}{'' if shard.shard_key is None else f' of key {shard.shard_key!r}'} on peer {peer}: "
        f"{shard.state.value}"
        for shard, peer in sorted(copies, key=lambda copy: (copy[0].shard_id, copy[1]))
        if shard.state not in _ACTIVE
    )


def _warnings_of(inactive: Sequence[str]) -> Iterator[str]:
    if inactive:
        more = "; …" if len(inactive) > _SHOWN_COPIES else ""
        yield (
            f"{len(inactive)} shard replicas are not active ({'; '.join(inactive[:_SHOWN_COPIES])}{more}): restart "
            "their nodes, or wait until the cluster has recovered them."
        )


def _vector(params: models.VectorParams, default_m: int) -> VectorState:
    m = None if params.hnsw_config is None else params.hnsw_config.m
    quantization: Any = params.quantization_config
    memory = None if params.on_disk is None else ("cold" if params.on_disk else "cached")
    return VectorState(
        dim=params.size,
        datatype=datatype_of(params),
        quantization=None if quantization is None else next(iter(type(quantization).model_fields)),
        graph=default_m if m is None else m,
        memory=memory if params.memory is None else params.memory.value,
    )
