from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from colbert_qdrant import InvalidTokensError, TokenEmbeddings
from colbert_qdrant.tokens import MAX_VALUES_PER_DOCUMENT

lengths_lists = st.lists(st.integers(1, 9), max_size=12)


def batch_of(lengths: list[int], dim: int = 3) -> tuple[TokenEmbeddings, list[np.ndarray]]:
    matrices = [np.random.default_rng(i).random((length, dim), np.float32) for i, length in enumerate(lengths)]
    return TokenEmbeddings.from_matrices(matrices, dim=dim), matrices


@given(lengths_lists)
def test_iterates_per_text(lengths: list[int]) -> None:
    batch, matrices = batch_of(lengths)
    assert len(batch) == len(lengths)
    for got, expected in zip(batch, matrices, strict=True):
        np.testing.assert_array_equal(got, expected)


@given(lengths_lists, st.integers(-14, 14), st.integers(-14, 14))
def test_slices_as_a_list_does(lengths: list[int], start: int, stop: int) -> None:
    batch, matrices = batch_of(lengths)
    expected = matrices[start:stop]
    sliced = batch[start:stop]
    assert len(sliced) == len(expected)
    for got, matrix in zip(sliced, expected, strict=True):
        np.testing.assert_array_equal(got, matrix)


@given(lengths_lists, st.integers(1, 20))
def test_blocks_cover_every_text_once_within_the_bound(lengths: list[int], max_tokens: int) -> None:
    batch, _ = batch_of(lengths)
    blocks = list(batch.blocks(max_tokens))
    assert [number for start, stop in blocks for number in range(start, stop)] == list(range(len(lengths)))
    assert all(stop - start == 1 or sum(lengths[start:stop]) <= max_tokens for start, stop in blocks)


def test_truncated_flags_go_where_their_texts_go() -> None:
    batch = TokenEmbeddings(np.ones((6, 2)), [1, 2, 3], truncated=[True, False, True])
    assert batch[1:].truncated.tolist() == [False, True]
    assert TokenEmbeddings.concatenate([batch[2:], batch[:2]]).truncated.tolist() == [True, True, False]
    assert pickle.loads(pickle.dumps(batch)).truncated.tolist() == [True, False, True]
    assert copy.deepcopy(batch).truncated.tolist() == [True, False, True]
    assert "truncated=2" in repr(batch)
    assert "truncated" not in repr(batch[1:2])
    assert not TokenEmbeddings(np.ones((6, 2)), [1, 2, 3]).truncated.any()


def test_refuses_flags_for_another_number_of_texts() -> None:
    with pytest.raises(InvalidTokensError, match="there are 2 texts"):
        TokenEmbeddings(np.ones((3, 2)), [1, 2], truncated=[True])


def test_neither_slices_nor_matrices_copy() -> None:
    batch, _ = batch_of([2, 3, 4])
    assert np.shares_memory(batch[1:].values, batch.values)
    assert np.shares_memory(batch[-1], batch.values)


def test_float32_contiguous_input_is_not_copied_and_other_input_is_converted() -> None:
    values = np.ones((4, 2), np.float32)
    assert np.shares_memory(TokenEmbeddings(values, [4]).values, values)
    converted = TokenEmbeddings(np.ones((2, 4)).T, [1, 3]).values
    assert converted.dtype == np.float32
    assert converted.flags.c_contiguous


def test_index_out_of_range_is_an_index_error() -> None:
    batch, _ = batch_of([1, 1])
    with pytest.raises(IndexError):
        batch[2]
    with pytest.raises(InvalidTokensError, match="slice step 2 is not supported: use step 1"):
        batch[::2]


def test_survives_pickling_and_copying() -> None:
    batch, _ = batch_of([2, 1])
    for other in (pickle.loads(pickle.dumps(batch)), copy.deepcopy(batch)):
        np.testing.assert_array_equal(other.values, batch.values)
        assert other.lengths.tolist() == [2, 1]


def test_concatenate_joins_in_order() -> None:
    first, one = batch_of([2, 1])
    second, two = batch_of([3])
    joined = TokenEmbeddings.concatenate([first, second])
    for got, expected in zip(joined, [*one, *two], strict=True):
        np.testing.assert_array_equal(got, expected)
    with pytest.raises(InvalidTokensError, match=r"dims \[3, 2\]"):
        TokenEmbeddings.concatenate([first, TokenEmbeddings(np.ones((1, 2)), [1])])
    with pytest.raises(InvalidTokensError):
        TokenEmbeddings.concatenate([])


@pytest.mark.parametrize(
    ("values", "lengths", "message"),
    [
        (np.ones((3, 2)), [1, 1], "lengths add up to 2 tokens, but there are 3 rows"),
        (np.ones((3, 2)), [3, 0], "text 1 has no tokens"),
        (np.ones((3, 2)), [4, -1], "text 1 has no tokens"),
        (np.ones((3, 0)), [3], r"dim >= 1, got \(3, 0\)"),
        (np.ones(3), [3], r"got \(3,\)"),
        (np.ones((3, 2)), [1.5, 1.5], "list of integers"),
        (np.ones((3, 2)), [[3]], "list of integers"),
        (np.array([[0, 0], [0, np.nan], [0, 0]]), [1, 2], r"text 1 has NaN or infinite values \(row 1"),
        (np.array([[0, 0], [0, 0], [-np.inf, 0]]), [1, 2], r"text 1 has NaN or infinite values \(row 2"),
    ],
)
def test_bad_batches_are_refused(values: np.ndarray, lengths: list[int], message: str) -> None:
    with pytest.raises(InvalidTokensError, match=message):
        TokenEmbeddings(values, lengths)


def test_the_size_limit_is_qdrants_to_the_value() -> None:
    assert MAX_VALUES_PER_DOCUMENT == 2**20 - 1
    TokenEmbeddings(np.ones((2**20 - 1, 1), np.float32), [2**20 - 1])
    TokenEmbeddings(np.ones((8_191, 128), np.float32), [8_191])
    for shape in ((2**20, 1), (8_192, 128)):
        with pytest.raises(InvalidTokensError, match="at most 1,048,575 per document"):
            TokenEmbeddings(np.ones(shape, np.float32), [shape[0]])
    # the limit is a document's, not the batch's
    TokenEmbeddings(np.ones((12_000, 128), np.float32), [6_000, 6_000])


def test_an_empty_batch_keeps_its_dim() -> None:
    empty = TokenEmbeddings.from_matrices([], dim=7)
    assert (len(empty), empty.dim, list(empty)) == (0, 7, [])
    with pytest.raises(InvalidTokensError, match="pass dim="):
        TokenEmbeddings.from_matrices([])


@pytest.mark.parametrize(
    ("matrix", "message"),
    [(np.ones((2, 3)) + 1j, "complex numbers"), (torch.ones(2, 3) + 1j, "complex numbers"),
     (np.ma.masked_greater(np.eye(2, 3), 0.5), "it has masked values")],
)  # fmt: skip
def test_numbers_that_would_be_lost_are_refused(matrix: Any, message: str) -> None:
    with pytest.raises(InvalidTokensError, match=message):
        TokenEmbeddings.from_matrices([matrix])
    assert TokenEmbeddings.from_matrices([np.ma.masked_array(np.ones((2, 3)))]).dim == 3
