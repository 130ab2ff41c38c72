"""What `ColbertCollection` and `AsyncColbertCollection` have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from colbert_qdrant.collection.operations import CollectionOperations
    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.fde import FixedDimensionalEncoder


class CollectionShell:
    """What both kinds of collections have, and what needs no engine."""

    def __init__(self, operations: CollectionOperations) -> None:
        """Used by ``create`` and ``open``."""
        self._operations = operations

    def close(self) -> None:
        """Refuse further use. The client stays open: it is the caller's."""
        self._operations.close()

    def __repr__(self) -> str:
        fitted = "" if self.fde else ", not fitted"
        return (
            f"{type(self).__name__}({self.name!r}, fde_dim={self.config.fde.dim}, token_dim={self.encoder.dim}{fitted})"
        )

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._operations.name

    @property
    def encoder(self) -> LateInteractionEncoder:
        """What makes token embeddings."""
        return self._operations.encoder

    @property
    def config(self) -> CollectionConfig:
        """The collection's settings; a refit may change those of its encoding."""
        return self._operations.encoding.config

    @property
    def fde(self) -> FixedDimensionalEncoder | None:
        """The encoding; ``None`` while it has to be fitted."""
        return self._operations.encoding.fde
