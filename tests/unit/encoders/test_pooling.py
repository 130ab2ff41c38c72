"""Token pooling against scipy's clustering, which PyLate and sentence-transformers use."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from colbert_qdrant import ConfigurationError, TokenEmbeddings
from colbert_qdrant.encoders import pooling
from colbert_qdrant.encoders.pooling import pool

FACTORS = st.one_of(st.sampled_from([1, 1.5, 2, 3, 4, 1000]), st.floats(1, 20))


def unit(values: np.ndarray) -> np.ndarray:
    normalised: np.ndarray = values / np.linalg.norm(values, axis=-1, keepdims=True)
    return normalised


def random_batch(lengths: list[int], seed: int = 0, dim: int = 16) -> TokenEmbeddings:
    return TokenEmbeddings(unit(np.random.default_rng(seed).standard_normal((sum(lengths), dim))), lengths)


def clustered(lengths: list[int], seed: int = 0, *, noise: float = 0.05, scale: float = 1) -> TokenEmbeddings:
    """Texts whose tokens are noisy copies of a few words, with the text's own meaning in all of them."""
    random = np.random.default_rng(seed)
    words = unit(random.standard_normal((50, 32)))
    rows = [
        words[random.choice(random.integers(0, 50, max(1, length // 3)), length)]
        + 0.5 * unit(random.standard_normal(32))
        for length in lengths
    ]
    values = np.concatenate(rows) + noise * random.standard_normal((sum(lengths), 32))
    return TokenEmbeddings(scale * unit(values), lengths)


def reference(tokens: np.ndarray, factor: float, protected: int) -> np.ndarray:
    """One text pooled by scipy, the clusters in the order of their first tokens."""
    head, rest = tokens[:protected], tokens[protected:]
    wanted = max(int(len(rest) // factor), 1)
    if wanted >= len(rest):
        return tokens
    distances = np.clip(1 - rest @ rest.T, 0, 2)[np.triu_indices(len(rest), 1)]
    labels = fcluster(linkage(distances, method="ward"), wanted, criterion="maxclust")
    firsts = np.sort(np.unique(labels, return_index=True)[1])
    return np.concatenate([head, [rest[labels == labels[first]].mean(axis=0) for first in firsts]])


def assert_like_reference(batch: TokenEmbeddings, factor: float, protected: int = 1) -> None:
    pooled = pool(batch, factor=factor, protected=protected)
    assert len(pooled) == len(batch)
    for number, (found, tokens) in enumerate(zip(pooled, batch, strict=True)):
        expected = reference(tokens, factor, protected)
        assert found.shape == expected.shape, f"text {number}"
        np.testing.assert_allclose(found, expected, atol=1e-6, err_msg=f"text {number}")


@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), FACTORS, st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_equals_scipy_on_random_tokens(lengths: list[int], factor: float, protected: int, seed: int) -> None:
    assert_like_reference(random_batch(lengths, seed), factor, protected)


@settings(deadline=None, max_examples=150)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), FACTORS, st.integers(0, 4), st.integers(0, 2**32 - 1))
def test_equals_scipy_on_clustered_tokens(lengths: list[int], factor: float, protected: int, seed: int) -> None:
    assert_like_reference(clustered(lengths, seed), factor, protected)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), FACTORS, st.integers(0, 2**32 - 1))
def test_equals_scipy_on_duplicate_tokens(lengths: list[int], factor: float, seed: int) -> None:
    # slightly longer than 1, so that the distances of duplicates are clipped to exactly 0: at length 1 they are 0 or
    # 2**-24 by rounding, and scipy's own rounding decides which merges of theirs are at equal heights
    assert_like_reference(clustered(lengths, seed, noise=0, scale=1.001), factor)


@pytest.mark.parametrize("factor", [1.5, 2, 4, 10_000])
def test_equals_scipy_on_long_texts(factor: float) -> None:
    assert_like_reference(clustered([1500, 700, 20]), factor)
    assert_like_reference(random_batch([1500, 700, 20], dim=128), factor)


@pytest.mark.parametrize("dim", [1, 2, 128])
def test_equals_scipy_in_any_dimension(dim: int) -> None:
    lengths = [1, 2, 3, 5, 8, 60]
    assert_like_reference(random_batch(lengths, dim=dim), 2, 0)


def test_a_small_text_by_hand() -> None:
    batch = TokenEmbeddings([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [1.0, 0.0]], [5])
    np.testing.assert_allclose(pool(batch, factor=2)[0], [[1.0, 0.0], [1.0, 0.0], [0.3, 0.9]], atol=1e-6)
    np.testing.assert_allclose(pool(batch, factor=2.5, protected=0)[0], [[1.0, 0.0], [0.3, 0.9]], atol=1e-6)
    np.testing.assert_allclose(pool(batch, factor=9)[0], [[1.0, 0.0], [0.65, 0.45]], atol=1e-6)


def test_merges_at_the_height_of_the_last_one_are_made_too() -> None:
    pairs = np.repeat(np.eye(8)[::2], 2, axis=0)
    pairs[1::2] = (np.eye(8)[::2] + np.eye(8)[1::2]) / 2
    batch = TokenEmbeddings(pairs, [8])
    assert_like_reference(batch, 1.1, 0)
    np.testing.assert_array_equal(pool(batch, factor=1.1, protected=0)[0], (pairs[::2] + pairs[1::2]) / 2)


def test_duplicates_are_merged_below_the_number_of_clusters_asked_for() -> None:
    batch = TokenEmbeddings(np.eye(3)[[0, 1, 0, 2, 1, 0, 0]], [7])
    np.testing.assert_array_equal(pool(batch, factor=1.1, protected=0)[0], np.eye(3))
    np.testing.assert_array_equal(pool(batch, factor=1.1, protected=2)[0], np.eye(3)[[0, 1, 0, 2, 1]])


def test_many_equal_tokens_do_not_take_long() -> None:
    batch = TokenEmbeddings(np.ones((3000, 4)) / 2, [3000])
    np.testing.assert_array_equal(pool(batch, factor=2)[0], np.ones((2, 4)) / 2)


@pytest.mark.parametrize("protected", [0, 1, 2, 5, 100])
def test_texts_of_few_tokens(protected: int) -> None:
    batch = random_batch([1, 2, 3, 6])
    pooled = pool(batch, factor=1000, protected=protected)
    assert pooled.lengths.tolist() == [min(length, protected + 1) for length in (1, 2, 3, 6)]
    for found, tokens in zip(pooled, batch, strict=True):
        np.testing.assert_array_equal(found[:protected], tokens[:protected])
        if len(found) > protected:
            np.testing.assert_allclose(found[protected], tokens[protected:].mean(axis=0), atol=1e-6)


def test_factor_one_merges_nothing_not_even_duplicates() -> None:
    batch = TokenEmbeddings(np.eye(3)[[0, 1, 0, 2, 1]], [1, 4])
    pooled = pool(batch, factor=1)
    np.testing.assert_array_equal(pooled.values, batch.values)
    np.testing.assert_array_equal(pooled.lengths, batch.lengths)


@pytest.mark.parametrize("factor", [1e9, float("inf"), 10**30])
def test_a_huge_factor_leaves_one_mean(factor: float) -> None:
    batch = random_batch([50])
    expected = [batch[0][0], batch[0][1:].mean(axis=0)]
    np.testing.assert_allclose(pool(batch, factor=factor)[0], expected, atol=1e-6)


@pytest.mark.parametrize(("factor", "kept"), [(1.01, 99), (1.5, 66), (2, 50), (2.5, 40), (3, 33), (7.7, 12)])
def test_how_many_clusters_remain(factor: float, kept: int) -> None:
    assert pool(random_batch([101]), factor=factor).lengths.tolist() == [1 + kept]


@settings(deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), FACTORS, st.integers(1, 5000))
def test_a_text_is_pooled_alike_in_any_batch(lengths: list[int], factor: float, group: int) -> None:
    batch = clustered(lengths)
    alone = TokenEmbeddings.concatenate([pool(batch[i : i + 1], factor=factor) for i in range(len(batch))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pooling, "_GROUP_DISTANCES", group)
        together = pool(batch, factor=factor)
    np.testing.assert_array_equal(together.values, alone.values)
    np.testing.assert_array_equal(together.lengths, alone.lengths)


@pytest.mark.parametrize("factor", [1, 2, 1000])
def test_normalize_applies_to_every_row(factor: float) -> None:
    batch = TokenEmbeddings(3 * random_batch([1, 2, 9, 30]).values, [1, 2, 9, 30])
    before = batch.values.copy()
    pooled = pool(batch, factor=factor, normalize=True)
    np.testing.assert_allclose(np.linalg.norm(pooled.values, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(pooled.values, unit(pool(batch, factor=factor).values), atol=1e-6)
    np.testing.assert_array_equal(batch.values, before)


def test_a_mean_of_zero_stays_zero() -> None:
    pooled = pool(TokenEmbeddings([[1, 0], [-1, 0]], [2]), factor=2, protected=0, normalize=True)
    np.testing.assert_array_equal(pooled.values, [[0, 0]])


def test_nothing_to_pool() -> None:
    pooled = pool(TokenEmbeddings.from_matrices([], dim=8), factor=2)
    assert (len(pooled), pooled.dim) == (0, 8)


def test_products_that_overflow_do_not_hang() -> None:
    values = np.random.default_rng(0).choice([-1e25, 1e25], (9, 8))
    with np.errstate(over="ignore", invalid="ignore"):
        assert pool(TokenEmbeddings(values, [9]), factor=2, protected=0).lengths[0] <= 4


def test_memory_is_bounded_by_groups_of_texts() -> None:
    batch = random_batch([100] * 1000, dim=8)  # all distances at once would take 80 MB
    tracemalloc.start()
    pool(batch, factor=1.02)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * pooling._GROUP_DISTANCES * 1.5


@pytest.mark.parametrize("factor", [0.99, 0, -2, float("nan"), float("-inf")])
def test_a_bad_factor_is_refused(factor: float) -> None:
    with pytest.raises(ConfigurationError, match=f"factor must be at least 1, got {factor}"):
        pool(random_batch([3]), factor=factor)


def test_a_negative_number_of_protected_tokens_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="protected must be at least 0, got -1"):
        pool(random_batch([3]), factor=2, protected=-1)
