"""Defines the protocol of encoders for fixed dimensional encodings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from colbert_qdrant.tokens import TokenEmbeddings


@runtime_checkable
class FixedDimensionalEncoder(Protocol):
    """Encodes token embeddings as one vector each, whose inner product ranks like MaxSim."""

    @property
    def dim(self) -> int:
        """Dimensions of the encoding."""

    def encode_documents(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode documents: float32, shape ``(len(tokens), dim)``."""

    def encode_queries(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode queries: float32, shape ``(len(tokens), dim)``."""

    def fingerprint(self) -> Mapping[str, Any]:
        """Return the values that determine the encodings, as JSON.

        ``"config"`` is the `to_dict` of the settings, from which the encoder can be rebuilt. ``"version"`` is the
        version of the algorithm. ``"token_dim"`` is the number of dimensions of a token vector.
        """
