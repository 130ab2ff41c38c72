"""Draws a sample of points from a source."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from qdrant_client import models

from colbert_qdrant.collection.metadata import documents_only
from colbert_qdrant.migrate.source import read_pages, retrieve_pages
from colbert_qdrant.points.page_size import PAGE_BYTES, bytes_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.engines import Engine
    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.migrate.source import Source

_SIZE: Final = 32
_BYTES: Final = 2 * PAGE_BYTES
"""The bytes at which a sample of large points stops."""

_TEXTS: Final = 1_000
"""The number of points that are searched for a text if the sample has no text."""

_FIRST: Final = 2_000
"""The number of first points to sample from, on servers that cannot sample at random."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample of points with payloads and vectors.

    Attributes:
        records: The points.
        seconds: The seconds that reading them took, without the latency of requests.
        latency: The seconds that a minimal request takes.
    """

    records: Sequence[models.Record]
    seconds: float
    latency: float


async def read_sample(engine: Engine, source: Source) -> Sample:
    """Read a sample of points with payloads and vectors."""
    ids = await _draw(engine, source, _SIZE)
    started = time.perf_counter()
    await engine.retrieve(source.name, ids=ids[:1], with_payload=False, with_vectors=False)
    latency = time.perf_counter() - started
    records: list[models.Record] = []
    size, requests = 0, 1
    async for page in retrieve_pages(engine, source.name, ids):
        records += page
        requests += 1
        size += sum(map(bytes_of, page))
        if size > _BYTES:
            break
    seconds = time.perf_counter() - started - requests * latency
    return Sample(records=records, seconds=max(seconds, 0.0), latency=latency)


async def count_texts(engine: Engine, source: Source, converter: Converter) -> tuple[int, int]:
    """Search many points until a page has texts; return the number of texts and of points searched."""
    found = looked = 0
    async for page in retrieve_pages(engine, source.name, await _draw(engine, source, _TEXTS), vectors=False):
        looked += len(page)
        found += sum(text is not None for text in await engine.runtime.compute(converter.find_texts, page))
        if found:
            break
    return found, looked


async def _draw(engine: Engine, source: Source, size: int) -> list[PointId]:
    """Draw ids at random; on servers before 1.11, which cannot sample, draw from the first points."""
    size = min(size, source.limits.query_limit or size)
    if (await engine.capabilities()).has("sample"):
        request = models.QueryRequest(
            query=models.SampleQuery(sample=models.Sample.RANDOM),
            filter=await documents_only(engine, source.name, source.filter),
            limit=size,
            with_payload=False,
        )
        (answer,) = await engine.search_given(source.name, [request])
        return [point.id for point in answer.points]
    ids: list[PointId] = []
    async for page in read_pages(engine, source.name, source.filter, limits=source.limits):
        ids += [record.id for record in page]
        if len(ids) >= _FIRST:
            break
    return [ids[int(place)] for place in np.linspace(0, len(ids) - 1, min(size, len(ids)))]
