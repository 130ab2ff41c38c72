"""Replaces one further vector of stored documents without encoding their texts again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qdrant_client import models

from colbert_qdrant._support.values import plain
from colbert_qdrant.collection.opened import WRITE_SECONDS
from colbert_qdrant.collection.update import RefusedVectors, update_vectors
from colbert_qdrant.collection.writer import MAX_BATCH_BYTES
from colbert_qdrant.documents import Document
from colbert_qdrant.errors import ConfigurationError, RequestRefusedError
from colbert_qdrant.points.ids import canonical_id, point_id
from colbert_qdrant.points.point import Point, split_by_bytes, to_numbers
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.documents import DocumentId
    from colbert_qdrant.search.limits import Limits


async def update(collection: OpenCollection, name: str, vectors: Mapping[DocumentId, Any]) -> None:
    """Replace a vector of documents; see `ColbertCollection.update_vectors`."""
    engine, name = collection.engine, _further_name(name, collection.config)
    if not isinstance(vectors, Mapping):
        raise ConfigurationError(f"vectors is {shown(vectors, 60)}: pass a dict of vectors by document id")
    points = await engine.runtime.compute(_points, collection, name, vectors)
    by_point = {point_id(id, collection.config.id_scheme): id for id in vectors}

    def check(limits: Limits) -> None:
        for point in points:
            limits.check_sizes(Document(by_point[point.id], ""), 0, point.vectors)

    await collection.allowed(check)
    await collection.shards.require("write")
    refused: list[RefusedVectors] = []
    for batch in split_by_bytes(points, MAX_BATCH_BYTES, binary=engine.binary, most=collection.limits.upsert_batch):
        await collection.notice(seconds=WRITE_SECONDS)
        changes = [
            models.PointVectors.model_construct(id=point.id, vector={name: to_numbers(point.vectors[name])})
            for point in batch
        ]
        refused += await update_vectors(engine, collection.name, changes, only=None)
    if refused:
        lines = "".join(f"\n  {shown(by_point.get(canonical_id(each.id)))}: {each.error}" for each in refused)
        raise RequestRefusedError(
            f"the server refused {len(refused)} vectors, and all others are stored: correct or omit these:{lines}",
            operation="update_vectors",
            collection=collection.name,
        )


def _further_name(name: object, config: CollectionConfig) -> str:
    """Return the name of a further vector, which documents may bring themselves."""
    name = plain(name)
    names = sorted((*config.dense, *config.sparse))
    if isinstance(name, str) and name in names:
        return name
    made = {
        config.token_vector: "the token vectors, and the encoding must match them",
        config.fde_vector: "the encoding of the token vectors",
        config.bm25_vector: "made from the text" if config.bm25 is not None else None,
    }
    reason = made.get(name) if isinstance(name, str) else None
    if reason is not None:
        raise ConfigurationError(
            f"vector {name!r} is {reason}, so update_vectors cannot replace it: upsert the document"
        )
    known = f"name one of {names}" if names else "declare vectors in CollectionConfig(dense={…}, sparse={…})"
    raise ConfigurationError(f"the collection has no further vector {shown(name)}: {known}")


def _points(collection: OpenCollection, name: str, vectors: Mapping[DocumentId, Any]) -> list[Point]:
    """Check all vectors, and return points that have nothing else; the last one for a point wins."""
    points: dict[str | int, Point] = {}
    for id, vector in vectors.items():
        point = point_id(id, collection.config.id_scheme)
        own = collection.further.own_vectors(Document(id, "", vectors={name: vector}))
        points[point] = Point(id=point, vectors=own, payload={})
    return list(points.values())
