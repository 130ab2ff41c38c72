"""Computes how far means over queries vary by chance, by resampling the queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from colbert_qdrant.config.checks import require_int, require_number
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import listed, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLES: Final = 10_000
_MOST_SAMPLES: Final = 1_000_000
_BLOCK: Final = 2_000_000
"""The number of values that are drawn at once."""


def mean_interval(
    values: Iterable[float], *, confidence: float = 0.95, samples: int = SAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """Return the interval of a mean over queries, by a percentile bootstrap.

    The queries are drawn again with replacement, many times. The interval has the middle 95 % of the means (B. Efron
    and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). A single query has no interval, and the
    result is ``None``.

    Args:
        values: The value of each query.
        confidence: The share of the means in the interval.
        samples: The number of draws.
        seed: The seed of the draws; equal seeds give equal intervals.

    Raises:
        ConfigurationError: If there are no values, or a parameter is out of range.

    Example:
        >>> mean_interval([0.0, 1.0] * 50)
        (0.4, 0.6)
    """
    return mean_of_means_interval([values], confidence=confidence, samples=samples, seed=seed)


def mean_of_means_interval(
    groups: Sequence[Iterable[float]], *, confidence: float = 0.95, samples: int = SAMPLES, seed: int = 0
) -> tuple[float, float] | None:
    """Return the interval of the mean of the means of several data sets, each of whose queries are drawn separately.

    Raises:
        ConfigurationError: If a data set has no values, or a parameter is out of range.
    """
    check_draws(samples, seed)
    require_number("confidence", confidence, minimum=0, maximum=1)
    columns = [_column(values) for values in groups]
    if not columns:
        raise ConfigurationError("there are no values: pass the values of at least one query")
    if max(map(len, columns)) < 2:
        return None
    draws = [drawn_means(column, samples=samples, seed=[seed, part])[:, 0] for part, column in enumerate(columns)]
    return interval_of(np.mean(draws, axis=0), confidence)


def check_draws(samples: int, seed: int) -> None:
    """Raise `ConfigurationError` if the number or the seed of the draws is out of range."""
    require_int("samples", samples, minimum=1, maximum=_MOST_SAMPLES)
    require_int("seed", seed, minimum=0)


def drawn_means(values: NDArray[np.float64], *, samples: int, seed: Sequence[int]) -> NDArray[np.float64]:
    """Draw queries with replacement, and return the means of each draw ``(samples, metrics)``.

    Args:
        values: The values of each query ``(queries, metrics)``; a draw is the same for all metrics.
        samples: The number of draws.
        seed: Integers that determine the draws.
    """
    random = np.random.default_rng(seed)
    queries, metrics = values.shape
    columns = np.ascontiguousarray(values.T)
    means = np.empty((samples, metrics))
    step = max(1, _BLOCK // queries)
    for start in range(0, samples, step):
        chosen = random.integers(0, queries, (min(step, samples - start), queries))
        for metric, column in enumerate(columns):
            means[start : start + len(chosen), metric] = column[chosen].mean(axis=1)
    return means


def interval_of(means: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """Return the middle of the means of draws."""
    outside = (1 - confidence) / 2
    low, high = np.quantile(means, (outside, 1 - outside))
    return float(low), float(high)


def _column(values: Any) -> NDArray[np.float64]:
    found = listed(values)
    try:
        column = np.array(found, np.float64)
    except (TypeError, ValueError):
        column = np.empty((0, 0))
    if column.ndim != 1 or not len(column) or not np.isfinite(column).all():
        raise ConfigurationError(f"values must be finite numbers, at least one, got {shown(values)}")
    return column[:, None]
