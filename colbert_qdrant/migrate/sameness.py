"""Compares points of a source with points of its target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qdrant_client import models

from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.points.digests import entries, is_same_payload
from colbert_qdrant.points.schema import datatype_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from colbert_qdrant.migrate.plan import MigrationPlan
    from colbert_qdrant.migrate.source import Source

_TOLERANCES: Final[Mapping[str, float]] = {
    "float32": 1e-5,
    "float16": 2e-3,
    "uint8": 1e-6,
    "turbo8": 0.03,
    "turbo4": 0.25,
}
"""The largest difference that storing a vector may cause, by datatype; norms, relative to the vector's norm."""


@dataclass(frozen=True, kw_only=True)
class Sameness:
    """Compares points by their payloads and their copied vectors, except multivectors and FDEs.

    These two are far larger than the rest of a point. If nothing else changes, only a sample shows their changes.

    Attributes:
        source: The source.
        plan: The plan.
    """

    source: Source
    plan: MigrationPlan

    @property
    def vectors(self) -> list[str]:
        """The vectors that are compared."""
        config = self.plan.config
        left_out = [config.token_vector, config.fde_vector]
        if config.bm25 is not None and config.bm25.fixed_avg_len is None:
            left_out.append(config.bm25_vector)  # its weights follow from the text, and from all other texts
        cheap = [*self.source.dense, *self.source.sparse]
        return [name for name in self.plan.kept if name in cheap and name not in left_out]

    @property
    def own(self) -> list[str]:
        """The vectors that this library computes from texts."""
        config = self.plan.config
        return [config.token_vector, config.fde_vector, *([] if config.bm25 is None else [config.bm25_vector])]

    def is_same(self, one: models.Record, other: models.Record) -> bool:
        """Tell whether a point of the source equals a point of the target."""
        return is_same_payload(one.payload, other.payload) and not any(self.differing(one, other))

    def differing(self, one: models.Record, other: models.Record) -> Iterator[str]:
        """Yield the names of the vectors that differ between source and target."""
        first, second = vectors_of(one), vectors_of(other)
        for name in self.vectors:
            if name not in first and name in self.own:
                continue  # `repair` adds it to points that have only a text
            if not self.is_same_vector(name, first.get(name), second.get(name)):
                yield name

    def is_same_vector(self, name: str, one: Any, other: Any) -> bool:
        """Tell whether a vector equals that of the source, within the tolerance of its datatype.

        Vectors with distance cosine may differ in length: engines normalize them, and the client's local mode returns
        them unnormalized after its folder is reopened.
        """
        if one is None or other is None:
            return one is None and other is None
        if name in self.source.sparse:
            return entries(one) == entries(other)
        params = self.source.vectors[name]
        config, tolerance = self.plan.config, _TOLERANCES[datatype_of(params)]
        stored = {config.token_vector: config.token_datatype, config.fde_vector: config.fde_datatype}
        if name in stored:
            tolerance = max(tolerance, _TOLERANCES[stored[name]])
        first, second = np.asarray(one, np.float32), np.asarray(other, np.float32)
        if params.distance == models.Distance.COSINE:
            first, second = _normalized(first), _normalized(second)
        return first.shape == second.shape and bool(
            np.linalg.norm(first - second) <= tolerance * max(float(np.linalg.norm(first)), 1e-12)
        )


def _normalized(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    unit: NDArray[np.float32] = rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)
    return unit
