"""Stores digests of texts and token vectors in points, to detect vectors that are missing or stale.

A digest is a small vector that is written in the same request as the vectors that it belongs to. An application that
replaces the point removes it along with them. The payload stays untouched.
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
"""The bytes that a float32 represents exactly."""

ORIGIN_PARAMS: Final = models.VectorParams(
    size=_DIM,
    distance=models.Distance.DOT,
    datatype=models.Datatype.FLOAT32,
    hnsw_config=models.HnswConfigDiff(m=0, payload_m=0),
)
"""The parameters of the vector with the digests; it has no graph, since no search uses it."""


def origin_name(token_vector: str) -> str:
    """Return the name of the vector with the digests of the texts that a token vector was encoded from."""
    return f"{token_vector}__origin"


def origin_of(source: str | NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the digest of a text or of token vectors."""
    data = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else source.tobytes()
    digest = hashlib.sha256(data).digest()
    return np.array([int.from_bytes(digest[n * _BYTES : (n + 1) * _BYTES]) for n in range(_DIM)], np.float32)


def same_origin(wanted: NDArray[np.float32] | None, stored: Any) -> bool:
    """Tell whether a stored digest equals that of a point's text or token vectors; ``None`` stands for no digest."""
    if wanted is None or stored is None:
        return wanted is None and stored is None
    return bool(np.array_equal(wanted, np.asarray(stored, np.float32)))
