"""Formats evaluations as tables, in text and in Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from colbert_qdrant.shown import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colbert_qdrant.evaluation.metrics.evaluated_run import EvaluatedRun

_MOST_METRICS: Final = 3
"""The number of metrics that are columns beside each other; more metrics are rows."""

_MOST_DATASETS: Final = 6
"""The number of data sets that are columns beside each other; more data sets are rows."""

_EXACT: Final = "exact"


class Results(Protocol):
    """The parts of an `Evaluation` that tables show."""

    @property
    def target(self) -> str:
        """The model or the collection."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the metrics."""

    @property
    def datasets(self) -> tuple[str, ...]:
        """The names of the data sets."""

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes."""

    def run(self, mode: str, dataset: str | None = None) -> EvaluatedRun:
        """Return the run of a mode on a data set."""

    def mean(self, metric: str, mode: str, dataset: str | None = None) -> float:
        """Return the mean of a metric on one data set, or on all."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of texts; the first column is aligned to the left.

    Attributes:
        title: The line above it.
        header: The title of each column.
        rows: The rows.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """Format the table with spaces between the columns."""
        cells = [[_in_one_line(cell) for cell in row] for row in (self.header, *self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in cells]
        return "\n".join([_in_one_line(self.title), *lines])

    def markdown(self) -> str:
        """Format the table in Markdown."""
        rows = [self.header, ["---", *["---:"] * (len(self.header) - 1)], *self.rows]
        lines = ["| " + " | ".join(_in_one_line(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
        return "\n".join([f"{_in_one_line(self.title)}:", "", *lines])


def _in_one_line(text: str) -> str:
    return " ".join(text.splitlines())


def tables(evaluation: Results, *, details: bool) -> Iterator[Table]:
    """Yield the tables of an evaluation.

    One data set has one table, with intervals if there are few metrics. Several data sets have one table for each
    metric. If there are many metrics, they have a table of means instead, and a table with the nDCG of each data set.
    With ``details``, there is also a table for each data set.
    """
    few = len(evaluation.metrics) <= _MOST_METRICS
    if len(evaluation.datasets) == 1:
        name = evaluation.datasets[0]
        yield _modes(evaluation, name) if few else _metrics(evaluation, name)
    elif few:
        for metric in evaluation.metrics:
            yield _datasets(evaluation, metric)
    else:
        yield _metrics(evaluation, None)
        yield _datasets(evaluation, next((each for each in evaluation.metrics if "DCG" in each), evaluation.metrics[0]))
        for name in evaluation.datasets if details else ():
            yield _metrics(evaluation, name)


def _modes(evaluation: Results, dataset: str) -> Table:
    """One row for each mode, with intervals."""

    def cell(run: EvaluatedRun, metric: str) -> str:
        interval = run.interval(metric)
        shown = "" if interval is None else "  [{:.3f}, {:.3f}]".format(*interval)
        return f"{_value(evaluation, run.mode, metric, dataset)}{shown}"

    runs = [evaluation.run(mode, dataset) for mode in evaluation.modes]
    timed = any(run.milliseconds is not None for run in runs)
    return Table(
        title=_title(evaluation, dataset),
        header=["", *evaluation.metrics, *(["ms"] if timed else [])],
        rows=[
            [run.mode, *(cell(run, metric) for metric in evaluation.metrics), *([_time(run)] if timed else [])]
            for run in runs
        ],
    )


def _metrics(evaluation: Results, dataset: str | None) -> Table:
    """One row for each metric of a data set, or of the means over all data sets."""
    modes = evaluation.modes
    return Table(
        title=_title(evaluation, dataset),
        header=["", *modes],
        rows=[
            [metric, *(_value(evaluation, mode, metric, dataset) for mode in modes)] for metric in evaluation.metrics
        ],
    )


def _datasets(evaluation: Results, metric: str) -> Table:
    """One row for each mode, or for each data set if there are many, and the mean over the data sets."""
    names: list[str | None] = [*evaluation.datasets, None]
    titles = [*evaluation.datasets, "Average"]
    title = f"{metric} of {evaluation.target}"
    if len(evaluation.datasets) <= _MOST_DATASETS:
        return Table(
            title=title,
            header=["", *titles],
            rows=[[mode, *(_value(evaluation, mode, metric, each) for each in names)] for mode in evaluation.modes],
        )
    return Table(
        title=title,
        header=["", *evaluation.modes],
        rows=[
            [title, *(_value(evaluation, mode, metric, each) for mode in evaluation.modes)]
            for title, each in zip(titles, names, strict=True)
        ],
    )


def _value(evaluation: Results, mode: str, metric: str, dataset: str | None) -> str:
    """Return a mean, and its share of exact search."""
    value = evaluation.mean(metric, mode, dataset)
    if mode == _EXACT or _EXACT not in evaluation.modes:
        return f"{value:.4f}"
    exact = evaluation.mean(metric, _EXACT, dataset)
    return f"{value:.4f} ({value / exact:.3f} ×)" if exact else f"{value:.4f}"


def _title(evaluation: Results, dataset: str | None) -> str:
    if dataset is None:
        return f"{evaluation.target}, mean of {len(evaluation.datasets)} data sets"
    queries = evaluation.run(evaluation.modes[0], dataset).queries
    return f"{evaluation.target} on {dataset}, {counted(queries, 'query')}"


def _time(run: EvaluatedRun) -> str:
    return "" if run.milliseconds is None else f"{run.milliseconds:.2f}"
