"""Defines the types of stored vectors: NumPy arrays, sparse vectors, and texts that a server encodes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qdrant_client import models


@dataclass(frozen=True, kw_only=True, eq=False)
class SparseVector:
    """The nonzero values of a vector.

    Attributes:
        indices: The distinct dimensions of the nonzero values, shape ``(n,)``.
        values: The values at these dimensions, shape ``(n,)``.
    """

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]

    @property
    def size(self) -> int:
        """The number of stored numbers: indices plus values."""
        return self.indices.size + self.values.size


Vector: TypeAlias = NDArray[np.float32] | SparseVector | models.Document | models.SparseVector | list[Any]
"""A vector ``(dim,)``, a multivector ``(n, dim)``, a sparse vector, or a text that the server encodes. The types that
``qdrant_client`` returns are included."""
