"""Reads and writes the metadata of a collection, including its fingerprint."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from uuid import uuid4

from qdrant_client import models

from colbert_qdrant.collection.aliases import real_name
from colbert_qdrant.points.fingerprint import Fingerprint
from colbert_qdrant.points.ids import RESERVED_POINT
from colbert_qdrant.points.point import Point

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colbert_qdrant.documents import Document
    from colbert_qdrant.encoders.further import FurtherVectors
    from colbert_qdrant.engines import Engine

KEY: Final = "colbert_qdrant"
"""This library's entry in a collection's metadata."""

ID_KEY: Final = "colbert_qdrant_id"
"""The metadata key of a collection's random id, which shows that a collection of the same name was created again."""

LENGTH_KEY: Final = "colbert_qdrant_bm25"
"""The metadata key of the average length of the documents."""


@dataclass(frozen=True, kw_only=True)
class AverageLength:
    """The average length of documents, as BM25 counts their words.

    Attributes:
        words: The average number of words.
        documents: The number of documents that the collection had when it was measured; 0 for an estimate.
        earlier: The average that some stored vectors may still be computed with; ``None`` if all have this one.
    """

    words: float
    documents: int
    earlier: float | None = None

    @classmethod
    def measured(cls, documents: Sequence[Document], further: FurtherVectors) -> Self | None:
        """Measure documents; ``None`` if no document has a text."""
        found = further.mean_length(documents)
        return None if found is None else cls(words=found[0], documents=len(documents) if found[1] else 0)

    @classmethod
    def of(cls, metadata: Mapping[str, Any]) -> Self | None:
        """Read it from a collection's metadata; ``None`` if it was not measured yet."""
        match metadata.get(LENGTH_KEY):
            case {"words": float() | int() as words, "documents": int() as documents, "earlier": earlier} if words > 0:
                return cls(words=float(words), documents=documents, earlier=earlier)
        return None

    def to_metadata(self) -> dict[str, Any]:
        """Convert it to collection metadata."""
        return {LENGTH_KEY: asdict(self)}


CHOICE_KEY: Final = "colbert_qdrant_fde_choice"
"""The metadata key of the measurements by which ``fde="auto"`` chose a collection's encoding."""


def to_metadata(fingerprint: Fingerprint) -> dict[str, Any]:
    """Convert a fingerprint to collection metadata."""
    return {KEY: fingerprint.to_dict()}


def new_metadata(fingerprint: Fingerprint) -> dict[str, Any]:
    """Return the metadata of a new collection."""
    return {**to_metadata(fingerprint), ID_KEY: uuid4().hex}


class Current(NamedTuple):
    """The parts of a collection's state that may change while it is open.

    Attributes:
        fingerprint: The fingerprint; ``None`` if the collection lacks one.
        points: The approximate number of points; ``None`` if it is unknown.
        length: The average length of the documents; ``None`` if it was not measured.
    """

    fingerprint: Fingerprint | None
    points: int | None
    length: AverageLength | None


async def read_fingerprint(engine: Engine, collection: str, info: models.CollectionInfo) -> Fingerprint | None:
    """Read the fingerprint of a collection; ``None`` if this library did not create it.

    Raises:
        SchemaMismatchError: If the fingerprint cannot be read.
    """
    metadata = info.config.metadata
    if not metadata or KEY not in metadata:
        metadata = await _reserved(engine, collection)
        if KEY in metadata:
            engine.reserved.add(collection)
    entry = metadata.get(KEY)
    return Fingerprint.from_dict(entry) if isinstance(entry, dict) else None


async def read_current(engine: Engine, collection: str) -> Current:
    """Read the state that may change while a collection is open, in one request.

    Raises:
        CollectionNotFoundError: If the collection no longer exists.
        SchemaMismatchError: If the fingerprint cannot be read.
    """
    if (await engine.capabilities()).has("metadata"):
        info = await engine.get_collection(collection)
        fingerprint = await read_fingerprint(engine, collection, info)
        metadata = await read_metadata(engine, collection, info) if fingerprint else {}
        return Current(fingerprint, info.points_count, AverageLength.of(metadata))
    metadata = await _reserved(engine, collection)
    entry = metadata.get(KEY)
    fingerprint = Fingerprint.from_dict(entry) if isinstance(entry, dict) else None
    return Current(fingerprint, None, AverageLength.of(metadata))


async def read_metadata(engine: Engine, collection: str, info: models.CollectionInfo | None = None) -> dict[str, Any]:
    """Read all metadata of a collection, given its description if that was read already."""
    info = await engine.get_collection(collection) if info is None else info
    if KEY in (info.config.metadata or {}):
        return dict(info.config.metadata or {})
    return {**await _reserved(engine, collection), **(info.config.metadata or {})}


async def write_metadata(engine: Engine, collection: str, values: Mapping[str, Any]) -> None:
    """Update a collection's metadata by top-level keys; a value of ``None`` deletes its key.

    If the engine has no metadata, they are stored in the payload of a point without vectors, which no search returns.
    """
    if (await engine.capabilities()).has("metadata"):
        name = await real_name(engine, collection)
        await engine.update_collection(name, metadata=dict(values))
        return
    merged = {**await _reserved(engine, collection), **values}
    kept = {name: value for name, value in merged.items() if value is not None}
    await write_to_reserved_point(engine, collection, kept)


async def require_writable(engine: Engine, collection: str) -> None:
    """Check that a collection's metadata may be written, with an empty update.

    Raises:
        AuthenticationError: If the key does not permit it.
    """
    if (await engine.capabilities()).has("metadata"):
        await engine.update_collection(await real_name(engine, collection), metadata={})


async def write_to_reserved_point(engine: Engine, collection: str, values: Mapping[str, Any]) -> None:
    """Replace the metadata in the payload of the reserved point."""
    point = Point(id=RESERVED_POINT, vectors={}, payload=dict(values))
    await engine.upsert(collection, [point])


async def _reserved(engine: Engine, collection: str) -> dict[str, Any]:
    points = await engine.retrieve(collection, ids=[RESERVED_POINT], with_payload=True)
    return (points[0].payload if points else None) or {}


async def count_documents(engine: Engine, collection: str, filter: models.Filter | None = None) -> int:
    """Count the points, or the points that match a filter, without the reserved point."""
    return await engine.count(collection, await documents_only(engine, collection, filter))


async def documents_only(engine: Engine, collection: str, filter: models.Filter | None) -> models.Filter | None:
    """Add a condition to a filter that excludes the reserved point, if there may be one."""
    if (await engine.capabilities()).has("metadata") and collection not in engine.reserved:
        return filter
    return models.Filter(
        must=None if filter is None else [filter],
        must_not=[models.HasIdCondition(has_id=[RESERVED_POINT])],
    )
