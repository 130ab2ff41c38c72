"""Where a collection keeps its fitted encoding: a file beside an embedded store, else a companion collection."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid5

from qdrant_client import models

from colbert_qdrant.collection.aliases import real_name
from colbert_qdrant.errors import ArtefactError
from colbert_qdrant.points.ids import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colbert_qdrant.engines.connection import Connection

FILE_NAME: Final = "fde.safetensors"
_SUFFIX: Final = "__fde"
_CHUNK_BYTES: Final = 4 * 2**20
"""Of one request: a third more as base64, and far from the 32 MiB that servers take."""
_MOST_CHUNKS: Final = 256
"""Of an artefact, which has one or a few: no server can make us ask for ever."""

_MANIFEST: Final = str(uuid5(NAMESPACE, "artefact"))
"""The point that says which artefact is the collection's: written last, so there is all of it or none."""


async def companion(connection: Connection, collection: str) -> str:
    """Name of the collection that holds the artefact of one on a server, whatever alias that is known by."""
    return await real_name(connection, collection) + _SUFFIX


async def place(connection: Connection, collection: str) -> str:
    """Where an artefact is kept, in words."""
    if connection.embedded:
        return f"the file {FILE_NAME} in its folder"
    return f"collection {await companion(connection, collection)!r}"


def digest(data: bytes) -> str:
    """SHA-256 of an artefact, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


async def publish(connection: Connection, collection: str, data: bytes, *, replace: bool = False) -> bytes:
    """Keep an artefact with its collection. Of two writers the first wins.

    Servers before 1.17 cannot decide that: of two that finish within the same milliseconds the second one wins.

    Args:
        connection: To the engine.
        collection: The collection's name.
        data: The artefact.
        replace: Put it in the place of the one that is there.

    Returns:
        The artefact that the collection has now: this one, or the one that was there.

    Raises:
        ArtefactError: One is there, and it cannot be read.
    """
    if connection.embedded:
        if not replace and (stored := await connection.edge.attachment(collection, FILE_NAME)) is not None:
            return stored
        await connection.edge.attach(collection, FILE_NAME, data)
        return data
    name = await companion(connection, collection)
    await _make(connection, name)
    if replace or await _manifest(connection, name) is None:
        chunks = list(_chunks(digest(data), data))
        for point in chunks:
            await connection.client.upsert(name, points=[point], wait=True)
        await _claim(connection, name, {"digest": digest(data), "chunks": len(chunks)}, replace=replace)
        if replace:
            kept = models.HasIdCondition(has_id=[_MANIFEST, *(point.id for point in chunks)])
            await connection.client.delete(name, points_selector=models.Filter(must_not=[kept]), wait=True)
    stored = await _read(connection, name)
    if stored is None:
        raise ArtefactError(f"collection {name!r} lost the fitted encoding of {collection!r}: fit it again")
    return stored


async def fetch(connection: Connection, collection: str) -> bytes | None:
    """The artefact of a collection; ``None`` if it has none.

    Raises:
        ArtefactError: It is not whole.
    """
    if connection.embedded:
        return await connection.edge.attachment(collection, FILE_NAME)
    name = await companion(connection, collection)
    return await _read(connection, name) if await connection.client.collection_exists(name) else None


async def delete(connection: Connection, collection: str) -> None:
    """Delete a collection's artefact; the embedded engine does so with the collection.

    A collection that only has the same name is left alone: that of an artefact has no vectors.
    """
    if connection.embedded:
        return
    name = collection + _SUFFIX
    if not await connection.client.collection_exists(name):
        return
    info = await connection.client.get_collection(name)
    if not info.config.params.vectors:
        await connection.client.delete_collection(name)


async def forget(connection: Connection, collection: str) -> None:
    """Delete the artefact of a collection that stays."""
    if connection.embedded:
        await connection.edge.attach(collection, FILE_NAME, None)
    else:
        await delete(connection, await real_name(connection, collection))


async def _make(connection: Connection, name: str) -> None:
    if await connection.client.collection_exists(name):
        return
    try:
        await connection.client.create_collection(name, vectors_config={})
    except Exception:
        if not await connection.client.collection_exists(name):  # another writer may just have made it
            raise


async def _read(connection: Connection, name: str) -> bytes | None:
    manifest = await _manifest(connection, name)
    if manifest is None:
        return None
    try:
        wanted = str(manifest["digest"])
        ids = [_chunk_id(wanted, number) for number in range(min(manifest["chunks"], _MOST_CHUNKS))]
        parts = []
        for id in ids:
            parts.append(await _payload(connection, name, id))
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


async def _payload(connection: Connection, name: str, id: str) -> bytes:
    found = await connection.client.retrieve(name, ids=[id], with_payload=["data"])
    return base64.b64decode((found[0].payload or {})["data"], validate=True) if found else b""


async def _manifest(connection: Connection, name: str) -> dict[str, Any] | None:
    found = await connection.client.retrieve(name, ids=[_MANIFEST], with_payload=True)
    return found[0].payload or {} if found else None


async def _claim(connection: Connection, name: str, manifest: dict[str, Any], *, replace: bool) -> None:
    """Make an artefact the collection's, unless there is one by now that is not to be replaced."""
    point = models.PointStruct(id=_MANIFEST, vector={}, payload=manifest)
    if (await connection.capabilities()).has("insert_only") and not replace:
        await connection.client.upsert(name, points=[point], wait=True, update_mode=models.UpdateMode.INSERT_ONLY)
    elif replace or await _manifest(connection, name) is None:
        await connection.client.upsert(name, points=[point], wait=True)


def _chunks(name: str, data: bytes) -> Iterator[models.PointStruct]:
    for number, start in enumerate(range(0, len(data), _CHUNK_BYTES)):
        payload = {"data": base64.b64encode(data[start : start + _CHUNK_BYTES]).decode("ascii")}
        yield models.PointStruct(id=_chunk_id(name, number), vector={}, payload=payload)


def _chunk_id(name: str, number: int) -> str:
    return str(uuid5(NAMESPACE, f"artefact/{name}/{number}"))
