"""Sends search requests in batches that respect the server's limits."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from qdrant_client import models

from colbert_qdrant.documents import SearchTimings
from colbert_qdrant.edge.grouping import group_points, parse_path
from colbert_qdrant.engines import Answers
from colbert_qdrant.errors import ColbertQdrantError, ConfigurationError, InvalidDocumentError, RequestRefusedError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from qdrant_client.conversions.common_types import PointId
    from qdrant_client.http.models import QueryResponse

    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.documents import SearchHits
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.search.limits import Limits
    from colbert_qdrant.search.request import RequestBuilder, SearchRequest

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Found:
    """The results of a batch of searches.

    Attributes:
        searches: The searches that were sent.
        responses: One response for each part of each search, in order.
        seconds: The server's processing time; ``None`` if the engine does not report it.
    """

    searches: Sequence[SearchRequest]
    responses: Sequence[QueryResponse]
    seconds: float | None

    def hits(self, config: CollectionConfig, *, with_payload: bool) -> list[SearchHits]:
        """Return the hits of each search."""
        responses = iter(self.responses)
        return [each.hits(responses, config, with_payload=with_payload) for each in self.searches]


async def execute(
    engine: Engine, collection: str, searches: Sequence[SearchRequest], *, builder: RequestBuilder
) -> Found:
    """Send searches, and send a search again if its first response may be incomplete.

    A filtered search is sent again if it found too few documents through the graph. A search is also sent again if
    ties at the edge of its page leave the hits undetermined.
    """
    limits, final = builder.options.limits, list(searches)
    answers = await _send(engine, collection, [part for each in searches for part in each.parts], limits)
    start, again = 0, dict[int, "models.QueryRequest"]()
    for number, each in enumerate(searches):
        better = _better(each, answers.responses[start].points, builder) if each.main is not None else None
        if better is not None and better.main is not None:
            final[number] = better
            again.update(enumerate(better.parts if each.fused else [better.main], start))
        start += len(each.parts)
    second = await _send(engine, collection, list(again.values()), limits)
    replaced = dict(zip(again, second.responses, strict=True))
    responses = [replaced.get(number, response) for number, response in enumerate(answers.responses)]
    await _fuse(engine, collection, final, responses, builder)
    return Found(searches=final, responses=responses, seconds=_sum(answers.seconds, second.seconds))


async def _fuse(
    engine: Engine,
    collection: str,
    searches: list[SearchRequest],
    responses: list[QueryResponse],
    builder: RequestBuilder,
) -> None:
    """Rank the candidates of the searches that are fused here, and read the payload of their hits."""
    start, pages = 0, dict[int, "list[models.ScoredPoint]"]()
    for number, each in enumerate(searches):
        if each.fused is not None:
            ranked = each.ranked(responses[start : start + len(each.parts)], builder.config)
            pages[start] = ranked[each.start : each.start + each.limit]
            searches[number] = replace(each, start=0, fused=None)
        start += len(each.parts)
    if builder.options.with_payload:
        payloads = await _payloads(engine, collection, pages.values())
        pages = {start: _complete(page, payloads) for start, page in pages.items()}
    for number, page in pages.items():
        responses[number] = responses[number].model_copy(update={"points": page})


async def execute_groups(
    engine: Engine, collection: str, search: SearchRequest, *, builder: RequestBuilder, group_by: str, group_size: int
) -> list[models.PointGroup]:
    """Send a search that is fused here, group its candidates as a server does, and read the payload of the hits."""
    answers = await _send(engine, collection, search.parts, builder.options.limits)
    ranked = search.ranked(answers.responses, builder.config)
    found = list(group_points(ranked, parse_path(group_by), group_size).items())[: builder.options.limit]
    if builder.options.with_payload:
        payloads = await _payloads(engine, collection, [hits for _, hits in found])
        found = [(key, _complete(hits, payloads)) for key, hits in found]
    return [models.PointGroup(id=key, hits=hits) for key, hits in found if hits]


async def _payloads(
    engine: Engine, collection: str, pages: Iterable[Sequence[models.ScoredPoint]]
) -> dict[PointId, models.Payload | None]:
    """Read the payload of all points."""
    ids = list(dict.fromkeys(point.id for page in pages for point in page))
    records = await engine.retrieve(collection, ids=ids) if ids else []
    return {record.id: record.payload for record in records}


def _complete(
    page: Sequence[models.ScoredPoint], payloads: Mapping[PointId, models.Payload | None]
) -> list[models.ScoredPoint]:
    """Return the points with their payload, without those that were deleted in the meantime."""
    return [each.model_copy(update={"payload": payloads[each.id]}) for each in page if each.id in payloads]


def _better(
    search: SearchRequest, found: Sequence[models.ScoredPoint], builder: RequestBuilder
) -> SearchRequest | None:
    """Return a search that finds the hits that this one missed; ``None`` if it missed no hits."""
    may_fall_short = builder.options.may_fall_short(builder.config) and builder.capabilities.has("search_params")
    if may_fall_short and search.main is not None and len(found) < search.start + search.limit:
        return search.without_graph(builder.config.fde_vector)
    return search.for_all_candidates(found)


class Limited(Protocol):
    """An object that caches the limits of a server.

    Attributes:
        limits: The limits that the server last reported.
    """

    limits: Limits

    async def read_limits(self) -> Limits:
        """Ask the server for its limits."""


async def keep_to_limits(limited: Limited, work: Callable[[Limits], Awaitable[Result]]) -> Result:
    """Do work within the cached limits; if it is refused, read the limits again, and retry once if they changed.

    The cached limits may have been lifted in the meantime, or the server may have tightened its limits.
    """
    try:
        return await work(limited.limits)
    except (ConfigurationError, InvalidDocumentError, RequestRefusedError) as error:
        try:
            now = await limited.read_limits()
        except ColbertQdrantError:
            raise error from None
        if now == limited.limits:
            raise
        limited.limits = now
    return await work(limited.limits)


async def _send(engine: Engine, collection: str, requests: Sequence[models.QueryRequest], limits: Limits) -> Answers:
    at_once = limits.search_batch or max(1, len(requests))
    responses: list[QueryResponse] = []
    seconds: float | None = 0.0
    for start in range(0, len(requests), at_once):
        answers = await engine.search(collection, requests[start : start + at_once])
        responses += answers.responses
        seconds = _sum(seconds, answers.seconds)
    return Answers(responses, seconds)


def _sum(one: float | None, other: float | None) -> float | None:
    """The sum of two durations; ``None`` if either is unknown."""
    return None if one is None or other is None else one + other


class Stopwatch:
    """Measures the consecutive stages of a search in seconds."""

    def __init__(self) -> None:
        self._stages: dict[str, float] = {}
        self._mark = time.perf_counter()

    def lap(self, stage: str) -> None:
        """End a stage and start the next one."""
        now = time.perf_counter()
        self._stages[stage], self._mark = now - self._mark, now

    def timings(self, *, server: float | None = None) -> SearchTimings:
        """Return the time of every stage, and the processing time that the server reported."""
        return SearchTimings(**self._stages, server=server)
