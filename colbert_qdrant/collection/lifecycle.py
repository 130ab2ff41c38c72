"""Creates and opens collections, and compares the stored fingerprint with the encoder and the settings."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from colbert_qdrant._support.warned import warn
from colbert_qdrant.collection import artefacts
from colbert_qdrant.collection.aliases import real_name
from colbert_qdrant.collection.companion import SUFFIX, digest
from colbert_qdrant.collection.indexes import make_indexes, missing_indexes
from colbert_qdrant.collection.metadata import (
    CHOICE_KEY,
    AverageLength,
    new_metadata,
    read_fingerprint,
    read_metadata,
    to_metadata,
    write_metadata,
    write_to_reserved_point,
)
from colbert_qdrant.config import CollectionConfig, LemurConfig, MuveraConfig
from colbert_qdrant.encoders.ready import ReadyTokens
from colbert_qdrant.engines.missing import missing_collection
from colbert_qdrant.errors import (
    ArtefactError,
    AuthenticationError,
    CollectionExistsError,
    ConfigurationError,
    EngineError,
    RequestRefusedError,
    SchemaMismatchError,
)
from colbert_qdrant.fde import encoder_from_bytes, make_encoder, version_of
from colbert_qdrant.points.fingerprint import (
    Fingerprint,
    canary_tokens,
    describe_differences,
    fingerprint_of_encoder,
)
from colbert_qdrant.points.schema import (
    FOREIGN_REMEDY,
    check_schema,
    creation_arguments,
    index_arguments,
    require_for,
    require_names,
)
from colbert_qdrant.points.texts import text_source
from colbert_qdrant.search.limits import Limits
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.inspection import FdeChoice


class Stored(NamedTuple):
    """The stored state of a collection.

    Attributes:
        config: The settings.
        fde: The encoding; ``None`` until it is fitted, and if it is lost.
        limits: The limits of the server.
        fingerprint: The fingerprint.
        missing_indexes: The arguments of ``create_payload_index`` for each missing index.
        lost: A message if the fitted encoding can no longer be read, with the remedy; ``None`` otherwise.
        points: The approximate number of points, if known.
        length: The average length of the documents; ``None`` if it was not measured.
    """

    config: CollectionConfig
    fde: FixedDimensionalEncoder | None
    limits: Limits
    fingerprint: Fingerprint
    missing_indexes: Sequence[dict[str, Any]] = ()
    lost: str | None = None
    points: int | None = None
    length: AverageLength | None = None


async def create(
    name: str,
    *,
    engine: Engine,
    encoder: LateInteractionEncoder,
    config: CollectionConfig,
    choice: FdeChoice | None = None,
) -> Stored:
    """Create an empty collection; if a step fails, delete it again. ``choice`` is recorded with it.

    Raises:
        CollectionExistsError: If a collection of that name already exists.
        ArtefactError: If the encoding needs a fit, and another program's collection has the companion's name.
        CapabilityError: If the server is too old.
    """
    require_names(name, config, companion=SUFFIX)
    capabilities = await engine.capabilities()
    require_for(config, capabilities)
    if config.native:
        text_source(config.text_key)  # so that an invalid path raises before anything is created
    _check_shard_key(engine, config, name)
    await require_new(name, engine=engine)
    if config.encoding.needs_fit:
        await artefacts.require_free(engine, name)
    fde, fingerprint = await _first_fingerprint(engine, encoder, config)
    arguments = creation_arguments(
        config, fde_dim=config.encoding.dim, token_dim=encoder.dim, capabilities=capabilities
    )
    metadata = {**new_metadata(fingerprint), **({} if choice is None else {CHOICE_KEY: choice.to_dict()})}
    if capabilities.has("metadata"):
        arguments["metadata"] = metadata
    certainly_new = await _create(engine, name, arguments, fingerprint)
    try:
        if not capabilities.has("metadata"):
            await write_to_reserved_point(engine, name, metadata)
        await make_indexes(engine, name, index_arguments(config, capabilities))
        if not capabilities.has("strict_mode"):
            return Stored(config, fde, Limits(), fingerprint)
        info = await engine.get_collection(name)
        return Stored(config, fde, Limits.of(info, config.token_vector), fingerprint)
    except BaseException:
        if certainly_new:
            with contextlib.suppress(EngineError):
                await engine.delete_collection(name)
        raise


async def require_new(name: str, *, engine: Engine) -> None:
    """Raise an error with a remedy if a collection already exists, whether or not this library created it.

    Raises:
        CollectionExistsError: If it exists.
    """
    if not await engine.collection_exists(name):
        return
    if await read_fingerprint(engine, name, await engine.get_collection(name)) is None:
        raise CollectionExistsError(
            f"collection {name!r} already exists, and was not created by colbert-qdrant. {FOREIGN_REMEDY}"
        )
    raise CollectionExistsError(f"collection {name!r} already exists: use ColbertCollection.open, or drop it first")


async def finish(name: str, *, engine: Engine, encoder: LateInteractionEncoder, config: CollectionConfig) -> None:
    """Write the fingerprint that an interrupted `create` left out, on engines without metadata."""
    if (await engine.capabilities()).has("metadata"):
        return
    info = await engine.get_collection(name)
    if info.points_count or await read_fingerprint(engine, name, info) is not None:
        return
    check_schema(info, config, fde_dim=config.encoding.dim, token_dim=encoder.dim, collection=name)
    _, fingerprint = await _first_fingerprint(engine, encoder, config)
    await write_to_reserved_point(engine, name, new_metadata(fingerprint))


async def open(
    name: str, *, engine: Engine, encoder: LateInteractionEncoder | None, config: CollectionConfig | None
) -> Stored:
    """Compare a stored collection with the encoder and settings that it is opened with; ``None`` suits every one.

    Raises:
        CollectionNotFoundError: If the collection does not exist.
        SchemaMismatchError: If its vectors have another layout, or this library did not create it.
        FingerprintMismatchError: If it was built with another encoder or other settings.
        ArtefactError: If it was fitted by an incompatible version.
    """
    if not await engine.collection_exists(name):
        made = "AsyncColbertCollection" if engine.runtime.has_event_loop else "ColbertCollection"
        raise await missing_collection(engine, name, f"check the name, or create it with {made}.create")
    info = await engine.get_collection(name)
    stored = await read_fingerprint(engine, name, info)
    if stored is None:
        # an error about an impossible layout says more than one about the missing fingerprint
        wanted = config or CollectionConfig()
        if encoder is not None and not wanted.is_auto:
            check_schema(info, wanted, fde_dim=wanted.encoding.dim, token_dim=encoder.dim, collection=name)
        raise SchemaMismatchError(
            f"collection {name!r} was not created by colbert-qdrant: its metadata has no fingerprint. {FOREIGN_REMEDY}"
        )
    settings = stored.config
    encoder = encoder_of(stored) if encoder is None else encoder
    check_schema(info, settings, fde_dim=settings.encoding.dim, token_dim=stored.token_dim, collection=name)
    _check_shard_key(engine, settings, name)
    wanted = settings
    if config is not None:
        wanted = _with_encoding_of(settings, _with_length_of(settings, config), name)
        wanted = _with_refinement_of(settings, wanted)
    compute = engine.runtime.compute
    fde, lost = await compute(make_encoder, wanted.encoding, token_dim=encoder.dim), None
    if settings.encoding.needs_fit and wanted.encoding == settings.encoding and encoder.dim == stored.token_dim:
        fde, lost = await fitted(engine, name, stored)
    tokens_of = await compute(fingerprint_of_encoder, encoder)
    actual = await compute(fingerprint_of, wanted, encoder, fde, tokens_of=tokens_of)
    if lost is not None:
        actual = actual.with_fit_of(stored)
    stored.require_equal(actual, collection=name)
    if config is not None:
        _warn_of_storage(name, stored.differences_of_storage(actual))
        settings = _with_indexes_of(settings, config)
    limits, missing = Limits.of(info, settings.token_vector), await missing_indexes(engine, settings, info)
    length = AverageLength.of(await read_metadata(engine, name, info))
    return Stored(settings, fde, limits, stored, missing, lost, info.points_count, length)


def encoder_of(stored: Fingerprint) -> ReadyTokens:
    """Return a description of a collection's token vectors, in place of the encoder that made them."""
    return ReadyTokens(dim=stored.token_dim, model=stored.encoder)


async def _first_fingerprint(
    engine: Engine, encoder: LateInteractionEncoder, config: CollectionConfig
) -> tuple[FixedDimensionalEncoder | None, Fingerprint]:
    """Return the encoding and the fingerprint of a new collection."""
    fde = await engine.runtime.compute(make_encoder, config.encoding, token_dim=encoder.dim)
    tokens_of = await engine.runtime.compute(fingerprint_of_encoder, encoder)
    return fde, await engine.runtime.compute(fingerprint_of, config, encoder, fde, tokens_of=tokens_of)


def _warn_of_storage(name: str, differences: Mapping[str, tuple[Any, Any]]) -> None:
    if differences:
        lines = "\n".join(describe_differences(differences))
        warn(
            f"collection {name!r} has other settings of graph, storage or replication than the config. It keeps its "
            f"own:\n{lines}\nRemove them from the config, or change the collection with client.update_collection or "
            "Migration.plan(client, name, config=…)."
        )


def _with_encoding_of(settings: CollectionConfig, config: CollectionConfig, name: str) -> CollectionConfig:
    """Return the given config with the parts of the collection's encoding that it does not determine.

    These are the choice of ``fde="auto"``, and that empty cells are filled, which release 0.1.0 did by default.
    """
    if config.is_auto:
        return replace(config, fde=settings.encoding)
    own, given = settings.encoding, config.encoding
    if not isinstance(own, MuveraConfig) or not isinstance(given, MuveraConfig):
        return config
    if not own.fill_empty or given.fill_empty or own.partition != given.partition:
        return config
    warn(
        f"collection {name!r} fills empty cells, and keeps doing so, while the config leaves them empty: pass "
        "MuveraConfig(fill_empty=True), or encode the documents again with Migration.plan(client, name, config=…), "
        "which finds more."
    )
    return replace(config, fde=replace(given, fill_empty=True))


def _with_refinement_of(settings: CollectionConfig, config: CollectionConfig) -> CollectionConfig:
    """Return the given config with evenly spaced own tokens if the collection has them, as in release 0.1.0."""
    own, given = settings.encoding, config.encoding
    if isinstance(own, LemurConfig) and isinstance(given, LemurConfig) and own.refinement == "spaced":
        return replace(config, fde=replace(given, refinement="spaced"))
    return config


def _with_indexes_of(settings: CollectionConfig, config: CollectionConfig) -> CollectionConfig:
    """Return a collection's settings with the payload indexes of the given config added."""
    indexes = {**settings.payload_indexes, **config.payload_indexes}
    return replace(settings, payload_indexes=indexes, tenant_field=settings.tenant_field or config.tenant_field)


def _with_length_of(settings: CollectionConfig, config: CollectionConfig) -> CollectionConfig:
    """Return the given config with the stored ``avg_len`` of BM25, unless it has another."""
    if settings.bm25 is None or config.bm25 is None or config.bm25.avg_len is not None:
        return config
    return replace(config, bm25=replace(config.bm25, avg_len=settings.bm25.avg_len))


def _check_shard_key(engine: Engine, config: CollectionConfig, name: str) -> None:
    if engine.shard_key is not None and config.sharding != "custom":
        raise ConfigurationError(
            f"collection {name!r} uses automatic sharding: omit shard_key={shown(engine.shard_key)}, or create a "
            "collection with CollectionConfig(sharding='custom')"
        )


async def _create(engine: Engine, name: str, arguments: dict[str, Any], fingerprint: Fingerprint) -> bool:
    """Create a collection; return ``False`` if an attempt whose response was lost seems to have created it."""
    try:
        await engine.create_collection(name, **arguments)
    except (RequestRefusedError, CollectionExistsError) as error:
        if not await engine.collection_exists(name):
            raise
        info = await engine.get_collection(name)
        stored = await read_fingerprint(engine, name, info)
        wanted = fingerprint.to_dict() if "metadata" in arguments else None
        # the collection was missing a moment ago: an embedded engine then raises only if its process ended in between
        only_once = isinstance(error, RequestRefusedError) and error.attempts == 1
        if only_once or info.points_count or (stored and stored.to_dict()) != wanted:
            raise CollectionExistsError(
                f"collection {name!r} was created by another client at the same time: use ColbertCollection.open"
            ) from error
        return False
    return True


async def drop(name: str, *, engine: Engine, config: CollectionConfig) -> None:
    """Delete a collection with its documents and its artifact."""
    name = await real_name(engine, name)
    await engine.delete_collection(name)
    if config.encoding.needs_fit:
        await artefacts.delete(engine, name)


async def declare(
    name: str,
    *,
    engine: Engine,
    encoder: LateInteractionEncoder,
    config: CollectionConfig,
    fde: FixedDimensionalEncoder | None,
    tokens_of: Mapping[str, Any],
) -> Fingerprint:
    """Write a collection's encoding into its metadata, and return its fingerprint."""
    fingerprint = await engine.runtime.compute(fingerprint_of, config, encoder, fde, tokens_of=tokens_of)
    await write_metadata(engine, name, to_metadata(fingerprint))
    return fingerprint


def describe(
    config: CollectionConfig, encoder: LateInteractionEncoder, fde: FixedDimensionalEncoder | None
) -> Mapping[str, Any]:
    """Return the description of an encoding for the metadata; ``fde`` is ``None`` if it is not fitted."""
    if fde is not None:
        return fde.fingerprint()
    return {"config": config.encoding.to_dict(), "version": version_of(config.encoding), "token_dim": encoder.dim}


async def fitted(engine: Engine, name: str, stored: Fingerprint) -> tuple[FixedDimensionalEncoder | None, str | None]:
    """Read the fitted encoding of a collection.

    Returns:
        The encoding, or ``None`` if it is not fitted or is lost; and a message with the remedy if it is lost.

    Raises:
        ArtefactError: If it was fitted by an incompatible version.
    """
    if stored.fitted_digest is None:
        return None, None
    try:
        data = await read_artefact(engine, name, wanted=stored.fitted_digest)
    except ArtefactError as error:
        return None, str(error)
    return await engine.runtime.compute(encoder_from_bytes, data), None


async def read_artefact(engine: Engine, name: str, *, wanted: str) -> bytes:
    """Read the artifact of a collection, with the given SHA-256.

    Raises:
        ArtefactError: If it is missing, incomplete or altered.
    """
    problem = "is incomplete"
    try:
        data = await artefacts.fetch(engine, name, wanted=wanted)
    except AuthenticationError as error:
        raise AuthenticationError(
            f"the fitted encoding of collection {name!r} is in {await artefacts.location(engine, name)}, which this "
            f"key may not read: use a key that may read both. ({error})",
            operation=error.operation,
            collection=error.collection,
            attempts=error.attempts,
        ) from error
    except ArtefactError:
        pass
    else:
        if data is not None and digest(data) == wanted:
            return data
        problem = "is missing" if data is None else "was altered"
    raise ArtefactError(
        f"the fitted encoding of collection {name!r} (SHA-256 {wanted}) {problem}, so searches run exact MaxSim, which "
        "is slow: call repair(), which fits it again to the stored token vectors, or restore "
        f"{await artefacts.location(engine, name)} from a backup or snapshot and open the collection again"
    )


def fingerprint_of(
    config: CollectionConfig,
    encoder: LateInteractionEncoder,
    fde: FixedDimensionalEncoder | None,
    *,
    tokens_of: Mapping[str, Any],
) -> Fingerprint:
    """Compute the fingerprint of a collection; the arguments are those of `declare`."""
    canary = None if fde is None else fde.encode_documents(canary_tokens(encoder.dim))
    return Fingerprint.of(encoder=tokens_of, fde=describe(config, encoder, fde), config=config, canary=canary)
