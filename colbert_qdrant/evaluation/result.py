"""Defines the results of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from colbert_qdrant.evaluation.run import Run


@dataclass(frozen=True, kw_only=True, eq=False)
class EvaluatedRun:
    """A run with its quality.

    Attributes:
        dataset: The name of the data set.
        mode: The mode of search, or the name of a run that was passed.
        run: The hits.
        values: For each metric, the value of every judged query by its id.
        milliseconds: Mean time of a search, without the encoding of the query; ``None`` for a run that was passed.
    """

    dataset: str
    mode: str
    run: Run
    values: Mapping[str, Mapping[str, float]]
    milliseconds: float | None = None

    def mean(self, metric: str) -> float:
        """Return the mean of a metric over all judged queries."""
        values = self.values[metric]
        return sum(values.values()) / len(values)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The quality of each mode on each data set; ``str()`` formats it as a table.

    Attributes:
        target: The model or the collection that was measured.
        metrics: The names of the metrics, in the order of the table.
        runs: The measured runs, by data set and mode.
        skipped: For each mode that was not measured, the reason.
        folder: The folder with the run files; ``None`` if nothing was written.
    """

    target: str
    metrics: tuple[str, ...]
    runs: tuple[EvaluatedRun, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
