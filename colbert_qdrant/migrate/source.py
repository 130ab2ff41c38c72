"""Reads the source of a migration, and never changes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qdrant_client import models

from colbert_qdrant.collection.aliases import real_name
from colbert_qdrant.collection.metadata import count_documents, read_fingerprint
from colbert_qdrant.collection.scroll import scroll_points
from colbert_qdrant.engines.missing import missing_collection
from colbert_qdrant.points.page_size import PageSize
from colbert_qdrant.points.schema import datatype_of, named_vectors
from colbert_qdrant.search.limits import Limits
from colbert_qdrant.shown import counted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    from colbert_qdrant.engines import Engine
    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.points.fingerprint import Fingerprint

DISTANCES: Final = (models.Distance.DOT, models.Distance.COSINE)
"""The distances of stored vectors that can be reused as token vectors or FDEs."""

_PAGE_IDS: Final = 1_000
"""The largest number of points in a request for ids only."""

PAGE_POINTS: Final = 256
"""The largest number of points in a request for payloads or vectors."""

_SHOWN: Final = 5

_TOKEN_DATATYPES: Final = ("float32", "float16", "turbo8", "turbo4")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A collection to migrate.

    Attributes:
        name: The collection's own name, even if the user gave an alias.
        info: The engine's description of the collection.
        points: The number of points to migrate.
        filter: The filter for the points to migrate; ``None`` for all.
        fingerprint: The fingerprint of a collection of this library; ``None`` for other collections.
        limits: The limits of the server.
    """

    name: str
    info: models.CollectionInfo
    points: int
    filter: models.Filter | None
    fingerprint: Fingerprint | None
    limits: Limits

    @property
    def vectors(self) -> Mapping[str, models.VectorParams]:
        """The dense vectors and multivectors by name; ``""`` names the unnamed vector."""
        return named_vectors(self.info)

    @property
    def dense(self) -> Mapping[str, models.VectorParams]:
        """The dense vectors by name."""
        return {name: each for name, each in self.vectors.items() if each.multivector_config is None}

    @property
    def multivectors(self) -> Mapping[str, models.VectorParams]:
        """The multivectors by name."""
        return {name: each for name, each in self.vectors.items() if each.multivector_config is not None}

    @property
    def usable_multivectors(self) -> dict[str, models.VectorParams]:
        """The multivectors that can be reused as token vectors."""
        return {
            name: each
            for name, each in self.multivectors.items()
            if each.distance in DISTANCES and datatype_of(each) in _TOKEN_DATATYPES
        }

    @property
    def sparse(self) -> Mapping[str, models.SparseVectorParams]:
        """The sparse vectors by name."""
        return self.info.config.params.sparse_vectors or {}

    def narrow(self, *conditions: models.Condition) -> models.Filter:
        """Return a filter for the points to migrate that match further conditions."""
        return models.Filter(must=[*([] if self.filter is None else [self.filter]), *conditions])


async def read_source(engine: Engine, name: str, filter: models.Filter | None) -> Source:
    """Read the description of a collection from an engine.

    Raises:
        CollectionNotFoundError: If the collection does not exist.
        ConfigurationError: If the server's strict mode does not allow the filter.
    """
    if not await engine.collection_exists(name):
        remedy = "check its name, and check that client belongs to the source's engine"
        raise await missing_collection(engine, name, remedy)
    name = await real_name(engine, name)
    info = await engine.get_collection(name)
    limits = Limits.of(info, "")
    limits.check_filter(filter)
    fingerprint = await read_fingerprint(engine, name, info)
    return Source(
        name=name,
        info=info,
        points=await count_documents(engine, name, filter),
        filter=filter,
        fingerprint=fingerprint,
        limits=limits,
    )


async def read_pages(
    engine: Engine,
    collection: str,
    chosen: models.Filter | None,
    *,
    limits: Limits,
    payload: bool = False,
    vectors: Sequence[str] = (),
) -> AsyncGenerator[list[models.Record], None]:
    """Read the points that match a filter, in the order of their ids, with the named vectors; ``None`` matches all.

    Pages with payloads or vectors have a bounded size.
    """
    bounded = payload or bool(vectors)
    most = PAGE_POINTS if bounded else _PAGE_IDS
    most = min(most, limits.query_limit or most)
    size = PageSize(most)
    async for page in scroll_points(
        engine,
        collection,
        chosen,
        limit=lambda: size.points if bounded else most,
        with_payload=payload,
        with_vectors=list(vectors) or False,
    ):
        size.learn(page)
        yield page


async def retrieve_pages(
    engine: Engine,
    collection: str,
    ids: Sequence[PointId],
    *,
    vectors: bool | list[str] = True,
    size: PageSize | None = None,
) -> AsyncIterator[list[models.Record]]:
    """Read points with payloads and vectors, in pages of bounded size; points that are gone are left out.

    Args:
        engine: The engine.
        collection: The collection's name.
        ids: The points' ids.
        vectors: The vectors to read.
        size: The page size, which the caller adapts; by default each page adapts the size of the next.
    """
    own, place = PageSize(PAGE_POINTS), 0
    while place < len(ids):
        some = ids[place : place + (size or own).points]
        place += len(some)
        page = await engine.retrieve(collection, ids=some, with_payload=True, with_vectors=vectors)
        own.learn(page)
        if page:
            yield page


def count_of(ids: Sequence[PointId]) -> str:
    """Return the number of points for a message: ``"1 point"`` or ``"2 points"``."""
    return counted(len(ids), "point")


def show(ids: Sequence[PointId]) -> str:
    """Return the first few ids, in parentheses, for a message."""
    return f" ({', '.join(map(repr, ids[:_SHOWN]))}{', …' if len(ids) > _SHOWN else ''})"
