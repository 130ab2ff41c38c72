"""Intervals and p-values are those of scipy, and pairs are of the same queries."""

from __future__ import annotations

import json
import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy.stats import bootstrap, permutation_test, ttest_rel

from colbert_qdrant import EvaluatedRun, Evaluation, Run, compare, evaluate
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.evaluation import RetrievalDataset
from colbert_qdrant.evaluation.metrics.intervals import mean_interval, mean_of_means_interval

if TYPE_CHECKING:
    from collections.abc import Iterable

RANDOM = np.random.default_rng(7)
HARD = RANDOM.beta(0.5, 0.8, 60)
BETTER = np.clip(HARD + RANDOM.normal(0.05, 0.15, 60), 0, 1)


def run_of(values: Iterable[float], mode: str = "exact", dataset: str = "small", metric: str = "RR@10") -> EvaluatedRun:
    by_query = {f"q{number}": float(value) for number, value in enumerate(values)}
    return EvaluatedRun(dataset=dataset, mode=mode, run=None, values={metric: by_query})


def evaluation_of(*runs: EvaluatedRun, target: str = "mine") -> Evaluation:
    return Evaluation(target=target, metrics=tuple(runs[0].values), runs=runs)


def test_intervals_are_those_of_scipy() -> None:
    theirs = bootstrap((HARD,), np.mean, method="percentile", n_resamples=10_000, rng=1).confidence_interval
    assert mean_interval(HARD) == pytest.approx((theirs.low, theirs.high), abs=0.005)
    wide = bootstrap((HARD,), np.mean, method="percentile", confidence_level=0.99, rng=1).confidence_interval
    assert mean_interval(HARD, confidence=0.99) == pytest.approx((wide.low, wide.high), abs=0.01)
    assert mean_interval(HARD) == mean_interval(HARD)
    assert mean_interval(HARD) != mean_interval(HARD, seed=1)
    assert mean_interval([0.5]) is None
    assert mean_interval([0.5, 0.5]) == (0.5, 0.5)


def test_the_queries_of_each_data_set_are_drawn_separately() -> None:
    other = RANDOM.random(20)
    deviation = math.sqrt(HARD.var() / 60 + other.var() / 20) / 2  # of the mean of two independent means
    interval = mean_of_means_interval([HARD, other])
    assert interval is not None
    middle = (HARD.mean() + other.mean()) / 2
    assert interval == pytest.approx((middle - 1.96 * deviation, middle + 1.96 * deviation), abs=0.01)


def test_differences_are_those_of_scipy() -> None:
    (row,) = compare(run_of(BETTER, "new"), run_of(HARD, "old")).differences
    pairs = BETTER - HARD
    theirs = bootstrap((pairs,), np.mean, method="percentile", n_resamples=10_000, rng=1).confidence_interval
    assert (row.a, row.b, row.difference) == pytest.approx((BETTER.mean(), HARD.mean(), pairs.mean()))
    assert row.interval == pytest.approx((theirs.low, theirs.high), abs=0.003)
    assert row.t_test_p == pytest.approx(ttest_rel(BETTER, HARD).pvalue)
    signs = permutation_test((BETTER, HARD), lambda x, y: np.mean(x - y), permutation_type="samples", rng=1)
    assert row.bootstrap_p == pytest.approx(signs.pvalue, abs=0.01)
    assert (row.queries, row.mode, row.metric, row.dataset) == (60, "new − old", "RR@10", "small")


def test_p_values_by_hand() -> None:
    (row,) = compare(run_of([3, 4, 5, 6, 9]), run_of([1, 1, 3, 4, 4])).differences
    # the differences 2 3 2 2 5 have the mean 2.8 and the variance 1.7, so t = 2.8 / sqrt(1.7 / 5) = 4.80 with 4 degrees
    assert row.t_test_p == pytest.approx(0.00866, abs=5e-5)
    draws = np.array(np.meshgrid(*[np.array([2, 3, 2, 2, 5]) - 2.8] * 5)).reshape(5, -1).mean(axis=0)  # all 5 ** 5
    assert row.bootstrap_p == pytest.approx(np.mean(np.abs(draws) >= 2.8), abs=0.003)


def test_p_values_without_an_effect_are_uniform() -> None:
    random = np.random.default_rng(0)
    noise = [compare(run_of(random.random(40)), run_of(random.random(40)), samples=500) for _ in range(200)]
    p_values = [each.differences[0].bootstrap_p or 0.0 for each in noise]
    assert np.quantile(p_values, [0.1, 0.5, 0.9]) == pytest.approx([0.1, 0.5, 0.9], abs=0.12)


def test_equal_runs_are_no_different() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (row,) = compare(run_of(HARD), run_of(HARD)).differences
        assert (row.difference, row.interval, row.bootstrap_p, row.t_test_p) == (0, (0, 0), 1, 1)
        (row,) = compare(run_of(HARD + 0.1), run_of(HARD)).differences
        assert row.t_test_p == 0
        assert row.bootstrap_p == pytest.approx(1e-4, rel=0.01)


def test_a_single_query_has_no_interval() -> None:
    comparison = compare(run_of([1.0], "new"), run_of([0.5], "old"))
    (row,) = comparison.differences
    assert (row.difference, row.interval, row.bootstrap_p, row.t_test_p) == (0.5, None, None, None)
    assert str(comparison).startswith("new − old on small, 1 query\n")
    assert str(comparison).splitlines()[-1].split() == ["RR@10", "1.0000", "0.5000", "+0.5000", "–", "–", "–"]
    assert run_of([1.0]).interval("RR@10") is None
    assert evaluation_of(run_of([1.0])).to_dict()["runs"][0]["intervals"] == {"RR@10": None}


def test_evaluations_are_compared_by_mode_and_data_set() -> None:
    runs = [run_of(values, mode, dataset) for dataset, values in (("one", HARD), ("two", HARD[:30])) for mode in "ef"]
    others = [run_of(run.of("RR@10").values(), run.mode, run.dataset) for run in runs]
    better = [run_of(np.array([*run.of("RR@10").values()]) + 0.1, run.mode, run.dataset) for run in others]
    comparison = compare(
        evaluation_of(*better, run_of(HARD, "bm25", "one"), run_of(HARD[:30], "bm25", "two")),
        evaluation_of(*others, target="theirs"),
    )
    assert [(row.mode, row.dataset) for row in comparison.differences] == [
        (mode, dataset) for mode in "ef" for dataset in ("one", "two", None)
    ]
    assert [row.difference for row in comparison.differences] == pytest.approx([0.1] * 6)
    mean = comparison.differences[2]
    assert mean.b == pytest.approx((HARD.mean() + HARD[:30].mean()) / 2)
    assert (mean.queries, mean.t_test_p) == (90, None)
    assert comparison.left_out == ("bm25",)
    assert str(comparison).splitlines()[1].split()[:4] == ["data", "set", "mode", "metric"]
    assert str(comparison).endswith("not compared, because only one has it: bm25")
    assert json.loads(json.dumps(comparison.to_dict(), allow_nan=False))["differences"][2]["dataset"] is None
    assert comparison.to_markdown().splitlines()[2].startswith("| data set | mode | metric | mine | theirs |")


def test_run_files_of_two_systems_are_compared() -> None:
    dataset = RetrievalDataset(name="small", queries={"1": "Who?", "2": "When?"}, qrels={"1": {"a": 1}, "2": {"b": 1}})
    first = Run(name="first", hits={"1": {"a": 2.0, "b": 1.0}, "2": {"b": 2.0}})
    second = Run(name="second", hits={"1": {"a": 1.0, "b": 2.0}})
    comparison = compare(*(evaluate(run, dataset, metrics=["RR@10", "R@1"]) for run in (first, second)))
    assert [(row.metric, row.a, row.b) for row in comparison.differences] == [("RR@10", 1.0, 0.25), ("R@1", 1.0, 0.0)]
    assert str(comparison).startswith("first − second on small, 2 queries\n")


def test_metrics_are_found_by_any_name() -> None:
    run = run_of(HARD, metric="Precision@1")
    assert run.mean("P@1") == run.mean("maxsim_precision@1") == run.mean("Precision@1")
    (row,) = compare(run, run_of(HARD, metric="P@1"), metrics="p@1").differences
    assert (row.metric, row.difference) == ("Precision@1", 0)
    with pytest.raises(ConfigurationError, match="metric 'P@2' was not measured: use one of 'Precision@1'"):
        run.mean("P@2")
    with pytest.raises(ConfigurationError, match="was not measured: use one of 'Precision@1'"):
        run.interval("nonsense")


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        (run_of(HARD), run_of(HARD[:58]), {}, r"different queries of 'small': only a has \['q58', 'q59'\]; evaluate"),
        (run_of(HARD), run_of(HARD, dataset="big"), {}, "a is measured on 'small' and b on 'big'"),
        (run_of(HARD), run_of(HARD, metric="R@5"), {}, "none in common: measure both with the same metrics"),
        (run_of(HARD), run_of(HARD), {"metrics": "R@5"}, "metric 'R@5' was not measured"),
        (run_of(HARD), run_of(HARD), {"metrics": []}, "metrics must be a name or a list of names"),
        (run_of(HARD), run_of(HARD), {"samples": 0}, "samples must be between 1 and 1000000, got 0"),
        (run_of(HARD), run_of(HARD), {"seed": -1}, "seed must be at least 0, got -1"),
        (run_of(HARD), evaluation_of(run_of(HARD)), {}, "a is an EvaluatedRun and b is an Evaluation: pass two"),
        (evaluation_of(run_of(HARD)), evaluation_of(run_of(HARD, dataset="big")), {}, "evaluate both on the same"),
        (
            evaluation_of(run_of(HARD, "e"), run_of(HARD, "f")),
            evaluation_of(run_of(HARD, "g")),
            {},
            "none in common: pass two runs",
        ),
    ],
)
def test_systems_that_cannot_be_paired(a: Any, b: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        compare(a, b, **options)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"values": None}, "values must be a dict of values by query id, for each metric"),
        ({"values": {}}, "values are empty: pass at least one metric"),
        ({"values": {"RR": [1.0]}}, r"values\['RR'\] must be a dict of values by query id"),
        ({"values": {"RR": {}}}, r"values\['RR'\] must be a finite number for each query, got {}"),
        ({"values": {"RR": {"q": math.nan}}}, r"values\['RR'\] must be a finite number for each query"),
        ({"values": {"RR": {"q": "1"}}}, r"values\['RR'\] must be a finite number for each query"),
        ({"values": {"RR": {"q": 1.0}, "AP": {"r": 1.0}}}, r"values\['AP'\] has other queries than the other metrics"),
        ({"run": {"q": {"d": 1.0}}}, "run must be a Run"),
        ({"milliseconds": "1"}, "milliseconds must be a number of at least 0"),
    ],
)
def test_wrong_runs_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        EvaluatedRun(**{"dataset": "small", "mode": "exact", "run": None, "values": {"RR": {"q": 1.0}}} | fields)


@pytest.mark.parametrize("values", [[], ["a"], 5, [math.nan], [[0.5]]])
def test_values_that_have_no_mean(values: Any) -> None:
    with pytest.raises(ConfigurationError, match="values must be finite numbers, at least one"):
        mean_interval(values)
