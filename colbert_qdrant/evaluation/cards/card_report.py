"""Defines the report that shows measured figures beside those of a model card, and formats it as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from colbert_qdrant.config.checks import require_instance
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.evaluation.cards.published import (
    BEIR,
    BEIR_METRIC,
    BEIR_SETS,
    BEIR_TITLES,
    MODELS,
    NANO_METRICS,
    SOURCE,
    last_part,
)
from colbert_qdrant.evaluation.tables import Table
from colbert_qdrant.search.options import SearchMode
from colbert_qdrant.shown import counted, shown

AVERAGE: Final = "average"
"""The name of the mean over all measured data sets of BEIR, or of NanoBEIR."""


@dataclass(frozen=True, kw_only=True)
class CardFigure:
    """A measured figure beside the published one.

    Attributes:
        table: ``"BEIR"`` or ``"NanoBEIR"``.
        dataset: The name of the data set, or ``"average"``.
        mode: The mode of search.
        metric: The name of the metric.
        measured: The measured value.
        published: The value in the model card; ``None`` if the card lacks it.
        interval: The 95 % interval of the measured value; ``None`` for a single query.
    """

    table: str
    dataset: str
    mode: SearchMode
    metric: str
    measured: float
    published: float | None
    interval: tuple[float, float] | None = None

    @property
    def difference(self) -> float | None:
        """The measured value minus the published one."""
        return None if self.published is None else self.measured - self.published

    @property
    def within(self) -> bool | None:
        """Whether the published value lies in the interval of the measured one; ``None`` without either."""
        if self.published is None or self.interval is None:
            return None
        low, high = self.interval
        return low <= self.published <= high


@dataclass(frozen=True, kw_only=True, eq=False)
class CardReport:
    """Measured figures of a model beside those of a model card; ``str()`` formats them as the card's tables.

    Attributes:
        model: The name or the folder of the model.
        label: The card's name of the model; ``None`` if the card has no figures for it.
        figures: The figures, in the order of the tables.
        conditions: Sentences on how they were measured, and on differences from the card.
    """

    model: str
    label: str | None
    figures: tuple[CardFigure, ...]
    conditions: tuple[str, ...]

    def figure(self, dataset: str, *, mode: SearchMode = "exact", metric: str = BEIR_METRIC) -> CardFigure:
        """Return the figure of a data set, or of the ``"average"``.

        Raises:
            ConfigurationError: If there is no such figure.
        """
        for name, value in (("dataset", dataset), ("mode", mode), ("metric", metric)):
            require_instance(name, value, str, "a name in the tables")
        for each in self.figures:
            if (each.dataset, each.mode, each.metric) == (dataset, mode, metric):
                return each
        known = dict.fromkeys(f"{each.metric} of {each.mode!r} on {each.dataset!r}" for each in self.figures)
        raise ConfigurationError(
            f"there is no figure {shown(metric)} of {shown(mode)} on {shown(dataset)}: use one of {', '.join(known)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all figures as JSON values, with their source."""
        return {
            "model": self.model,
            "label": self.label,
            "source": SOURCE,
            "figures": [
                {**asdict(each), "difference": each.difference, "within": each.within} for each in self.figures
            ],
            "conditions": list(self.conditions),
        }

    def to_markdown(self) -> str:
        """Format the report in Markdown."""
        return "\n\n".join([*(table.markdown() for table in self._tables()), self._notes("- ")]) + "\n"

    def _repr_markdown_(self) -> str:  # shown by notebooks
        return self.to_markdown()

    def __str__(self) -> str:
        return "\n\n".join([*(table.text() for table in self._tables()), self._notes("")])

    def _notes(self, bullet: str) -> str:
        return "\n".join(bullet + each for each in self.conditions)

    def _tables(self) -> Iterator[Table]:
        for mode in BEIR_TITLES:
            figures = [each for each in self.figures if each.table == "BEIR" and each.mode == mode]
            if figures:
                yield self._beir_table(mode, figures)
        nano = [each for each in self.figures if each.table == "NanoBEIR"]
        for name in dict.fromkeys(each.dataset for each in nano):
            yield _nano_table(
                name, [each for each in nano if each.dataset == name], sets=len(nano) // len(NANO_METRICS)
            )

    def _beir_table(self, mode: SearchMode, figures: Sequence[CardFigure]) -> Table:
        rows = []
        names = [each.dataset for each in figures]
        for model in MODELS:
            published = [published_beir(mode, model.label, name, names) for name in names]
            if model.label == self.label or any(value is not None for value in published):
                rows.append([model.label, model.parameters, *map(_value, published)])
            if model.label == self.label:
                rows += _measured_rows("  measured here", figures)
        if self.label is None:
            rows += _measured_rows(last_part(self.model), figures)
        return Table(
            title=f"{BEIR_TITLES[mode]}: nDCG@10 of mode={mode!r}",
            header=["model", "parameters", *names],
            rows=rows,
        )


def published_beir(mode: SearchMode, label: str | None, dataset: str, measured: Sequence[str]) -> float | None:
    """Return the card's nDCG@10 on a data set, or the average over the measured sets; ``None`` without a figure."""
    values = dict(zip(BEIR_SETS, BEIR[mode].get(label or "", ()), strict=False))
    if dataset != AVERAGE:
        return values.get(dataset)
    return mean([values.get(name) for name in measured if name != AVERAGE])


def mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of values; ``None`` if one is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _measured_rows(label: str, figures: Sequence[CardFigure]) -> list[list[str]]:
    rows = [[label, "", *(_value(each.measured) for each in figures)]]
    if any(each.published is not None for each in figures):
        rows.append(["  difference", "", *(_difference(each) for each in figures)])
    rows.append(["  95 % interval", "", *(_interval(each) for each in figures)])
    if any(each.within is not None for each in figures):
        rows.append(["  published is within", "", *(_within(each) for each in figures)])
    return rows


def _nano_table(name: str, figures: Sequence[CardFigure], *, sets: int) -> Table:
    title = f"Mean of {counted(sets - 1, 'data set')} of NanoBEIR" if name == AVERAGE else name
    if all(each.published is None for each in figures):
        return Table(
            title=title,
            header=["metric", "measured", "95 % interval"],
            rows=[[each.metric, _value(each.measured), _interval(each)] for each in figures],
        )
    return Table(
        title=title,
        header=["metric", "published", "measured", "difference", "95 % interval", "published is within"],
        rows=[
            [
                each.metric,
                _value(each.published),
                _value(each.measured),
                _difference(each),
                _interval(each),
                _within(each),
            ]
            for each in figures
        ],
    )


def _value(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _difference(figure: CardFigure) -> str:
    return "–" if figure.difference is None else f"{figure.difference:+.4f}"


def _interval(figure: CardFigure) -> str:
    return "" if figure.interval is None else "[{:.3f}, {:.3f}]".format(*figure.interval)


def _within(figure: CardFigure) -> str:
    return "" if figure.within is None else ("yes" if figure.within else "no")
