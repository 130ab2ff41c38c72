"""Computes a document's best match for any token, the function that LEMUR learns to approximate."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.tokens import TokenEmbeddings

_DOCUMENT_TOKENS: Final = 2_048
_TILE: Final = 512
"""The numbers of document tokens and other tokens in one matmul, so that the similarities stay near the cache."""


def best_matches(documents: TokenEmbeddings, tokens: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the largest inner product of each token with a document's tokens: g in MaxSim(X, C) = Σ g_C(x).

    ``tokens`` has shape ``(n, dim)``; the result is float32, shape ``(len(documents), n)``.
    """
    best = np.empty((len(documents), len(tokens)), np.float32)
    for start, stop in documents.blocks(_DOCUMENT_TOKENS):
        block = documents[start:stop]
        bounds = block.offsets.tolist()
        for first in range(0, len(tokens), _TILE):
            similarities = block.values @ tokens[first : first + _TILE].T
            out = best[start:stop, first : first + _TILE]
            for number, (begin, end) in enumerate(pairwise(bounds)):
                np.max(similarities[begin:end], axis=0, out=out[number])
    return best
