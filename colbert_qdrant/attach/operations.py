"""What can be done with a collection of somebody else's, as coroutines; the two classes are shells around it."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant._support import telemetry
from colbert_qdrant.attach.candidates import candidates_request, own_requests
from colbert_qdrant.attach.ranking import Candidate, rank
from colbert_qdrant.documents import SearchTimings
from colbert_qdrant.engines.searching import query
from colbert_qdrant.errors import SchemaMismatchError
from colbert_qdrant.search.request import query_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdrant_client import models

    from colbert_qdrant.attach.candidates import BatchCandidates, Candidates
    from colbert_qdrant.documents import SearchHits
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.encoders.memory import DocumentCache
    from colbert_qdrant.engines.connection import Connection
    from colbert_qdrant.points.texts import TextSource
    from colbert_qdrant.tokens import TokenEmbeddings

DEFAULT_CACHE_BYTES: Final = 256 * 2**20
_SHOWN_KEYS: Final = 10
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class AttachedSearch:
    """A search without its query; see `AttachedCollection.search`."""

    limit: int
    filter: models.Filter | None
    score_threshold: float | None
    timings: bool


@dataclass(kw_only=True)
class AttachedOperations:
    """A collection with an encoder. Methods are those of `AttachedCollection`, where they are described."""

    name: str
    connection: Connection
    encoder: LateInteractionEncoder
    source: TextSource
    cache: DocumentCache
    warned: bool = field(default=False, init=False)

    async def search(self, text: str, by: Candidates, plan: AttachedSearch) -> SearchHits:
        """See `AttachedCollection.search`."""
        return (await self.search_batch([text], by if callable(by) else [by], plan))[0]

    async def search_batch(self, texts: Sequence[str], by: BatchCandidates, plan: AttachedSearch) -> list[SearchHits]:
        """See `AttachedCollection.search_batch`."""
        compute, marks = self.connection.runtime.compute, [time.perf_counter()]
        with telemetry.operation("search", mode="attached", queries=len(texts), limit=plan.limit):
            tokens = await compute(query_tokens, texts, encoder=self.encoder, collection=self.name)
            marks.append(time.perf_counter())
            requests = await compute(self._requests, texts, by, plan)
            marks.append(time.perf_counter())
            answers = await query(self.connection, self.name, requests) if requests else []
            marks.append(time.perf_counter())
            ranked = await compute(self._ranked, tokens, answers, plan)
            marks.append(time.perf_counter())
        if plan.timings:
            encode, made, request, ranking = (after - before for before, after in pairwise(marks))
            for hits in ranked:
                hits.timings = SearchTimings(encode=encode, fde=made, request=request, rank=ranking)
        return ranked

    def _requests(self, texts: Sequence[str], by: BatchCandidates, plan: AttachedSearch) -> list[models.QueryRequest]:
        shard_key = self.connection.shard_key
        return [
            candidates_request(own, limit=plan.limit, filter=plan.filter, shard_key=shard_key)
            for own in own_requests(texts, by)
        ]

    def _ranked(
        self, tokens: TokenEmbeddings, answers: Sequence[models.QueryResponse], plan: AttachedSearch
    ) -> list[SearchHits]:
        found = [answer.points for answer in answers]
        candidates = [[one for point in points if (one := self._candidate(point))] for points in found]
        self._check_texts([point for points in found for point in points], with_text=sum(map(len, candidates)))
        encode = partial(self.cache.encode, encode=self.encoder.encode_documents)
        return rank(tokens, candidates, encode=encode, limit=plan.limit, score_threshold=plan.score_threshold)

    def _candidate(self, point: models.ScoredPoint) -> Candidate | None:
        payload: dict[str, Any] = point.payload or {}
        text = self.source.text(payload)
        id = point.id if isinstance(point.id, int) else str(point.id)
        return None if text is None else Candidate(id=id, text=text, payload=payload)

    def _check_texts(self, points: Sequence[models.ScoredPoint], *, with_text: int) -> None:
        """Say how many points have no text, once; that none has one is a mistake in where it is looked for.

        Raises:
            SchemaMismatchError: There are points, and none has one.
        """
        if points and not with_text:
            keys = sorted(points[0].payload or {})
            more = ", …" if len(keys) > _SHOWN_KEYS else ""
            raise SchemaMismatchError(
                f"none of the {len(points)} candidates in collection {self.name!r} has a text {self.source}; the "
                f"payload of point {points[0].id!r} has the keys {', '.join(map(repr, keys[:_SHOWN_KEYS])) or 'none'}"
                f"{more}: name the right one with text_key=…, or find the text with text=…"
            )
        if with_text < len(points) and not self.warned:
            self.warned = True
            _LOG.warning(
                "%d of %d candidates in collection %r have no text %s and are left out; this is said once",
                len(points) - with_text,
                len(points),
                self.name,
                self.source,
            )
