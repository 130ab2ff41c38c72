"""Finds documents that lack a further vector of their text, such as BM25's, and adds it in place."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from qdrant_client import models

from colbert_qdrant._support.progress import reporting
from colbert_qdrant.collection.having import has_tokens
from colbert_qdrant.collection.opened import WRITE_SECONDS
from colbert_qdrant.collection.rows import Rejections, Row
from colbert_qdrant.collection.scroll import scroll_points
from colbert_qdrant.collection.update import update_vectors
from colbert_qdrant.documents import Document, RejectedDocument
from colbert_qdrant.points.ids import canonical_id
from colbert_qdrant.points.page_size import PageSize
from colbert_qdrant.points.point import to_numbers
from colbert_qdrant.points.texts import text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.opened import OpenCollection

_PAGE_POINTS: Final = 128
_LOOKED: Final = 1_024
"""The number of documents whose texts are checked: BM25 has no vector for a text with only stop words."""


async def count_without_further(collection: OpenCollection, name: str) -> int:
    """Count the documents that have token vectors but lack a further vector, although their text gives one."""
    if not (count := await collection.count(_lacking(collection, name))):
        return 0
    looked = found = 0
    async for page in _pages(collection, name):
        looked += len(page)
        found += len(await collection.engine.runtime.compute(_to_make, collection, name, page))
        if looked >= _LOOKED:
            break
    return found if looked >= count or not found else count


async def add_further(
    collection: OpenCollection, name: str, *, progress: bool | ProgressReporter
) -> tuple[int, list[RejectedDocument]]:
    """Add a further vector to the documents that lack it; return how many got it, and the documents that cannot."""
    engine, lacking, rejections, added = collection.engine, _lacking(collection, name), Rejections("skip"), 0
    collection.limits = await collection.read_limits()
    # a document that was replaced after it was read already has its vector
    only = lacking if (await engine.capabilities()).has("update_filter") else None
    with reporting(progress, label="repair", total=await collection.count(lacking)) as report:
        async for page in _pages(collection, name):
            await collection.lengths.begin(_documents(collection, page))
            changes = await engine.runtime.compute(_changes, collection, name, page, rejections)
            await collection.notice(seconds=WRITE_SECONDS)
            refused = await update_vectors(engine, collection.name, changes, only=only) if changes else []
            rejections.found += [RejectedDocument(id=canonical_id(each.id), reason=str(each.error)) for each in refused]
            added += len(changes) - len(refused)
            report.advance(len(page))
    return added, rejections.found


def _changes(
    collection: OpenCollection, name: str, records: Sequence[models.Record], rejections: Rejections
) -> list[models.PointVectors]:
    rows = _to_make(collection, name, records)
    return [
        models.PointVectors.model_construct(id=row.document.id, vector={name: to_numbers(vectors[name])})
        for part, made in rejections.isolate(rows, partial(collection.further.documents, only=name))
        for row, vectors in zip(part, made, strict=True)
        if name in vectors
    ]


def _to_make(collection: OpenCollection, name: str, records: Sequence[models.Record]) -> list[Row]:
    """Return the documents whose text gives the vector; this runs BM25, but no model."""
    rows = [Row(document=document, payload={}) for document in _documents(collection, records)]
    if name != collection.config.bm25_vector:
        return rows
    made = collection.further.documents([row.document for row in rows], only=name)
    return [row for row, vectors in zip(rows, made, strict=True) if vectors]


def _documents(collection: OpenCollection, records: Sequence[models.Record]) -> list[Document]:
    texts = [(record, text_of(record.payload or {}, collection.config)) for record in records]
    return [Document(canonical_id(record.id), text) for record, text in texts if text is not None]


def _lacking(collection: OpenCollection, name: str) -> models.Filter:
    having = has_tokens(collection.config)
    return models.Filter(must=having.must, must_not=[models.HasVectorCondition(has_vector=name)])


async def _pages(collection: OpenCollection, name: str) -> AsyncIterator[list[models.Record]]:
    bounds = (collection.limits.query_limit, collection.limits.upsert_batch)
    size = PageSize(min(_PAGE_POINTS, *(bound or _PAGE_POINTS for bound in bounds)))
    async for page in scroll_points(
        collection.engine,
        collection.name,
        _lacking(collection, name),
        limit=lambda: size.points,
        with_payload=True,
    ):
        size.learn(page)
        yield page
