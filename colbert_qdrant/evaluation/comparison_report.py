"""Defines the result of a comparison, and formats it as a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from colbert_qdrant.evaluation.tables import Table
from colbert_qdrant.shown import counted


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference of two systems in one metric.

    Attributes:
        dataset: The name of the data set; ``None`` for the mean over the data sets.
        mode: The mode of search, or the two modes.
        metric: The name of the metric.
        queries: The number of queries.
        a: The mean of the first system.
        b: The mean of the second system.
        difference: ``a - b``; positive if the first system is better.
        interval: The 95 % interval of the difference; ``None`` for a single query.
        bootstrap_p: The two-sided p-value of the paired bootstrap; ``None`` for a single query.
        t_test_p: The two-sided p-value of the paired t-test; ``None`` for a single query and for a mean over data sets.
    """

    dataset: str | None
    mode: str
    metric: str
    queries: int
    a: float
    b: float
    difference: float
    interval: tuple[float, float] | None
    bootstrap_p: float | None
    t_test_p: float | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The differences of two systems; ``str()`` formats them as a table.

    Attributes:
        a: The name of the first system.
        b: The name of the second system.
        differences: One for each data set, mode and metric; then one for each mean over the data sets.
        left_out: The modes that only one system has.
    """

    a: str
    b: str
    differences: tuple[Difference, ...]
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        left_out = f"\nnot compared, because only one has it: {', '.join(self.left_out)}" if self.left_out else ""
        return self._table().text() + left_out

    def to_markdown(self) -> str:
        """Return the table in Markdown."""
        return self._table().markdown() + "\n"

    def _repr_markdown_(self) -> str:  # shown by notebooks
        return self.to_markdown()

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        rows = [{**asdict(each), "interval": each.interval and [*each.interval]} for each in self.differences]
        return {"a": self.a, "b": self.b, "differences": rows, "left_out": [*self.left_out]}

    def _table(self) -> Table:
        modes = len({each.mode for each in self.differences}) > 1
        datasets = len({each.dataset for each in self.differences}) > 1
        names = (self.a, self.b) if self.a != self.b else ("a", "b")
        header = ["metric", *names, "difference", "95 % interval", "p, bootstrap", "p, t-test"]
        rows = []
        for each in self.differences:
            places = [each.dataset or "Average"] * datasets + [each.mode] * modes
            interval = "–" if each.interval is None else "[{:+.4f}, {:+.4f}]".format(*each.interval)
            means = [f"{each.a:.4f}", f"{each.b:.4f}", f"{each.difference:+.4f}"]
            rows.append([*places, each.metric, *means, interval, _p(each.bootstrap_p), _p(each.t_test_p)])
        first = self.differences[0]
        title = f"{self.a} − {self.b}" + ("" if datasets else f" on {first.dataset}, {counted(first.queries, 'query')}")
        return Table(title=title, header=["data set"] * datasets + ["mode"] * modes + header, rows=rows)


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"
