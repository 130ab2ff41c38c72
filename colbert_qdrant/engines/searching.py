"""Searches → the engine, and how long it says that they took."""

from __future__ import annotations

from functools import partial
from math import isfinite
from typing import TYPE_CHECKING

from qdrant_client import grpc
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.http import models  # in qdrant_client.models QueryResponse is another class

from colbert_qdrant.capabilities import speaks_grpc
from colbert_qdrant.engines.connection import call_timeout
from colbert_qdrant.engines.faults import GarbledAnswerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.engines.connection import Connection
    from colbert_qdrant.search.request import Groups

Answers = tuple[list[models.QueryResponse], float | None]


async def search(connection: Connection, collection: str, requests: Sequence[models.QueryRequest]) -> Answers:
    """Send searches in one request.

    Returns:
        Their answers, and the seconds that the server worked; ``None``: the engine does not say.
    """
    if not connection.remote:
        return await connection.client.query_batch_points(collection, requests=requests), None
    send = _over_grpc if speaks_grpc(connection.raw) else _over_rest
    return await connection.request("search", collection, partial(send, connection, collection, requests))


async def search_groups(
    connection: Connection, collection: str, request: models.QueryRequest, groups: Groups
) -> list[models.PointGroup]:
    """Send a search for groups of points."""
    return await connection.request("search", collection, partial(_groups, connection, collection, request, groups))


async def query(
    connection: Connection, collection: str, requests: Sequence[models.QueryRequest]
) -> list[models.QueryResponse]:
    """Send a caller's own searches in one request, as the client sends them: it may make vectors of texts in them."""
    return await connection.request("search", collection, partial(_by_client, connection, collection, requests))


async def _by_client(
    connection: Connection, collection: str, requests: Sequence[models.QueryRequest]
) -> list[models.QueryResponse]:
    answers = await connection.runtime.call(connection.raw.query_batch_points, collection, requests=requests)
    return _checked(answers, requests)


async def _groups(
    connection: Connection, collection: str, request: models.QueryRequest, groups: Groups
) -> list[models.PointGroup]:
    method = connection.method("query_points_groups")
    found: list[models.PointGroup] = (
        await connection.runtime.call(method, collection, **groups.arguments(request))
    ).groups
    hits = [hit for group in found for hit in group.hits]
    too_many = len(found) > (request.limit or 0) or any(len(group.hits) > groups.size for group in found)
    if too_many or not all(isfinite(hit.score) for hit in hits):
        raise GarbledAnswerError
    return found


async def _over_rest(connection: Connection, collection: str, requests: Sequence[models.QueryRequest]) -> Answers:
    # the client's own method throws the time away
    answer = await connection.runtime.call(
        connection.raw.http.search_api.query_batch_points,
        collection_name=collection,
        query_request_batch=models.QueryRequestBatch(searches=list(requests)),
    )
    return _checked(answer.result or [], requests), answer.time


async def _over_grpc(connection: Connection, collection: str, requests: Sequence[models.QueryRequest]) -> Answers:
    message = grpc.QueryBatchPoints(
        collection_name=collection,
        query_points=[RestToGrpc.convert_query_request(request, collection) for request in requests],
    )
    raw = connection.raw
    answer = await connection.runtime.call(raw.grpc_points.QueryBatch, message, timeout=call_timeout(raw))
    points = [[GrpcToRest.convert_scored_point(hit) for hit in each.result] for each in answer.result]
    return _checked([models.QueryResponse(points=each) for each in points], requests), answer.time


def _checked(
    answers: list[models.QueryResponse], requests: Sequence[models.QueryRequest]
) -> list[models.QueryResponse]:
    """One answer to each search, of as many points as were asked for, with scores that have an order."""
    if len(answers) != len(requests):
        raise GarbledAnswerError
    for answer, request in zip(answers, requests, strict=True):
        if len(answer.points) > (request.limit or 0) or not all(isfinite(point.score) for point in answer.points):
            raise GarbledAnswerError
    return answers
