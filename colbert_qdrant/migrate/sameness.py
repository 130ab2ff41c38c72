"""Tells whether points of a source and its target are the same, and whether a point is what it was."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from colbert_qdrant.migrate.source import canonical_json
from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.points.schema import datatype_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qdrant_client import models

    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.migrate.plan import MigrationPlan
    from colbert_qdrant.migrate.source import Source

_TOLERANCES: Final[Mapping[str, float]] = {
    "float32": 1e-5,
    "float16": 2e-3,
    "uint8": 1e-6,
    "turbo8": 0.03,
    "turbo4": 0.25,
}
"""The norm of the difference, relative to that of the vector, that reading and writing again may cost."""

_KEPT: Final = 8
"""The bytes of a digest that are kept: those of a changed point are others but for one chance in 2**64."""


@dataclass(frozen=True, kw_only=True)
class Sameness:
    """Compares points by payload and by the vectors that are copied, except for multivectors and encodings.

    Those are many times larger than all else; a change of them alone is found by a sample only.

    Attributes:
        source: The source.
        plan: The plan.
    """

    source: Source
    plan: MigrationPlan

    @property
    def vectors(self) -> list[str]:
        """The vectors that are compared."""
        own = (self.plan.config.token_vector, self.plan.config.fde_vector)
        cheap = [*self.source.dense, *self.source.sparse]
        return [name for name in self.plan.kept if name in cheap and name not in own]

    def is_same(self, one: models.Record, other: models.Record) -> bool:
        """Tell whether a point of the source and one of the target are the same."""
        return canonical_json(one.payload) == canonical_json(other.payload) and not any(self.differing(one, other))

    def differing(self, one: models.Record, other: models.Record) -> Iterator[str]:
        """Name the vectors that are others in the target than in the source."""
        first, second = vectors_of(one), vectors_of(other)
        for name in self.vectors:
            if not self.is_same_vector(name, first.get(name), second.get(name)):
                yield name

    def is_same_vector(self, name: str, one: Any, other: Any) -> bool:
        """Tell whether a vector is that of the source, but for what writing it again may cost."""
        if one is None or other is None:
            return one is None and other is None
        if name in self.source.sparse:
            return _entries(one) == _entries(other)
        config, tolerance = self.plan.config, _TOLERANCES[datatype_of(self.source.vectors[name])]
        stored = {config.token_vector: config.token_datatype, config.fde_vector: config.fde_datatype}
        if name in stored:
            tolerance = max(tolerance, _TOLERANCES[stored[name]])
        first, second = np.asarray(one, np.float32).ravel(), np.asarray(other, np.float32).ravel()
        return first.shape == second.shape and bool(
            np.linalg.norm(first - second) <= tolerance * max(float(np.linalg.norm(first)), 1e-12)
        )


class Snapshot:
    """The points of a source as they were copied to its target, in 16 bytes each.

    Args:
        vectors: The names of the vectors that count.
    """

    def __init__(self, vectors: Sequence[str]) -> None:
        self._vectors = vectors
        self._points: dict[PointId, bytes] = {}

    def add(self, records: Sequence[models.Record]) -> None:
        """Keep points of the source as they are."""
        for record in records:
            self._points[record.id] = content_of(record)[:_KEPT] + content_of(record, self._vectors)[:_KEPT]

    def is_as_it_was(self, record: models.Record) -> bool:
        """Tell whether a point of the source is what it was."""
        return self._points.get(record.id, b"")[_KEPT:] == content_of(record, self._vectors)[:_KEPT]

    def is_as_copied(self, record: models.Record) -> bool:
        """Tell whether a point of the target has the payload that was copied."""
        return self._points.get(record.id, b"")[:_KEPT] == content_of(record)[:_KEPT]

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
            numbers = repr(sorted(_entries(vector).items())) if sparse else np.asarray(vector, np.float32).tobytes()
            content.update(f" {name!r} ".encode() + (numbers.encode() if isinstance(numbers, str) else numbers))
    return content.digest()


def _entries(vector: models.SparseVector) -> dict[int, float]:
    """Return what a sparse vector holds, in the 32 bits that engines keep of a number."""
    return dict(zip(vector.indices, np.asarray(vector.values, np.float32).tolist(), strict=True))
