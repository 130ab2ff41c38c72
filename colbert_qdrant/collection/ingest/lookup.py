"""Looks up the documents of a chunk that are stored, or stored with the same content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qdrant_client import models

from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.points.digests import entries, is_same_payload
from colbert_qdrant.points.ids import canonical_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.collection.rows import Row
    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.vectors import Vector

_CONDITIONS: Final = 3
"""The conditions of the filter for the complete points among some ids."""

_TOLERANCE: Final = 1e-6
"""The difference of numbers that still count as equal: engines scale the vectors of distance cosine to length 1."""

_TOLERANCE_FLOAT16: Final = 2.0**-10
"""The same for float16, relative to the number: the distance to the next one."""


async def find_stored(collection: OpenCollection, points: Sequence[str | int]) -> set[str | int]:
    """Return which of some point ids are stored, after one request."""
    if not points:
        return set()
    records = await collection.engine.retrieve(
        collection.name, ids=list(points), with_payload=False, with_vectors=False
    )
    return {canonical_id(record.id) for record in records}


async def find_unchanged(
    collection: OpenCollection, rows: Mapping[str | int, Row], *, complete: bool = True
) -> set[str | int]:
    """Return the ids of points that are stored with the same content as a row, after one request.

    Args:
        collection: The collection.
        rows: The documents to compare, by the ids of their points.
        complete: Whether points count as changed if they lack token vectors, lack the encoding that the collection has,
            or have no text to compare.
    """
    config = collection.config
    if not rows or (complete and config.native and config.text_key is None):
        return set()
    brought = {point: collection.further.own_vectors(row.document) for point, row in rows.items()}
    for point, row in rows.items():
        if len(row.tokens):  # nothing is encoded yet, so the document brings them
            brought[point][config.token_vector] = row.tokens
    names = sorted({name for each in brought.values() for name in each})
    found = {
        canonical_id(record.id): record for record in await _points(collection, list(rows), names, complete=complete)
    }
    return {
        point
        for point, record in found.items()
        if is_same_payload(record.payload or {}, rows[point].payload)
        and _has_vectors(vectors_of(record), brought[point], config)
    }


async def _points(
    collection: OpenCollection, points: Sequence[str | int], names: Collection[str], *, complete: bool
) -> list[models.Record]:
    """Read points with payload and the named vectors; with ``complete``, those that have all vectors of searches."""
    engine, config, limits = collection.engine, collection.config, collection.limits
    if not complete:
        return await engine.retrieve(
            collection.name, ids=list(points), with_payload=True, with_vectors=list(names) or False
        )
    needed = [config.token_vector, *([config.fde_vector] if collection.fde is not None else [])]
    by_filter = (await engine.capabilities()).has("has_vector") and (limits.conditions or _CONDITIONS) >= _CONDITIONS
    if not by_filter:
        records = await engine.retrieve(
            collection.name, ids=list(points), with_payload=True, with_vectors=[*needed, *names]
        )
        return [record for record in records if {*needed} <= vectors_of(record).keys()]
    size, found = min(bound for bound in (len(points), limits.query_limit, limits.condition_size) if bound), []
    for start in range(0, len(points), size):
        some: list[PointId] = list(points[start : start + size])
        has_vectors = [models.HasVectorCondition(has_vector=name) for name in needed]
        records, _ = await engine.scroll(
            collection.name,
            scroll_filter=models.Filter(must=[models.HasIdCondition(has_id=some), *has_vectors]),
            limit=len(some),
            offset=None,
            with_payload=True,
            with_vectors=list(names) or False,
        )
        found += records
    return found


def _has_vectors(stored: Mapping[str, Any], brought: Mapping[str, Vector], config: CollectionConfig) -> bool:
    """Tell whether a point has the vectors that a document brings."""
    return all(name in stored and _is_same(stored[name], vector, name, config) for name, vector in brought.items())


def _is_same(stored: Any, vector: Any, name: str, config: CollectionConfig) -> bool:
    if name in config.sparse:
        return bool(entries(stored) == dict(zip(vector.indices.tolist(), vector.values.tolist(), strict=True)))
    one, other = np.asarray(stored, np.float32), np.asarray(vector, np.float32)
    if np.array_equal(one, other):  # of distance cosine, a vector that is too short to be scaled
        return True
    of_tokens = name == config.token_vector
    if (config.token_distance if of_tokens else config.dense[name].distance) == "cosine":
        # engines store vectors of this distance with length 1
        lengths = np.linalg.norm(other, axis=-1, keepdims=True)
        other = np.divide(other, np.where(lengths > 0, lengths, 1.0), dtype=np.float32)
    if of_tokens and config.token_datatype == "float16":
        one, other = (each.astype(np.float16).astype(np.float32) for each in (one, other))
        return one.shape == other.shape and np.allclose(one, other, rtol=_TOLERANCE_FLOAT16, atol=0)
    return one.shape == other.shape and np.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE)
