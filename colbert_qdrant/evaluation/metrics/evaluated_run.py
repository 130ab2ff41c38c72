"""Defines a run with its quality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from types import NoneType
from typing import Any

from colbert_qdrant.config.checks import items_of, require_instance, require_number
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.evaluation.metrics.intervals import mean_interval
from colbert_qdrant.evaluation.metrics.measures import same_metric
from colbert_qdrant.evaluation.runs.run import Run
from colbert_qdrant.shown import shown


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluatedRun:
    """A run with its quality.

    Attributes:
        dataset: The name of the data set.
        mode: The mode of search, or the name of a run that was passed.
        run: The hits; ``None`` in an evaluation that was read from a file.
        values: For each metric, the value of every judged query by its id.
        milliseconds: Median time of a search, without the encoding of the query; ``None`` for a run that was passed. Up
            to 16 queries are searched together, and each has its share of the time.

    Raises:
        ConfigurationError: If a value has a wrong type, there are no values, or metrics have different queries.
    """

    dataset: str
    mode: str
    run: Run | None
    values: Mapping[str, Mapping[str, float]] = field(repr=False)
    milliseconds: float | None = None

    def __post_init__(self) -> None:
        require_instance("dataset", self.dataset, str, "the name of the data set")
        require_instance("mode", self.mode, str, "the name of a mode or of a run")
        require_instance("run", self.run, (Run, NoneType), "a Run")
        require_instance("values", self.values, Mapping, "a dict of values by query id, for each metric")
        queries: set[Any] | None = None
        for metric, given in items_of("values", self.values):
            require_instance("a metric in values", metric, str, "a name such as 'nDCG@10'")
            require_instance(f"values[{shown(metric)}]", given, Mapping, "a dict of values by query id")
            values = dict(items_of(f"values[{shown(metric)}]", given))
            if not values or not all(isinstance(each, int | float) and isfinite(each) for each in values.values()):
                raise ConfigurationError(
                    f"values[{shown(metric)}] must be a finite number for each query, got {shown(values)}"
                )
            if {*values} != (queries := queries or {*values}):
                raise ConfigurationError(
                    f"values[{shown(metric)}] has other queries than the other metrics: use the same"
                )
        if not self.values:
            raise ConfigurationError("values are empty: pass at least one metric")
        if self.milliseconds is not None:
            require_number("milliseconds", self.milliseconds, minimum=0)

    @property
    def queries(self) -> int:
        """The number of judged queries."""
        return len(next(iter(self.values.values()), ()))

    def of(self, metric: str) -> Mapping[str, float]:
        """Return the value of a metric for every judged query by its id.

        Args:
            metric: The metric, by any of its names: ``"ndcg@10"`` is ``"nDCG@10"``.

        Raises:
            ConfigurationError: If the metric was not measured.
        """
        if isinstance(metric, str) and (name := same_metric(metric, self.values)) is not None:
            return self.values[name]
        measured = ", ".join(map(repr, self.values))
        raise ConfigurationError(f"metric {shown(metric)} was not measured: use one of {measured}, or evaluate again")

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over all judged queries.

        Raises:
            ConfigurationError: If the metric was not measured.
        """
        values = self.of(metric)
        return sum(values.values()) / len(values)

    def interval(self, metric: str) -> tuple[float, float] | None:
        """Return the 95 % interval of the mean, by a percentile bootstrap over the queries with a fixed seed.

        It is ``None`` for a single query.

        Raises:
            ConfigurationError: If the metric was not measured.
        """
        return mean_interval(self.of(metric).values())
