from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colbert_qdrant import ConfigurationError, InvalidTokensError, TokenEmbeddings, maxsim
from colbert_qdrant.scoring import maxsim as scoring

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Score = Callable[[TokenEmbeddings, TokenEmbeddings], NDArray[np.float32]]

lengths_lists = st.lists(st.integers(1, 9), min_size=1, max_size=8)
blocks = st.integers(1, 30)


def batch(lengths: list[int], seed: int, *, shift: float = 0.0) -> TokenEmbeddings:
    return TokenEmbeddings(np.random.default_rng(seed).standard_normal((sum(lengths), 4)) + shift, lengths)


def by_definition(queries: TokenEmbeddings, documents: TokenEmbeddings) -> list[list[float]]:
    return [
        [sum(max(float(np.dot(x, y)) for y in document) for x in query) for document in documents] for query in queries
    ]


def in_torch(queries: TokenEmbeddings, documents: TokenEmbeddings) -> NDArray[np.float32]:
    return scoring._score_in_blocks(queries, documents, partial(scoring._torch_matcher, device="cpu"))


@pytest.mark.parametrize("score", [maxsim, in_torch])
@settings(deadline=None)
@given(query_lengths=lengths_lists, lengths=lengths_lists, block=blocks, query_block=blocks, shift=st.floats(-3, 3))
def test_equals_the_definition_in_any_block_sizes(
    score: Score, query_lengths: list[int], lengths: list[int], block: int, query_block: int, shift: float
) -> None:
    queries, documents = batch(query_lengths, 0), batch(lengths, 1, shift=shift)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "_BLOCK_TOKENS", block)
        patch.setattr(scoring, "_QUERY_TOKENS", query_block)
        np.testing.assert_allclose(score(queries, documents), by_definition(queries, documents), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("score", [maxsim, in_torch])
def test_a_best_match_that_is_negative_counts_as_it_is(score: Score) -> None:
    queries = TokenEmbeddings([[1, 0], [1, 1]], [1, 1])
    documents = TokenEmbeddings([[-1, 0], [-3, 0], [-2, -2], [-4, 0]], [1, 3])
    assert score(queries, documents).tolist() == [[-1.0, -2.0], [-1.0, -3.0]]


@pytest.mark.parametrize("query_lengths", [[32] * 40, [3_000], [1] * 1_000])
@pytest.mark.parametrize("lengths", [[1] * 40_000, [5_000] * 8])
def test_similarities_are_bounded_on_both_sides(query_lengths: list[int], lengths: list[int]) -> None:
    widest = 0

    def watched(documents: TokenEmbeddings) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
        best_matches = scoring._numpy_matcher(documents)

        def measured(tokens: NDArray[np.float32]) -> NDArray[np.float32]:
            nonlocal widest
            widest = max(widest, len(tokens) * len(documents.values))
            return best_matches(tokens)

        return measured

    queries, documents = batch(query_lengths, 0), batch(lengths, 1)
    scoring._score_in_blocks(queries, documents, watched)
    limit = scoring._QUERY_TOKENS * scoring._BLOCK_TOKENS
    assert widest <= max(limit, max(query_lengths) * max(lengths))


def test_no_queries_or_no_documents_give_an_empty_table() -> None:
    none, some = TokenEmbeddings.from_matrices([], dim=4), batch([2, 3], 0)
    assert maxsim(none, some).shape == (0, 2)
    assert maxsim(some, none).shape == (2, 0)


def test_dimensions_must_agree() -> None:
    with pytest.raises(InvalidTokensError, match="queries have 4 dimensions and documents 3"):
        maxsim(batch([1], 0), TokenEmbeddings(np.ones((1, 3)), [1]))


def test_cpu_is_the_default_to_the_last_bit() -> None:
    queries, documents = batch([5, 2], 0), batch([1, 7, 3], 1)
    assert maxsim(queries, documents, device="cpu").tobytes() == maxsim(queries, documents).tobytes()


def test_read_only_tokens_are_scored_in_torch() -> None:
    documents = batch([2, 3], 0)
    documents.values.flags.writeable = False
    np.testing.assert_allclose(in_torch(documents, documents), maxsim(documents, documents), rtol=1e-5)


@pytest.mark.parametrize("device", ["warp", "cuda:99", "meta", "", "cuda-0"])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    with pytest.raises(ConfigurationError, match=f"torch cannot use device '{device}' .*omit device"):
        maxsim(batch([1], 0), batch([1], 1), device=device)
