"""Defines the protocols of encoders, and checks texts before and token embeddings after encoding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError, InvalidQueryError, MigrationError
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

        The key ``"name"`` is a label for people: it is shown when something else differs, never compared. An empty
        fingerprint says that nobody knows: a collection that was created with it can be opened with any encoder of its
        dimensions.
        """


class VectorEncoder(Protocol):
    """Encodes each text as one vector, dense or sparse, for hybrid searches."""

    def encode_queries(self, texts: Sequence[str]) -> Sequence[Any]:
        """Encode queries, one vector each: an array, a list, or for sparse ones a ``models.SparseVector`` or a dict."""

    def encode_documents(self, texts: Sequence[str]) -> Sequence[Any]:
        """Encode documents, one vector each, in the same forms."""


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
    checked = list(texts)
    for number, text in enumerate(checked):
        if not isinstance(text, str):
            raise error(f"text {number} is {text!r:.80}: only strings can be encoded")
    return checked
