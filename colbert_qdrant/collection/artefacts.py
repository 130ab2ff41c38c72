"""Keeps the artefact of a fitted encoding with its collection: in a file, or in a companion collection."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid5

from qdrant_client import models

from colbert_qdrant.collection.aliases import real_name
from colbert_qdrant.errors import ArtefactError
from colbert_qdrant.points.ids import NAMESPACE
from colbert_qdrant.points.point import Point

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colbert_qdrant.engines import Engine

FILE_NAME: Final = "fde.safetensors"
_SUFFIX: Final = "__fde"
_CHUNK_BYTES: Final = 4 * 2**20
"""Of one request: a third more as base64, and far from the 32 MiB that servers take."""
_MOST_CHUNKS: Final = 256
"""Of an artefact, which has one or a few: no server can make us ask for ever."""

_MANIFEST: Final = str(uuid5(NAMESPACE, "artefact"))
"""The point that says which artefact is the collection's: written last, so there is all of it or none."""


async def companion(engine: Engine, collection: str) -> str:
    """Return the name of the companion collection, which holds the artefact of a collection on a server."""
    return await real_name(engine, collection) + _SUFFIX


async def location(engine: Engine, collection: str) -> str:
    """Name the file or the collection that an artefact is kept in."""
    if engine.files is not None:
        return f"the file {FILE_NAME} in its folder"
    return f"collection {await companion(engine, collection)!r}"


def digest(data: bytes) -> str:
    """Return the SHA-256 of an artefact, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


async def publish(engine: Engine, collection: str, data: bytes, *, replace: bool = False) -> bytes:
    """Keep an artefact with its collection. Of two writers the first wins.

    Servers before 1.17 cannot decide that: of two that finish within the same milliseconds the second one wins.

    Returns:
        The artefact that the collection has now: this one, or the one that was stored first.

    Raises:
        ArtefactError: A stored artefact cannot be read.
    """
    if engine.files is not None:
        if not replace and (stored := await engine.files.read(collection, FILE_NAME)) is not None:
            return stored
        await engine.files.write(collection, FILE_NAME, data)
        return data
    name = await companion(engine, collection)
    await _make(engine, name)
    if replace or await _manifest(engine, name) is None:
        chunks = list(_chunks(digest(data), data))
        for point in chunks:
            await engine.upsert(name, [point])
        await _claim(engine, name, {"digest": digest(data), "chunks": len(chunks)}, replace=replace)
        if replace:
            kept = models.HasIdCondition(has_id=[_MANIFEST, *(point.id for point in chunks)])
            await engine.delete(name, points_selector=models.Filter(must_not=[kept]))
    stored = await _read(engine, name)
    if stored is None:
        raise ArtefactError(f"collection {name!r} lost the fitted encoding of {collection!r}: fit it again")
    return stored


async def fetch(engine: Engine, collection: str) -> bytes | None:
    """Read the artefact of a collection; ``None`` if it has none.

    Raises:
        ArtefactError: The artefact is incomplete.
    """
    if engine.files is not None:
        return await engine.files.read(collection, FILE_NAME)
    name = await companion(engine, collection)
    return await _read(engine, name) if await engine.collection_exists(name) else None


async def delete(engine: Engine, collection: str) -> None:
    """Delete a collection's artefact; the embedded engine does so with the collection.

    A collection that only has the same name is left alone: that of an artefact has no vectors.
    """
    if engine.files is not None:
        return
    name = collection + _SUFFIX
    if not await engine.collection_exists(name):
        return
    info = await engine.get_collection(name)
    if not info.config.params.vectors:
        await engine.delete_collection(name)


async def forget(engine: Engine, collection: str) -> None:
    """Delete the artefact of a collection that stays."""
    if engine.files is not None:
        await engine.files.write(collection, FILE_NAME, None)
    else:
        await delete(engine, await real_name(engine, collection))


async def _make(engine: Engine, name: str) -> None:
    if await engine.collection_exists(name):
        return
    try:
        await engine.create_collection(name, vectors_config={})
    except Exception:
        if not await engine.collection_exists(name):  # another writer may just have made it
            raise


async def _read(engine: Engine, name: str) -> bytes | None:
    manifest = await _manifest(engine, name)
    if manifest is None:
        return None
    try:
        wanted = str(manifest["digest"])
        ids = [_chunk_id(wanted, number) for number in range(min(manifest["chunks"], _MOST_CHUNKS))]
        parts = []
        for id in ids:
            parts.append(await _payload(engine, name, id))
            if not 0 < len(parts[-1]) <= _CHUNK_BYTES:
                break  # one that is missing, or none of ours: what comes after it is of no use
        data = b"".join(parts)
    except (KeyError, TypeError, ValueError):
        wanted, data = "what it was", b""
    if digest(data) != wanted:
        raise ArtefactError(
            f"the fitted encoding in collection {name!r} is not whole (its SHA-256 is not {wanted}): restore {name!r} "
            "from a snapshot; the stored encodings are worthless without it"
        )
    return data


async def _payload(engine: Engine, name: str, id: str) -> bytes:
    found = await engine.retrieve(name, ids=[id], with_payload=["data"])
    return base64.b64decode((found[0].payload or {})["data"], validate=True) if found else b""


async def _manifest(engine: Engine, name: str) -> dict[str, Any] | None:
    found = await engine.retrieve(name, ids=[_MANIFEST], with_payload=True)
    return found[0].payload or {} if found else None


async def _claim(engine: Engine, name: str, manifest: dict[str, Any], *, replace: bool) -> None:
    """Make an artefact the collection's, unless there is one by now that is not to be replaced."""
    point = Point(id=_MANIFEST, vectors={}, payload=manifest)
    if (await engine.capabilities()).has("insert_only") and not replace:
        await engine.upsert(name, [point], insert_only=True)
    elif replace or await _manifest(engine, name) is None:
        await engine.upsert(name, [point])


def _chunks(name: str, data: bytes) -> Iterator[Point]:
    for number, start in enumerate(range(0, len(data), _CHUNK_BYTES)):
        payload = {"data": base64.b64encode(data[start : start + _CHUNK_BYTES]).decode("ascii")}
        yield Point(id=_chunk_id(name, number), vectors={}, payload=payload)


def _chunk_id(name: str, number: int) -> str:
    return str(uuid5(NAMESPACE, f"artefact/{name}/{number}"))
