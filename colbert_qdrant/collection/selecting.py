"""Applies a write to the documents that the caller selects by their ids or by their payload."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdrant_client import models

from colbert_qdrant.collection.filter_indexes import require_indexes
from colbert_qdrant.collection.metadata import documents_only
from colbert_qdrant.errors import ConfigurationError, RequestTooLargeError
from colbert_qdrant.points.ids import point_ids
from colbert_qdrant.search.execute import keep_to_limits
from colbert_qdrant.search.filters import combine_filters, compared_keys, holds_of_everything, word_keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.documents import DocumentId
    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.search.filters import Where
    from colbert_qdrant.search.limits import Limits


async def write_to_selected(
    collection: OpenCollection,
    operation: str,
    *,
    ids: DocumentId | Iterable[DocumentId] | None,
    where: Where | None,
    filter: models.Filter | None,
    everything: str,
    by_ids: Callable[[Sequence[PointId]], Awaitable[None]],
    by_filter: Callable[[models.Filter], Awaitable[None]],
) -> None:
    """Apply a write to the documents with the given ids, or to those that match a filter.

    Args:
        collection: The open collection.
        operation: The name of the method, for errors.
        ids: One id or several; ids that are not stored are ignored.
        where: A condition on the payload.
        filter: A Qdrant filter.
        everything: The end of the error for a filter without conditions: the consequence and the remedy.
        by_ids: Writes to points by their ids, in one request if the server allows it.
        by_filter: Writes to all points that match a filter, in one request.

    Raises:
        ConfigurationError: If the selection is missing, ambiguous or invalid, or a filter has no condition.
    """
    if (ids is None) == (where is None and filter is None):
        given = "neither ids nor a filter" if ids is None else "both ids and a filter"
        raise ConfigurationError(f"{operation} got {given}: pass either ids=…, or where=… and filter=…")
    chosen = combine_filters(filter, where)
    if chosen is not None and holds_of_everything(chosen):
        raise ConfigurationError(f"filter has no condition, so {operation} would {everything}")
    await collection.shards.require("write")
    if ids is not None:
        points = point_ids(ids, collection.config.id_scheme)
        await collection.notice()
        if points:  # some engines reject an empty list
            await by_ids(points)
        return
    only = await documents_only(collection.engine, collection.name, chosen)

    async def write(limits: Limits) -> None:
        limits.check_filter(only, writes=True)
        await by_filter(only or models.Filter())

    await require_indexes(collection, word_keys(where), compared_keys(where))
    await collection.notice()
    try:
        await keep_to_limits(collection, write)
    except RequestTooLargeError:  # a rate limit counts every matching document
        async for page in collection.id_pages(chosen):
            await by_ids(page)
