"""BM25's weights, and the counts that they were computed from."""

from __future__ import annotations

import numpy as np
import pytest

from colbert_qdrant import Bm25Config
from colbert_qdrant.encoders.bm25_weights import counts_of, same_weights, weights_of

edge = pytest.importorskip("qdrant_edge")


def counts(size: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.minimum(random.zipf(1.7, size), 500).astype(float)


@pytest.mark.parametrize(
    ("k", "b", "avg_len"), [(1.2, 0.75, 256.0), (0.9, 0.4, 30.5), (2.0, 1.0, 8.0), (1.2, 0.0, 5.0)]
)
def test_weights_are_those_of_the_engine(k: float, b: float, avg_len: float) -> None:
    text = "kelp copper kelp falcon kelp basalt copper " * 3
    model = edge.Bm25(edge.Bm25Config(k=k, b=b, avg_len=avg_len))
    weights = weights_of(np.array([9.0, 6.0, 3.0, 3.0]), Bm25Config(k=k, b=b), avg_len)
    assert sorted(weights) == pytest.approx(sorted(model.embed_document(text).values), rel=1e-6)


@pytest.mark.parametrize(("k", "b"), [(1.2, 0.75), (0.9, 0.4), (2.0, 1.0), (1.2, 0.0)])
def test_counts_follow_from_weights(k: float, b: float) -> None:
    config = Bm25Config(k=k, b=b)
    for seed in range(200):
        expected = counts(1 + seed * 2, seed)
        expected /= np.gcd.reduce(expected.astype(int))
        weights = weights_of(expected, config, 20.0 + seed)
        found = counts_of(weights, config, [])
        assert found is not None
        assert found.tolist() == expected.tolist()


def test_a_common_divisor_follows_from_the_average_length() -> None:
    config = Bm25Config()
    for expected in ([2.0, 2.0, 4.0], [5.0], [6.0, 9.0]):
        weights = weights_of(np.array(expected), config, 120.0)
        found = counts_of(weights, config, [47.0, 120.0])
        assert found is not None
        assert found.tolist() == expected
        assert same_weights(weights_of(found, config, 120.0), weights)
        assert not same_weights(weights_of(found, config, 47.0), weights)


@pytest.mark.parametrize(
    "weights", [[], [0.0, 1.0], [2.2, 1.0], [3.0], [-1.0, 0.5], [1.0, 1.1, 1.2345], [float("nan")]]
)
def test_other_vectors_have_no_counts(weights: list[float]) -> None:
    assert counts_of(np.array(weights, np.float32), Bm25Config(), [256.0]) is None
