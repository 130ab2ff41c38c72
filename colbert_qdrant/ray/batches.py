"""Encodes the texts of a Ray dataset in actors, as a column of token embeddings that the sink writes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from ray.data.block import BlockAccessor

from colbert_qdrant.encoders import LateInteractionEncoder
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.ray.opening import require_function
from colbert_qdrant.shown import shown


class ColbertBatchEncoder:
    """Adds a column of token embeddings to the batches of a Ray dataset, in actors with one model each.

    Use it on GPUs, and write the column with ``ColbertDatasink(…, tokens="tokens")``. Pass it to ``map_batches`` with
    ``batch_format="pyarrow"``: Ray's other formats change values, such as dates and missing numbers.

    Args:
        make_encoder: A function that loads the encoder; each actor calls it once.
        text: The column of texts. A row without a text gets no token embeddings, and the sink reports it.
        tokens: The name of the new column, in float32.

    Raises:
        ConfigurationError: If an argument is invalid, or a batch has another format, or no such column of texts.
    """

    def __init__(
        self, make_encoder: Callable[[], LateInteractionEncoder], *, text: str = "text", tokens: str = "tokens"
    ) -> None:
        require_function("make_encoder", make_encoder)
        self._encoder = make_encoder()
        self._text, self._tokens = text, tokens

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Return the batch with the new column."""
        if not isinstance(batch, pa.Table):
            raise ConfigurationError(
                f"a batch is {type(batch).__name__}, not an Arrow table: pass batch_format='pyarrow' to map_batches"
            )
        if self._text not in batch.column_names:
            raise ConfigurationError(
                f"the dataset has no column {shown(self._text)}, but {', '.join(map(shown, batch.column_names))}: pass "
                "another text=…"
            )
        texts = batch.column(self._text).to_pylist()
        has_text = np.array([isinstance(text, str) and not text.isspace() and text != "" for text in texts], bool)
        tokens = self._encoder.encode_documents([text for text, has in zip(texts, has_text, strict=True) if has])
        lengths = np.zeros(len(texts), np.int64)
        lengths[has_text] = tokens.lengths
        return batch.append_column(self._tokens, _to_column(tokens.values, lengths))


def block_rows(block: Any, tokens: str | None) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield the rows of a block, each with the value of the column of token embeddings, which is not in the row."""
    accessor = BlockAccessor.for_block(block)
    matrices: Iterator[Any] = repeat(None)
    if tokens is not None:
        table = accessor.to_arrow()
        if tokens in table.column_names and _is_ours(table.schema.field(tokens).type):
            matrices = (matrix for chunk in table.column(tokens).chunks for matrix in _to_matrices(chunk))
            accessor = BlockAccessor.for_block(table.drop_columns([tokens]))
    rows: Iterator[Any] = accessor.iter_rows(public_row_format=True)
    for row, matrix in zip(rows, matrices, strict=False):
        yield row, row.pop(tokens, None) if matrix is None and tokens is not None else matrix


def _to_column(values: NDArray[np.float32], lengths: NDArray[np.int64]) -> pa.Array:
    """Return matrices as a list of rows of one size; a matrix without rows is null."""
    ends = np.cumsum(lengths)
    offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32), mask=np.append(lengths == 0, False))
    rows = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])
    return pa.ListArray.from_arrays(offsets, rows)


def _is_ours(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) and pa.types.is_fixed_size_list(kind.value_type))


def _to_matrices(chunk: pa.ListArray) -> Sequence[NDArray[np.float32] | None]:
    dim = chunk.type.value_type.list_size
    values = chunk.flatten().flatten().to_numpy(zero_copy_only=False).reshape(-1, dim)
    lengths = np.asarray(chunk.value_lengths().fill_null(0))
    matrices = np.split(values, np.cumsum(lengths)[:-1]) if len(lengths) else []
    return [matrix if len(matrix) else None for matrix in matrices]
