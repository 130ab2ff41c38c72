"""Deletes the documents that have left the source, after all of the source was ingested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qdrant_client import models

from colbert_qdrant._support.warned import warn
from colbert_qdrant.collection.opened import WRITE_SECONDS
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError
from colbert_qdrant.points.ids import canonical_id, point_id

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.collection.opened import OpenCollection

_BLOCK: Final = 2**16
"""The number of ids that are collected before they become an array."""


class Seen:
    """The ids that a source has, in 8 bytes each.

    Args:
        collection: The collection that is synchronized with the source.

    Attributes:
        unknown: Whether the source has rows whose id could not be read.
    """

    def __init__(self, collection: OpenCollection) -> None:
        self._collection = collection
        self._blocks: list[NDArray[np.int64]] = []
        self._latest: list[int] = []
        self.unknown = False

    def add(self, id: Any) -> None:
        """Add the id of a document, even of one that is rejected; ``None`` if it cannot be read."""
        try:
            point = point_id(id, self._collection.config.id_scheme)
        except InvalidDocumentError:
            self.unknown = True
            return
        self._latest.append(_hashed(point))
        if len(self._latest) == _BLOCK:
            self._pack()

    async def delete_others(self) -> int:
        """Delete the stored documents that the source does not have, and return their number.

        Raises:
            ConfigurationError: If the source has no documents.
        """
        collection, engine = self._collection, self._collection.engine
        await collection.shards.require("write")
        self._pack()
        if self.unknown:
            warn(
                f"the source has rejected rows whose stored documents are unknown, so nothing was deleted from "
                f"collection {collection.name!r}: correct or remove these rows, and ingest again with sync=True"
            )
            return 0
        if not self._blocks:
            raise ConfigurationError(
                f"the source has no documents, so sync=True would delete all of collection {collection.name!r}: check "
                "the source, or empty the collection with drop() and create()"
            )
        seen, deleted = np.unique(np.concatenate(self._blocks)), 0
        async for page in collection.id_pages(None):
            hashes = np.array([_hashed(canonical_id(id)) for id in page], np.int64)
            gone = [id for id, known in zip(page, np.isin(hashes, seen), strict=True) if not known]
            if gone:
                await collection.notice(seconds=WRITE_SECONDS)
                await engine.delete(collection.name, points_selector=models.PointIdsList(points=gone))
                deleted += len(gone)
        return deleted

    def _pack(self) -> None:
        if self._latest:
            self._blocks.append(np.array(self._latest, np.int64))
            self._latest = []


def _hashed(point: str | int) -> int:
    """Return 8 bytes of a point's id; a number's own hash would be equal for some numbers."""
    return hash(str(point))
