"""Does the same as `products` for the tokens of one query, in NumPy: waking torch's threads would take longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

SMALL_TOKENS: Final = 64
"""The maximum number of tokens; the matrix library uses a single core for matrices of this size."""

_ROWS: Final = 16


def multiply(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Multiply two matrices of the same dtype."""
    product = np.empty((len(first), second.shape[1]), first.dtype)
    for start in range(0, len(first), _ROWS):
        np.matmul(first[start : start + _ROWS], second, out=product[start : start + _ROWS])
    return product


def multiply_runs(rows: NDArray[Any], runs: Iterable[tuple[int, int]], matrices: NDArray[Any]) -> NDArray[Any]:
    """Multiply each run of rows by its own matrix; see `products.multiply_runs`."""
    product = np.empty((len(rows), matrices.shape[2]), rows.dtype)
    for (start, stop), matrix in zip(runs, matrices, strict=True):
        np.matmul(rows[start:stop], matrix, out=product[start:stop])
    return product


def sum_runs(rows: NDArray[Any], index: NDArray[np.int64], starts: NDArray[np.int64]) -> NDArray[Any]:
    """Sum rows of a matrix, run by run; no run is empty. See `products.sum_runs`."""
    sums: NDArray[Any] = np.add.reduceat(rows[index], starts, axis=0)
    return sums
