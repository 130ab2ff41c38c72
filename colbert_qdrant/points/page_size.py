"""Chooses the number of points per page from the sizes of the pages read so far."""

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
"""The factor by which a page may exceed the page before it; it is limited because the next points may be larger."""

PAGE_BYTES: Final = 8 * 2**20
"""The approximate size of a page in bytes."""


class PageSize:
    """The number of points to read at once: a few at first, then as many as fit into about 8 MiB.

    Args:
        most: The largest number of points in a page.

    Attributes:
        points: The largest number of points in the next page.
    """

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self.points = min(_FIRST, self._most)

    def learn(self, records: Sequence[models.Record], *, least: float = 0) -> None:
        """Adapt to a page that was read; a point counts as at least ``least`` bytes on average."""
        if records:
            mean = max(sum(map(bytes_of, records)) / len(records), least, 1)
            self.points = max(1, min(self._most, _GROWTH * self.points, int(PAGE_BYTES / mean)))


def bytes_of(record: models.Record) -> int:
    """Estimate the size of a stored point in bytes, with 4 bytes for each number in its vectors."""
    return len(json.dumps(record.payload)) + 4 * sum(map(size_of, vectors_of(record).values()))
