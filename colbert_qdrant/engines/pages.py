"""Reads points page by page, and counts them so where a server forbids exact counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from qdrant_client import models

    from colbert_qdrant.engines.base import Engine
    from colbert_qdrant.errors import RequestRefusedError

_MORE: Final = 256
"""Points that others may add meanwhile."""

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
    """Read the points that match a filter in the order of their ids; no page is empty.

    Args:
        engine: The engine.
        collection: The collection's name.
        filter: The points to read; ``None`` for all.
        limit: Returns how many points the next page has.
        points: How many points the collection says that it has.
        with_payload: The payload to read.
        with_vectors: The vectors to read.

    Raises:
        EngineError: There are many more points than the collection says.
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
        f"collection {collection!r} has page after page of points, more than it says that it has: look what is between "
        "here and the server"
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
