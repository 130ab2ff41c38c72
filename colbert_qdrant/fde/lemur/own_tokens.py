"""Chooses the tokens of a document that join its least squares problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.tokens import TokenEmbeddings


@dataclass(frozen=True, kw_only=True, eq=False)
class OwnTokens:
    """Tokens of a batch of documents, padded to the same number per document.

    Args:
        rows: The rows of the tokens in the batch, shape ``(documents, m)``; arbitrary at padding.
        present: Whether there is a token instead of padding, shape ``(documents, m)``.
        matches: The document's best match for each token, shape ``(present.sum(),)``; 1 for unit vectors only.
    """

    rows: NDArray[np.int64]
    present: NDArray[np.bool_]
    matches: NDArray[np.float32]

    @classmethod
    def of(cls, tokens: TokenEmbeddings, *, most: int) -> OwnTokens:
        """Choose at most ``most`` tokens of each document, evenly spaced."""
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
