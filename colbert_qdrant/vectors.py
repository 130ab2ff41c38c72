"""Vectors in the form that they are stored in: numpy arrays, sparse vectors, or texts that a server encodes."""

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
        indices: Where they are, each once, shape ``(n,)``.
        values: What they are, shape ``(n,)``.
    """

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]

    @property
    def size(self) -> int:
        """How many numbers it takes."""
        return self.indices.size + self.values.size


Vector: TypeAlias = NDArray[np.float32] | SparseVector | models.Document | models.SparseVector | list[Any]
"""A vector ``(dim,)``, a multivector ``(n, dim)``, a sparse vector, or a text that the server makes one of; also as
``qdrant_client`` reads it."""
