"""Backs up an open collection, and restores one."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from qdrant_client import models

from colbert_qdrant._support.progress import reporting, require_progress
from colbert_qdrant.collection import artefacts, lifecycle
from colbert_qdrant.collection.aliases import real_name
from colbert_qdrant.collection.metadata import read_current
from colbert_qdrant.config.checks import require_bool
from colbert_qdrant.config.names import require_stored_name
from colbert_qdrant.edge.files import write_file
from colbert_qdrant.encoders.further import FurtherVectors, require_encoders
from colbert_qdrant.engines.backup_folder import (
    BackupManifest,
    begin,
    checked_path,
    discard,
    finish,
    measure,
    require_complete,
)
from colbert_qdrant.errors import BackupError, CapabilityError, CollectionExistsError, EngineError
from colbert_qdrant.points.fingerprint import Fingerprint, fingerprint_of_encoder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike
    from pathlib import Path

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.encoders import LateInteractionEncoder, VectorEncoder
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.engines.base import Snapshots

_ENCODING: Final = "fde.safetensors"
"""The file with the fitted encoding, beside the copy of a server's collection."""


async def backup(collection: OpenCollection, path: str | PathLike[str], *, progress: bool | ProgressReporter) -> None:
    """Copy a collection with its fitted encoding into a new folder; see `ColbertCollection.backup`."""
    engine, target = collection.engine, checked_path(path)
    snapshots, compute = _snapshots(engine), engine.runtime.compute
    await collection.notice()
    folder = await compute(begin, target)
    try:
        with reporting(progress, label="backup", total=None):
            manifest = await engine.runtime.whole(_copy(collection, snapshots, folder))
            await compute(finish, folder, target, manifest)
    finally:
        await compute(discard, folder)


async def _copy(collection: OpenCollection, snapshots: Snapshots, folder: Path) -> BackupManifest:
    """Write all files of a backup into a folder, and return their description."""
    engine, fitted = collection.engine, collection.fitted_digest
    name = await real_name(engine, collection.name)
    if fitted is not None:
        data = await lifecycle.read_artefact(engine, name, wanted=fitted)
        if engine.files is None:  # otherwise it is one of the copied files
            await engine.runtime.compute(write_file, folder / _ENCODING, data)
    await snapshots.save(name, folder)
    stored = (await read_current(engine, name)).fingerprint
    if stored is None or stored.fitted_digest != fitted:
        raise BackupError(
            f"the encoding of collection {name!r} was fitted while the backup was made, so the two do not belong "
            "together: call backup() again"
        )
    aliases = await engine.get_aliases()
    return BackupManifest(
        name=name,
        aliases=tuple(sorted(alias for alias, real in aliases.items() if real == name)),
        engine=_kind(engine),
        engine_version=_version(await engine.capabilities()),
        fingerprint=stored.to_dict(),
        files=await engine.runtime.compute(measure, folder),
    )


async def restore(
    engine: Engine,
    path: str | PathLike[str],
    *,
    name: str | None,
    aliases: bool | None,
    encoders: tuple[LateInteractionEncoder | None, Mapping[str, VectorEncoder] | None],
    progress: bool | ProgressReporter,
) -> str:
    """Make a collection of a backup, and return its name; see `ColbertCollection.restore`."""
    folder, snapshots, compute = checked_path(path), _snapshots(engine), engine.runtime.compute
    if name is not None:
        require_stored_name(name)
    if aliases is not None:
        require_bool("aliases", aliases)
    require_encoders(*encoders)
    require_progress(progress)
    manifest = await compute(BackupManifest.read, folder)
    if manifest.engine != _kind(engine):
        raise CapabilityError(
            f"the backup {folder} is of {_IN_WORDS[manifest.engine]}, and the client is of {_IN_WORDS[_kind(engine)]}: "
            "restore it there, and move the collection with Migration.plan(client, name, target_client=…)"
        )
    stored = Fingerprint.from_dict(manifest.fingerprint)
    await _require_encoders(engine, stored, *encoders, name=manifest.name)
    wanted = name or manifest.name
    given = manifest.aliases if aliases or (aliases is None and wanted == manifest.name) else ()
    await _require_free(engine, wanted, given)
    with reporting(progress, label="restore", total=None):
        await compute(require_complete, folder, manifest)
        await engine.runtime.whole(_restore(engine, snapshots, wanted, folder, stored.fitted_digest))
        operations = [
            models.CreateAliasOperation(create_alias=models.CreateAlias(alias_name=alias, collection_name=wanted))
            for alias in given
        ]
        if operations:
            await engine.update_aliases(operations)
    return wanted


async def _restore(engine: Engine, snapshots: Snapshots, name: str, folder: Path, fitted: str | None) -> None:
    """Make the collection and its fitted encoding; if a step fails, delete both again."""
    try:
        await snapshots.load(name, folder)
        await _complete(engine, name, folder, fitted)
    except CollectionExistsError:
        raise  # another client made it in the meantime
    except BaseException:
        with contextlib.suppress(EngineError):
            await engine.delete_collection(name)
        with contextlib.suppress(EngineError):
            await artefacts.delete(engine, name)
        raise


async def _complete(engine: Engine, name: str, folder: Path, fitted: str | None) -> None:
    """Store the fitted encoding with a collection of a server; on an embedded store, it is a part of the copy."""
    stored = (await read_current(engine, name)).fingerprint
    if stored is None or stored.fitted_digest != fitted:
        raise BackupError(f"the backup {folder} has a collection of another fit than its encoding: use another backup")
    if fitted is None:
        return
    if engine.files is None:
        data = await engine.runtime.compute((folder / _ENCODING).read_bytes)
        await artefacts.publish(engine, name, data, encoder=stored.encoder, replace=True)
    await lifecycle.read_artefact(engine, name, wanted=fitted)


async def _require_encoders(
    engine: Engine,
    stored: Fingerprint,
    encoder: LateInteractionEncoder | None,
    vector_encoders: Mapping[str, VectorEncoder] | None,
    *,
    name: str,
) -> None:
    """Check that the encoders will open the collection, before it is restored."""
    compute = engine.runtime.compute
    await compute(FurtherVectors, stored.config, vector_encoders or {}, await engine.capabilities())
    if encoder is not None:
        own = await compute(fingerprint_of_encoder, encoder)
        stored.require_equal(
            replace(stored, encoder=own, fde={**stored.fde, "token_dim": encoder.dim}), collection=name
        )


async def _require_free(engine: Engine, name: str, aliases: tuple[str, ...]) -> None:
    """Check that the names of a restored collection are free, before anything is written."""
    taken = await engine.get_aliases()
    if await engine.collection_exists(name):
        raise CollectionExistsError(
            f"collection {name!r} already exists: restore the backup under another name with name=…, or drop the "
            "collection first"
        )
    for alias in aliases:
        if alias in taken or await engine.collection_exists(alias):
            raise CollectionExistsError(
                f"the alias {alias!r} of the backup already exists: delete it, or restore without it with aliases=False"
            )
    await artefacts.require_free(engine, name)


def _snapshots(engine: Engine) -> Snapshots:
    if engine.snapshots is None:
        raise CapabilityError(
            "the client's local mode cannot copy a collection: use EdgeClient(path) or a server, or stop the program "
            "and copy the folder of QdrantClient(path=…)"
        )
    return engine.snapshots


def _version(capabilities: Capabilities) -> str | None:
    return None if capabilities.version is None else "{}.{}".format(*capabilities.version)


def _kind(engine: Engine) -> str:
    return "server" if engine.files is None else "edge"


_IN_WORDS: Final = {"edge": "an embedded store", "server": "a server"}
