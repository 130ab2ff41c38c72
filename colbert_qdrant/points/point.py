"""Defines points that are to be stored, with vectors as numpy arrays, and gathers them into batches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from qdrant_client import models

from colbert_qdrant.vectors import SparseVector, Vector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_JSON_BYTES_PER_VALUE: Final = 21
"""A float32 written as the decimal digits of its double, with its comma."""

_BINARY_BYTES_PER_VALUE: Final = 4

Payload: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """A point that is to be stored, its vectors as numpy has them.

    Attributes:
        truncated: Whether its text lost its end when it was encoded.
    """

    id: str | int
    vectors: Mapping[str, Vector]
    payload: Payload
    truncated: bool = False

    def request_bytes(self, *, binary: bool) -> int:
        """Estimate the bytes of the point in a request: numbers as they are (gRPC), or as decimal digits (REST)."""
        texts = [vector.text for vector in self.vectors.values() if isinstance(vector, models.Document)]
        each = _BINARY_BYTES_PER_VALUE if binary else _JSON_BYTES_PER_VALUE
        return self.values * each + len(json.dumps([self.payload, *texts]))

    @property
    def values(self) -> int:
        """The count of numbers in its vectors."""
        return sum(map(size_of, self.vectors.values()))


def size_of(vector: Vector) -> int:
    """Count the numbers of a vector; a text has none yet."""
    if isinstance(vector, models.Document):
        return 0
    if isinstance(vector, models.SparseVector):
        return 2 * len(vector.indices)
    if isinstance(vector, list):
        return len(vector) * (len(vector[0]) if vector and isinstance(vector[0], list) else 1)
    return vector.size


def split_by_bytes(
    points: Iterable[Point], limit: int, *, binary: bool, most: int | None = None
) -> Iterator[list[Point]]:
    """Gather points into batches of at most ``limit`` bytes and ``most`` points; a larger point goes alone."""
    batch: list[Point] = []
    size = 0
    for point in points:
        point_size = point.request_bytes(binary=binary)
        if batch and (size + point_size > limit or len(batch) == most):
            yield batch
            batch, size = [], 0
        batch.append(point)
        size += point_size
    if batch:
        yield batch


def to_struct(point: Point) -> models.PointStruct:
    """Return a point with its vectors as lists."""
    vectors: Any = {name: to_numbers(vector) for name, vector in point.vectors.items()}
    return models.PointStruct(id=point.id, vector=vectors, payload=point.payload)


def to_numbers(vector: Vector) -> Any:
    """Return a vector as ``qdrant_client`` takes it; what was read from it goes as it came."""
    if isinstance(vector, np.ndarray):
        return vector.tolist()
    if isinstance(vector, SparseVector):
        return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
    return vector
