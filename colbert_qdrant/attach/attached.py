"""Ranks the results of a user's own searches by MaxSim over the texts in their payloads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant._support import telemetry
from colbert_qdrant._support.warned import Warned
from colbert_qdrant.attach.candidates import candidates_request, own_requests
from colbert_qdrant.attach.encode import CandidateTexts
from colbert_qdrant.attach.mistakes import require_fitting
from colbert_qdrant.attach.rank import Candidate, rank
from colbert_qdrant.config.names import require_stored_name
from colbert_qdrant.encoders.base import require_encoder
from colbert_qdrant.encoders.queries import query_tokens, several_queries
from colbert_qdrant.engines.missing import missing_collection
from colbert_qdrant.errors import (
    CollectionNotFoundError,
    EngineError,
    InvalidDocumentError,
    InvalidQueryError,
    RequestRefusedError,
    SchemaMismatchError,
)
from colbert_qdrant.search.execute import Stopwatch, keep_to_limits
from colbert_qdrant.search.limits import Limits
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdrant_client import models
    from qdrant_client.http.models import QueryResponse

    from colbert_qdrant.attach.candidates import BatchCandidates
    from colbert_qdrant.documents import SearchHits
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.encoders.memory import DocumentCache
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.points.texts import TextSource
    from colbert_qdrant.search.options import CheckedOptions

_SHOWN_KEYS: Final = 10


@dataclass(kw_only=True)
class Attached:
    """An existing collection, with the encoder that ranks its documents.

    Args:
        name: The collection's name.
        engine: The engine with the collection.
        encoder: Text → token embeddings.
        source: Finds the text in a payload.
        cache: Caches token embeddings of texts for later searches.

    Attributes:
        warned: The warnings that were already issued.
        limits: The limits of the server; they are read only after it refused a request.
    """

    name: str
    engine: Engine
    encoder: LateInteractionEncoder
    source: TextSource
    cache: DocumentCache
    warned: Warned = field(default_factory=Warned, init=False)
    limits: Limits = field(default_factory=Limits, init=False)

    def __post_init__(self) -> None:
        require_stored_name(self.name)
        require_encoder(self.encoder)

    async def read_limits(self) -> Limits:
        """Ask the server for its limits."""
        return Limits.of(await self.engine.get_collection(self.name), "")


async def search(
    collection: Attached, queries: Sequence[str], by: BatchCandidates, options: CheckedOptions
) -> list[SearchHits]:
    """Find candidates for several queries and rank them; see `AttachedCollection.search_batch`."""
    engine, compute, watch = collection.engine, collection.engine.runtime.compute, Stopwatch()
    texts = several_queries(queries)
    if isinstance(texts, TokenEmbeddings):
        raise InvalidQueryError("queries are TokenEmbeddings: pass texts, which the search for candidates needs, too")
    queries = texts
    with telemetry.operation("search", mode="attached", queries=len(queries), limit=options.limit):
        tokens = await compute(query_tokens, queries, encoder=collection.encoder, collection=collection.name)
        collection.warned.of_truncated_queries(f"collection {collection.name!r}", tokens)
        watch.lap("encode")
        own = await compute(own_requests, queries, by)
        _requests(own, options, engine.shard_key, Limits())  # check them without limits first

        async def ask(limits: Limits) -> list[QueryResponse]:
            requests = _requests(own, options, engine.shard_key, limits)
            watch.lap("fde")
            at_once = limits.search_batch or max(1, len(requests))
            parts = [requests[start : start + at_once] for start in range(0, len(requests), at_once)]
            return [answer for part in parts for answer in await engine.search_given(collection.name, part)]

        try:
            answers = await keep_to_limits(collection, ask)
        except CollectionNotFoundError as error:
            await _require_there(collection, error)
            raise
        except (RequestRefusedError, SchemaMismatchError):
            await _explain(collection, own)
            raise
        watch.lap("request")
        ranked = await compute(_ranked, collection, tokens, answers, options)
        watch.lap("rank")
    for hits in ranked if options.timings else []:
        hits.timings = watch.timings()
    return ranked


async def _require_there(collection: Attached, error: CollectionNotFoundError) -> None:
    """Raise a more helpful error than the engine's, unless that is about another collection.

    Raises:
        CollectionNotFoundError: If the collection does not exist.
    """
    remedy = "pass the name of an existing collection whose payloads have texts"
    engine = collection.engine
    try:
        if await engine.collection_exists(collection.name):
            return  # a request looks up a vector in another collection
    except EngineError:
        return  # the key permits only searches
    raise await missing_collection(engine, collection.name, remedy) from error


async def _explain(collection: Attached, own: Sequence[models.QueryRequest]) -> None:
    """Raise a more helpful error than the engine's, if a request does not match the collection's vectors.

    Raises:
        SchemaMismatchError: If a request does not match them.
    """
    try:
        info = await collection.engine.get_collection(collection.name)
    except EngineError:
        return  # the key permits only searches
    require_fitting(own, info, collection=collection.name)


def _requests(
    own: Sequence[models.QueryRequest], options: CheckedOptions, shard_key: str | int | None, limits: Limits
) -> list[models.QueryRequest]:
    return [
        candidates_request(each, limit=options.limit, filter=options.filter, shard_key=shard_key, limits=limits)
        for each in own
    ]


def _ranked(
    collection: Attached, tokens: TokenEmbeddings, answers: Sequence[QueryResponse], options: CheckedOptions
) -> list[SearchHits]:
    found = [answer.points for answer in answers]
    candidates = [[one for point in points if (one := _candidate(collection, point))] for points in found]
    _check_texts(collection, [point for points in found for point in points], with_text=sum(map(len, candidates)))
    texts = CandidateTexts(candidates, collection.encoder, collection.cache)
    hits = rank(tokens, candidates, encode=texts.encode, limit=options.limit, score_threshold=options.score_threshold)
    texts.report(collection.warned, collection.name)
    return hits


def _candidate(collection: Attached, point: models.ScoredPoint) -> Candidate | None:
    payload: dict[str, Any] = point.payload or {}
    id = point.id if isinstance(point.id, int) else str(point.id)
    try:
        text = collection.source.text(payload)
    except Exception as error:
        raise InvalidDocumentError(
            f"text=… failed for point {id!r} ({type(error).__name__}: {error}): have it return None for a payload "
            "without a text"
        ) from error
    return None if text is None else Candidate(id=id, text=text, payload=payload)


def _check_texts(collection: Attached, points: Sequence[models.ScoredPoint], *, with_text: int) -> None:
    """Warn once about points without a text.

    Raises:
        SchemaMismatchError: If there are points, but no point has a text.
    """
    if points and not with_text:
        keys = sorted(points[0].payload or {})
        more = ", …" if len(keys) > _SHOWN_KEYS else ""
        raise SchemaMismatchError(
            f"none of the {len(points)} candidates in collection {collection.name!r} has a text {collection.source}; "
            f"the payload of point {points[0].id!r} has the keys "
            f"{', '.join(map(repr, keys[:_SHOWN_KEYS])) or 'none'}{more}: pass the right key as text_key=…, or a "
            "function that returns the text as text=…"
        )
    if with_text < len(points):
        collection.warned.once(
            "no text",
            f"{len(points) - with_text} of {len(points)} candidates in collection {collection.name!r} have no text "
            f"{collection.source} and are omitted. This warning appears once.",
        )
