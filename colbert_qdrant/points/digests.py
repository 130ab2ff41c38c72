"""Computes digests of ids, payloads and vectors, for single points and for whole collections."""

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
"""The bytes kept of a digest: a changed point has the same ones with a probability of 2**-64."""

_DIGITS: Final = 12
"""The digits of payload floats that count in a copy: engines misread the last digit of numbers with 16 or 17 digits."""

_TOLERANCE: Final = 2.0**-50
"""The relative difference between a payload float and its copy that still counts as equal."""


class Snapshot:
    """The state of a source's points when they were copied to the target, in 16 bytes a point.

    Args:
        vectors: The names of the vectors to compare.
    """

    def __init__(self, vectors: Sequence[str]) -> None:
        self._vectors = vectors
        self._points: dict[int | str | UUID, bytes] = {}

    def add(self, records: Sequence[models.Record]) -> None:
        """Record the current state of points of the source."""
        for record in records:
            self._points[record.id] = _copied(record) + content_of(record, self._vectors)[:_KEPT]

    def is_unchanged(self, record: models.Record) -> bool:
        """Tell whether a point of the source is unchanged since `add`."""
        return self._points.get(record.id, b"")[_KEPT:] == content_of(record, self._vectors)[:_KEPT]

    def is_as_copied(self, record: models.Record) -> bool:
        """Tell whether a point of the target still has the payload that was copied."""
        return self._points.get(record.id, b"")[:_KEPT] == _copied(record)

    def __contains__(self, id: object) -> bool:
        return id in self._points

    def __len__(self) -> int:
        return len(self._points)


class Digest:
    """A digest of points that does not depend on their order.

    It covers ids, payloads and the named vectors.

    Args:
        vectors: The names of the vectors.

    Attributes:
        points: The number of points added so far.
    """

    def __init__(self, vectors: Sequence[str] = ()) -> None:
        self._vectors = vectors
        self._total = 0
        self.points = 0

    def add(self, page: Sequence[models.Record]) -> None:
        """Add a page of points."""
        for record in page:
            self._total += int.from_bytes(content_of(record, self._vectors), "big")
        self.points += len(page)

    def to_dict(self) -> dict[str, Any]:
        """Return the digest and the number of points as JSON values."""
        return {"points": self.points, "digest": str(self)}

    def __str__(self) -> str:
        return f"{self._total % 2**256:064x}"


def content_of(record: models.Record, vectors: Sequence[str] = ()) -> bytes:
    """Return the SHA-256 of a point's id, its payload and its named vectors."""
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
    """Return a sparse vector's values by index, rounded to float32 as engines store them."""
    return dict(zip(vector.indices, np.asarray(vector.values, np.float32).tolist(), strict=True))


def is_same_payload(one: Any, other: Any) -> bool:
    """Tell whether a copy has its original's payload; the last digits of floats, which engines misread, may differ."""
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
    """Return a digest of the payload that is the same for a point and its copy."""
    return hashlib.sha256(canonical_json(_rounded(record.payload)).encode()).digest()[:_KEPT]


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return [_rounded(each) for each in value] if isinstance(value, list) else value


def canonical_json(payload: Any) -> str:
    """Return a payload as canonical JSON, which distinguishes 1, 1.0 and ``True``, unlike Python's ``==``."""
    return json.dumps(payload or {}, sort_keys=True)
