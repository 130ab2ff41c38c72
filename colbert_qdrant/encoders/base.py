"""Defines the protocols of encoders, and checks the texts and token embeddings that pass through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError, InvalidQueryError, MigrationError
from colbert_qdrant.shown import has, listed, shown
from colbert_qdrant.tokens import TokenEmbeddings


@runtime_checkable
class LateInteractionEncoder(Protocol):
    """Encodes texts as token embeddings; any object with these four members is an encoder."""

    @property
    def dim(self) -> int:
        """Dimensions of a token vector."""

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Encode queries, one token matrix per text, in the order given.

        Raise ``NotImplementedError`` in an encoder that only describes token vectors made elsewhere. An encoding is
        then fitted without query tokens.
        """

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Encode documents, one token matrix per text, in the order given.

        Mark texts that were truncated in ``TokenEmbeddings.truncated``.
        """

    def fingerprint(self) -> Mapping[str, Any]:
        """Return the settings that determine the vectors (model, lengths, …) as JSON values.

        Equal encoders have equal fingerprints on any machine. Two keys are never compared: ``"name"`` is a label,
        shown when another key differs. ``"query"`` has the settings that affect only the vectors of queries, on which
        a collection does not depend.

        An empty fingerprint means that the settings are unknown. A collection created with it can be opened with any
        encoder of the same dimensions.
        """


@runtime_checkable
class TokenCounter(Protocol):
    """Counts tokens as an encoder does; `SentenceChunker` takes any object with these members."""

    @property
    def document_length(self) -> int:
        """The number of tokens above which a document is truncated."""

    def count_tokens(self, texts: Sequence[str]) -> Sequence[int] | NDArray[np.int64]:
        """Return the number of tokens of each text, including the special tokens of a document."""


class VectorEncoder(Protocol):
    """Encodes each text as one dense or sparse vector, for hybrid search."""

    def encode_queries(self, texts: Sequence[str]) -> Sequence[Any]:
        """Encode queries, one vector per text, in the order given.

        A dense vector is an array or a list. A sparse vector is a ``models.SparseVector``, or a dict of values by
        index.
        """

    def encode_documents(self, texts: Sequence[str]) -> Sequence[Any]:
        """Encode documents, one vector per text, in the same formats."""


def require_encoder(encoder: object, *members: str, name: str = "encoder") -> None:
    """Check that the value of a parameter is an encoder with the required ``members``, by default all of an encoder.

    Raises:
        ConfigurationError: If the value is not such an encoder.
    """
    needed = members or ("dim", "encode_queries", "encode_documents", "fingerprint")
    if isinstance(encoder, str | PathLike):
        raise ConfigurationError(
            f"{name} is the name {shown(encoder)}, not an encoder: load it with "
            f"ColbertEncoder.from_pretrained({shown(encoder)})"
        )
    if isinstance(encoder, type):
        raise ConfigurationError(f"{name} is the class {encoder.__name__}, not an encoder: pass an instance")
    missing = [member for member in needed if not has(encoder, member)]
    if missing:
        raise ConfigurationError(
            f"{name} is {type(encoder).__name__} {shown(encoder)}, which lacks {', '.join(missing)}: pass a "
            "ColbertEncoder, or another object with these members"
        )


def encode_and_check(
    encoder: LateInteractionEncoder, texts: Sequence[str], error: type[InvalidDocumentError | MigrationError]
) -> TokenEmbeddings:
    """Encode documents; raise ``error`` unless the encoder returns one matrix of ``encoder.dim`` columns per text."""
    tokens = encoder.encode_documents(texts)
    require_one_matrix_each(tokens, encoder, len(texts), error)
    return tokens


def require_one_matrix_each(
    tokens: TokenEmbeddings,
    encoder: LateInteractionEncoder,
    count: int,
    error: type[InvalidDocumentError | InvalidQueryError | MigrationError],
) -> None:
    """Raise ``error`` unless an encoder returned ``count`` matrices with ``encoder.dim`` columns."""
    if not isinstance(tokens, TokenEmbeddings):
        raise error(f"the encoder returned {type(tokens).__name__}: make it return TokenEmbeddings")
    if len(tokens) != count or tokens.dim != encoder.dim:
        raise error(
            f"the encoder returned {len(tokens)} matrices of {tokens.dim} dimensions for {count} texts, but its dim is "
            f"{encoder.dim}: make it return one matrix of {encoder.dim} dimensions per text"
        )


def check_texts(texts: Sequence[str], error: type[InvalidQueryError | InvalidDocumentError]) -> list[str]:
    """Return texts as a list of strings; raise ``error`` for an item that a model cannot read.

    Raises:
        ConfigurationError: If ``texts`` is a single string, or not a list of strings.
    """
    if isinstance(texts, str):
        raise ConfigurationError("texts must be a list of strings, got one string: put it into a list")
    checked = listed(texts)
    if checked is None:
        raise ConfigurationError(
            f"texts must be a list of strings, got {type(texts).__name__} {shown(texts)}: pass a list"
        )
    for number, text in enumerate(checked):
        require_text(f"text {number}", text, error)
    return checked


def require_text(name: str, text: object, error: type[InvalidQueryError | InvalidDocumentError]) -> None:
    """Raise ``error`` unless the text is a string of valid Unicode."""
    if not isinstance(text, str):
        raise error(f"{name} is {shown(text)}, which is not a string: pass only strings")
    try:
        text.encode()
    except UnicodeEncodeError as cause:
        raise error(
            f"{name} is {shown(text)}, which is not valid Unicode ({cause.reason}): decode it again, or replace the "
            "invalid characters"
        ) from cause
