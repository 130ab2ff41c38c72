"""Stamps points with the number of the write that they come from, so that an older write does not replace them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from qdrant_client import models

if TYPE_CHECKING:
    from collections.abc import Iterable

    from colbert_qdrant.points.point import Point

STAMP: Final = "_colbert_qdrant_write"
"""The payload key of a stamp; documents and hits do not show it."""

Points = TypeVar("Points", bound="Iterable[Any]")


def stamped(point: Point, *, writer: str, number: int) -> Point:
    """Return a point with a stamp of the write that it comes from."""
    return replace(point, payload={**point.payload, STAMP: {"writer": writer, "number": number}})


def not_newer(*, writer: str, number: int) -> models.Filter:
    """Return a filter for all points except those with the stamp of a later write by the same writer."""
    newer: list[models.Condition] = [
        models.FieldCondition(key=f"{STAMP}.writer", match=models.MatchValue(value=writer)),
        models.FieldCondition(key=f"{STAMP}.number", range=models.Range(gt=number)),
    ]
    return models.Filter(must_not=[models.Filter(must=newer)])


def unstamped(points: Points) -> Points:
    """Remove the stamps from points that were read."""
    for point in points:
        if point.payload and STAMP in point.payload:
            del point.payload[STAMP]
    return points
