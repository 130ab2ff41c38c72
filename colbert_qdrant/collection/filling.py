"""Adds encodings to the points that have token vectors but no encoding, after a fit or a write by another program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qdrant_client import models

from colbert_qdrant._support.progress import reporting
from colbert_qdrant.collection.having import lacks_encoding
from colbert_qdrant.collection.opened import WRITE_SECONDS
from colbert_qdrant.collection.rows import Rejections, Row
from colbert_qdrant.collection.stored import StoredDocuments
from colbert_qdrant.collection.update import update_vectors
from colbert_qdrant.documents import Document, RejectedDocument
from colbert_qdrant.points.ids import canonical_id
from colbert_qdrant.points.ranges import check_range
from colbert_qdrant.points.schema import stored_as_float16

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.tokens import TokenEmbeddings


@dataclass(frozen=True, kw_only=True)
class Filled:
    """The outcome for the points that had no encoding.

    Attributes:
        count: The number of points that now have an encoding.
        rejected: The points whose encoding cannot be stored.
    """

    count: int = 0
    rejected: tuple[RejectedDocument, ...] = ()


async def count_without_encoding(collection: OpenCollection) -> int:
    """Count the points that have token vectors but no encoding; 0 if not fitted, or if the engine cannot count them."""
    if collection.fde is None or not (await collection.engine.capabilities()).has("has_vector"):
        return 0
    return await collection.count(lacks_encoding(collection.config))


async def fill(collection: OpenCollection, *, label: str, progress: bool | ProgressReporter) -> Filled:
    """Add the encoding to the points that lack it, in one pass: later writes include theirs.

    Every request completes some points, so call it again to resume after an interruption.
    """
    engine, fde, lacking = collection.engine, collection.fde, lacks_encoding(collection.config)
    float16 = stored_as_float16(collection.config)
    missing = await count_without_encoding(collection)
    if fde is None or not missing:
        return Filled()
    # a document that was replaced after it was read already has an encoding
    only = lacking if (await engine.capabilities()).has("update_filter") else None
    count, rejected = 0, list[RejectedDocument]()
    with reporting(progress, label=label, total=missing) as report:
        async for records, tokens in stored_documents(collection).pages(lacking, payload=False):
            changes, found = await engine.runtime.compute(_encodings, collection, fde, records, tokens)
            await collection.notice(seconds=WRITE_SECONDS)
            if changes:
                refused = await update_vectors(engine, collection.name, changes, only=only, float16=float16)
                found += [RejectedDocument(id=canonical_id(each.id), reason=str(each.error)) for each in refused]
            rejected += found
            count += len(records) - len(found)
            report.advance(len(records))
    return Filled(count=count, rejected=tuple(rejected))


def stored_documents(collection: OpenCollection) -> StoredDocuments:
    """Return a reader of the collection's token vectors."""
    return StoredDocuments(
        collection.engine,
        collection.name,
        config=collection.config,
        limits=collection.limits,
        token_dim=collection.encoder.dim,
    )


def _encodings(
    collection: OpenCollection, fde: FixedDimensionalEncoder, records: Sequence[models.Record], tokens: TokenEmbeddings
) -> tuple[list[models.PointVectors], list[RejectedDocument]]:
    """Return the updates with the encodings of points, and the points whose encoding cannot be stored."""
    config, rejections = collection.config, Rejections("skip")

    def in_range(row: Row) -> Row:
        check_range([row.document.id], [row.fde], setting="fde_datatype", datatype=config.fde_datatype)
        return row

    rows = [
        Row(document=Document(canonical_id(record.id), ""), payload={}, fde=encoding)
        for record, encoding in zip(records, fde.encode_documents(tokens), strict=True)
    ]
    changes = [
        models.PointVectors(id=canonical_id(row.document.id), vector={config.fde_vector: row.fde.tolist()})
        for row in rejections.keep_good(rows, in_range)
        if row.fde is not None
    ]
    return changes, rejections.found
