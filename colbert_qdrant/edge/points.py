"""Converts qdrant-client's points to Edge's, and Edge's records to qdrant-client's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import qdrant_edge as edge
from pydantic_core import to_jsonable_python
from qdrant_client import models

from colbert_qdrant.edge.fields import read_fields, unsupported_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdrant_client.conversions.common_types import PointId


def to_vector(value: Any) -> edge.NamedVector:
    """Convert one vector. Lists are passed unchanged, because they hold thousands of floats."""
    if isinstance(value, list):
        return [row.tolist() for row in value] if value and hasattr(value[0], "tolist") else value
    if hasattr(value, "tolist"):
        rows: list[Any] = value.tolist()
        return rows
    if isinstance(value, models.SparseVector):
        return edge.SparseVector(value.indices, value.values)
    raise unsupported_error(f"`{type(value).__name__}` as a vector")


def to_vectors(value: Any) -> dict[str, edge.NamedVector]:
    """Convert the vectors of a point; the unnamed vector has the name ""."""
    named = value if isinstance(value, dict) else {"": value}
    return {name: _to_stored(vector) for name, vector in named.items()}


def _to_stored(value: Any) -> Any:
    """Convert a vector that is written: the engine reads buffers faster than lists, and needs no memory for them."""
    if isinstance(value, np.ndarray) and value.dtype == np.float32 and value.ndim in (1, 2):
        rows: Any = np.require(value, requirements=["C", "ALIGNED"])  # the engine reads no other buffers
        return memoryview(rows) if value.ndim == 1 else [memoryview(row) for row in rows]
    return to_vector(value)


def to_payload(value: models.Payload) -> dict[str, Any]:
    """Convert a payload to plain JSON values; like QdrantClient, it accepts dates, UUIDs and models."""
    payload: dict[str, Any] = to_jsonable_python(value)
    return payload


def to_selector(value: models.WithPayloadInterface) -> edge.WithPayloadType:
    """Convert `with_payload`."""
    if isinstance(value, models.PayloadSelectorInclude):
        return edge.PayloadSelector.Include(read_fields(value, "include")["include"])
    if isinstance(value, models.PayloadSelectorExclude):
        return edge.PayloadSelector.Exclude(read_fields(value, "exclude")["exclude"])
    return value


def to_names(value: bool | Sequence[str]) -> bool | list[str]:  # noqa: FBT001 - QdrantClient's parameter
    """Convert `with_vectors`."""
    return value if isinstance(value, bool) else list(value)


def from_id(value: PointId) -> int | str:
    """Return a point id in QdrantClient's form."""
    return str(value) if isinstance(value, UUID) else value


def from_record(value: edge.Record) -> models.Record:
    """Convert a record, without validation, which would check every float."""
    return models.Record.model_construct(**_common_fields(value))


def from_scored_point(value: edge.ScoredPoint) -> models.ScoredPoint:
    """Convert a search result."""
    return models.ScoredPoint.model_construct(version=value.version, score=value.score, **_common_fields(value))


def _common_fields(value: edge.Record | edge.ScoredPoint) -> dict[str, Any]:
    return {
        "id": from_id(value.id),
        "payload": value.payload,
        "vector": _from_vectors(value.vector),
        "shard_key": None,
        "order_value": value.order_value,
    }


def _from_vectors(value: edge.Vector | None) -> Any:
    if not isinstance(value, dict):
        return value
    return {name: _from_vector(vector) for name, vector in value.items()}


def _from_vector(value: edge.NamedVector) -> Any:
    if isinstance(value, edge.SparseVector):
        return models.SparseVector.model_construct(indices=value.indices, values=value.values)
    return value
