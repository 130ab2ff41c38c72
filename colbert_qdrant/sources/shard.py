"""Chooses the rows of a source that belong to one of several workers."""

from __future__ import annotations

from typing import Final

from colbert_qdrant._support.values import plain
from colbert_qdrant.config.checks import require_int
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import holds, shown


class Shard:
    """Counts the rows of a source, and takes one in every n rows.

    Row number r, from 0, belongs to shard r modulo n. All rows count, also those that cannot be stored, so that the
    shards of all workers have every row exactly once.

    Args:
        index: The number of this shard, from 0.
        count: The number of shards.
    """

    def __init__(self, index: int = 0, count: int = 1) -> None:
        self.index: Final = index
        self.count: Final = count
        self._position = 0

    @classmethod
    def of(cls, shard: tuple[int, int] | None) -> Shard:
        """Return the shard that ``(i, n)`` means; all rows without one.

        Raises:
            ConfigurationError: If ``shard`` is not a pair of integers, ``(i, n)`` with 0 ≤ i < n.
        """
        if shard is None:
            return cls()
        if not isinstance(shard, tuple | list) or not holds(lambda: len([*shard]) == 2):
            raise ConfigurationError(f"shard must be a pair (i, n), such as (0, 4), got {shown(shard)}")
        index, count = map(plain, shard)
        require_int("the count n of shard=(i, n)", count, minimum=1)
        require_int("the number i of shard=(i, n)", index, minimum=0, maximum=int(count) - 1)
        return cls(int(index), int(count))

    def takes(self) -> bool:
        """Count the next row, and tell whether it belongs to this shard."""
        position = self._position
        self._position = position + 1
        return position % self.count == self.index

    def among(self, rows: int) -> range:
        """Count the next rows, and return the positions among them that belong to this shard."""
        first = (self.index - self._position) % self.count
        self._position += rows
        return range(first, rows, self.count)

    def size(self, rows: int) -> int:
        """Return the number of rows of this shard in a source."""
        return len(range(self.index, rows, self.count))
