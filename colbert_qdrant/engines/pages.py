"""Reads points page by page, and counts points if a server forbids exact counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from qdrant_client import models

    from colbert_qdrant.engines.base import Engine
    from colbert_qdrant.errors import RequestRefusedError

_MORE: Final = 256
"""Points that other clients may add while pages are read."""

_PAGE_IDS: Final = 10_000


async def read_pages(
    engine: Engine,
    collection: str,
    filter: models.Filter | None,
    *,
    limit: Callable[[], int],
    points: int,
    with_payload: bool | list[str] = False,
    with_vectors: bool | list[str] = False,
) -> AsyncIterator[list[models.Record]]:
    """Read the points that match a filter, in the order of their ids; yields no empty page.

    Args:
        engine: The engine.
        collection: The collection's name.
        filter: The points to read; ``None`` for all.
        limit: A function that returns the size of the next page.
        points: The number of points that the collection reports.
        with_payload: The payload to read.
        with_vectors: The vectors to read.

    Raises:
        EngineError: If there are many more points than the collection reports.
    """
    left, offset = 2 * points + _MORE, None
    while left > 0:
        records: list[models.Record]
        following: Any
        records, following = await engine.scroll(
            collection,
            scroll_filter=filter,
            limit=limit(),
            offset=offset,
            with_payload=with_payload,
            with_vectors=with_vectors,
        )
        offset = following
        left -= max(1, len(records))
        if records:
            yield records
        if offset is None:
            return
    raise EngineError(
        f"collection {collection!r} returned far more points than the {points:,} that it reports: check that no proxy "
        "repeats the server's responses"
    )


def forbids_exact_counts(error: RequestRefusedError) -> bool:
    """Tell whether a server refused a count because its strict mode has ``search_allow_exact=False``."""
    return "Exact search disabled" in str(error)


async def count_by_reading(engine: Engine, collection: str, filter: models.Filter | None) -> int:
    """Count the points that match a filter by reading their ids."""
    info = await engine.get_collection(collection)
    strict = info.config.strict_mode_config
    most = None if strict is None or not strict.enabled else strict.max_query_limit
    size = min(_PAGE_IDS, most or _PAGE_IDS)
    pages = read_pages(engine, collection, filter, limit=lambda: size, points=info.points_count or 0)
    return sum([len(page) async for page in pages])
