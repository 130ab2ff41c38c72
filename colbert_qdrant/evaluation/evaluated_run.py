"""Defines a run with its quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.evaluation.run import Run
from colbert_qdrant.shown import shown

_RESAMPLES: Final = 10_000
_BLOCK: Final = 2**20


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluatedRun:
    """A run with its quality.

    Attributes:
        dataset: The name of the data set.
        mode: The mode of search, or the name of a run that was passed.
        run: The hits; ``None`` in an evaluation that was read from a file.
        values: For each metric, the value of every judged query by its id.
        milliseconds: Median time of a search, without the encoding of the query; ``None`` for a run that was passed.
    """

    dataset: str
    mode: str
    run: Run | None
    values: Mapping[str, Mapping[str, float]]
    milliseconds: float | None = None

    @property
    def queries(self) -> int:
        """The number of judged queries."""
        return len(next(iter(self.values.values()), ()))

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over all judged queries."""
        values = _of_metric(self.values, metric)
        return sum(values.values()) / len(values)

    def interval(self, metric: str) -> tuple[float, float]:
        """Return the 95 % interval of the mean, by a percentile bootstrap over the queries with a fixed seed."""
        values = np.array([*_of_metric(self.values, metric).values()])
        random, means = np.random.default_rng(0), list[float]()
        while len(means) < _RESAMPLES:  # in blocks, because there may be thousands of queries
            chosen = random.integers(0, len(values), (min(_RESAMPLES, max(1, _BLOCK // len(values))), len(values)))
            means += values[chosen].mean(axis=1).tolist()
        low, high = np.percentile(means[:_RESAMPLES], (2.5, 97.5))
        return float(low), float(high)


def _of_metric(values: Mapping[str, Mapping[str, float]], metric: str) -> Mapping[str, float]:
    if not isinstance(metric, str) or metric not in values:
        raise ConfigurationError(f"metric {shown(metric)} was not measured: use one of {', '.join(map(repr, values))}")
    return values[metric]
