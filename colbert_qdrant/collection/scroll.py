"""Reads the documents of a collection, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colbert_qdrant.collection.metadata import documents_only
from colbert_qdrant.engines.pages import read_pages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from qdrant_client import models

    from colbert_qdrant.engines import Engine


async def scroll_points(
    engine: Engine,
    collection: str,
    chosen: models.Filter | None,
    *,
    limit: Callable[[], int],
    with_payload: bool | list[str] = False,
    with_vectors: bool | list[str] = False,
) -> AsyncIterator[list[models.Record]]:
    """Read the points that match a filter, without the reserved point, in the order of their ids; no page is empty.

    Raises:
        EngineError: If the engine returns more points than it counted.
    """
    info = await engine.get_collection(collection)
    async for page in read_pages(
        engine,
        collection,
        await documents_only(engine, collection, chosen),
        limit=limit,
        points=info.points_count or 0,
        with_payload=with_payload,
        with_vectors=with_vectors,
    ):
        yield page
