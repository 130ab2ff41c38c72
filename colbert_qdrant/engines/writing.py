"""Points → the engine: as protobuf messages over gRPC, as lists of numbers to all others."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qdrant_client import grpc, models

from colbert_qdrant.capabilities import speaks_grpc
from colbert_qdrant.engines.connection import call_timeout
from colbert_qdrant.engines.faults import NotConfirmedError
from colbert_qdrant.engines.grpc_points import upsert_request
from colbert_qdrant.errors import RequestError, RequestRefusedError, RequestTooLargeError
from colbert_qdrant.points.convert import SparseVector

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from colbert_qdrant.engines.connection import Connection
    from colbert_qdrant.points.convert import Point, Vector

_HOPELESS: Final = 3
"""Points refused one by one, with none stored, after which nothing else is tried."""

_NOT_APPLIED: Final = frozenset({"acknowledged", "wait_timeout", "Acknowledged", "WaitTimeout", "ClockRejected"})
"""What servers say, over HTTP and gRPC, of a write that is not applied, or not yet."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A point that the server would not take."""

    point: Point
    error: RequestError


async def upsert(
    connection: Connection,
    collection: str,
    points: Sequence[Point],
    *,
    on_stored: Callable[[int], None] = lambda _: None,
) -> list[Refused]:
    """Store points, and wait until the engine has them.

    What a server finds too large, or refuses, is halved until the points are found that it is about; all others are
    stored.

    Args:
        connection: To the engine.
        collection: The collection's name.
        points: The points.
        on_stored: Told about how many points were stored, after every request.

    Returns:
        The points that were refused.

    Raises:
        RequestError: It failed for good, or nothing is taken at all.
    """
    refused: list[Refused] = []
    waiting, stored = [points], False
    while waiting:
        batch = waiting.pop()
        try:
            await connection.request("upsert", collection, partial(_send, connection, collection, batch))
        except (RequestRefusedError, RequestTooLargeError) as error:
            if len(batch) > 1:
                half = len(batch) // 2
                waiting += [batch[half:], batch[:half]]
                continue
            refused.append(Refused(point=batch[0], error=error))
            if not stored and (len(refused) == _HOPELESS or not waiting):
                raise  # it is not about these points
        else:
            stored = True
            on_stored(len(batch))
    return refused


async def _send(connection: Connection, collection: str, points: Sequence[Point]) -> None:
    raw, call = connection.raw, connection.runtime.call
    if speaks_grpc(raw):
        request = upsert_request(collection, points, connection.shard_key)
        answer = await call(raw.grpc_points.Upsert, request, timeout=call_timeout(raw))
        status = grpc.UpdateStatus.Name(answer.result.status)
    else:
        to_struct = _to_struct_of_arrays if connection.embedded else to_point_struct
        structs = [to_struct(point) for point in points]
        status = (await call(connection.method("upsert"), collection, points=structs, wait=True)).status.value
    if status in _NOT_APPLIED:
        raise NotConfirmedError(f"the write is {status!r}, not completed")


def to_point_struct(point: Point) -> models.PointStruct:
    """A point with its vectors as lists."""
    vectors: Any = {name: to_numbers(vector) for name, vector in point.vectors.items()}
    return models.PointStruct(id=point.id, vector=vectors, payload=point.payload)


def _to_struct_of_arrays(point: Point) -> models.PointStruct:
    """A point with its vectors as they are, which the embedded engine's clients take."""
    vectors = {
        name: vector if isinstance(vector, np.ndarray) else to_numbers(vector) for name, vector in point.vectors.items()
    }
    return models.PointStruct.model_construct(id=point.id, vector=vectors, payload=point.payload)


def to_numbers(vector: Vector) -> Any:
    """A vector as ``qdrant_client`` takes it; what was read from it goes as it came."""
    if isinstance(vector, np.ndarray):
        return vector.tolist()
    if isinstance(vector, SparseVector):
        return models.SparseVector(indices=vector.indices.tolist(), values=vector.values.tolist())
    return vector
