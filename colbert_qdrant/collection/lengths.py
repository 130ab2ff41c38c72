"""Measures the average length of a collection's documents, which BM25's weights depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.collection.metadata import AverageLength, read_metadata, write_metadata
from colbert_qdrant.errors import AuthenticationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant._support.warned import Warned
    from colbert_qdrant.documents import Document
    from colbert_qdrant.encoders.further import FurtherVectors
    from colbert_qdrant.engines import Engine

_QDRANTS: Final = AverageLength(words=256.0, documents=0)
"""Qdrant's own default."""


class Lengths:
    """The average length of an open collection's documents.

    Args:
        collection: The collection's name.
        engine: The engine with the collection.
        further: Makes BM25's vectors.
        warned: The warnings that were already issued.

    Attributes:
        now: The average length; ``None`` until it is known.
    """

    def __init__(self, collection: str, engine: Engine, further: FurtherVectors, warned: Warned) -> None:
        self.now: AverageLength | None = None
        self._collection = collection
        self._engine = engine
        self._further = further
        self._warned = warned
        self._refused = False

    def use(self, length: AverageLength | None) -> None:
        """Use the average length that the metadata have."""
        self.now = length
        if length is not None and self._further.measures_length:
            self._further.avg_len = length.words

    async def begin(self, documents: Sequence[Document]) -> None:
        """Measure documents and keep their average length with the collection, if its own is not known yet."""
        name, engine, further = self._collection, self._engine, self._further
        if self.now is not None or not self.is_kept:
            return
        found = AverageLength.of(await read_metadata(engine, name))
        if found is None:
            found = await engine.runtime.compute(AverageLength.measured, documents, further)
            if found is None:
                return
            if not await self.declare(found):
                self._warned.of_unkept_length(name)
                found = _QDRANTS
        self.use(found)

    async def declare(self, length: AverageLength) -> bool:
        """Write the average length into the metadata and use it, unless the key does not permit it."""
        try:
            await write_metadata(self._engine, self._collection, length.to_metadata())
        except AuthenticationError:
            self._refused = True
            return False
        self.use(length)
        return True

    @property
    def is_kept(self) -> bool:
        """Whether BM25 needs an average length, which this client can keep with the collection."""
        return self._further.measures_length and not self._refused
