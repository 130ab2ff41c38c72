"""Digests of texts and token vectors, which points carry in place beside the vectors that were made of them.

A digest is a small vector of its own: it is written in the same request as the others, goes with them when an
application replaces the point, and is in nobody's payload.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qdrant_client import models

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DIM: Final = 6
_BYTES: Final = 3
"""The bytes that one number of 32 bits holds exactly."""

ORIGIN_PARAMS: Final = models.VectorParams(
    size=_DIM,
    distance=models.Distance.DOT,
    datatype=models.Datatype.FLOAT32,
    hnsw_config=models.HnswConfigDiff(m=0, payload_m=0),
)
"""The vector of digests: without a graph, since nobody searches it."""


def origin_name(token_vector: str) -> str:
    """Return the name of the vector with the digests of what token vectors were made of."""
    return f"{token_vector}__origin"


def origin_of(made_of: str | NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the digest of a text or of token vectors."""
    data = made_of.encode("utf-8", "surrogatepass") if isinstance(made_of, str) else made_of.tobytes()
    digest = hashlib.sha256(data).digest()
    return np.array([int.from_bytes(digest[n * _BYTES : (n + 1) * _BYTES]) for n in range(_DIM)], np.float32)


def same_origin(wanted: NDArray[np.float32] | None, stored: Any) -> bool:
    """Tell whether a stored digest is that of a point's text or token vectors; ``None`` if there is nothing."""
    if wanted is None or stored is None:
        return wanted is None and stored is None
    return bool(np.array_equal(wanted, np.asarray(stored, np.float32)))
