"""What a sample of points says about the costs of all."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.migrate.plan import Costs
from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.points.point import size_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.migrate.source import Sample
    from colbert_qdrant.points.point import Point

_BYTES: Final[Mapping[str, float]] = {"float32": 4, "float16": 2, "turbo8": 1, "turbo4": 0.5}


def measured(sample: Sample, points: Sequence[Point], compute_seconds: float, config: CollectionConfig) -> Costs:
    """Costs per point.

    Args:
        sample: Points as they were read.
        points: The same as they are written.
        compute_seconds: How long it took to make the ones of the others.
        config: The target's settings.
    """
    records = sample.records
    if not records:
        return Costs()
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
    name = config.token_vector
    tokens: list[Any] = [
        vectors[name]
        for vectors in ({**vectors_of(record), **point.vectors} for record, point in zip(records, points, strict=True))
        if name in vectors
    ]
    return Costs(
        sample=count,
        read_bytes=payload + read,
        written_bytes=payload + 4 * sum(written.values()),
        disk_bytes=payload + sum(values * stored.get(name, 4) for name, values in written.items()),
        tokens=sum(map(len, tokens)) / count,
        read_seconds=sample.seconds / count,
        compute_seconds=compute_seconds / count,
    )
