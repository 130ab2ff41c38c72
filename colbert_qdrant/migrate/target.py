"""The collection that a migration writes: created beside the source, or the source with more vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qdrant_client import models

from colbert_qdrant.collection import artefacts
from colbert_qdrant.collection import lifecycle as opening
from colbert_qdrant.collection.metadata import KEY as FINGERPRINT
from colbert_qdrant.collection.metadata import to_metadata, write_metadata
from colbert_qdrant.errors import CollectionExistsError, CollectionNotFoundError, RequestRefusedError
from colbert_qdrant.migrate.state import KEY, read_migration
from colbert_qdrant.points.schema import cluster_settings, creation_arguments, index_arguments, named_vectors

if TYPE_CHECKING:
    from collections.abc import Collection

    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.migrate.plan import MigrationPlan
    from colbert_qdrant.migrate.source import Source
    from colbert_qdrant.migrate.state import MigrationState

_OF_SERVERS = ("max_indexing_threads", "on_disk", "inline_storage", "memory")


def target_arguments(
    plan: MigrationPlan, source: Source, capabilities: Capabilities, *, same_engine: bool
) -> dict[str, Any]:
    """Arguments of ``create_collection`` for the target.

    Vectors that are copied keep their parameters; what the source sets for all of its vectors, they get each, so that
    it is not in force for the vectors that are added.

    Args:
        plan: The plan.
        source: The source.
        capabilities: What the target's engine can do.
        same_engine: Whether the two are in the same server or store: shards and replicas are those of the source then.
    """
    config = plan.config
    arguments = creation_arguments(config, fde_dim=config.fde.dim, token_dim=plan.token_dim, capabilities=capabilities)
    vectors: dict[str, Any] = arguments["vectors_config"]
    sparse: dict[str, Any] = arguments.get("sparse_vectors_config", {})
    own = (config.token_vector, config.fde_vector)
    for name in plan.kept:
        if name in source.vectors and name not in own and (source.fingerprint is None or name not in vectors):
            vectors[name] = _alone(source.vectors[name], source.info.config, capabilities)
        elif name in source.sparse and (source.fingerprint is None or name not in sparse):
            sparse[name] = source.sparse[name]
    if sparse:
        arguments["sparse_vectors_config"] = sparse
    if same_engine and capabilities.has("sharding"):
        arguments = {**cluster_settings(source.info.config.params), **arguments}
    return arguments


async def create_target(
    engine: Engine,
    source: Source,
    state: MigrationState,
    *,
    encoder: LateInteractionEncoder,
    fde: FixedDimensionalEncoder | None,
    same_engine: bool,
) -> None:
    """Create the target with all that says what it is, unless it is there.

    Raises:
        CollectionExistsError: Another collection has the name.
    """
    plan, capabilities = state.plan, await engine.capabilities()
    metadata = {
        **(source.info.config.metadata or {}),
        **to_metadata(opening.fingerprint_of(plan.config, encoder, fde, tokens_of=plan.encoder)),
        KEY: state.to_dict(),
    }
    if not await engine.collection_exists(plan.target):
        arguments = target_arguments(plan, source, capabilities, same_engine=same_engine)
        if capabilities.has("metadata"):
            arguments["metadata"] = metadata
        await artefacts.delete(engine, plan.target)  # of a collection of that name that is gone
        try:
            await engine.create_collection(plan.target, **arguments)
        except (RequestRefusedError, CollectionExistsError):
            if not await engine.collection_exists(plan.target):
                raise
    if await is_blank(engine, plan):
        await write_metadata(engine, plan.target, metadata)
    stored = await read_migration(engine, plan.target)
    if stored is None or not stored.plan.same_as(plan):
        raise CollectionExistsError(
            f"collection {plan.target!r} exists, and is not this migration's: choose another target, or delete it first"
        )
    await _create_indexes(engine, source, plan, capabilities)


async def is_blank(engine: Engine, plan: MigrationPlan) -> bool:
    """Whether the target was made by a run that ended before it could say so, as only servers without metadata have."""
    if (await engine.capabilities()).has("metadata"):
        return False
    info = await engine.get_collection(plan.target)
    names = {*named_vectors(info), *(info.config.params.sparse_vectors or {})}
    if not {plan.config.token_vector, plan.config.fde_vector, *plan.kept} <= names:
        return False
    return not await engine.count(plan.target)


async def add_vectors(engine: Engine, plan: MigrationPlan) -> None:
    """Add the vectors that are missing to the source, without their graph and quantization taking hold before."""
    capabilities = await engine.capabilities()
    config = plan.config
    wanted = creation_arguments(config, fde_dim=config.fde.dim, token_dim=plan.token_dim, capabilities=capabilities)
    there = await _vector_names(engine, plan.target)
    added: dict[str, models.VectorParams] = {
        name: params
        for name, params in wanted["vectors_config"].items()
        if name in (config.fde_vector, config.token_vector) and name not in plan.kept
    }
    for name, params in added.items():
        if name not in there:
            dense = models.DenseVectorConfig(
                size=params.size,
                distance=params.distance,
                multivector_config=params.multivector_config,
                datatype=None if params.datatype is None else models.VectorStorageDatatype(params.datatype.value),
            )
            await _add_vector(engine, plan.target, name, models.DenseVectorNameConfig(dense=dense))
    if capabilities.has("payload_indexes"):  # local mode has no graphs either
        changes = {name: _difference(params) for name, params in added.items()}
        if changes:
            await engine.update_collection(plan.target, vectors_config=changes)


async def remove_vectors(engine: Engine, plan: MigrationPlan) -> None:
    """Take the added vectors, and what the metadata say of them, away again; what the migration is, last."""
    await write_metadata(engine, plan.target, {FINGERPRINT: None})  # it is no collection of this library any more
    for name in (plan.config.fde_vector, plan.config.token_vector):
        if name not in plan.kept and name in await _vector_names(engine, plan.target):
            await _remove_vector(engine, plan.target, name)
    if plan.config.fde.needs_fit:
        await artefacts.forget(engine, plan.target)
    await write_metadata(engine, plan.target, {KEY: None})


async def _add_vector(engine: Engine, collection: str, name: str, config: models.VectorNameConfig) -> None:
    try:
        await engine.create_vector_name(collection, name, config)
    except RequestRefusedError:
        if name not in await _vector_names(engine, collection):  # else an earlier answer was lost
            raise


async def _remove_vector(engine: Engine, collection: str, name: str) -> None:
    try:
        await engine.delete_vector_name(collection, name)
    except (RequestRefusedError, CollectionNotFoundError):
        if name in await _vector_names(engine, collection):
            raise


async def _vector_names(engine: Engine, collection: str) -> Collection[str]:
    return named_vectors(await engine.get_collection(collection))


async def _create_indexes(engine: Engine, source: Source, plan: MigrationPlan, capabilities: Capabilities) -> None:
    if not capabilities.has("payload_indexes"):
        return
    there = (await engine.get_collection(plan.target)).payload_schema
    wanted: dict[str, Any] = {
        each["field_name"]: each["field_schema"] for each in index_arguments(plan.config, capabilities)
    }
    wanted |= {key: index.params or index.data_type for key, index in source.info.payload_schema.items()}
    for key, schema in wanted.items():
        if key not in there:
            await engine.create_payload_index(plan.target, field_name=key, field_schema=schema)


def _alone(
    params: models.VectorParams, config: models.CollectionConfig, capabilities: Capabilities
) -> models.VectorParams:
    """A vector's parameters with those of its collection, which it would have by default."""
    graph = config.hnsw_config.model_dump(exclude_none=True)
    graph |= {} if params.hnsw_config is None else params.hnsw_config.model_dump(exclude_none=True)
    changes: dict[str, Any] = {"quantization_config": params.quantization_config or config.quantization_config}
    if capabilities.engine != "server":
        graph = {name: value for name, value in graph.items() if name not in _OF_SERVERS}
    if not capabilities.has("memory"):
        graph.pop("memory", None)
        changes["memory"] = None
    return params.model_copy(update={**changes, "hnsw_config": models.HnswConfigDiff(**graph)})


def _difference(params: models.VectorParams) -> models.VectorParamsDiff:
    placed = {name: getattr(params, name) for name in ("memory", "on_disk") if getattr(params, name) is not None}
    return models.VectorParamsDiff(
        hnsw_config=params.hnsw_config,
        quantization_config=params.quantization_config or models.Disabled.DISABLED,
        **placed,
    )
