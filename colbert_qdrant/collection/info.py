"""Describes the state of a collection, and waits until it is ready."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from qdrant_client import models
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_exponential

from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.errors import EngineError, NotReadyError, SchemaMismatchError
from colbert_qdrant.points.schema import datatype_of, named_vectors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.engines import Engine


_MAX_MESSAGE: Final = 300
_MAX_WARNINGS: Final = 100


@dataclass(frozen=True, kw_only=True)
class VectorState:
    """The storage of one vector of every document.

    Attributes:
        dim: Dimensions, of each token vector in the multivector's case.
        datatype: Of the stored numbers, ``"float32"`` if the engine does not say.
        quantization: The kind of the smaller copy, such as ``"turbo"``; ``None``: there is none.
        graph: Links per node; 0: there is no graph.
        memory: ``"cold"`` (on disk), ``"cached"`` or ``"pinned"``; ``None`` if the engine does not say.
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
        documents: How many are stored; the server's estimate where its strict mode forbids exact counts.
        status: ``"green"``: all is built; ``"yellow"``: graphs are being built; ``"grey"``: they will be at the next
            write; ``"red"``: the engine gave up.
        problem: What the optimizer says where it failed.
        segments: Segments of all shards.
        indexed_vectors: How many vectors are in a graph, as far as the engine tells; a small segment has none, and is
            searched without.
        queued: Writes accepted and not applied yet; ``None`` if the engine does not say (servers do since 1.17).
        fde, tokens: The two vectors.
        shards, replicas: Of a cluster; ``None`` on embedded engines.
        indexes: Payload keys with an index, and its type.
        strict_mode: Limits that the server sets, by name; empty if strict mode is off.
        warnings: What the server says is not right, and a sentence for each thing that `repair` mends.
    """

    engine: str
    version: tuple[int, int] | None
    documents: int
    status: Literal["green", "yellow", "grey", "red"]
    problem: str | None
    segments: int
    indexed_vectors: int
    queued: int | None
    fde: VectorState
    tokens: VectorState
    shards: int | None
    replicas: int | None
    indexes: Mapping[str, str]
    strict_mode: Mapping[str, Any]
    warnings: tuple[str, ...]

    @property
    def ready(self) -> bool:
        """Whether everything written is applied and has its graph."""
        return self.status == "green" and not self.queued


async def read_state(engine: Engine, collection: str, config: CollectionConfig) -> CollectionState:
    """Ask an engine about a collection, without writing anything."""
    return await _state(engine, collection, config, await engine.get_collection(collection))


async def _state(
    engine: Engine, collection: str, config: CollectionConfig, info: models.CollectionInfo
) -> CollectionState:
    capabilities = await engine.capabilities()
    vectors = named_vectors(info)
    if not {config.fde_vector, config.token_vector} <= set(vectors):
        raise SchemaMismatchError(
            f"collection {collection!r} has no vectors {config.fde_vector!r} and {config.token_vector!r} any more: it "
            "was made anew by something else; open it again to see what it is now"
        )
    fallback = info.config.hnsw_config.m
    optimizer: Any = info.optimizer_status
    params: Any = info.config.params
    strict = info.config.strict_mode_config
    limits = {} if strict is None or not strict.enabled else strict.model_dump(exclude_none=True, exclude={"enabled"})
    reserved = not capabilities.has("metadata")
    documents = max(0, (info.points_count or 0) - reserved)  # an estimate, where a server forbids more
    if limits.get("search_allow_exact") is not False:
        documents = await count_documents(engine, collection)
    on_server = capabilities.engine == "server"
    return CollectionState(
        engine=capabilities.engine,
        version=capabilities.version,
        documents=documents,
        status=info.status.value,
        problem=None if isinstance(optimizer, models.OptimizersStatusOneOf) else str(optimizer.error)[:_MAX_MESSAGE],
        segments=info.segments_count,
        indexed_vectors=info.indexed_vectors_count or 0,
        queued=None if info.update_queue is None else info.update_queue.length,
        fde=_vector(vectors[config.fde_vector], fallback),
        tokens=_vector(vectors[config.token_vector], fallback),
        shards=params.shard_number if on_server else None,
        replicas=params.replication_factor if on_server else None,
        indexes={key: index.data_type.value for key, index in info.payload_schema.items()},
        strict_mode=limits,
        warnings=tuple(warning.message[:_MAX_MESSAGE] for warning in (info.warnings or ())[:_MAX_WARNINGS]),
    )


async def wait_until_ready(
    engine: Engine,
    collection: str,
    config: CollectionConfig,
    *,
    timeout: float,  # noqa: ASYNC109 - the state of then is the answer, not an exception
) -> CollectionState:
    """Ask again and again, at most every two seconds, until the collection is ready.

    Raises:
        NotReadyError: It was not in time, or will not be by itself.
        EngineError: The engine gave up.
    """
    retrying = AsyncRetrying(
        sleep=engine.runtime.sleep,
        retry=retry_if_result(_is_under_way),
        wait=wait_exponential(multiplier=0.05, max=2),
        stop=stop_after_delay(timeout),
        retry_error_callback=lambda attempts: attempts.outcome.result() if attempts.outcome else None,
    )
    info: models.CollectionInfo = await retrying(engine.get_collection, collection)
    state = await _state(engine, collection, config, info)
    if state.status == "red":
        raise EngineError(
            f"collection {collection!r} is red, its optimizer gave up: {state.problem}. Look into the server's log, "
            "mend the cause (often a full disk), and restart the server or write to the collection"
        )
    if state.status == "grey":
        raise NotReadyError(
            f"collection {collection!r} is grey: its graphs will be built at the next write, as after a restart. "
            "Write a document, or call client.update_collection(name, optimizers_config=models.OptimizersConfigDiff())"
        )
    if not state.ready:
        raise NotReadyError(
            f"collection {collection!r} was not ready after {timeout:g} s (status {state.status}, {state.queued or 0} "
            "writes queued): wait longer; searches work meanwhile, more slowly"
        )
    return state


def _is_under_way(info: models.CollectionInfo) -> bool:
    queued = info.update_queue is not None and info.update_queue.length > 0
    return info.status.value == "yellow" or (info.status.value == "green" and queued)


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
