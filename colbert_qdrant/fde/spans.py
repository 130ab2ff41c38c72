"""Cuts documents into pieces that simulate queries, for encodings that learn from queries."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

_SPANS: Final = 2_048
_SPAN_WORDS: Final = (3, 24)
_SPAN_TOKENS: Final = (3, 24)
_SENTENCE_END: Final = re.compile(r"(?<=[.!?。！？])\s*|\n+")


def query_spans(texts: Sequence[str], *, seed: int) -> list[str]:
    """Draw query-sized pieces of texts: consecutive words of random sentences.

    Returns:
        At most 2,048 non-empty texts, drawn from all documents.
    """
    random = np.random.RandomState(seed)
    spans: list[str] = []
    for number in np.resize(random.permutation(len(texts)), _SPANS if texts else 0):
        sentences = [words for part in _SENTENCE_END.split(texts[int(number)]) if (words := part.split())]
        if not sentences:
            continue
        words = sentences[random.randint(len(sentences))]
        length = min(len(words), random.randint(*_SPAN_WORDS))
        start = random.randint(len(words) - length + 1)
        spans.append(" ".join(words[start : start + length]))
    return spans


def token_spans(tokens: TokenEmbeddings, *, seed: int) -> TokenEmbeddings:
    """Draw query-sized pieces of token embeddings, if there are no texts: consecutive token vectors.

    Returns:
        At most 2,048 matrices, drawn from all documents. Each has 3 to 24 token vectors, or all of a shorter document.
    """
    random = np.random.RandomState(seed)
    chosen = np.resize(random.permutation(len(tokens)), _SPANS if len(tokens) else 0)
    shortest, longest = _SPAN_TOKENS
    lengths = np.minimum(tokens.lengths[chosen], random.randint(shortest, longest + 1, len(chosen)))
    firsts = np.cumsum(tokens.lengths) - tokens.lengths
    starts = firsts[chosen] + random.randint(0, tokens.lengths[chosen] - lengths + 1)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return TokenEmbeddings(tokens.values[np.repeat(starts, lengths) + within], lengths)
