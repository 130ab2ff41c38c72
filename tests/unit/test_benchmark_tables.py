"""The tables that benchmarks print: shares with their intervals, and means over collections."""

from __future__ import annotations

import numpy as np
import pytest

from colbert_qdrant import EvaluatedRun, Evaluation
from tests.benchmarks.quality import METRIC, differences, means
from tests.benchmarks.shares import share


def test_a_share_is_the_mean_of_the_shares_of_collections() -> None:
    pairs = [([0.2, 0.4, 0.0], [0.5, 0.5, 0.5]), ([1.0, 0.8], [1.0, 1.0])]
    middle, low, high = share(pairs)
    assert middle == pytest.approx((0.4 + 0.9) / 2)
    assert low < middle < high
    assert share([([0.3, 0.7], [0.3, 0.7])]) == (1, 1, 1)


def test_the_interval_of_a_share_pairs_the_queries() -> None:
    values = np.random.default_rng(0).uniform(0.1, 1, 300)
    paired = share([((0.9 * values).tolist(), values.tolist())])
    assert paired == pytest.approx((0.9, 0.9, 0.9))
    _, low, high = share([((0.9 * np.roll(values, 1)).tolist(), values.tolist())])
    assert high - low > 0.05


def evaluation(dataset: str, **means: float) -> Evaluation:
    runs = [
        EvaluatedRun(dataset=dataset, mode=mode, run=None, values={METRIC: {"a": mean - 0.1, "b": mean + 0.1}})
        for mode, mean in means.items()
    ]
    return Evaluation(target="toy", metrics=(METRIC,), runs=tuple(runs))


def test_means_name_the_worst_collection() -> None:
    first = evaluation("first", exact=0.5, bm25=0.4, blend=0.6)
    second = evaluation("second", exact=0.4, bm25=0.8, blend=0.6)
    title, *rows = means([first, second]).splitlines()
    assert METRIC in title
    exact, bm25, blend = (row.split() for row in rows)
    assert (exact[0], exact[1], exact[4]) == ("exact", "0.450", "1.000")
    assert (bm25[1], bm25[4]) == ("0.600", "1.400")
    assert (blend[1], blend[4]) == ("0.600", "1.350")
    assert exact[-2:] == ["0.500", "(second)"]
    assert blend[-2:] == ["0.750", "(second)"]


def test_differences_are_from_exact_and_bm25() -> None:
    pytest.importorskip("scipy")
    lines = differences(evaluation("first", exact=0.5, bm25=0.4, blend=0.6)).splitlines()
    assert [line.split()[0] for line in lines] == ["exact", "bm25", "blend"]
    assert lines[2].split()[1:] == [
        "−",
        "exact",
        "+0.100",
        "[+0.100,",
        "+0.100]",
        "−",
        "bm25",
        "+0.200",
        "[+0.200,",
        "+0.200]",
    ]
