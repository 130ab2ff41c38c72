"""Defines the points to write, with vectors as numpy arrays, and splits them into batches."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from qdrant_client import models

from colbert_qdrant.vectors import SparseVector, Vector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_JSON_BYTES: Final = 16
"""The maximum length of a float32 with a comma in JSON."""

_JSON_BYTES_OF_FLOAT16: Final = 10
"""The same for a float16."""

_BINARY_BYTES: Final = 4

Payload: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """A point to write, with vectors as numpy arrays.

    Attributes:
        truncated: Whether the encoder truncated its text.
        float16: The names of the vectors that the engine stores as float16, so that fewer digits are sent.
    """

    id: str | int
    vectors: Mapping[str, Vector]
    payload: Payload
    truncated: bool = False
    float16: frozenset[str] = frozenset()

    def request_bytes(self, *, binary: bool) -> int:
        """Estimate the bytes of the point in a request, with binary numbers (gRPC) or decimal digits (REST)."""
        texts = [vector.text for vector in self.vectors.values() if isinstance(vector, models.Document)]
        rest = len(json.dumps([self.payload, *texts]))
        if binary:
            return self.values * _BINARY_BYTES + rest
        short = sum(size_of(self.vectors[name]) for name in self.float16 & self.vectors.keys())
        return (self.values - short) * _JSON_BYTES + short * _JSON_BYTES_OF_FLOAT16 + rest

    @property
    def values(self) -> int:
        """The number of values in its vectors."""
        return sum(map(size_of, self.vectors.values()))


def size_of(vector: Vector) -> int:
    """Count the values of a vector; a text that the server will encode counts as 0."""
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
    """Split points into batches of at most ``limit`` bytes and ``most`` points; a larger point is its own batch."""
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
    """Return a vector in the form that ``qdrant_client`` expects; vectors that were read with it pass through."""
    if isinstance(vector, np.ndarray):
        return vector.tolist()
    if isinstance(vector, SparseVector):
        return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
    return vector
