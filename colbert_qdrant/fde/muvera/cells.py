"""Assigns tokens to cells, and sums and projects them cell by cell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from colbert_qdrant.fde.muvera import products, small_products

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from colbert_qdrant.fde.muvera.partitions import Partition

_EMPTY: Final = 0x80
"""Added to the distance of an empty cell. It exceeds every real distance, which is at most 12 bits."""

_PAIRS: Final = 1 << 22
"""The number of cell pairs compared at a time, which bounds the working memory."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cells:
    """The cells of a batch in every repetition, and the tokens in each.

    The number of a cell is its flat index in an array of ``shape``.

    Attributes:
        shape: ``(r_reps, texts, 2**k_sim)``.
        counts: The number of tokens in each cell, flat.
        order: The numbers of all tokens, sorted by cell in each repetition, flat.
        small: Whether there are at most `SMALL_TOKENS` tokens, for which NumPy alone is faster.
    """

    shape: tuple[int, int, int]
    counts: NDArray[np.int64]
    order: NDArray[np.int64]
    small: bool = False

    @classmethod
    def of(
        cls, values: NDArray[Any], lengths: NDArray[np.int64], partition: Partition, *, small: bool = False
    ) -> Cells:
        """Assign the tokens of all texts, shape ``(tokens, token_dim)`` and dtype of the partition, to cells."""
        r_reps = partition.shape[0]
        shape = r_reps, len(lengths), partition.cells
        per_rep = shape[1] * shape[2]
        # numpy radix-sorts integers of up to 16 bits, which is several times faster than sorting longer ones
        dtype = np.min_scalar_type(per_rep - 1)
        slots = partition.assign_cells(_library(small=small).multiply(partition.matrix, values.T), dtype)
        slots += np.repeat((np.arange(shape[1]) * shape[2]).astype(dtype), lengths)
        numbers = slots + (np.arange(r_reps) * per_rep)[:, None]
        return cls(
            shape=shape,
            counts=np.bincount(numbers.ravel(), minlength=r_reps * per_rep),
            order=np.argsort(slots, axis=1, kind="stable").ravel(),
            small=small,
        )

    @cached_property
    def occupied(self) -> NDArray[np.int64]:
        """Numbers of the cells with tokens, ascending."""
        return np.flatnonzero(self.counts)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """The number of tokens in each occupied cell."""
        sizes: NDArray[np.int64] = self.counts[self.occupied]
        return sizes

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The index in ``order`` at which the tokens of each occupied cell begin."""
        return np.cumsum(self.sizes) - self.sizes

    @cached_property
    def rank(self) -> NDArray[np.int64]:
        """For each occupied cell, its index among the occupied cells."""
        return np.cumsum(self.counts > 0) - 1

    def sums(self, values: NDArray[Any], projections: NDArray[Any]) -> NDArray[Any]:
        """Project the sum of each occupied cell: float, shape ``(occupied, dim_proj)``."""
        return self.project(_library(small=self.small).sum_runs(values, self.order, self.starts), projections)

    def project(self, rows: NDArray[Any], projections: NDArray[Any]) -> NDArray[Any]:
        """Project one row per occupied cell with the projection of its repetition: shape ``(occupied, dim_proj)``.

        Rows have the shape ``(occupied, token_dim)``, projections ``(r_reps, token_dim, dim_proj)``.
        """
        r_reps, texts, cells = self.shape
        bounds = np.searchsorted(self.occupied, np.arange(r_reps + 1) * (texts * cells)).tolist()
        projected: NDArray[Any] = _library(small=self.small).multiply_runs(rows, pairwise(bounds), projections)
        return projected

    def iterate_empty(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Iterate over the empty cells in blocks.

        Yields:
            The numbers of ``n`` empty cells, and their Hamming distances to every cell of the same text and
            repetition, shape ``(n, 2**k_sim)``. Empty cells are farther away than all occupied cells.
        """
        cells = self.shape[2]
        blocked = np.where(self.counts.reshape(-1, cells) > 0, 0, _EMPTY).astype(np.uint8)
        hamming = _hamming(cells)
        empty = np.flatnonzero(self.counts == 0)
        step = max(1, _PAIRS // cells)
        for part in (empty[start : start + step] for start in range(0, len(empty), step)):
            text, cell = np.divmod(part, cells)
            yield part, hamming.take(cell, axis=0) | blocked.take(text, axis=0)

    def write(self, numbers: NDArray[np.int64], rows: NDArray[Any], encoded: NDArray[np.float32]) -> None:
        """Write rows, shape ``(len(numbers), dim_proj)``, into the cells with these numbers.

        The encodings have the shape ``(texts, r_reps, 2**k_sim, dim_proj)``.
        """
        repetition, text, cell = np.unravel_index(numbers, self.shape)
        encoded[text, repetition, cell] = rows


def _library(*, small: bool) -> Any:
    return small_products if small else products


@lru_cache(maxsize=4)
def _hamming(cells: int) -> NDArray[np.uint8]:
    """Return the Hamming distance of each pair of cells."""
    every = np.arange(cells, dtype=np.uint16)
    distances: NDArray[np.uint8] = np.bitwise_count(every[:, None] ^ every)
    return distances
