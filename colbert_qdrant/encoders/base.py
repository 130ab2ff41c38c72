"""The seam between models and everything behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colbert_qdrant.tokens import TokenEmbeddings


@runtime_checkable
class LateInteractionEncoder(Protocol):
    """Text → token embeddings. Anything with these four members is an encoder."""

    @property
    def dim(self) -> int:
        """Dimensions of a token vector."""
        ...

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Encode queries, one token matrix per text, in the order given."""
        ...

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Encode documents, one token matrix per text, in the order given."""
        ...

    def fingerprint(self) -> Mapping[str, Any]:
        """What decides the vectors (model, lengths, …) as JSON values; equal for equal encoders on any machine.

        The key ``"name"`` is a label for people: it is shown when something else differs, never compared.
        """
        ...
