"""Digests of points that were read: of ids, payloads and vectors, one by one and of whole collections."""

from __future__ import annotations

import hashlib
import json
from math import isclose
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from colbert_qdrant.points.convert import vectors_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from qdrant_client import models

_KEPT: Final = 8
"""The bytes of a digest that are kept: those of a changed point are others but for one chance in 2**64."""


_DIGITS: Final = 12
"""Of floats in the payload of a copy: engines misread numbers of 16 and 17 digits in the last of them."""

_TOLERANCE: Final = 2.0**-50
"""The same, relative to a float."""


class Snapshot:
    """The points of a source as they were copied to its target, in 16 bytes each.

    Args:
        vectors: The names of the vectors that count.
    """

    def __init__(self, vectors: Sequence[str]) -> None:
        self._vectors = vectors
        self._points: dict[int | str | UUID, bytes] = {}

    def add(self, records: Sequence[models.Record]) -> None:
        """Keep points of the source as they are."""
        for record in records:
            self._points[record.id] = _copied(record) + content_of(record, self._vectors)[:_KEPT]

    def is_as_it_was(self, record: models.Record) -> bool:
        """Tell whether a point of the source is what it was."""
        return self._points.get(record.id, b"")[_KEPT:] == content_of(record, self._vectors)[:_KEPT]

    def is_as_copied(self, record: models.Record) -> bool:
        """Tell whether a point of the target has the payload that was copied."""
        return self._points.get(record.id, b"")[:_KEPT] == _copied(record)

    def __contains__(self, id: object) -> bool:
        return id in self._points

    def __len__(self) -> int:
        return len(self._points)


class Digest:
    """A digest of points in any order, by ids and payloads, and by vectors if some are named.

    Args:
        vectors: The names of the vectors.

    Attributes:
        points: The number of points.
    """

    def __init__(self, vectors: Sequence[str] = ()) -> None:
        self._vectors = vectors
        self._total = 0
        self.points = 0

    def add(self, page: Sequence[models.Record]) -> None:
        """Add points."""
        for record in page:
            self._total += int.from_bytes(content_of(record, self._vectors), "big")
        self.points += len(page)

    def to_dict(self) -> dict[str, Any]:
        """Return the digest and the number of points as JSON values."""
        return {"points": self.points, "digest": str(self)}

    def __str__(self) -> str:
        return f"{self._total % 2**256:064x}"


def content_of(record: models.Record, vectors: Sequence[str] = ()) -> bytes:
    """Return the SHA-256 of a point's id and payload, and of some vectors."""
    content = hashlib.sha256(f"{record.id!r} {canonical_json(record.payload)}".encode())
    found = vectors_of(record)
    for name in vectors:
        vector = found.get(name)
        if vector is not None:
            sparse = hasattr(vector, "indices")
            numbers = repr(sorted(entries(vector).items())) if sparse else np.asarray(vector, np.float32).tobytes()
            content.update(f" {name!r} ".encode() + (numbers.encode() if isinstance(numbers, str) else numbers))
    return content.digest()


def entries(vector: models.SparseVector) -> dict[int, float]:
    """Return what a sparse vector holds, in the 32 bits that engines keep of a number."""
    return dict(zip(vector.indices, np.asarray(vector.values, np.float32).tolist(), strict=True))


def is_same_payload(one: Any, other: Any) -> bool:
    """Tell whether a copy has the payload of its original, but for the last digits of floats, which engines misread."""
    return canonical_json(one) == canonical_json(other) or _is_close(one, other)


def _is_close(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return isclose(one, other, rel_tol=_TOLERANCE)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_is_close(each, other[key]) for key, each in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_is_close, one, other))
    return bool(one == other)


def _copied(record: models.Record) -> bytes:
    """Return the digest of a payload that a copy of the point has, too."""
    return hashlib.sha256(canonical_json(_rounded(record.payload)).encode()).digest()[:_KEPT]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def canonical_json(payload: Any) -> str:
    """Return a payload as JSON that is equal for equal payloads: Python takes 1, 1.0 and ``True`` for the same."""
    return json.dumps(payload or {}, sort_keys=True)
