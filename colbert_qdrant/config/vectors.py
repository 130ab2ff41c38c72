"""Defines the settings of the additional vectors of hybrid searches: BM25, dense and sparse vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from qdrant_client import models

from colbert_qdrant._support.scripts import NEVER_SPLIT, is_unspaced
from colbert_qdrant.config.checks import (
    keep_plain,
    require_bool,
    require_instance,
    require_int,
    require_number,
    require_one_of,
)
from colbert_qdrant.config.fde import MAX_DENSE_DIM
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import shown

_NOT_STEMMED: Final = ("thai",)
"""Languages of the multilingual tokenizer without stemmer and stop words."""

_WITHOUT_SPACES: Final = ("chinese", "japanese", *_NOT_STEMMED)
_LANGUAGES: Final = (*(each.value for each in models.Language), *_NOT_STEMMED)

Distance = Literal["cosine", "dot", "euclid", "manhattan"]
"""How two dense vectors are compared."""


@dataclass(frozen=True, kw_only=True)
class Bm25Config:
    """The settings of BM25, which stores a sparse vector of every document's text.

    The stored values contain term frequency and length normalization; Qdrant multiplies them by the inverse document
    frequency at query time (``Modifier.IDF``).

    Args:
        language: The language of stop words and stemming: ``"english"``, ``"german"``, … (the languages of the Snowball
            stemmers). Qdrant's multilingual tokenizer splits ``"chinese"``, ``"japanese"`` and ``"thai"``, which are
            written without spaces, into words. Payload indexes of type ``"text"`` then use the same tokenizer.
        k: Term-frequency saturation (k1): with a larger value, repeated words count more.
        b: Length normalization, from 0 to 1: with a larger value, long documents are penalized more.
        avg_len: Average number of words per document, without stop words. By default, the library measures it on the
            first documents, keeps it with the collection, and measures again as the collection grows.
        ascii_folding: Whether accents are removed.

    Raises:
        ConfigurationError: If a value is out of range.
    """

    language: str = "english"
    k: float = 1.2
    b: float = 0.75
    avg_len: float | None = None
    ascii_folding: bool = False

    def __post_init__(self) -> None:
        keep_plain(self)
        if not isinstance(self.language, str) or self.language not in _LANGUAGES:
            raise ConfigurationError(
                f"language={shown(self.language)}: use one of {', '.join(map(repr, _LANGUAGES))}; for another "
                "language, provide your own sparse vectors of words instead of bm25: "
                "sparse={'words': SparseConfig(idf=True)}"
            )
        require_number("k", self.k, minimum=0)
        require_number("b", self.b, minimum=0, maximum=1)
        if self.avg_len is not None:
            require_number("avg_len", self.avg_len, minimum=1)
        require_bool("ascii_folding", self.ascii_folding)

    @property
    def unspaced(self) -> bool:
        """Whether the language is written without spaces between words."""
        return self.language in _WITHOUT_SPACES

    def splits(self, text: str) -> bool:
        """Tell whether the tokenizer can split a text into words."""
        require_instance("text", text, str, "a string")
        return not is_unspaced(text) or (self.unspaced and NEVER_SPLIT.search(text) is None)

    @property
    def options(self) -> dict[str, Any]:
        """The options of Qdrant's BM25 model, in the form of the server's API; a measured ``avg_len`` is left out."""
        of_language: dict[str, Any] = {} if self.language in _NOT_STEMMED else {"language": self.language}
        if self.unspaced:
            of_language["tokenizer"] = "multilingual"
        numbers = {"k": self.k, "b": self.b} | ({} if self.avg_len is None else {"avg_len": self.avg_len})
        return {**of_language, **numbers, "ascii_folding": self.ascii_folding}

    @property
    def fixed_avg_len(self) -> float | None:
        """The average length that every vector is computed with; ``None`` if it is measured."""
        if self.avg_len is None and not (self.k and self.b):
            return 1.0  # it has no influence
        return self.avg_len


@dataclass(frozen=True, kw_only=True)
class DenseConfig:
    """The settings of an additional dense vector, which your encoder computes or the documents provide.

    Args:
        dim: Dimensions of the vector.
        distance: How vectors are compared.

    Raises:
        ConfigurationError: If a value is out of range.
    """

    dim: int
    distance: Distance = "cosine"

    def __post_init__(self) -> None:
        keep_plain(self)
        require_int("dim", self.dim, minimum=1, maximum=MAX_DENSE_DIM)
        require_one_of("distance", self.distance, get_args(Distance))


@dataclass(frozen=True, kw_only=True)
class SparseConfig:
    """The settings of an additional sparse vector, which your encoder computes or the documents provide.

    Args:
        idf: Whether Qdrant multiplies the values by the inverse document frequency of their dimensions.
    """

    idf: bool = False

    def __post_init__(self) -> None:
        keep_plain(self)
        require_bool("idf", self.idf)
