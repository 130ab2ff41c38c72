"""Measures on a sample of points what all of them cost."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.migrate.plan import Costs
from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.points.point import size_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdrant_client import models

    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.points.point import Point

_BYTES: Final[Mapping[str, float]] = {"float32": 4, "float16": 2, "turbo8": 1, "turbo4": 0.5}
_WARM_UP: Final = 2


def measure_costs(
    records: Sequence[models.Record], read_seconds: float, converter: Converter, config: CollectionConfig
) -> Costs:
    """Convert a sample of the source, and return the costs of one point.

    Raises:
        MigrationError: A point cannot be converted.
    """
    if not records:
        return Costs()
    converter.convert(records[:_WARM_UP])  # models compile at first, libraries are loaded
    started = time.perf_counter()
    points = converter.convert(records)
    seconds = time.perf_counter() - started
    count = len(records)
    payload = sum(len(json.dumps(record.payload or {}).encode()) for record in records) / count
    read = sum(4 * size_of(vector) for record in records for vector in vectors_of(record).values()) / count
    written: dict[str, float] = {}
    for point in points:
        for name, vector in point.vectors.items():
            written[name] = written.get(name, 0) + size_of(vector) / count
    stored = {
        config.token_vector: _BYTES[config.token_datatype],
        config.fde_vector: _BYTES[config.fde_datatype],
    }
    return Costs(
        sample=count,
        read_bytes=payload + read,
        written_bytes=payload + 4 * sum(written.values()),
        disk_bytes=payload + sum(values * stored.get(name, 4) for name, values in written.items()),
        tokens=_count_tokens(records, points, config.token_vector) / count,
        read_seconds=read_seconds / count,
        compute_seconds=seconds / count,
    )


def _count_tokens(records: Sequence[models.Record], points: Sequence[Point], name: str) -> int:
    count = 0
    for record, point in zip(records, points, strict=True):
        vectors: Mapping[str, Any] = {**vectors_of(record), **point.vectors}
        count += len(vectors.get(name, ()))
    return count
