"""Exact MaxSim in numpy: the reference that everything else is checked against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.errors import InvalidTokensError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.tokens import TokenEmbeddings

_BLOCK_TOKENS: Final = 16_384
"""Document tokens scored in one matmul: bounds the similarity matrix, and keeps it near the cache."""


def maxsim(queries: TokenEmbeddings, documents: TokenEmbeddings) -> NDArray[np.float32]:
    """Score every query against every document.

    MaxSim(q, d) is the sum over the tokens of q of the largest inner product with a token of d (ColBERT,
    arXiv 2004.12832, equation 3). It is not divided by the number of query tokens, as in Qdrant.

    Args:
        queries: Token embeddings of the queries.
        documents: Token embeddings of the documents, with the same ``dim``.

    Returns:
        float32, shape ``(len(queries), len(documents))``.

    Raises:
        InvalidTokensError: The two differ in ``dim``.

    Example:
        >>> from colbert_qdrant import TokenEmbeddings
        >>> documents = TokenEmbeddings([[1, 0], [0, 1], [0.5, 0.5]], [2, 1])
        >>> maxsim(TokenEmbeddings([[1, 0], [0, 2]], [2]), documents).tolist()
        [[3.0, 1.5]]
    """
    if queries.dim != documents.dim:
        raise InvalidTokensError(f"queries have {queries.dim} dimensions and documents {documents.dim}")
    scores = np.empty((len(queries), len(documents)), np.float32)
    if not len(queries):
        return scores
    for start, stop in documents.blocks(_BLOCK_TOKENS):
        block = documents[start:stop]
        similarities = queries.values @ block.values.T
        best = np.maximum.reduceat(similarities, block.offsets[:-1], axis=1)
        scores[:, start:stop] = np.add.reduceat(best, queries.offsets[:-1], axis=0)
    return scores
