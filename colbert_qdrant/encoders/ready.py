"""Describes token vectors that are made elsewhere, for collections that encode no text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.config.checks import keep_plain, require_instance, require_int
from colbert_qdrant.encoders.base import check_texts
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError, InvalidQueryError
from colbert_qdrant.shown import counted, shown
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from colbert_qdrant.encoders.base import LateInteractionEncoder

NAMED: Final = "named"
"""The ``"type"`` in the fingerprint of token vectors whose model is only named."""


@dataclass(frozen=True, kw_only=True)
class ReadyTokens:
    """Takes an encoder's place in a collection whose token embeddings are made elsewhere.

    Such a collection stores documents with ``tokens``, and is searched with `TokenEmbeddings`. It encodes no text, so
    any model can make the token embeddings: of images, in a service, or in another process.

    Args:
        dim: Dimensions of a token vector.
        model: The name of the model, such as ``"vidore/colpali-v1.3"``. The collection keeps it, and can then be opened
            with the same name, or with an encoder that was loaded by this name. Or pass the ``fingerprint()`` of an
            encoder, which also tells its weights and settings. Without a model, the collection can be opened with any
            encoder of the same dimensions.

    Raises:
        ConfigurationError: If ``dim`` is less than 1, or ``model`` is empty.

    Example:
        >>> ReadyTokens(dim=128, model="vidore/colpali-v1.3").fingerprint()
        {'type': 'named', 'model': 'vidore/colpali-v1.3'}
    """

    dim: int
    model: str | Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        keep_plain(self)
        require_int("dim", self.dim, minimum=1)
        require_instance("model", self.model, (str, Mapping, NoneType), "a model's name, or an encoder's fingerprint()")
        if isinstance(self.model, str) and not self.model.strip():
            raise ConfigurationError(f"model is {shown(self.model)}: pass the name of the model, or leave it out")

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Refuse to encode, since there is no model.

        Raises:
            InvalidQueryError: If the method is called.
        """
        count = counted(len(check_texts(texts, InvalidQueryError)), "text")
        raise _QueryWithoutModelError(
            f"there is no encoder{self._of_model} for {count}: pass TokenEmbeddings instead of texts, or open the "
            "collection with encoder=…"
        )

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Refuse to encode, since there is no model.

        Raises:
            InvalidDocumentError: If the method is called.
        """
        count = counted(len(check_texts(texts, InvalidDocumentError)), "text")
        raise _DocumentWithoutModelError(
            f"there is no encoder{self._of_model} for {count}: pass Document(id=…, tokens=…), or open the collection "
            "with encoder=…"
        )

    def fingerprint(self) -> Mapping[str, Any]:
        """Return the name or fingerprint of the model; see `LateInteractionEncoder`."""
        if self.model is None or isinstance(self.model, Mapping):
            return dict(self.model or {})
        return {"type": NAMED, "model": self.model}

    @property
    def _of_model(self) -> str:
        name = name_of(self.fingerprint())
        return "" if name is None else f" of model {shown(name)}"


def name_of(fingerprint: Mapping[str, Any]) -> str | None:
    """Return the name in an encoder's fingerprint: a label, or the name of a model that is known by its name alone."""
    name = fingerprint.get("model" if fingerprint.get("type") == NAMED else "name")
    return name if isinstance(name, str) else None


class _QueryWithoutModelError(InvalidQueryError, NotImplementedError):
    """Tells fits, too, that queries cannot be encoded."""


class _DocumentWithoutModelError(InvalidDocumentError, NotImplementedError):
    """Tells that documents cannot be encoded."""


def able_to_encode(encoder: LateInteractionEncoder | None) -> LateInteractionEncoder | None:
    """Return an encoder that can encode texts; ``None`` for one that only describes token vectors."""
    return None if isinstance(encoder, ReadyTokens) else encoder


def required_encoder(encoder: LateInteractionEncoder | None) -> LateInteractionEncoder:
    """Return the encoder of a new collection; raise `ConfigurationError` if it was left out."""
    if encoder is None:
        raise ConfigurationError(
            "encoder=None does not tell the dimensions of token vectors, which a new collection needs: pass an "
            "encoder, or ReadyTokens(dim=…, model=…) if token embeddings are made elsewhere"
        )
    return encoder
