"""Measures the costs of a migration on a sample of points."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.migrate.plan import Costs
from colbert_qdrant.migrate.source import PAGE_POINTS
from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.points.page_size import PAGE_BYTES
from colbert_qdrant.points.point import size_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdrant_client import models

    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.migrate.sample import Sample
    from colbert_qdrant.points.point import Point

_BYTES: Final[Mapping[str, float]] = {"float32": 4, "float16": 2, "turbo8": 1, "turbo4": 0.5}
_WARM_UP: Final = 2
_SECONDS_PER_BYTE: Final = 2e-8
"""The time per byte of a write request. Edge needs half of it on two cores; servers that parse decimals need more."""

_REQUESTS: Final = 3
"""The requests per page of points: read the target's points, read the source's points, write."""


def measure_costs(sample: Sample, converter: Converter, config: CollectionConfig, *, binary: bool) -> Costs:
    """Convert a sample of the source, and return the costs of one point.

    Raises:
        MigrationError: If a point cannot be converted.
    """
    records = sample.records
    if not records:
        return Costs()
    converter.convert(records[:_WARM_UP])  # loads libraries and compiles models
    started = time.perf_counter()
    points = converter.convert(records)
    seconds = time.perf_counter() - started
    count = len(records)
    payload = sum(len(json.dumps(record.payload or {}).encode()) for record in records) / count
    read = sum(4 * size_of(vector) for record in records for vector in vectors_of(record).values()) / count
    sent = sum(point.request_bytes(binary=binary) for point in points) / count
    page = max(1.0, min(PAGE_POINTS, PAGE_BYTES / sent))
    tokens = _count_tokens(records, points, config.token_vector)
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
        tokens=sum(tokens) / count,
        longest=max(tokens),
        truncated=sum(point.truncated for point in points),
        read_seconds=sample.seconds / count,
        compute_seconds=seconds / count,
        write_seconds=sent * _SECONDS_PER_BYTE + _REQUESTS * sample.latency / page,
    )


def _count_tokens(records: Sequence[models.Record], points: Sequence[Point], name: str) -> list[int]:
    counts = []
    for record, point in zip(records, points, strict=True):
        vectors: Mapping[str, Any] = {**vectors_of(record), **point.vectors}
        counts.append(len(vectors.get(name, ())))
    return counts
