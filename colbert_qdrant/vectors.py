"""Defines the forms in which vectors are stored: numpy arrays, sparse vectors, or texts that a server encodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qdrant_client import models


@dataclass(frozen=True, kw_only=True, eq=False)
class SparseVector:
    """The values of a vector that are not zero.

    Attributes:
        indices: Their dimensions, each once, shape ``(n,)``.
        values: The values at these dimensions, shape ``(n,)``.
    """

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]

    @property
    def size(self) -> int:
        """The count of numbers that it stores, indices and values together."""
        return self.indices.size + self.values.size


Vector: TypeAlias = NDArray[np.float32] | SparseVector | models.Document | models.SparseVector | list[Any]
"""A vector ``(dim,)``, a multivector ``(n, dim)``, a sparse vector, or a text that the server makes one of; also as
``qdrant_client`` reads it."""
