"""Formats evaluations as tables, in text and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from colbert_qdrant.shown import counted

if TYPE_CHECKING:
    from colbert_qdrant.evaluation.result import EvaluatedRun, Evaluation

_MOST_METRICS: Final = 3
"""The number of metrics that are columns beside each other; more metrics are rows."""

_MOST_DATASETS: Final = 6
"""The number of data sets that are columns beside each other; more data sets are rows."""

_EXACT: Final = "exact"


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
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
            for row in (self.header, *self.rows)
        ]
        return "\n".join([self.title, *lines])

    def markdown(self) -> str:
        """Format the table in Markdown."""
        rows = [self.header, ["---", *["---:"] * (len(self.header) - 1)], *self.rows]
        lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
        return "\n".join([f"{self.title}:", "", *lines])


def tables(evaluation: Evaluation, *, details: bool) -> Iterator[Table]:
    """Yield the tables of an evaluation.

    One data set has one table, with intervals for few metrics. Several data sets have one table for each of few
    metrics. Many metrics have a table of means, a table of the data sets, and with ``details`` one for each of them.
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


def _modes(evaluation: Evaluation, dataset: str) -> Table:
    """One row for each mode, with intervals."""

    def cell(run: EvaluatedRun, metric: str) -> str:
        low, high = run.interval(metric)
        return f"{_value(evaluation, run.mode, metric, dataset)}  [{low:.3f}, {high:.3f}]"

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


def _metrics(evaluation: Evaluation, dataset: str | None) -> Table:
    """One row for each metric of a data set, or of the means over all data sets."""
    modes = evaluation.modes
    return Table(
        title=_title(evaluation, dataset),
        header=["", *modes],
        rows=[
            [metric, *(_value(evaluation, mode, metric, dataset) for mode in modes)] for metric in evaluation.metrics
        ],
    )


def _datasets(evaluation: Evaluation, metric: str) -> Table:
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


def _value(evaluation: Evaluation, mode: str, metric: str, dataset: str | None) -> str:
    """Return a mean, and its share of exact search."""
    value = evaluation.mean(metric, mode, dataset)
    if mode == _EXACT or _EXACT not in evaluation.modes:
        return f"{value:.4f}"
    exact = evaluation.mean(metric, _EXACT, dataset)
    return f"{value:.4f} ({value / exact:.3f} ×)" if exact else f"{value:.4f}"


def _title(evaluation: Evaluation, dataset: str | None) -> str:
    if dataset is None:
        return f"{evaluation.target}, mean of {counted(len(evaluation.datasets), 'data set')}"
    queries = counted(evaluation.run(evaluation.modes[0], dataset).queries, "quer").replace("quers", "queries")
    return f"{evaluation.target} on {dataset}, {queries}"


def _time(run: EvaluatedRun) -> str:
    return "" if run.milliseconds is None else f"{run.milliseconds:.2f}"
