"""Points → the engine: as protobuf messages over gRPC, as lists of numbers to all others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from qdrant_client import QdrantClient, models
from qdrant_client.qdrant_remote import QdrantRemote

from colbert_qdrant.qdrant.capabilities import speaks_grpc
from colbert_qdrant.qdrant.grpc_points import upsert_request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.qdrant.capabilities import Client
    from colbert_qdrant.qdrant.points import Point, Vector


def upsert(client: Client, collection: str, points: Sequence[Point]) -> None:
    """Store points, and wait until the engine has them; errors are those of the client's own ``upsert``."""
    if isinstance(client, QdrantClient) and speaks_grpc(client):
        client.grpc_points.Upsert(upsert_request(collection, points), timeout=_timeout(client))
    else:
        client.upsert(collection, points=[to_point_struct(point) for point in points], wait=True)


def to_point_struct(point: Point) -> models.PointStruct:
    """A point with its vectors as lists."""
    vectors: Any = {name: _to_lists(vector) for name, vector in point.vectors.items()}
    return models.PointStruct(id=point.id, vector=vectors, payload=point.payload)


def _to_lists(vector: Vector) -> Any:
    if isinstance(vector, np.ndarray):
        return vector.tolist()
    return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())


def _timeout(client: QdrantClient) -> int:
    """Seconds that the client gives a call over gRPC, which its stubs do not know by themselves."""
    seconds = client.init_options["timeout"]
    return QdrantRemote.DEFAULT_GRPC_TIMEOUT if seconds is None else math.ceil(seconds)
