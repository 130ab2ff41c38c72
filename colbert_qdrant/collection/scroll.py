"""Reads the points of a collection, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.collection.metadata import count_documents, documents_only
from colbert_qdrant.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from qdrant_client import models

    from colbert_qdrant.engines import Engine

_MORE: Final = 256


async def scroll_points(
    engine: Engine,
    collection: str,
    chosen: models.Filter | None,
    *,
    limit: Callable[[], int],
    with_payload: bool | list[str] = False,
    with_vectors: bool | list[str] = False,
) -> AsyncIterator[list[models.Record]]:
    """Read the points that match a filter, but for the reserved one, in the order of their ids; no page is empty.

    Raises:
        EngineError: There are more points than the engine says.
    """
    filter, offset = documents_only(chosen), None
    left = 2 * await count_documents(engine, collection, chosen) + _MORE  # others may write meanwhile
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
