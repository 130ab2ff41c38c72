"""Bounds the pages in which points are read, by what those before have held."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.points.point import size_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdrant_client import models

_FIRST: Final = 4
_GROWTH: Final = 4
"""The factor by which a page may have more points than the one before: the next points may be larger."""

PAGE_BYTES: Final = 8 * 2**20
"""The bytes of a page, about."""


class PageSize:
    """Says how many points to read at once: few at first, then as many as about 8 MiB hold.

    Args:
        most: The most points of a page.

    Attributes:
        points: The number of points that the next page may have.
    """

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self.points = min(_FIRST, self._most)

    def learn(self, records: Sequence[models.Record], *, least: float = 0) -> None:
        """Take note of a page: a point that was read held so many bytes, or ``least``."""
        if records:
            mean = max(sum(map(bytes_of, records)) / len(records), least, 1)
            self.points = max(1, min(self._most, _GROWTH * self.points, int(PAGE_BYTES / mean)))


def bytes_of(record: models.Record) -> int:
    """Return about the bytes of a point that was read, its numbers as 32 bits each."""
    return len(json.dumps(record.payload)) + 4 * sum(map(size_of, vectors_of(record).values()))
