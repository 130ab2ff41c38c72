"""Defines the settings of the vectors, beside encoding and token vectors, by which a hybrid search finds candidates."""

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
"""Languages of the multilingual tokenizer that the stemmers and stop words do not know."""

_WITHOUT_SPACES: Final = ("chinese", "japanese", *_NOT_STEMMED)
_LANGUAGES: Final = (*(each.value for each in models.Language), *_NOT_STEMMED)

Distance = Literal["cosine", "dot", "euclid", "manhattan"]
"""The way in which two dense vectors are compared."""


@dataclass(frozen=True, kw_only=True)
class Bm25Config:
    """The settings of BM25, which gives every document a sparse vector of its text.

    The parts of BM25 that a text alone decides are written with it; Qdrant knows how rare a word is, and multiplies
    with that (``Modifier.IDF``).

    Args:
        language: The language whose stop words and word endings are left out: ``"english"``, ``"german"``, … (those of
            the Snowball stemmers). ``"chinese"``, ``"japanese"`` and ``"thai"``, which are written without spaces, are
            split into words by Qdrant's multilingual tokenizer, and an index of type ``"text"`` does the same then.
        k: Term saturation: the larger, the more it counts that a word comes once more.
        b: Length normalisation: how much long documents lose, from 0 to 1.
        avg_len: Words of an average document. Qdrant does not find it out by itself.
        ascii_folding: Whether accents are left out.

    Raises:
        ConfigurationError: A value is out of range.
    """

    language: str = "english"
    k: float = 1.2
    b: float = 0.75
    avg_len: float = 256.0
    ascii_folding: bool = False

    def __post_init__(self) -> None:
        keep_plain(self)
        if not isinstance(self.language, str) or self.language not in _LANGUAGES:
            raise ConfigurationError(
                f"language={shown(self.language)}: use one of {', '.join(map(repr, _LANGUAGES))}; for another language "
                "bring sparse vectors of its words in the place of bm25, sparse={'words': SparseConfig(idf=True)}"
            )
        require_number("k", self.k, minimum=0)
        require_number("b", self.b, minimum=0, maximum=1)
        require_number("avg_len", self.avg_len, minimum=1)
        require_bool("ascii_folding", self.ascii_folding)

    @property
    def unspaced(self) -> bool:
        """Tells whether texts are split as those of languages without spaces between words."""
        return self.language in _WITHOUT_SPACES

    def splits(self, text: str) -> bool:
        """Tells whether the words of a text are found in it."""
        require_instance("text", text, str, "a string")
        return not is_unspaced(text) or (self.unspaced and NEVER_SPLIT.search(text) is None)

    @property
    def options(self) -> dict[str, Any]:
        """The options of Qdrant's model, as servers take them."""
        of_language: dict[str, Any] = {} if self.language in _NOT_STEMMED else {"language": self.language}
        if self.unspaced:
            of_language["tokenizer"] = "multilingual"
        numbers = {"k": self.k, "b": self.b, "avg_len": self.avg_len}
        return {**of_language, **numbers, "ascii_folding": self.ascii_folding}


@dataclass(frozen=True, kw_only=True)
class DenseConfig:
    """The settings of one dense vector of every document, which an encoder of the user's makes or the document brings.

    Args:
        dim: Its dimensions.
        distance: The distance by which it is compared.

    Raises:
        ConfigurationError: A value is out of range.
    """

    dim: int
    distance: Distance = "cosine"

    def __post_init__(self) -> None:
        keep_plain(self)
        require_int("dim", self.dim, minimum=1, maximum=MAX_DENSE_DIM)
        require_one_of("distance", self.distance, get_args(Distance))


@dataclass(frozen=True, kw_only=True)
class SparseConfig:
    """The settings of one sparse vector of every document, which an encoder of the user's makes or the document brings.

    Args:
        idf: Whether Qdrant multiplies with how rare a dimension is.
    """

    idf: bool = False

    def __post_init__(self) -> None:
        keep_plain(self)
        require_bool("idf", self.idf)
