"""Pieces of documents that stand for queries."""

from __future__ import annotations

import numpy as np
import pytest

from colbert_qdrant import TokenEmbeddings
from colbert_qdrant.fde.spans import query_spans, token_spans


def numbered(lengths: list[int]) -> TokenEmbeddings:
    """Documents whose token vectors say which they are: the document's number, and their place in it."""
    matrices = [np.stack([np.full(length, number), np.arange(length)], axis=1) for number, length in enumerate(lengths)]
    return TokenEmbeddings.from_matrices(matrices, dim=2)


@pytest.mark.parametrize("lengths", [[1], [2, 3], [30], [1, 100, 7, 24, 3], list(range(1, 400)) * 8])
def test_spans_of_tokens_are_rows_of_one_document_one_after_another(lengths: list[int]) -> None:
    spans = token_spans(numbered(lengths), seed=3)
    assert len(spans) == 2_048
    seen = set()
    for span in spans:
        (number,) = set(span[:, 0].astype(int))
        assert min(3, lengths[number]) <= len(span) <= min(24, lengths[number])
        first = int(span[0, 1])
        assert span[:, 1].tolist() == list(range(first, first + len(span)))
        assert first + len(span) <= lengths[number]
        seen.add(number)
    assert len(seen) == min(len(lengths), 2_048)


def test_every_place_and_every_length_comes_up_and_a_seed_repeats_them() -> None:
    spans = token_spans(numbered([40] * 50), seed=3)
    assert {len(span) for span in spans} == set(range(3, 25))
    assert {int(span[0, 1]) for span in spans} == set(range(38))
    again, other = (token_spans(numbered([40] * 50), seed=seed) for seed in (3, 4))
    assert again.values.tobytes() == spans.values.tobytes()
    assert other.values.tobytes() != spans.values.tobytes()


def test_without_documents_there_are_none() -> None:
    assert len(token_spans(numbered([]), seed=0)) == 0
    assert query_spans([], seed=0) == query_spans(["", " \n "], seed=0) == []
