"""Defines the results of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.evaluation.run import Run
from colbert_qdrant.shown import shown


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
        values = self.values[metric]
        return sum(values.values()) / len(values)


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The quality of each mode on each data set; ``str()`` formats it as a table.

    ``evaluation["two-stage"]`` is the run of a mode on the only data set.

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

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the data sets, in order."""
        return tuple(dict.fromkeys(run.dataset for run in self.runs))

    @property
    def modes(self) -> tuple[str, ...]:
        """The measured modes, in order."""
        return tuple(dict.fromkeys(run.mode for run in self.runs))

    def run(self, mode: str, dataset: str | None = None) -> EvaluatedRun:
        """Return the run of a mode on a data set, which may be left out if there is only one.

        Raises:
            ConfigurationError: If there is no such run, or there are several data sets.
        """
        if dataset is None and len(self.datasets) > 1:
            raise ConfigurationError(f"there are several data sets: name one of {', '.join(map(repr, self.datasets))}")
        for run in self.runs:
            if run.mode == mode and dataset in (None, run.dataset):
                return run
        where = "" if dataset is None else f" on {shown(dataset)}"
        known = ", ".join(f"{run.mode!r} on {run.dataset!r}" for run in self.runs)
        raise ConfigurationError(f"there is no run of {shown(mode)}{where}: there is {known}")

    def __getitem__(self, mode: str) -> EvaluatedRun:
        """Return the run of a mode on the only data set; see `run`."""
        return self.run(mode)
