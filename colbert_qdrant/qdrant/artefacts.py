"""Where a collection keeps its fitted encoding: a file beside an embedded store, else a companion collection."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid5

from qdrant_client import models

from colbert_qdrant.errors import ArtefactError
from colbert_qdrant.qdrant.aliases import real_name
from colbert_qdrant.qdrant.capabilities import Capabilities
from colbert_qdrant.qdrant.edge import EdgeClient
from colbert_qdrant.qdrant.ids import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qdrant_client import QdrantClient

    from colbert_qdrant.qdrant.capabilities import Client

FILE_NAME: Final = "fde.safetensors"
_SUFFIX: Final = "__fde"
_CHUNK_BYTES: Final = 4 * 2**20
"""Of one request: a third more as base64, and far from the 32 MiB that servers take."""

_MANIFEST: Final = str(uuid5(NAMESPACE, "artefact"))
"""The point that says which artefact is the collection's: written last, so there is all of it or none."""


def companion(client: QdrantClient, collection: str) -> str:
    """Name of the collection that holds the artefact of one on a server, whatever alias that is known by."""
    return real_name(client, collection) + _SUFFIX


def place(client: Client, collection: str) -> str:
    """Where an artefact is kept, in words."""
    if isinstance(client, EdgeClient):
        return f"the file {FILE_NAME} in its folder"
    return f"collection {companion(client, collection)!r}"


def digest(data: bytes) -> str:
    """SHA-256 of an artefact, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def publish(client: Client, collection: str, data: bytes, *, replace: bool = False) -> bytes:
    """Keep an artefact with its collection. Of two writers the first wins.

    Servers before 1.17 cannot decide that: of two that finish within the same milliseconds the second one wins.

    Args:
        client: The engine's client.
        collection: The collection's name.
        data: The artefact.
        replace: Put it in the place of the one that is there.

    Returns:
        The artefact that the collection has now: this one, or the one that was there.

    Raises:
        ArtefactError: One is there, and it cannot be read.
    """
    if isinstance(client, EdgeClient):
        if not replace and (stored := client.attachment(collection, FILE_NAME)) is not None:
            return stored
        client.attach(collection, FILE_NAME, data)
        return data
    name = companion(client, collection)
    _make(client, name)
    if replace or _manifest(client, name) is None:
        chunks = list(_chunks(digest(data), data))
        for point in chunks:
            client.upsert(name, points=[point], wait=True)
        _claim(client, name, {"digest": digest(data), "chunks": len(chunks)}, replace=replace)
        if replace:
            kept = models.HasIdCondition(has_id=[_MANIFEST, *(point.id for point in chunks)])
            client.delete(name, points_selector=models.Filter(must_not=[kept]), wait=True)
    stored = _read(client, name)
    if stored is None:
        raise ArtefactError(f"collection {name!r} lost the fitted encoding of {collection!r}: fit it again")
    return stored


def fetch(client: Client, collection: str) -> bytes | None:
    """The artefact of a collection; ``None`` if it has none.

    Raises:
        ArtefactError: It is not whole.
    """
    if isinstance(client, EdgeClient):
        return client.attachment(collection, FILE_NAME)
    name = companion(client, collection)
    return _read(client, name) if client.collection_exists(name) else None


def delete(client: Client, collection: str) -> None:
    """Delete a collection's artefact; the embedded engine does so with the collection.

    A collection that only has the same name is left alone: that of an artefact has no vectors.
    """
    if isinstance(client, EdgeClient):
        return
    name = collection + _SUFFIX
    if client.collection_exists(name) and not client.get_collection(name).config.params.vectors:
        client.delete_collection(name)


def _make(client: QdrantClient, name: str) -> None:
    if client.collection_exists(name):
        return
    try:
        client.create_collection(name, vectors_config={})
    except Exception:
        if not client.collection_exists(name):  # another writer may just have made it
            raise


def _read(client: QdrantClient, name: str) -> bytes | None:
    manifest = _manifest(client, name)
    if manifest is None:
        return None
    try:
        wanted = str(manifest["digest"])
        ids = [_chunk_id(wanted, number) for number in range(manifest["chunks"])]
        data = b"".join(_payload(client, name, id) for id in ids)
    except (KeyError, TypeError, ValueError):
        wanted, data = "what it was", b""
    if digest(data) != wanted:
        raise ArtefactError(
            f"the fitted encoding in collection {name!r} is not whole (its SHA-256 is not {wanted}): restore {name!r} "
            "from a snapshot; the stored encodings are worthless without it"
        )
    return data


def _payload(client: QdrantClient, name: str, id: str) -> bytes:
    found = client.retrieve(name, ids=[id], with_payload=["data"])
    return base64.b64decode((found[0].payload or {})["data"], validate=True) if found else b""


def _manifest(client: QdrantClient, name: str) -> dict[str, Any] | None:
    found = client.retrieve(name, ids=[_MANIFEST], with_payload=True)
    return found[0].payload or {} if found else None


def _claim(client: QdrantClient, name: str, manifest: dict[str, Any], *, replace: bool) -> None:
    """Make an artefact the collection's, unless there is one by now that is not to be replaced."""
    point = models.PointStruct(id=_MANIFEST, vector={}, payload=manifest)
    if Capabilities.of(client).has("insert_only") and not replace:
        client.upsert(name, points=[point], wait=True, update_mode=models.UpdateMode.INSERT_ONLY)
    elif replace or _manifest(client, name) is None:
        client.upsert(name, points=[point], wait=True)


def _chunks(name: str, data: bytes) -> Iterator[models.PointStruct]:
    for number, start in enumerate(range(0, len(data), _CHUNK_BYTES)):
        payload = {"data": base64.b64encode(data[start : start + _CHUNK_BYTES]).decode("ascii")}
        yield models.PointStruct(id=_chunk_id(name, number), vector={}, payload=payload)


def _chunk_id(name: str, number: int) -> str:
    return str(uuid5(NAMESPACE, f"artefact/{name}/{number}"))
