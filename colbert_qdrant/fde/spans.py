"""Makes up queries from documents, for encodings that learn from queries."""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from itertools import zip_longest
from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant._support.scripts import is_unspaced
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_COUNT: Final = 2_048
_SPAN_WORDS: Final = (3, 24)
_SPAN_TOKENS: Final = (3, 24)
_SENTENCE_END: Final = re.compile(r"(?<=[.!?。！？])\s*|\n+")

_WINDOW: Final = 30
"""Consecutive words of a document that the words of one keyword query come from, so that they belong together."""

_MEAN_KEYWORDS: Final = 4
_MOST_KEYWORDS: Final = 12
_PUNCTUATION: Final = string.punctuation + "“”„‘’«»…–—。、，；：！？（）「」।॥؟،؛"


def made_up_queries(texts: Sequence[str], *, seed: int) -> list[str]:
    """Make up queries: in turn, a piece of a document, and rare words of one that stand near each other.

    Returns:
        At most 2,048 non-empty texts of all documents.
    """
    pairs = zip_longest(_keyword_queries(texts, seed=seed), query_spans(texts, seed=seed))
    return [query for pair in pairs for query in pair if query is not None][:_COUNT]


def query_spans(texts: Sequence[str], *, seed: int) -> list[str]:
    """Draw query-sized pieces of texts: consecutive words of random sentences.

    Returns:
        At most 2,048 non-empty texts, drawn from all documents.
    """

    def span(text: str, random: np.random.RandomState) -> str | None:
        sentences = [words for part in _SENTENCE_END.split(text) if (words := part.split())]
        if not sentences:
            return None
        words = sentences[random.randint(len(sentences))]
        between = " "
        if is_unspaced(" ".join(words)):
            words, between = list("".join(words)), ""
        length = min(len(words), random.randint(*_SPAN_WORDS))
        start = random.randint(len(words) - length + 1)
        return between.join(words[start : start + length])

    return _drawn(texts, span, seed=seed)


def _keyword_queries(texts: Sequence[str], *, seed: int) -> list[str]:
    """Draw rare words from windows of texts, in the order of the text; pieces of a text without spaces.

    A word with document frequency f among N texts has the weight ln(1 + N/f)², so stop words of any language are rare.
    """
    frequencies = Counter(key for text in texts for key in {_key(word) for word in text.split()})

    def keywords(text: str, random: np.random.RandomState) -> str | None:
        count = min(_MOST_KEYWORDS, random.geometric(1 / _MEAN_KEYWORDS))
        if is_unspaced(text):
            letters = "".join(text.split())
            start = random.randint(max(1, len(letters) - 2 * count + 1))
            return letters[start : start + 2 * count].strip(_PUNCTUATION) or None
        words = text.split()
        start = random.randint(max(1, len(words) - _WINDOW + 1))
        window = {_key(word): word.strip(_PUNCTUATION) for word in words[start : start + _WINDOW]}
        window.pop("", None)
        if not window:
            return None
        weights = np.array([math.log(1 + len(texts) / frequencies[key]) ** 2 for key in window])
        chosen = random.choice(len(window), min(count, len(window)), replace=False, p=weights / weights.sum())
        found = [*window.values()]
        return " ".join(found[number] for number in sorted(chosen.tolist()))

    return _drawn(texts, keywords, seed=seed)


def _key(word: str) -> str:
    return word.strip(_PUNCTUATION).casefold()


def _drawn(texts: Sequence[str], draw: Callable[[str, np.random.RandomState], str | None], *, seed: int) -> list[str]:
    """Draw from random texts, each as often as the others."""
    random = np.random.RandomState(seed)
    numbers = np.resize(random.permutation(len(texts)), _COUNT if texts else 0)
    return [found for number in numbers.tolist() if (found := draw(texts[number], random))]


def token_spans(tokens: TokenEmbeddings, *, seed: int) -> TokenEmbeddings:
    """Draw query-sized pieces of token embeddings, if there are no texts: consecutive token vectors.

    Returns:
        At most 2,048 matrices, drawn from all documents. Each has 3 to 24 token vectors, or all of a shorter document.
    """
    random = np.random.RandomState(seed)
    chosen = np.resize(random.permutation(len(tokens)), _COUNT if len(tokens) else 0)
    shortest, longest = _SPAN_TOKENS
    lengths = np.minimum(tokens.lengths[chosen], random.randint(shortest, longest + 1, len(chosen)))
    firsts = np.cumsum(tokens.lengths) - tokens.lengths
    starts = firsts[chosen] + random.randint(0, tokens.lengths[chosen] - lengths + 1)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return TokenEmbeddings(tokens.values[np.repeat(starts, lengths) + within], lengths)
