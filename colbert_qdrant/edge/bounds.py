"""Rejects settings and numbers that a server would reject, so that applications can move to a server.

The bounds are those of Qdrant's OpenAPI schema (``docs/redoc/master/openapi.json``).
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel

from colbert_qdrant.errors import ConfigurationError

_BOUNDS: Final[dict[str, dict[str, tuple[float, float | None]]]] = {
    "VectorParams": {"size": (1, 65_536)},
    "HnswConfigDiff": {"m": (0, None), "ef_construct": (4, None), "full_scan_threshold": (10, None)},
    "OptimizersConfigDiff": {
        "deleted_threshold": (0, 1),
        "vacuum_min_vector_number": (100, None),
        "max_segment_size": (1, None),
    },
    "ScalarQuantizationConfig": {"quantile": (0.5, 1)},
    "QueryRequest": {"limit": (1, None), "offset": (0, None)},
    "Prefetch": {"limit": (1, None)},
    "SearchParams": {"hnsw_ef": (1, None)},
    "QuantizationSearchParams": {"oversampling": (1, None)},
    "AcornSearchParams": {"max_selectivity": (0, 1)},
    "Rrf": {"k": (1, None)},
    "Mmr": {"diversity": (0, 1), "candidates_limit": (0, 16_384)},
}
"""The minimum and maximum by class name and field; an older qdrant-client lacks some of the classes."""

_UNCHECKED: Final = frozenset({"filter"})


def check_bounds(value: Any, where: str) -> None:
    """Raise `ConfigurationError` if a number in parameters, at any depth, is out of a server's bounds."""
    if isinstance(value, BaseModel):
        bounds = _BOUNDS.get(type(value).__name__, {})
        for name in type(value).model_fields:
            part = getattr(value, name)
            if part is not None and name in bounds:
                check_number(part, *bounds[name], f"{where}{type(value).__name__}.{name}")
            elif name not in _UNCHECKED:
                check_bounds(part, where)
    elif isinstance(value, dict):
        for part in value.values():
            check_bounds(part, where)
    elif isinstance(value, list) and value and isinstance(value[0], BaseModel):  # skips the numbers of vectors
        for part in value:
            check_bounds(part, where)


def check_number(value: float, least: float, most: float | None, name: str) -> None:
    """Raise `ConfigurationError` if a number is out of bounds; `None` sets no bound."""
    if value < least or (most is not None and value > most):
        bounds = f"at least {least:,}" if most is None else f"between {least:,} and {most:,}"
        raise ConfigurationError(f"{name} must be {bounds}, got {value:,}")
