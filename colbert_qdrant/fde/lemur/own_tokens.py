"""Chooses the tokens of a document that join its least squares problem."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.config import LemurConfig
    from colbert_qdrant.tokens import TokenEmbeddings

_TILE: Final = 512


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
    def spaced(cls, tokens: TokenEmbeddings, *, most: int) -> OwnTokens:
        """Choose at most ``most`` tokens of each document, evenly spaced."""
        taken, present = _layout(tokens, most)
        rows = np.arange(present.shape[1]) * tokens.lengths[:, None] // taken[:, None]
        rows = np.where(present, rows, 0) + tokens.offsets[:-1, None]
        matches = [
            _matches(matrix, tokens.values[row[there]])
            for matrix, row, there in zip(tokens, rows, present, strict=True)
        ]
        return cls(rows=rows, present=present, matches=np.concatenate(matches))

    @classmethod
    def worst(cls, tokens: TokenEmbeddings, estimates: NDArray[np.float32], *, most: int) -> OwnTokens:
        """Choose at most ``most`` tokens of each document, those with the largest best match minus estimate.

        ``estimates`` has one value for each token of the batch; it does not matter for documents of ``most`` tokens.
        """
        taken, present = _layout(tokens, most)
        rows = np.repeat(tokens.offsets[:-1, None], present.shape[1], axis=1)
        matches = np.concatenate([_matches(matrix, matrix) for matrix in tokens])
        errors = matches - estimates
        for number, (begin, end) in enumerate(pairwise(tokens.offsets.tolist())):
            largest = np.argsort(-errors[begin:end], kind="stable")[: taken[number]]
            rows[number, : taken[number]] += np.sort(largest)
        return cls(rows=rows, present=present, matches=matches[rows[present]])

    def inverse_weights(self, config: LemurConfig) -> NDArray[np.float32]:
        """Return 1/τ of every document, float32, shape ``(documents,)``: see `LemurEncoder`."""
        taken = self.present.sum(axis=1)
        shares = taken / config.own_tokens if config.refinement == "residual" else np.ones(len(taken))
        return (shares / config.own_weight).astype(np.float32)


def _layout(tokens: TokenEmbeddings, most: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return how many tokens of each document are chosen, and which cells of the padded array they fill."""
    taken = np.minimum(tokens.lengths, most)
    return taken, np.arange(taken.max()) < taken[:, None]


def _matches(document: NDArray[np.float32], tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the document's best match for each token, in tiles that bound the memory for long documents."""
    best = np.empty(len(tokens), np.float32)
    for start in range(0, len(tokens), _TILE):
        np.max(document @ tokens[start : start + _TILE].T, axis=0, out=best[start : start + _TILE])
    return best
