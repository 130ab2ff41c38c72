"""Where a collection keeps its fingerprint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import uuid5

from qdrant_client import models

from colbert_qdrant.errors import SchemaMismatchError
from colbert_qdrant.fingerprint import Fingerprint
from colbert_qdrant.qdrant.ids import NAMESPACE

if TYPE_CHECKING:
    from colbert_qdrant.qdrant.capabilities import Client

KEY: Final = "colbert_qdrant"
"""This library's entry in a collection's metadata."""

RESERVED_POINT: Final = str(uuid5(NAMESPACE, "metadata"))
"""Carries the metadata where the server has none for collections. No document's: their names begin with a type."""


def to_metadata(fingerprint: Fingerprint) -> dict[str, Any]:
    """A fingerprint as collection metadata."""
    return {KEY: fingerprint.to_dict()}


def has_fingerprint(client: Client, collection: str, info: models.CollectionInfo) -> bool:
    """Whether this library created the collection."""
    return _find(client, collection, info) is not None


def read_fingerprint(client: Client, collection: str, info: models.CollectionInfo) -> Fingerprint:
    """The fingerprint of a collection, from wherever it is kept.

    Raises:
        SchemaMismatchError: The collection was not created by this library.
    """
    found = _find(client, collection, info)
    if found is None:
        raise SchemaMismatchError(
            f"collection {collection!r} was not created by colbert-qdrant: its metadata has no {KEY!r} entry. "
            "Create a new collection with ColbertCollection.create and ingest the documents into it."
        )
    return Fingerprint.from_dict(found)


def write_to_reserved_point(client: Client, collection: str, fingerprint: Fingerprint) -> None:
    """Keep the fingerprint in the payload of a point without vectors, which no search ever returns."""
    point = models.PointStruct(id=RESERVED_POINT, vector={}, payload=to_metadata(fingerprint))
    client.upsert(collection, points=[point], wait=True)


def documents_only(filter: models.Filter | None) -> models.Filter:
    """The filter, and not the reserved point."""
    return models.Filter(
        must=None if filter is None else [filter],
        must_not=[models.HasIdCondition(has_id=[RESERVED_POINT])],
    )


def _find(client: Client, collection: str, info: models.CollectionInfo) -> dict[str, Any] | None:
    metadata = info.config.metadata
    if not metadata or KEY not in metadata:
        points = client.retrieve(collection, ids=[RESERVED_POINT], with_payload=True)
        metadata = points[0].payload if points else None
    entry = (metadata or {}).get(KEY)
    return entry if isinstance(entry, dict) else None
