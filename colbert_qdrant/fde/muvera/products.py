"""Multiplies matrices and sums rows, which take the time, by torch, which keeps to its threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray


def multiply(first: NDArray[Any], second: NDArray[Any]) -> NDArray[Any]:
    """Multiply two matrices of the same dtype."""
    import torch  # noqa: PLC0415

    with torch.inference_mode():
        product: NDArray[Any] = torch.mm(_tensor(first), _tensor(second)).numpy()
    return product


def multiply_runs(rows: NDArray[Any], runs: Iterable[tuple[int, int]], matrices: NDArray[Any]) -> NDArray[Any]:
    """Multiply each run of rows with a matrix of its own.

    Args:
        rows: Shape ``(n, dim)``.
        runs: ``(start, stop)`` of each, one after another; they cover all rows.
        matrices: One for each run, shape ``(runs, dim, projected)``, of the dtype of ``rows``.

    Returns:
        Shape ``(n, projected)``.
    """
    import torch  # noqa: PLC0415

    with torch.inference_mode():
        tensor = _tensor(rows)
        product = tensor.new_empty(len(rows), matrices.shape[2])
        for (start, stop), matrix in zip(runs, _tensor(matrices), strict=True):
            torch.mm(tensor[start:stop], matrix, out=product[start:stop])
    result: NDArray[Any] = product.numpy()
    return result


def sum_runs(
    rows: NDArray[Any], index: NDArray[np.int64], starts: NDArray[np.int64], weights: NDArray[Any] | None = None
) -> NDArray[Any]:
    """Add up rows of a matrix, run by run.

    ``np.add.reduceat`` would go through the matrix once for every column; ``embedding_bag`` adds whole rows.

    Args:
        rows: Shape ``(n, dim)``.
        index: Numbers of the rows to add, those of a run one after another.
        starts: The position in ``index`` at which each run begins, ascending; it ends where the next one begins, and
            may be empty.
        weights: Factors of the rows of ``index``; by default 1.

    Returns:
        Shape ``(len(starts), dim)``, the dtype of ``rows``.

    Example:
        >>> import numpy as np
        >>> sum_runs(np.array([[1.0], [10.0], [100.0]]), np.array([0, 2, 1]), np.array([0, 2])).ravel().tolist()
        [101.0, 10.0]
    """
    import torch  # noqa: PLC0415

    with torch.inference_mode():
        sums: NDArray[Any] = torch.nn.functional.embedding_bag(
            _tensor(index),
            _tensor(rows),
            _tensor(starts),
            mode="sum",
            per_sample_weights=None if weights is None else _tensor(weights),
        ).numpy()
    return sums


def _tensor(array: NDArray[Any]) -> Any:
    import torch  # noqa: PLC0415

    # torch warns of arrays that must not be written to, as it would let one do so
    return torch.from_numpy(array if array.flags.writeable else array.copy())
