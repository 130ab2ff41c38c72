"""Defines the protocols of encoders, and checks texts before and token embeddings after encoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Protocol, runtime_checkable

from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError, InvalidQueryError, MigrationError
from colbert_qdrant.shown import has, listed, shown
from colbert_qdrant.tokens import TokenEmbeddings


@runtime_checkable
class LateInteractionEncoder(Protocol):
    """Encodes texts as token embeddings. Any object with these four members is an encoder."""

    @property
    def dim(self) -> int:
        """Dimensions of a token vector."""

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Encode queries, one token matrix per text, in the order given.

        An encoder that only stands for token vectors which something else makes raises ``NotImplementedError``; an
        encoding is then fitted without it.
        """

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Encode documents, one token matrix per text, in the order given.

        Texts that are longer than the encoder takes are marked in ``TokenEmbeddings.truncated``.
        """

    def fingerprint(self) -> Mapping[str, Any]:
        """Return what decides the vectors (model, lengths, …) as JSON values, equal for equal encoders on any machine.

        The key ``"name"`` is a label for people: it is shown when something else differs, never compared. Nor is
        ``"query"``, which has what decides the vectors of queries alone: a collection does not depend on it. An empty
        fingerprint says that nobody knows: a collection that was created with it can be opened with any encoder of its
        dimensions.
        """


class VectorEncoder(Protocol):
    """Encodes each text as one vector, dense or sparse, for hybrid searches."""

    def encode_queries(self, texts: Sequence[str]) -> Sequence[Any]:
        """Encode queries, one vector each: an array, a list, or for sparse ones a ``models.SparseVector`` or a dict."""

    def encode_documents(self, texts: Sequence[str]) -> Sequence[Any]:
        """Encode documents, one vector each, in the same forms."""


def require_encoder(encoder: object, *members: str, name: str = "encoder") -> None:
    """Raise unless the value of a parameter is an encoder; ``members`` are those needed, by default all."""
    needed = members or ("dim", "encode_queries", "encode_documents", "fingerprint")
    if isinstance(encoder, str | PathLike):
        raise ConfigurationError(
            f"{name} is a name, {shown(encoder)}: load it, ColbertEncoder.from_pretrained({shown(encoder)})"
        )
    if isinstance(encoder, type):
        raise ConfigurationError(f"{name} is the class {encoder.__name__}: give an object of it")
    missing = [member for member in needed if not has(encoder, member)]
    if missing:
        raise ConfigurationError(
            f"{name} is {type(encoder).__name__} {shown(encoder)}, without {', '.join(missing)}: give a ColbertEncoder "
            "or another object with these members"
        )


def encode_and_check(
    encoder: LateInteractionEncoder, texts: Sequence[str], error: type[InvalidDocumentError | MigrationError]
) -> TokenEmbeddings:
    """Encode documents; raise ``error`` unless the encoder gives one matrix per text, of its own ``dim``."""
    tokens = encoder.encode_documents(texts)
    require_one_matrix_each(tokens, encoder, len(texts), error)
    return tokens


def require_one_matrix_each(
    tokens: TokenEmbeddings,
    encoder: LateInteractionEncoder,
    count: int,
    error: type[InvalidDocumentError | InvalidQueryError | MigrationError],
) -> None:
    """Raise ``error`` unless an encoder gave one matrix for each of several texts, of its own ``dim``."""
    if not isinstance(tokens, TokenEmbeddings):
        raise error(f"the encoder gave a {type(tokens).__name__}: it must return TokenEmbeddings")
    if len(tokens) != count or tokens.dim != encoder.dim:
        raise error(
            f"the encoder gave {len(tokens)} matrices of {tokens.dim} dimensions for {count} documents of "
            f"{encoder.dim}: it must return one matrix per text, of its own dim"
        )


def check_texts(texts: Sequence[str], error: type[InvalidQueryError | InvalidDocumentError]) -> list[str]:
    """Return texts as a list of strings; raise ``error`` if one is none.

    Raises:
        ConfigurationError: The texts are a single string.
    """
    if isinstance(texts, str):
        raise ConfigurationError("expected a list of texts, got one string: put it into a list")
    checked = listed(texts)
    if checked is None:
        raise ConfigurationError(f"texts must be a list of strings, got {type(texts).__name__} {shown(texts)}")
    for number, text in enumerate(checked):
        require_text(f"text {number}", text, error)
    return checked


def require_text(name: str, text: object, error: type[InvalidQueryError | InvalidDocumentError]) -> None:
    """Raise ``error`` unless a model can read a text."""
    if not isinstance(text, str):
        raise error(f"{name} is {shown(text)}: only strings can be encoded")
    try:
        text.encode()
    except UnicodeEncodeError as cause:
        raise error(f"{name} is {shown(text)}, which is not valid Unicode: {cause.reason}") from cause
