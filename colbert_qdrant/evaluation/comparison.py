"""Compares two runs, or two evaluations, by pairing their queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.errors import ConfigurationError, MissingExtraError
from colbert_qdrant.evaluation.comparison_report import Comparison, Difference
from colbert_qdrant.evaluation.metrics.evaluated_run import EvaluatedRun
from colbert_qdrant.evaluation.metrics.intervals import SAMPLES, check_draws, drawn_means, interval_of
from colbert_qdrant.evaluation.metrics.measures import same_metric
from colbert_qdrant.evaluation.result import Evaluation
from colbert_qdrant.shown import kind_of, listed, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TINY: Final = 1e-12
"""Differences that are closer than that are equal, because sums of floats differ in their last digits."""


def compare(
    a: EvaluatedRun | Evaluation,
    b: EvaluatedRun | Evaluation,
    *,
    metrics: str | Sequence[str] | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two systems on the same queries: is ``a`` better than ``b``?

    Two evaluations are compared for each data set and mode, and for the mean over the data sets. If each has one mode,
    these are compared, whatever their names.

    - The interval has the middle 95 % of the mean differences, if the queries are drawn with replacement.
    - ``bootstrap_p`` is the two-sided p-value of the paired bootstrap (B. Efron and R. J. Tibshirani, An Introduction
      to the Bootstrap, 1993, section 16.4). The draws are moved to a mean difference of 0. The p-value is the share of
      the draws that are as far from 0 as the difference. The data count as one draw, so that it is never 0.
    - ``t_test_p`` is the two-sided p-value of the paired t-test.

    Many comparisons find differences by chance: of twenty, one has a p-value below 0.05.

    Args:
        a: A run, such as ``evaluation["two-stage"]``, or an evaluation.
        b: The same kind, measured on the same queries.
        metrics: Names of metrics; by default all that both have.
        samples: The number of draws.
        seed: The seed of the draws; equal seeds give equal results.

    Raises:
        ConfigurationError: If there are no common metrics or modes, or the data sets or queries differ.
        MissingExtraError: If scipy is not installed.

    Example:
        >>> values = {"one": [0.2, 0.4, 0.6, 0.5], "two": [0.1, 0.4, 0.5, 0.3]}
        >>> one, two = (
        ...     EvaluatedRun(dataset="small", mode=name, run=None, values={"RR": dict(zip("abcd", of_query))})
        ...     for name, of_query in values.items()
        ... )
        >>> comparison = compare(one, two)
        >>> round(comparison.differences[0].difference, 3)
        0.1
    """
    check_draws(samples, seed)
    if isinstance(a, EvaluatedRun) and isinstance(b, EvaluatedRun):
        differences = tuple(_of_runs(a, b, _metrics(a, b, metrics), samples=samples, seed=(seed, 0))[0])
        return Comparison(a=a.mode, b=b.mode, differences=differences)
    if isinstance(a, Evaluation) and isinstance(b, Evaluation):
        return _of_evaluations(a, b, metrics, samples=samples, seed=seed)
    raise ConfigurationError(
        f"a is {kind_of(a)} and b is {kind_of(b)}: pass two evaluations, or two runs such as evaluation['exact']"
    )


def _of_evaluations(
    a: Evaluation, b: Evaluation, metrics: str | Sequence[str] | None, *, samples: int, seed: int
) -> Comparison:
    if set(a.datasets) != set(b.datasets):
        raise ConfigurationError(
            f"the evaluations have the data sets {shown(a.datasets)} and {shown(b.datasets)}: evaluate both on the "
            "same, and name it equally"
        )
    pairs, left_out = _modes(a, b)
    differences: list[Difference] = []
    for mode_a, mode_b in pairs:
        names = _metrics(a.run(mode_a, a.datasets[0]), b.run(mode_b, a.datasets[0]), metrics)
        draws, found = [], []
        for part, dataset in enumerate(a.datasets):
            rows, drawn = _of_runs(
                a.run(mode_a, dataset), b.run(mode_b, dataset), names, samples=samples, seed=(seed, part)
            )
            found.append(rows)
            draws.append(drawn)
        differences += [row for rows in found for row in rows]
        if len(a.datasets) > 1:
            differences += _means(found, np.mean(draws, axis=0))
    return Comparison(a=a.target, b=b.target, differences=tuple(differences), left_out=left_out)


def _modes(a: Evaluation, b: Evaluation) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """Return the pairs of modes, and the modes that only one evaluation has."""
    if len(a.modes) == len(b.modes) == 1:
        return [(a.modes[0], b.modes[0])], ()
    common = [mode for mode in a.modes if mode in b.modes]
    if not common:
        raise ConfigurationError(
            f"the evaluations have the modes {shown(a.modes)} and {shown(b.modes)}, and none in common: pass two runs, "
            "such as evaluation['exact']"
        )
    return [(mode, mode) for mode in common], tuple(mode for mode in (*a.modes, *b.modes) if mode not in common)


def _metrics(a: EvaluatedRun, b: EvaluatedRun, metrics: str | Sequence[str] | None) -> list[str]:
    if metrics is None:
        common = [name for name in a.values if name in b.values]
        if not common:
            raise ConfigurationError(
                f"a has the metrics {shown([*a.values])} and b has {shown([*b.values])}, and none in common: measure "
                "both with the same metrics"
            )
        return common
    names = [metrics] if isinstance(metrics, str) else listed(metrics)
    if not names:
        raise ConfigurationError(f"metrics must be a name or a list of names, got {shown(metrics)}")
    measured = [name if isinstance(name, str) else shown(name) for name in names]
    return list(dict.fromkeys(same_metric(name, a.values) or name for name in measured))


def _of_runs(
    a: EvaluatedRun, b: EvaluatedRun, metrics: Sequence[str], *, samples: int, seed: tuple[int, int]
) -> tuple[list[Difference], NDArray[np.float64]]:
    """Return the differences of two runs, and the mean differences of the draws ``(samples, metrics)``."""
    if a.dataset != b.dataset:
        raise ConfigurationError(
            f"a is measured on {shown(a.dataset)} and b on {shown(b.dataset)}: measure both on the same data set, "
            "and name it equally"
        )
    values = np.array([[*_paired(a, b, metric)] for metric in metrics])  # metrics, queries, both
    of_queries = (values[..., 0] - values[..., 1]).T
    draws = drawn_means(of_queries, samples=samples, seed=seed)
    mode = a.mode if a.mode == b.mode else f"{a.mode} − {b.mode}"
    differences = [
        _difference(a.dataset, mode, metric, values[number], of_queries[:, number], draws[:, number])
        for number, metric in enumerate(metrics)
    ]
    return differences, draws


def _paired(a: EvaluatedRun, b: EvaluatedRun, metric: str) -> Iterator[tuple[float, float]]:
    first, second = a.of(metric), b.of(metric)
    if first.keys() != second.keys():
        only = [
            f"only {name} has {shown(sorted(found)[:3])}"
            for name, found in (("a", first.keys() - second.keys()), ("b", second.keys() - first.keys()))
            if found
        ]
        raise ConfigurationError(
            f"a and b are measured on different queries of {shown(a.dataset)}: {', and '.join(only)}; evaluate both "
            "with the same judgments"
        )
    return ((first[query], second[query]) for query in first)


def _difference(
    dataset: str,
    mode: str,
    metric: str,
    values: NDArray[np.float64],
    of_queries: NDArray[np.float64],
    draws: NDArray[np.float64],
) -> Difference:
    single = len(of_queries) == 1
    mean_a, mean_b = map(float, values.mean(axis=0))
    return Difference(
        dataset=dataset,
        mode=mode,
        metric=metric,
        queries=len(of_queries),
        a=mean_a,
        b=mean_b,
        difference=float(of_queries.mean()),
        interval=None if single else interval_of(draws),
        bootstrap_p=None if single else _bootstrap_p(float(of_queries.mean()), draws),
        t_test_p=None if single else _t_test_p(values, of_queries),
    )


def _means(found: Sequence[Sequence[Difference]], draws: NDArray[np.float64]) -> Iterator[Difference]:
    """Yield the differences of the means over data sets, whose queries were drawn separately."""
    for number, rows in enumerate(zip(*found, strict=True)):
        difference = float(np.mean([row.difference for row in rows]))
        single = all(row.queries == 1 for row in rows)
        yield Difference(
            dataset=None,
            mode=rows[0].mode,
            metric=rows[0].metric,
            queries=sum(row.queries for row in rows),
            a=float(np.mean([row.a for row in rows])),
            b=float(np.mean([row.b for row in rows])),
            difference=difference,
            interval=None if single else interval_of(draws[:, number]),
            bootstrap_p=None if single else _bootstrap_p(difference, draws[:, number]),
            t_test_p=None,
        )


def _bootstrap_p(difference: float, draws: NDArray[np.float64]) -> float:
    """Return the share of the draws, moved to a mean of 0, that are as far from 0 as the difference."""
    as_far = np.abs(draws - difference) >= abs(difference) - _TINY
    return float((1 + as_far.sum()) / (1 + len(draws)))


def _t_test_p(values: NDArray[np.float64], of_queries: NDArray[np.float64]) -> float:
    try:
        from scipy.stats import ttest_rel  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError("compare needs scipy: pip install 'colbert-qdrant[evaluate]'") from error
    if np.ptp(of_queries) <= _TINY:  # no variance, so the statistic is infinite or 0 / 0
        return 1.0 if abs(of_queries.mean()) <= _TINY else 0.0
    return float(ttest_rel(values[:, 0], values[:, 1]).pvalue)
