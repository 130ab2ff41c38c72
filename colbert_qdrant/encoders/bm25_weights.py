"""Computes BM25's weights of counted words, and finds the counts that weights were computed from.

A word that occurs t times in a document of n words has the weight t · (k + 1) / (t + k · (1 - b + b · n / avg_len)).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from colbert_qdrant.config import Bm25Config

_MOST_OF_RAREST: Final = 64
"""The number of occurrences of a document's rarest word up to which counts are found."""

_NOISE: Final = 4e-7
"""The relative error of a float32 weight, with a margin."""

_EQUAL: Final = 1e-5


def weights_of(counts: NDArray[np.float64], config: Bm25Config, avg_len: float) -> NDArray[np.float32]:
    """Return the weights of a document's words, given how often each occurs.

    Example:
        >>> from colbert_qdrant import Bm25Config
        >>> weights_of(np.array([2.0, 1.0, 1.0]), Bm25Config(k=1.2, b=0.75), avg_len=4.0)
        array([1.375, 1.   , 1.   ], dtype=float32)
    """
    k, b = config.k, config.b
    weights: NDArray[np.float64] = counts * (k + 1) / (counts + k * (1 - b + b * counts.sum() / avg_len))
    return weights.astype(np.float32)


def counts_of(
    weights: NDArray[np.float32], config: Bm25Config, avg_lens: Sequence[float]
) -> NDArray[np.float64] | None:
    """Return how often each word of a document occurs, given its weights; ``None`` if no counts have such weights.

    The proportions of the counts follow from the weights alone. Only if the counts have a common divisor, its value
    follows from the average length that the weights were computed with.

    Args:
        weights: The weights.
        config: The settings.
        avg_lens: The average lengths that the weights may have been computed with, the likeliest first.

    Example:
        >>> from colbert_qdrant import Bm25Config
        >>> weights = weights_of(np.array([3.0, 1.0, 2.0]), Bm25Config(), avg_len=40.0)
        >>> counts_of(weights, Bm25Config(), [100.0])
        array([3., 1., 2.])
    """
    k, b = config.k, config.b
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = weights / (k + 1 - weights.astype(np.float64))  # of each count in k · (1 - b + b · n / avg_len)
    if not len(shares) or not np.isfinite(shares).all() or shares.min() <= 0:
        return None
    counts = _smallest(shares)
    if counts is None:
        return None
    length, share = counts.sum(), shares.sum() / counts.sum()
    for avg_len in avg_lens:
        rest = 1 - share * k * b * length / avg_len
        times = share * k * (1 - b) / rest if rest > 0 else 0.0
        if round(times) >= 1 and abs(times - round(times)) <= _EQUAL * (1 + shares.max()) * times / rest:
            return counts * round(times)
    return counts


def same_weights(one: NDArray[np.float32], other: NDArray[np.float32]) -> bool:
    """Tell whether two documents have the same weights, up to rounding."""
    return bool(np.allclose(one, other, rtol=_EQUAL, atol=0))


def _smallest(shares: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Return the smallest whole numbers in the given proportions."""
    ratios = shares / shares.min()
    for rarest in range(1, _MOST_OF_RAREST + 1):
        counts: NDArray[np.float64] = np.rint(ratios * rarest)
        noise = _EQUAL + _NOISE * (2 + shares + shares.min()) * counts
        if (np.abs(ratios * rarest - counts) <= noise).all():
            return counts
    return None
