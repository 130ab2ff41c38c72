"""Samples the documents that an encoding is fitted to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colbert_qdrant.errors import InvalidTokensError
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    import numpy as np


def sample_documents(documents: TokenEmbeddings, most: int, random: np.random.RandomState) -> TokenEmbeddings:
    """Choose at most ``most`` documents, in random order, so that any first few are a sample, too.

    Raises:
        InvalidTokensError: If there are no documents.
    """
    if not len(documents):
        raise InvalidTokensError("there are no documents to fit to: ingest some first")
    chosen = random.permutation(len(documents))[:most]
    return TokenEmbeddings.from_matrices([documents[int(number)] for number in chosen], dim=documents.dim)
