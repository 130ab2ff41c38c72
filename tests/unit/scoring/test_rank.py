from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from colbert_qdrant import ConfigurationError, InvalidTokensError, TokenEmbeddings, rank

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DIM = 3
lengths_lists = st.lists(st.integers(1, 6), max_size=6)


def matrix(length: int, random: np.random.Generator) -> np.ndarray:
    """Small whole numbers: scores have no rounding, ties are many, and half the best matches are negative."""
    values = random.integers(-3, 3, (length, DIM)).astype(np.float32)
    values[-1, 0] = 1  # the last row is no padding
    return values


def by_definition(query: np.ndarray, document: np.ndarray) -> float:
    return sum(max(float(np.dot(x, y)) for y in document) for x in query)


def expected(ids: Sequence[Any], query: np.ndarray, documents: list[np.ndarray]) -> list[dict[str, Any]]:
    results = [{"id": id, "score": by_definition(query, document)} for id, document in zip(ids, documents, strict=True)]
    return sorted(results, key=lambda result: -result["score"])


def tokens(matrices: list[np.ndarray]) -> Any:
    return TokenEmbeddings.from_matrices(matrices, dim=DIM)


FORMS: dict[str, Callable[[list[np.ndarray]], Any]] = {
    "arrays": list,
    "float64": lambda matrices: [m.astype(np.float64) for m in matrices],
    "float16": lambda matrices: [m.astype(np.float16) for m in matrices],
    "tuple": tuple,
    "lists": lambda matrices: [m.tolist() for m in matrices],
    "lists of arrays": lambda matrices: [list(m) for m in matrices],
    "tensors": lambda matrices: [torch.from_numpy(m) for m in matrices],
    "bfloat16": lambda matrices: [torch.from_numpy(m).bfloat16() for m in matrices],
    "half": lambda matrices: [torch.from_numpy(m).half() for m in matrices],
    "with gradient": lambda matrices: [torch.from_numpy(m).requires_grad_() for m in matrices],
    "lists of tensors": lambda matrices: [list(torch.from_numpy(m)) for m in matrices],
    "tokens": tokens,
}
STACKED: dict[str, Callable[[list[np.ndarray]], Any]] = {
    "array": np.stack,
    "tensor": lambda matrices: torch.from_numpy(np.stack(matrices)),
    "bfloat16": lambda matrices: torch.from_numpy(np.stack(matrices)).bfloat16(),
}


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None, max_examples=25)
@given(query_lengths=st.lists(st.integers(1, 6), max_size=4), data=st.data())
def test_ranks_by_the_definition_whatever_holds_the_embeddings(
    form: str, query_lengths: list[int], data: st.DataObject
) -> None:
    random = np.random.default_rng(0)
    queries = [matrix(length, random) for length in query_lengths]
    documents = [[matrix(length, random) for length in data.draw(lengths_lists)] for _ in queries]
    ids = [list(range(100, 100 + len(candidates))) for candidates in documents]
    found = rank.rerank(ids, FORMS[form](queries), [FORMS[form](candidates) for candidates in documents])
    assert found == [expected(*each) for each in zip(ids, queries, documents, strict=True)]
    assert all(type(result["score"]) is float for results in found for result in results)


@pytest.mark.parametrize("stack", STACKED)
def test_takes_arrays_of_three_and_four_dimensions(stack: str) -> None:
    random = np.random.default_rng(0)
    queries = [matrix(4, random) for _ in range(2)]
    documents = [[matrix(5, random) for _ in range(3)] for _ in queries]
    ids = [["a", "b", "c"], ["d", "e", "f"]]
    want = [expected(*each) for each in zip(ids, queries, documents, strict=True)]
    lists = [STACKED[stack](candidates) for candidates in documents]
    assert rank.rerank(ids, STACKED[stack](queries), lists) == want
    assert rank.rerank(ids, STACKED[stack](queries), STACKED[stack]([np.stack(each) for each in documents])) == want


def test_one_query_may_be_a_matrix() -> None:
    query, documents = np.eye(3), [np.eye(3), 2 * np.eye(3)]
    for form in (query, torch.from_numpy(query)):
        found = rank.rerank([["x", "y"]], form, [documents])
        assert found == [[{"id": "y", "score": 6.0}, {"id": "x", "score": 3.0}]]


def test_names_and_order_of_parameters_are_pylate_s() -> None:
    ids, queries, documents = [[1, 2]], [np.eye(2)], [[np.eye(2), -np.eye(2)]]
    named = rank.rerank(documents_ids=ids, queries_embeddings=queries, documents_embeddings=documents, device="cpu")
    assert named == rank.rerank(ids, queries, documents, None) == [[{"id": 1, "score": 2.0}, {"id": 2, "score": 0.0}]]


def test_ids_come_back_as_they_are_and_ties_in_the_order_given() -> None:
    ids = [UUID(int=1), "a", 1, "1", ("t", 1), None]
    found = rank.rerank([ids], np.eye(2), [[np.eye(2)] * len(ids)])
    assert [result["id"] for result in found[0]] == ids


def test_no_candidates_and_no_queries_give_empty_lists() -> None:
    assert rank.rerank([[], ["a"]], [np.eye(2)] * 2, [[], [np.eye(2)]]) == [[], [{"id": "a", "score": 2.0}]]
    assert rank.rerank([], [], []) == []


def test_a_score_does_not_depend_on_the_other_candidates() -> None:
    """PyLate pads the shorter document with a zero vector here, and scores it 0 instead of −1."""
    query, short, long = np.array([[1.0, 0.0]]), np.array([[-1.0, 0.0]]), np.array([[-2.0, 0.0], [-3.0, 0.0]])
    found = rank.rerank([["long", "short"]], query, [[long, short]])
    assert found == [[{"id": "short", "score": -1.0}, {"id": "long", "score": -2.0}]]
    assert rank.rerank([["short"]], query, [[short]])[0] == found[0][:1]


@pytest.mark.parametrize("stack", STACKED)
@settings(deadline=None, max_examples=25)
@given(lengths=st.lists(st.integers(1, 6), min_size=1, max_size=6))
def test_zero_rows_that_pad_documents_and_queries_change_nothing(stack: str, lengths: list[int]) -> None:
    random = np.random.default_rng(1)
    documents, query = [matrix(length, random) for length in lengths], matrix(4, random)
    ids = list(range(len(documents)))
    padded = [np.concatenate([m, np.zeros((8 - len(m), DIM), np.float32)]) for m in documents]
    padded_query = np.concatenate([query, np.zeros((3, DIM), np.float32)])
    want = [expected(ids, query, documents)]
    assert rank.rerank([ids], padded_query, [STACKED[stack](padded)]) == want
    assert rank.rerank([ids], [query], [padded]) == want


def test_zero_rows_elsewhere_and_in_tokens_count() -> None:
    query, inside, end = [[[1.0]]], np.array([[-1.0], [0.0], [-2.0]]), np.array([[-1.0], [0.0]])
    assert rank.rerank([["d"]], query, [[inside]]) == [[{"id": "d", "score": 0.0}]]
    assert rank.rerank([["d"]], query, [[end]]) == [[{"id": "d", "score": -1.0}]]
    assert rank.rerank([["d"]], query, [TokenEmbeddings.from_matrices([end])]) == [[{"id": "d", "score": 0.0}]]


def test_a_document_of_nothing_but_zeros_scores_0() -> None:
    found = rank.rerank([["a", "b"]], np.array([[1.0, 0.0]]), [np.array([[[0, 0], [0, 0]], [[-1, 0], [0, 0]]])])
    assert found == [[{"id": "a", "score": 0.0}, {"id": "b", "score": -1.0}]]


@pytest.mark.parametrize(
    ("ids", "queries", "documents", "message"),
    [
        ([[1]], [np.eye(2)] * 2, [[np.eye(2)]] * 2, "2 queries, 1 lists of ids and 2 lists of documents"),
        ([[1]] * 2, np.eye(2), [[np.eye(2)]], "1 queries, 2 lists of ids and 1 lists of documents"),
        ([[1]], [np.eye(2)], [], "1 queries, 1 lists of ids and 0 lists of documents"),
        ([[1], [1, 2]], [np.eye(2)] * 2, [[np.eye(2)]] * 2, r"query 1 has 1 documents and the ids \[1, 2\]"),
        ([[1], []], [np.eye(2)] * 2, [[np.eye(2)]] * 2, r"query 1 has 1 documents and the ids \[\]"),
        (["ab"], [np.eye(2)], [[np.eye(2)] * 2], "query 0 has 2 documents and the ids 'ab'"),
    ],
)
def test_counts_that_do_not_match_are_refused(ids: Any, queries: Any, documents: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        rank.rerank(ids, queries, documents)


@pytest.mark.parametrize(
    ("queries", "documents", "message"),
    [
        ([[1.0, 2.0]], [[np.eye(2)]], r"query 0: its embedding must have shape \(n_tokens, dim\), got shape \(2,\)"),
        ([np.eye(2)], [np.eye(2)], r"query 0: its documents must have shape .*list of matrices, got shape \(2, 2\)"),
        ([np.eye(2)], [torch.eye(2)], "query 0: its documents must have shape"),
        ([np.eye(2)], [[np.ones(2)]], "documents of query 0: document 0 must have shape"),
        ([np.eye(2)], [[[[1.0, 2.0], [1.0]]]], "documents of query 0: document 0 cannot be converted"),
        ([np.eye(2)], [[["a", "b"]]], "documents of query 0: document 0 cannot be converted"),
        ([np.eye(2)], [[np.eye(3)]], "documents of query 0: queries have 2 dimensions and documents 3"),
        ([np.full((1, 2), np.nan)], [[np.eye(2)]], "query 0: .*NaN"),
        ([np.eye(2)], [[np.full((1, 2), 1e300)]], "documents of query 0: .*infinite"),
        ([np.eye(2)], [[np.empty((0, 2))]], "documents of query 0: text 0 has no tokens"),
    ],
)
def test_embeddings_that_cannot_be_scored_are_refused(queries: Any, documents: Any, message: str) -> None:
    with pytest.raises(InvalidTokensError, match=message):
        rank.rerank([list(range(len(documents[0])))], queries, documents)


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="device 'warp'"):
        rank.rerank([["a"]], np.eye(2), [[np.eye(2)]], device="warp")


def test_needs_no_torch() -> None:
    script = (
        "import sys, numpy as np; from colbert_qdrant import rank;"
        "rank.rerank([[1]], np.eye(2), [[np.eye(2)]]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
