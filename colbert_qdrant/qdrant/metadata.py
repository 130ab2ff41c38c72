"""Where a collection keeps its fingerprint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

from colbert_qdrant.fingerprint import Fingerprint
from colbert_qdrant.qdrant.ids import RESERVED_POINT

if TYPE_CHECKING:
    from colbert_qdrant.qdrant.connection import Connection

KEY: Final = "colbert_qdrant"
"""This library's entry in a collection's metadata."""


def to_metadata(fingerprint: Fingerprint) -> dict[str, Any]:
    """A fingerprint as collection metadata."""
    return {KEY: fingerprint.to_dict()}


async def read_fingerprint(connection: Connection, collection: str, info: models.CollectionInfo) -> Fingerprint | None:
    """The fingerprint of a collection, from wherever it is kept; ``None`` if this library did not create it.

    Raises:
        SchemaMismatchError: There is one, but it cannot be read.
    """
    metadata = info.config.metadata
    if not metadata or KEY not in metadata:
        points = await connection.client.retrieve(collection, ids=[RESERVED_POINT], with_payload=True)
        metadata = points[0].payload if points else None
    entry = (metadata or {}).get(KEY)
    return Fingerprint.from_dict(entry) if isinstance(entry, dict) else None


async def write_to_reserved_point(connection: Connection, collection: str, fingerprint: Fingerprint) -> None:
    """Keep the fingerprint in the payload of a point without vectors, which no search ever returns."""
    point = models.PointStruct(id=RESERVED_POINT, vector={}, payload=to_metadata(fingerprint))
    await connection.client.upsert(collection, points=[point], wait=True)


def documents_only(filter: models.Filter | None) -> models.Filter:
    """The filter, and not the reserved point."""
    return models.Filter(
        must=None if filter is None else [filter],
        must_not=[models.HasIdCondition(has_id=[RESERVED_POINT])],
    )
