"""Multiplies matrices and sums rows with torch, which limits itself to its own threads."""

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
    """Multiply each run of rows by its own matrix.

    Args:
        rows: Shape ``(n, dim)``.
        runs: ``(start, stop)`` of each run, in order; together they cover all rows.
        matrices: One per run, shape ``(runs, dim, projected)``, with the dtype of ``rows``.

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
    """Sum rows of a matrix, run by run.

    ``np.add.reduceat`` would traverse the matrix once per column; ``embedding_bag`` adds entire rows.

    Args:
        rows: Shape ``(n, dim)``.
        index: The indices of the rows to sum; the rows of a run are adjacent.
        starts: The position in ``index`` at which each run begins, ascending. A run ends where the next one begins,
            and may be empty.
        weights: The factor for each row in ``index``; by default 1.

    Returns:
        Shape ``(len(starts), dim)``, with the dtype of ``rows``.

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

    # torch warns about read-only arrays, because its tensors would permit writing to them
    return torch.from_numpy(array if array.flags.writeable else array.copy())
