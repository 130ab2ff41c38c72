"""Sends search requests, in as many batches as the server's limits require."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

from colbert_qdrant.documents import SearchTimings
from colbert_qdrant.engines import Answers
from colbert_qdrant.errors import ColbertQdrantError, ConfigurationError, InvalidDocumentError, RequestRefusedError
from colbert_qdrant.search.request import without_graph

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from qdrant_client import models
    from qdrant_client.http.models import QueryResponse

    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.documents import SearchHits
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.search.limits import Limits
    from colbert_qdrant.search.request import RequestBuilder, SearchRequest

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Found:
    """What searches found.

    Attributes:
        searches: The searches, as they were sent.
        responses: An answer to each part of each, in their order.
        seconds: How long the server worked; ``None`` if the engine does not say.
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
    """Send searches, and once more those whose answer is not all that it could be.

    Those are filtered ones that found too little through the graph, and ones where too many hits are equal to tell
    which of them are wanted.
    """
    limits, final = builder.options.limits, list(searches)
    answers = await _send(engine, collection, [part for each in searches for part in each.parts], limits)
    start, again = 0, dict[int, "models.QueryRequest"]()
    for number, each in enumerate(searches):
        better = _better(each, answers.responses[start].points, builder) if each.main is not None else None
        if better is not None and better.main is not None:
            final[number], again[start] = better, better.main
        start += len(each.parts)
    second = await _send(engine, collection, list(again.values()), limits)
    replaced = dict(zip(again, second.responses, strict=True))
    responses = [replaced.get(number, response) for number, response in enumerate(answers.responses)]
    return Found(searches=final, responses=responses, seconds=_sum(answers.seconds, second.seconds))


def _better(
    search: SearchRequest, found: Sequence[models.ScoredPoint], builder: RequestBuilder
) -> SearchRequest | None:
    """Return the search that finds what this one did not; ``None`` if it found all."""
    may_fall_short = builder.options.may_fall_short(builder.config) and builder.capabilities.has("search_params")
    if may_fall_short and search.main is not None and len(found) < search.start + search.limit:
        return replace(search, main=without_graph(search.main, builder.config.fde_vector))
    return search.whole(found)


class Limited(Protocol):
    """Something that knows the limits of a server, as far as it has been told.

    Attributes:
        limits: The limits that are known.
    """

    limits: Limits

    async def read_limits(self) -> Limits:
        """Ask the server for its limits."""


async def keep_to_limits(limited: Limited, work: Callable[[Limits], Awaitable[Result]]) -> Result:
    """Do work within the limits that are known; if it is refused, read them again, and do it once more if they changed.

    Limits that refuse may have been lifted, and what a server refuses may be what it allowed before.
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
    """Seconds of two requests, if both are known."""
    return None if one is None or other is None else one + other


class Stopwatch:
    """Measures the stages of a search, one after another, in seconds."""

    def __init__(self) -> None:
        self._stages: dict[str, float] = {}
        self._mark = time.perf_counter()

    def lap(self, stage: str) -> None:
        """End a stage; the next one begins."""
        now = time.perf_counter()
        self._stages[stage], self._mark = now - self._mark, now

    def timings(self, *, server: float | None = None) -> SearchTimings:
        """Return the time of every stage, and how long the server says that it worked."""
        return SearchTimings(**self._stages, server=server)
