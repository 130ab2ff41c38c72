"""Reads the token embeddings of stored documents, page by page."""

from __future__ import annotations

from heapq import nsmallest
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from qdrant_client import models

from colbert_qdrant.collection.having import has_tokens
from colbert_qdrant.collection.scroll import scroll_points
from colbert_qdrant.errors import SchemaMismatchError
from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.points.page_size import PageSize
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.search.limits import Limits

Page: TypeAlias = tuple[list[models.Record], TokenEmbeddings]

_PAGE_POINTS: Final = 256
_PAGE_IDS: Final = 4_096


class StoredDocuments:
    """Reads a collection's documents once.

    Args:
        engine: The engine.
        collection: The collection's name.
        config: The collection's settings.
        limits: The limits of the server.
        token_dim: Dimensions of a token vector.
    """

    def __init__(
        self, engine: Engine, collection: str, *, config: CollectionConfig, limits: Limits, token_dim: int
    ) -> None:
        self._engine = engine
        self._collection = collection
        self._config = config
        self._limits = limits
        self._token_dim = token_dim
        self._size = PageSize(self._allowed(_PAGE_POINTS))

    async def pages(self, chosen: models.Filter, *, payload: bool) -> AsyncIterator[Page]:
        """Read documents that match a filter, in the order of their point ids; all must have token vectors."""
        wanted = self._wanted(payload=payload)
        async for records in scroll_points(
            self._engine, self._collection, chosen, limit=lambda: self._size.points, **wanted
        ):
            yield self._page(records)

    async def sample(self, most: int, *, seed: int) -> AsyncIterator[Page]:
        """Read documents with token vectors, in random order, with payload; at least ``most`` if there are enough."""
        if not self._config.native:  # point ids are hashes, so the first ones are a random sample
            async for page in self.pages(has_tokens(self._config), payload=True):
                yield page
            return
        having = has_tokens(self._config)
        ids = await draw_ids(self._engine, self._collection, having, most=most, limits=self._limits, seed=seed)
        start = 0
        while start < len(ids):
            some = ids[start : start + self._size.points]
            start += len(some)
            records = await self._engine.retrieve(self._collection, ids=some, **self._wanted(payload=True))
            records = [each for each in records if self._config.token_vector in vectors_of(each)]
            if records:  # some may have been deleted in the meantime
                yield self._page(records)

    def _page(self, records: list[models.Record]) -> Page:
        """Convert records to a page, and adapt the size of the next page to their bytes."""
        matrices = [_matrix(record, self._config.token_vector) for record in records]
        tokens = TokenEmbeddings.from_matrices(matrices, dim=self._token_dim)
        self._size.learn(records, least=4 * self._config.encoding.dim)
        return records, tokens

    def _wanted(self, *, payload: bool) -> dict[str, Any]:
        # Qdrant's path syntax cannot express every text_key of a native collection
        keys = self._config.text_key is not None if self._config.native else [str(self._config.text_key)]
        return {"with_payload": payload and keys, "with_vectors": [self._config.token_vector]}

    def _allowed(self, points: int) -> int:
        """Reduce a page size to the server's limits for reads, and for the write of the same points."""
        return min(points, self._limits.query_limit or points, self._limits.upsert_batch or points)


async def draw_ids(
    engine: Engine, collection: str, chosen: models.Filter | None, *, most: int, limits: Limits, seed: int
) -> list[Any]:
    """Draw a random sample of the ids of the points that match a filter, in memory for a few times that number."""
    drawn: list[tuple[float, Any]] = []
    size, random = min(_PAGE_IDS, limits.query_limit or _PAGE_IDS), np.random.RandomState(seed)
    async for records in scroll_points(engine, collection, chosen, limit=lambda: size):
        drawn += [(place, each.id) for place, each in zip(random.random_sample(len(records)), records, strict=True)]
        if len(drawn) > 2 * most + _PAGE_IDS:
            drawn = nsmallest(most, drawn, key=itemgetter(0))
    return [id for _, id in nsmallest(most, drawn, key=itemgetter(0))]


def _matrix(record: models.Record, name: str) -> Any:
    vectors = vectors_of(record)
    if name not in vectors:
        raise SchemaMismatchError(
            f"point {record.id!r} was returned without the vector {name!r} that the request asked for: check the "
            "collection with check()"
        )
    return vectors[name]
