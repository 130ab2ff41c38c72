"""Fetches, deletes and counts the stored documents of an open collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdrant_client import models

from colbert_qdrant.collection.filter_indexes import require_indexes
from colbert_qdrant.collection.metadata import documents_only
from colbert_qdrant.collection.selecting import write_to_selected
from colbert_qdrant.points.convert import to_document
from colbert_qdrant.points.ids import canonical_id, point_ids
from colbert_qdrant.search.execute import keep_to_limits
from colbert_qdrant.search.filters import combine_filters, compared_keys, word_keys

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.documents import Document, DocumentId
    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.search.filters import Where
    from colbert_qdrant.search.limits import Limits


async def get(collection: OpenCollection, ids: DocumentId | Iterable[DocumentId]) -> list[Document]:
    """Fetch documents; see `ColbertCollection.get`."""
    await collection.notice_at_times()
    await collection.shards.require("read")
    config, names = collection.config, collection.further.names_without_encoder
    points = point_ids(ids, config.id_scheme)
    records = await collection.engine.retrieve(
        collection.name, ids=points, with_payload=True, with_vectors=names or False
    )
    found: dict[PointId, models.Record] = {canonical_id(record.id): record for record in records}
    return [
        to_document(record, config, vectors=names)
        for point in points
        if (record := found.get(point)) is not None and (config.native or record.payload is not None)
    ]


async def delete(
    collection: OpenCollection,
    *,
    ids: DocumentId | Iterable[DocumentId] | None,
    where: Where | None,
    filter: models.Filter | None,
) -> None:
    """Delete documents by their ids or by their payload; see `ColbertCollection.delete`."""
    engine, name = collection.engine, collection.name

    async def by_ids(points: Sequence[PointId]) -> None:
        await engine.delete(name, points_selector=models.PointIdsList(points=list(points)))

    async def by_filter(chosen: models.Filter) -> None:
        await engine.delete(name, points_selector=models.FilterSelector(filter=chosen))

    await write_to_selected(
        collection,
        "delete",
        ids=ids,
        where=where,
        filter=filter,
        everything="delete every document: add a condition, or recreate the collection with drop() and create()",
        by_ids=by_ids,
        by_filter=by_filter,
    )


async def count(collection: OpenCollection, *, where: Where | None, filter: models.Filter | None) -> int:
    """Count documents exactly; see `ColbertCollection.count`."""
    chosen = combine_filters(filter, where)
    await collection.notice_at_times()
    only = await documents_only(collection.engine, collection.name, chosen)

    async def count(limits: Limits) -> int:
        limits.check_filter(only)
        return await collection.engine.count(collection.name, only)

    await require_indexes(collection, word_keys(where), compared_keys(where))
    await collection.shards.require("read")
    return await keep_to_limits(collection, count)
