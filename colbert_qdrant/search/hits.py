"""Converts the points that a search found to hits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from colbert_qdrant.documents import SearchHit, SearchHits
from colbert_qdrant.points.convert import document_id, to_document

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from qdrant_client import models

    from colbert_qdrant.config import CollectionConfig


def to_hits(
    points: Iterable[models.ScoredPoint],
    config: CollectionConfig,
    *,
    with_payload: bool,
    found_by: Mapping[str, Collection[Any]] | None = None,
) -> SearchHits:
    """Convert search results to hits, sorted by (−score, id), so that the order of ties is deterministic.

    A score is the float32 that the engine computed, even if it arrived as decimal digits.

    Raises:
        SchemaMismatchError: If a point does not hold a document.
    """
    hits = []
    for point in points:
        brought = tuple(name for name, found in (found_by or {}).items() if point.id in found)
        hits.append(_to_hit(point, config, with_payload=with_payload, found_by=brought))
    return SearchHits.ranked(hits)


def _to_hit(
    point: models.ScoredPoint, config: CollectionConfig, *, with_payload: bool, found_by: tuple[str, ...]
) -> SearchHit:
    score = float(np.float32(point.score))
    if not with_payload:
        return SearchHit(document_id(point, config), score, found_by=found_by)
    document = to_document(point, config)
    return SearchHit(document.id, score, document.text or None, document.payload, found_by)
