"""Shares of means, and their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from colbert_qdrant.evaluation.metrics.intervals import SAMPLES, drawn_means, interval_of

if TYPE_CHECKING:
    from collections.abc import Sequence


def share(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> tuple[float, float, float]:
    """The share that a system's mean is of another's, as the mean over collections, and its 95 % interval.

    Args:
        pairs: For each collection, the values of both systems for the same queries. Both are drawn together.
    """
    shares, draws = [], []
    for number, pair in enumerate(pairs):
        values = np.column_stack(pair).astype(np.float64)
        shares.append(np.divide(*values.mean(axis=0)))
        draws.append(np.divide(*drawn_means(values, samples=SAMPLES, seed=[0, number]).T))
    low, high = interval_of(np.mean(draws, axis=0))
    return float(np.mean(shares)), low, high
