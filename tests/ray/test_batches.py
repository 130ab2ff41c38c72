"""Token embeddings as a column of Arrow, without a running Ray."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from colbert_qdrant import ConfigurationError
from colbert_qdrant.ray import ColbertBatchEncoder
from colbert_qdrant.ray.batches import block_rows
from tests.encoders import WordEncoder
from tests.ray.rows import rows

DAY = date(2024, 6, 1)


def table(texts: list[Any]) -> pa.Table:
    return pa.table({"id": range(len(texts)), "text": texts, "day": [DAY] * len(texts), "n": [None] * len(texts)})


def assert_read(block: pa.Table, texts: list[Any]) -> None:
    read = list(block_rows(block, "tokens"))
    assert [row["text"] for row, _ in read] == texts
    assert all(set(row) == {"id", "text", "day", "n"} and row["day"] == DAY and row["n"] is None for row, _ in read)
    for text, (_, matrix) in zip(texts, read, strict=True):
        if text is None or not text.strip():
            assert matrix is None
        else:
            np.testing.assert_array_equal(matrix, WordEncoder().encode_documents([text])[0])


def test_each_row_gets_the_tokens_of_its_text_and_keeps_its_other_values() -> None:
    texts = [row["text"] for row in rows(20)]
    texts[3:3] = [None, "", "  "]
    encoded = ColbertBatchEncoder(WordEncoder)(table(texts))
    assert_read(encoded, texts)
    assert_read(encoded.slice(2, 9), texts[2:11])  # as Ray splits blocks
    other = ColbertBatchEncoder(WordEncoder)(table(["river"]))
    assert_read(pa.concat_tables([encoded, other]), [*texts, "river"])  # as Ray joins them


@pytest.mark.parametrize("texts", [[], [None], [""]])
def test_a_batch_without_texts_is_a_batch_without_tokens(texts: list[Any]) -> None:
    assert_read(ColbertBatchEncoder(WordEncoder)(table(texts)), texts)


def test_matrices_of_other_programs_are_read_as_they_are() -> None:
    matrix = [[0.5, 0.25], [1.0, 2.0], [0.0, 1.0]]
    block = pa.table({"id": ["a", "b"], "vectors": [matrix, matrix[:1]]})
    assert [np.array(tokens).tolist() for _, tokens in block_rows(block, "vectors")] == [matrix, matrix[:1]]
    assert list(block_rows(block.select(["id"]), None)) == [({"id": "a"}, None), ({"id": "b"}, None)]


def test_other_batches_are_refused() -> None:
    encoder: Any = ColbertBatchEncoder(WordEncoder, text="body")
    with pytest.raises(ConfigurationError, match="pass batch_format='pyarrow'"):
        encoder({"body": np.array(["river"])})
    with pytest.raises(ConfigurationError, match="no column 'body', but 'id', 'text', 'day', 'n': pass another text="):
        encoder(table(["river"]))
    with pytest.raises(ConfigurationError, match="make_encoder must be a function"):
        ColbertBatchEncoder(WordEncoder())  # type: ignore[arg-type]
