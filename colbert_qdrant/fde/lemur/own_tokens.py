"""Chooses those of a document's own tokens that take part in its least squares problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.tokens import TokenEmbeddings


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnTokens:
    """Tokens of a batch of documents, padded to the same number for each.

    Args:
        rows: Shape ``(documents, m)``, their rows in the batch; anything where none is.
        present: Shape ``(documents, m)``, where there is one.
        matches: Shape ``(present.sum(),)``, the document's best match for each: 1 for unit vectors, but not all are.
    """

    rows: NDArray[np.int64]
    present: NDArray[np.bool_]
    matches: NDArray[np.float32]

    @classmethod
    def of(cls, tokens: TokenEmbeddings, *, most: int) -> OwnTokens:
        """Choose at most so many tokens of each document, evenly spaced."""
        width = int(min(most, tokens.lengths.max()))
        taken = np.minimum(tokens.lengths, width)[:, None]
        column = np.arange(width)
        present = column < taken
        rows = np.where(present, column * tokens.lengths[:, None] // taken, 0) + tokens.offsets[:-1, None]
        matches = [
            (matrix @ tokens.values[row[there]].T).max(axis=0)
            for matrix, row, there in zip(tokens, rows, present, strict=True)
        ]
        return cls(rows=rows, present=present, matches=np.concatenate(matches))
