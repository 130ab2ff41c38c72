"""Prepares a target for points: creates a collection, or adds vectors to the source."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

from colbert_qdrant._support.progress import reporting
from colbert_qdrant.collection import artefacts, lifecycle
from colbert_qdrant.collection.ingest.bulk import deferred_threshold
from colbert_qdrant.collection.metadata import KEY as FINGERPRINT
from colbert_qdrant.collection.metadata import AverageLength, new_metadata, read_current, write_metadata
from colbert_qdrant.documents import Document
from colbert_qdrant.errors import CollectionExistsError, CollectionNotFoundError, MigrationError, RequestRefusedError
from colbert_qdrant.migrate.contents import read_contents
from colbert_qdrant.migrate.differences import require_no_own
from colbert_qdrant.migrate.source import read_pages
from colbert_qdrant.migrate.state import KEY, MigrationState, read_migration, write_migration
from colbert_qdrant.migrate.waiting import require_green
from colbert_qdrant.points.origins import ORIGIN_PARAMS
from colbert_qdrant.points.schema import cluster_settings, creation_arguments, index_arguments, named_vectors

if TYPE_CHECKING:
    from collections.abc import Collection

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.migrate.plan import MigrationPlan
    from colbert_qdrant.migrate.source import Source

_OF_SERVERS: Final = ("max_indexing_threads", "on_disk", "inline_storage", "memory")
"""The graph settings that embedded engines do not support."""

_MEASURED: Final = 1_024
"""The number of documents whose average length is measured before any is written."""


async def prepare_target(job: MigrationJob, *, progress: bool | ProgressReporter) -> None:
    """Prepare the target for points.

    Raises:
        MigrationError: If an application may use the target, or if the target belongs to another migration.
        CollectionExistsError: If another collection has the target's name.
    """
    engine, plan = job.target_engine, job.plan
    state = await read_migration(engine, plan.target) or MigrationState(plan=plan)
    if job.in_place and not state.plan.same_as(plan):
        raise MigrationError(
            f"another migration started to add vectors to collection {plan.target!r} after this one was planned: "
            "continue that one with Migration.resume, or call its rollback() and plan again"
        )
    await _require_unused(job, state)
    if state.returned is not None:
        await require_no_own(job, state)
    state = state.before_run(plan)
    if job.in_place:
        with reporting(progress, label="graphs", total=job.source.points) as report:
            await _prepare_in_place(job, state, report)
    else:
        await _create_target(job, state)
        await write_migration(engine, state)
        await _copy_artefact(job)


async def declare(job: MigrationJob, fde: FixedDimensionalEncoder | None) -> None:
    """Declare the source a collection of this library, with its FDE encoder; ``None`` before a fit."""
    await lifecycle.declare(
        job.plan.target,
        engine=job.target_engine,
        encoder=job.target_encoder,
        config=job.plan.config,
        fde=fde,
        tokens_of=job.plan.encoder,
    )


async def remove_vectors(job: MigrationJob, state: MigrationState) -> None:
    """Remove the vectors that this migration created, then their metadata, and its state last."""
    engine, plan = job.target_engine, job.plan
    await write_metadata(engine, plan.target, {FINGERPRINT: None})  # no longer a collection of this library
    for name in state.added:
        if name in await _vector_names(engine, plan.target):
            await _remove_vector(engine, plan.target, name)
    if plan.encoding == "fitted":
        await artefacts.forget(engine, plan.target)
    await write_metadata(engine, plan.target, {KEY: None})


async def is_blank(engine: Engine, plan: MigrationPlan) -> bool:
    """Tell whether an interrupted run created the target without its state, as on engines without metadata."""
    if (await engine.capabilities()).has("metadata"):
        return False
    info = await engine.get_collection(plan.target)
    names = {*named_vectors(info), *(info.config.params.sparse_vectors or {})}
    if not {plan.config.token_vector, plan.config.fde_vector, *plan.kept} <= names:
        return False
    return not await engine.count(plan.target)


async def _require_unused(job: MigrationJob, state: MigrationState) -> None:
    """Raise an error if applications may write to the target, since a run would delete their points."""
    target = job.plan.target
    in_use = {each.alias for each in state.switches}
    if not job.in_place:
        in_use |= {alias for alias, name in (await job.target_engine.get_aliases()).items() if name == target}
    if in_use:
        raise MigrationError(
            f"aliases {sorted(in_use)} point at collection {target!r}, to which applications may already write: call "
            "rollback() first, delete the aliases, or plan a migration to another target"
        )


async def _prepare_in_place(job: MigrationJob, state: MigrationState, report: ProgressReporter) -> None:
    """Add the missing vectors to the source, and store its previous contents as a digest in the state."""
    engine, plan = job.target_engine, job.plan
    await require_green(engine, plan.target, report)
    if state.before is None:
        contents = await read_contents(job.source_engine, job.source)
        state = replace(state, before={"points": contents.points, "digest": contents.digest})
    there = await _vector_names(engine, plan.target)
    state = replace(state, added=tuple(name for name in plan.added if name in state.added or name not in there))
    if taken := [name for name in plan.added if name not in state.added]:
        raise MigrationError(
            f"another client added the vectors {taken} to collection {plan.target!r} after this migration was planned: "
            "delete them, or plan again"
        )
    await write_migration(engine, state)
    await _add_vectors(engine, plan)
    await require_green(engine, plan.target, report)
    if plan.encoding == "fitted":
        await declare(job, None)  # searches are exact until it is fitted


async def _create_target(job: MigrationJob, state: MigrationState) -> None:
    """Create the target with its metadata and payload indexes, unless it exists."""
    engine, plan = job.target_engine, job.plan
    capabilities = await engine.capabilities()
    fingerprint = await engine.runtime.compute(
        lifecycle.fingerprint_of, plan.config, job.target_encoder, job.fde, tokens_of=plan.encoder
    )
    metadata = {**(job.source.info.config.metadata or {}), **new_metadata(fingerprint), KEY: state.to_dict()}
    if not await engine.collection_exists(plan.target):
        metadata |= await _first_length(job)
        arguments = _creation_arguments(job, capabilities)
        if capabilities.has("metadata"):
            arguments["metadata"] = metadata
        await artefacts.require_free(engine, plan.target)
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
            f"collection {plan.target!r} already exists, and does not belong to this migration: name another target, "
            "or delete that collection first"
        )
    await _create_indexes(job, capabilities)


def _creation_arguments(job: MigrationJob, capabilities: Capabilities) -> dict[str, Any]:
    """Return the arguments of ``create_collection`` for the target.

    Copied vectors keep their parameters. Each of these vectors gets the source's collection-wide settings, which then
    do not apply to added vectors. Only ``payload_m``, for the graphs of tenants, applies to FDEs, too. On the same
    server, the target gets the source's shards, optimizer settings and write-ahead log settings.
    """
    plan, source, config = job.plan, job.source, job.plan.config
    arguments = creation_arguments(
        config, fde_dim=config.encoding.dim, token_dim=plan.token_dim, capabilities=capabilities
    )
    vectors: dict[str, Any] = arguments["vectors_config"]
    sparse: dict[str, Any] = arguments.get("sparse_vectors_config", {})
    own = (config.token_vector, config.fde_vector)
    for name in plan.kept:
        if name in source.vectors and name not in own and (source.fingerprint is None or name not in vectors):
            vectors[name] = _make_standalone(source.vectors[name], source.info.config, capabilities)
        elif name in source.sparse and (source.fingerprint is None or name not in sparse):
            sparse[name] = source.sparse[name]
    if sparse:
        arguments["sparse_vectors_config"] = sparse
    if job.same_engine and capabilities.has("sharding"):
        arguments = {**cluster_settings(source.info.config.params), **arguments, **_inherit(source, config.segments)}
    if (payload_m := source.info.config.hnsw_config.payload_m) is not None:
        vectors[config.fde_vector].hnsw_config.payload_m = payload_m
    return arguments


def _inherit(source: Source, segments: int | None) -> dict[str, Any]:
    """Return the source's settings of optimizer and write-ahead log; ``segments`` replaces the number of segments."""
    config = source.info.config  # different classes than those of requests
    optimizers = config.optimizer_config.model_dump(exclude_none=True, exclude_unset=True)
    if (deferred := deferred_threshold(config.metadata or {})) is not None:
        optimizers["indexing_threshold"] = deferred
    if segments is not None:
        optimizers["default_segment_number"] = segments
    inherited: dict[str, Any] = {"optimizers_config": models.OptimizersConfigDiff(**optimizers)}
    if config.wal_config is not None:
        inherited["wal_config"] = models.WalConfigDiff(
            **config.wal_config.model_dump(exclude_none=True, exclude_unset=True)
        )
    return inherited


async def _create_indexes(job: MigrationJob, capabilities: Capabilities) -> None:
    if not capabilities.has("payload_indexes"):
        return
    engine, plan = job.target_engine, job.plan
    there = (await engine.get_collection(plan.target)).payload_schema
    wanted: dict[str, Any] = {
        each["field_name"]: each["field_schema"] for each in index_arguments(plan.config, capabilities)
    }
    wanted |= {key: index.params or index.data_type for key, index in job.source.info.payload_schema.items()}
    for key, schema in wanted.items():
        if key not in there:
            await engine.create_payload_index(plan.target, field_name=key, field_schema=schema)


async def _first_length(job: MigrationJob) -> dict[str, Any]:
    """Return the metadata of the average length of the first texts, if BM25's vectors are made of texts."""
    converter, engine = await job.make_converter(), job.source_engine
    if converter.bm25 is None or not converter.bm25.measures_length:
        return {}
    documents: list[Document] = []
    pages = read_pages(engine, job.plan.source, job.plan.filter, limits=job.source.limits, payload=True)
    async with contextlib.aclosing(pages):
        async for page in pages:
            texts = await engine.runtime.compute(converter.find_texts, page)
            documents += [Document(0, text) for text in texts if text is not None]
            if len(documents) >= _MEASURED:
                break
    length = await engine.runtime.compute(AverageLength.measured, documents, converter.bm25)
    return {} if length is None else length.to_metadata()


async def _copy_artefact(job: MigrationJob) -> None:
    """Copy the artifact that stored FDEs were fitted with."""
    plan = job.plan
    if plan.encoding != "stored" or not plan.config.encoding.needs_fit:
        return
    stored = (await read_current(job.source_engine, job.source.name)).fingerprint
    if stored is None or stored.fitted_digest is None:
        return
    data = await lifecycle.read_artefact(job.source_engine, job.source.name, wanted=stored.fitted_digest)
    if await artefacts.publish(job.target_engine, plan.target, data, encoder=plan.encoder) != data:
        raise MigrationError(
            f"collection {plan.source!r} was refitted after the migration to {plan.target!r} was started: call "
            "cleanup('target'), then plan again"
        )


async def _add_vectors(engine: Engine, plan: MigrationPlan) -> None:
    """Add vectors that do not inherit the source's graph and quantization settings."""
    capabilities, config = await engine.capabilities(), plan.config
    wanted = creation_arguments(
        config, fde_dim=config.encoding.dim, token_dim=plan.token_dim, capabilities=capabilities
    )
    there = await _vector_names(engine, plan.target)
    params_of: dict[str, models.VectorParams] = {**wanted["vectors_config"], plan.origin_vector: ORIGIN_PARAMS}
    added = {name: params_of[name] for name in plan.added}
    for name, params in added.items():
        if name not in there:
            await _add_vector(engine, plan.target, name, params)
    if added and capabilities.has("payload_indexes"):  # local mode has no graphs, either
        changes = {name: _settings_of(params) for name, params in added.items()}
        await engine.update_collection(plan.target, vectors_config=changes)


async def _add_vector(engine: Engine, collection: str, name: str, params: models.VectorParams) -> None:
    dense = models.DenseVectorConfig(
        size=params.size,
        distance=params.distance,
        multivector_config=params.multivector_config,
        datatype=None if params.datatype is None else models.VectorStorageDatatype(params.datatype.value),
    )
    try:
        await engine.create_vector_name(collection, name, models.DenseVectorNameConfig(dense=dense))
    except RequestRefusedError:
        if name not in await _vector_names(engine, collection):  # if it is there, an earlier response was lost
            raise


async def _remove_vector(engine: Engine, collection: str, name: str) -> None:
    try:
        await engine.delete_vector_name(collection, name)
    except (RequestRefusedError, CollectionNotFoundError):
        if name in await _vector_names(engine, collection):
            raise


async def _vector_names(engine: Engine, collection: str) -> Collection[str]:
    return named_vectors(await engine.get_collection(collection))


def _settings_of(params: models.VectorParams) -> models.VectorParamsDiff:
    placed = {name: getattr(params, name) for name in ("memory", "on_disk") if getattr(params, name) is not None}
    return models.VectorParamsDiff(
        hnsw_config=params.hnsw_config,
        quantization_config=params.quantization_config or models.Disabled.DISABLED,
        **placed,
    )


def _make_standalone(
    params: models.VectorParams, config: models.CollectionConfig, capabilities: Capabilities
) -> models.VectorParams:
    """Return a vector's parameters with the defaults of its collection filled in."""
    graph = config.hnsw_config.model_dump(exclude_none=True)
    graph |= {} if params.hnsw_config is None else params.hnsw_config.model_dump(exclude_none=True)
    changes: dict[str, Any] = {"quantization_config": params.quantization_config or config.quantization_config}
    if capabilities.engine != "server":
        graph = {name: value for name, value in graph.items() if name not in _OF_SERVERS}
    if not capabilities.has("memory"):
        graph.pop("memory", None)
        changes["memory"] = None
    return params.model_copy(update={**changes, "hnsw_config": models.HnswConfigDiff(**graph)})
