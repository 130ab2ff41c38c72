"""Measures the average length of a collection's documents, which BM25's weights depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.collection.metadata import AverageLength, read_metadata, write_metadata
from colbert_qdrant.errors import AuthenticationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.documents import Document

_QDRANTS: Final = AverageLength(words=256.0, documents=0)
"""Qdrant's own default."""


class Lengths:
    """The average length of an open collection's documents.

    Args:
        collection: The open collection.
    """

    def __init__(self, collection: OpenCollection) -> None:
        self._collection = collection
        self._now: AverageLength | None = None
        self._unkept = False

    def use(self, length: AverageLength | None) -> None:
        """Use the average length that the metadata have."""
        self._now = length
        if length is not None and self._collection.further.measures_length:
            self._collection.further.avg_len = length.words

    async def begin(self, documents: Sequence[Document]) -> None:
        """Measure documents and keep their average length with the collection, if its own is not known yet."""
        collection, engine = self._collection, self._collection.engine
        if self._now is not None or self._unkept or not collection.further.measures_length:
            return
        found = AverageLength.of(await read_metadata(engine, collection.name))
        if found is None:
            found = await engine.runtime.compute(AverageLength.measured, documents, collection.further)
            if found is None:
                return
            try:
                await write_metadata(engine, collection.name, found.to_metadata())
            except AuthenticationError:
                collection.warned.of_unkept_length(collection.name)
                found, self._unkept = _QDRANTS, True
        self.use(found)
