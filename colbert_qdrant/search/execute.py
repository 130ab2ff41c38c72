"""Sends search requests, in as many batches as the server's limits require."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from colbert_qdrant.documents import SearchTimings
from colbert_qdrant.engines import Answers
from colbert_qdrant.search.request import without_graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdrant_client import models
    from qdrant_client.http.models import QueryResponse

    from colbert_qdrant.engines import Engine
    from colbert_qdrant.search.limits import Limits
    from colbert_qdrant.search.request import RequestBuilder, SearchRequest


async def execute(
    engine: Engine, collection: str, searches: Sequence[SearchRequest], *, builder: RequestBuilder
) -> Answers:
    """Send searches; one that was filtered and found too little through the graph is sent once more without it.

    Returns:
        An answer to each part of each search, in their order.
    """
    options, config = builder.options, builder.config
    answers = await _send(engine, collection, [part for each in searches for part in each.parts], options.limits)
    if not (options.may_fall_short(config) and builder.capabilities.has("search_params")):
        return answers
    start, short = 0, dict[int, "models.QueryRequest"]()
    for each in searches:
        if each.main is not None and len(answers.responses[start].points) < options.limit:
            short[start] = without_graph(each.main, config.fde_vector)
        start += len(each.parts)
    again = await _send(engine, collection, list(short.values()), options.limits)
    replaced = dict(zip(short, again.responses, strict=True))
    responses = [replaced.get(number, response) for number, response in enumerate(answers.responses)]
    return Answers(responses, _sum(answers.seconds, again.seconds))


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
