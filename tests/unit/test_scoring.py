from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colbert_qdrant import InvalidTokensError, TokenEmbeddings, maxsim, scoring

lengths_lists = st.lists(st.integers(1, 9), min_size=1, max_size=8)


def batch(lengths: list[int], seed: int) -> TokenEmbeddings:
    return TokenEmbeddings(np.random.default_rng(seed).standard_normal((sum(lengths), 4)), lengths)


@settings(deadline=None)
@given(lengths_lists, lengths_lists, st.integers(1, 30))
def test_equals_the_definition_in_any_block_size(query_lengths: list[int], lengths: list[int], block: int) -> None:
    queries, documents = batch(query_lengths, 0), batch(lengths, 1)
    expected = [
        [sum(max(float(np.dot(x, y)) for y in document) for x in query) for document in documents] for query in queries
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scoring, "_BLOCK_TOKENS", block)
        np.testing.assert_allclose(maxsim(queries, documents), expected, rtol=1e-4, atol=1e-5)


def test_no_queries_or_no_documents_give_an_empty_table() -> None:
    none, some = TokenEmbeddings.from_matrices([], dim=4), batch([2, 3], 0)
    assert maxsim(none, some).shape == (0, 2)
    assert maxsim(some, none).shape == (2, 0)


def test_dimensions_must_agree() -> None:
    with pytest.raises(InvalidTokensError, match="queries have 4 dimensions and documents 3"):
        maxsim(batch([1], 0), TokenEmbeddings(np.ones((1, 3)), [1]))
