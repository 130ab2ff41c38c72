"""Makes BM25's sparse vectors: on the server if it can, otherwise in this process, with the same code.

Servers have done this since 1.15.3. In this process, the embedded engine's package makes them, because it contains
the server's tokenizers. Servers count each word of a query once, so queries that repeat a word are counted here.
"""

from __future__ import annotations

import contextlib
import importlib
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qdrant_client import models

from colbert_qdrant.encoders.bm25_weights import weights_of
from colbert_qdrant.errors import MissingExtraError
from colbert_qdrant.vectors import SparseVector

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.config import Bm25Config

_MODEL: Final = "Qdrant/bm25"

_COUNTING_K: Final = 2.0**52
"""A saturation so large that a word's weight is its count, if the length does not matter (b = 0)."""

_LONG_WORD: Final = re.compile(r"\w{4,}")
"""Most words that are not stop words."""

_UNMEASURED: Final = 256.0
"""Qdrant's own default, for vectors that are made before a length was measured."""


class WordCounts:
    """Splits texts into Qdrant's words, and counts them.

    Raises:
        MissingExtraError: If the embedded engine's package is not installed.
    """

    def __init__(self, config: Bm25Config) -> None:
        try:
            edge: Any = importlib.import_module("qdrant_edge")
        except ImportError as error:
            raise MissingExtraError(
                "this engine cannot compute BM25, and the package qdrant-edge-py is not installed: run pip install "
                "'colbert-qdrant[edge]', or use a server of Qdrant 1.16 or newer"
            ) from error
        options = {**config.options, "k": _COUNTING_K, "b": 0.0}
        if "tokenizer" in options:
            options["tokenizer"] = edge.TokenizerType.Multilingual
        self._model = edge.Bm25(edge.Bm25Config(**options))

    def of(self, text: str) -> tuple[NDArray[np.uint32], NDArray[np.float64]]:
        """Return the distinct words of a text, as Qdrant numbers them, and how often each occurs."""
        found = self._model.embed_document(text)
        return np.array(found.indices, np.uint32), np.rint(np.array(found.values, np.float64))

    def query(self, text: str) -> models.SparseVector | None:
        """Return how often each word of a query occurs; ``None`` for a query of stop words only."""
        words, counts = self.of(text)
        return models.SparseVector(indices=words.tolist(), values=counts.tolist()) if len(words) else None


class LocalBm25:
    """Computes BM25's vectors in this process.

    Attributes:
        avg_len: The average number of words per document; ``None`` until it is measured.
        words: Counts words as BM25 does.

    Raises:
        MissingExtraError: If the embedded engine's package is not installed.
    """

    def __init__(self, config: Bm25Config) -> None:
        self.avg_len = config.fixed_avg_len
        self.words = WordCounts(config)
        self._config = config

    def documents(self, texts: Sequence[str]) -> list[SparseVector | None]:
        """Make one vector of word weights per document; ``None`` for a document of stop words only."""
        return [self._document(text, self.avg_len or _UNMEASURED) for text in texts]

    def queries(self, texts: Sequence[str]) -> list[models.SparseVector | None]:
        """Make one vector of word counts per query; ``None`` for a query of stop words only."""
        return [self.words.query(text) for text in texts]

    def _document(self, text: str, avg_len: float) -> SparseVector | None:
        words, counts = self.words.of(text)
        return SparseVector(indices=words, values=weights_of(counts, self._config, avg_len)) if len(words) else None


class ServerBm25:
    """Sends texts to the server, which computes BM25's vectors.

    Attributes:
        avg_len: The average number of words per document; ``None`` until it is measured.
        words: Counts words as the server does; ``None`` if the embedded engine's package is not installed.
    """

    def __init__(self, config: Bm25Config) -> None:
        self.avg_len = config.fixed_avg_len
        self.words: WordCounts | None = None
        with contextlib.suppress(MissingExtraError):
            self.words = WordCounts(config)
        self._config = config

    def documents(self, texts: Sequence[str]) -> list[models.Document]:
        """Return one text per document, for the server to encode."""
        return [self._document(text) for text in texts]

    def queries(self, texts: Sequence[str]) -> list[models.Document | models.SparseVector | None]:
        """Return one text per query, for the server to encode; a query that repeats a word is counted here."""
        return [self._query(text) for text in texts]

    def _document(self, text: str) -> models.Document:
        options = {**self._config.options, "avg_len": self.avg_len or _UNMEASURED}
        return models.Document(text=text, model=_MODEL, options=options)

    def _query(self, text: str) -> models.Document | models.SparseVector | None:
        counted = None if self.words is None else self.words.query(text)
        return counted if counted is not None and max(counted.values) > 1 else self._document(text)


def make_bm25(config: Bm25Config, capabilities: Capabilities) -> LocalBm25 | ServerBm25:
    """Make the BM25 encoder for an engine."""
    return ServerBm25(config) if capabilities.has("bm25_inference") else LocalBm25(config)


def mean_length(words: WordCounts | None, texts: Sequence[str]) -> float:
    """Return the mean number of words of texts, without those that have no words; an estimate without a counter."""
    found = [len(_LONG_WORD.findall(text)) if words is None else words.of(text)[1].sum() for text in texts]
    lengths = [length for length in found if length]
    return float(np.mean(lengths)) if lengths else _UNMEASURED


def repeats_a_word(text: str) -> bool:
    """Tell whether a text seems to repeat a word that is not a stop word."""
    return max(Counter(_LONG_WORD.findall(text.casefold())).values(), default=0) > 1
