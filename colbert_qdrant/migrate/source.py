"""What a collection to be migrated is like: read, never changed."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import numpy as np
from qdrant_client import models

from colbert_qdrant.collection.aliases import real_name
from colbert_qdrant.collection.metadata import count_documents, read_fingerprint
from colbert_qdrant.collection.scroll import scroll_points
from colbert_qdrant.errors import CollectionNotFoundError
from colbert_qdrant.points.schema import named_vectors
from colbert_qdrant.search.limits import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from colbert_qdrant.engines import Engine
    from colbert_qdrant.points.fingerprint import Fingerprint

PAGE_IDS: Final = 1_000
"""Points of one request that asks for ids, and perhaps payloads, only."""

_SAMPLE_FROM: Final = 2_000

PointId = int | str | UUID


@dataclass(frozen=True, kw_only=True)
class Source:
    """A collection to be migrated.

    Attributes:
        name: Its own name, also if it was given by an alias.
        info: What the engine says about it.
        points: How many points are to be migrated.
        filter: Which; ``None``: all.
        fingerprint: What this library built it with; ``None``: it did not.
        limits: What the server allows.
    """

    name: str
    info: models.CollectionInfo
    points: int
    filter: models.Filter | None
    fingerprint: Fingerprint | None
    limits: Limits

    @property
    def vectors(self) -> Mapping[str, models.VectorParams]:
        """Dense vectors and multivectors by name; the unnamed one has the name ``""``."""
        return named_vectors(self.info)

    @property
    def multivectors(self) -> Mapping[str, models.VectorParams]:
        """Those of several rows."""
        return {name: each for name, each in self.vectors.items() if each.multivector_config is not None}

    @property
    def dense(self) -> Mapping[str, models.VectorParams]:
        """Those of one row."""
        return {name: each for name, each in self.vectors.items() if each.multivector_config is None}

    @property
    def sparse(self) -> Mapping[str, models.SparseVectorParams]:
        """Sparse vectors by name."""
        return self.info.config.params.sparse_vectors or {}

    def chosen(self, *conditions: models.Condition) -> models.Filter:
        """The points to be migrated, or those of them that meet conditions, as a filter."""
        return models.Filter(must=[*([] if self.filter is None else [self.filter]), *conditions])


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Some points of a collection, read with everything.

    Attributes:
        records: The points.
        seconds: How long that took.
    """

    records: Sequence[models.Record]
    seconds: float


async def read_source(engine: Engine, name: str, filter: models.Filter | None) -> Source:
    """Ask an engine about a collection.

    Raises:
        CollectionNotFoundError: There is no such collection.
        ConfigurationError: The server's strict mode does not allow the filter.
    """
    if not await engine.collection_exists(name):
        raise CollectionNotFoundError(f"there is no collection {name!r} to migrate: look at client.get_collections()")
    name = await real_name(engine, name)
    info = await engine.get_collection(name)
    limits = Limits.of(info, "")
    limits.check_filter(filter)
    return Source(
        name=name,
        info=info,
        points=await count_documents(engine, name, filter),
        filter=filter,
        fingerprint=await read_fingerprint(engine, name, info),
        limits=limits,
    )


async def read_sample(engine: Engine, source: Source, *, size: int) -> Sample:
    """Read points with payload and all vectors, from all over the first thousands."""
    ids: list[PointId] = []
    async for page in pages(engine, source.name, source.filter, limits=source.limits):
        ids += [record.id for record in page]
        if len(ids) >= _SAMPLE_FROM:
            break
    chosen = [ids[int(place)] for place in np.linspace(0, len(ids) - 1, min(size, len(ids)))]
    started = time.perf_counter()
    records = await read_points(engine, source.name, chosen) if chosen else []
    return Sample(records=records, seconds=time.perf_counter() - started)


async def pages(
    engine: Engine, collection: str, chosen: models.Filter | None, *, limits: Limits, payload: bool = False
) -> AsyncIterator[list[models.Record]]:
    """All points of a collection in the order of their ids, without vectors.

    Args:
        engine: The engine.
        collection: The collection's name.
        chosen: Which points.
        limits: What the server allows.
        payload: Whether they come with their payload.
    """
    limit = min(PAGE_IDS, limits.query_limit or PAGE_IDS)
    async for records in scroll_points(engine, collection, chosen, limit=lambda: limit, with_payload=payload):
        yield records


async def read_points(engine: Engine, collection: str, ids: Sequence[PointId]) -> list[models.Record]:
    """Points with payload and all vectors; those that are gone are left out."""
    return await engine.retrieve(collection, ids=list(ids), with_payload=True, with_vectors=True)


def canonical(payload: Any) -> str:
    """A payload as JSON, equal for equal ones: Python takes 1, 1.0 and ``True`` for the same."""
    return json.dumps(payload or {}, sort_keys=True)
