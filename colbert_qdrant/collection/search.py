"""Searches an open collection: encodes queries, sends them as one request, and returns hits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qdrant_client import models

from colbert_qdrant._support import telemetry
from colbert_qdrant.collection.filter_indexes import require_indexes
from colbert_qdrant.documents import SearchGroup, id_sort_key
from colbert_qdrant.edge.grouping import selectable_field
from colbert_qdrant.encoders.queries import one_query
from colbert_qdrant.errors import InvalidQueryError
from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.points.ids import point_ids
from colbert_qdrant.search.execute import Stopwatch, execute, execute_groups, keep_to_limits
from colbert_qdrant.search.hits import to_hits
from colbert_qdrant.search.request import RequestBuilder
from colbert_qdrant.shown import shown
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.documents import DocumentId, SearchHits
    from colbert_qdrant.search.execute import Found
    from colbert_qdrant.search.limits import Limits
    from colbert_qdrant.search.options import CheckedOptions


async def search(
    collection: OpenCollection, queries: Sequence[str] | TokenEmbeddings, asked: CheckedOptions
) -> list[SearchHits]:
    """Find the best documents for several queries; see `ColbertCollection.search_batch`."""
    await collection.notice_at_times()
    compute, config = collection.engine.runtime.compute, collection.config
    options = await collection.allowed(lambda limits: asked.within(limits, config))
    await require_indexes(collection, options.words, options.compared)
    await collection.shards.require("search")
    watch = Stopwatch()
    with telemetry.operation("search", mode=options.mode, queries=len(queries), limit=options.limit):
        tokens, further = await _encode(collection, queries, options)
        watch.lap("encode")

        async def ask(limits: Limits) -> Found:
            within = options if limits is options.limits else asked.within(limits, config)
            builder = await _builder(collection, within)
            requests = await compute(collection.build_requests, tokens, further, builder)
            watch.lap("fde")
            return await execute(collection.engine, collection.name, requests, builder=builder)

        found = await keep_to_limits(collection, ask)
        watch.lap("request")
    hits = found.hits(collection.config, with_payload=options.with_payload)
    for each in hits if options.timings else []:
        each.timings = watch.timings(server=found.seconds)
    return hits


async def search_groups(
    collection: OpenCollection, query: str | TokenEmbeddings, asked: CheckedOptions, *, group_by: str, group_size: int
) -> list[SearchGroup]:
    """Find the best documents of the best groups; see `ColbertCollection.search_groups`."""
    await collection.notice_at_times()
    queries, compute, config = one_query(query), collection.engine.runtime.compute, collection.config
    capabilities = await collection.engine.capabilities()
    capabilities.require("groups", what=f"group_by={group_by!r}", remedy="group the hits of search(limit=…)")
    options = await collection.allowed(lambda limits: asked.within(limits, config))
    await require_indexes(collection, options.words, options.compared)
    await collection.shards.require("search")
    with telemetry.operation("search", mode=options.mode, queries=1, limit=options.limit):
        tokens, further = await _encode(collection, queries, options)

        async def ask(limits: Limits) -> list[models.PointGroup]:
            limits.check_groups(group_by, points=asked.limit * group_size)
            builder = replace(await _builder(collection, asked.within(limits, config)), ties=0)
            if builder.fuses_here:
                builder = replace(builder, widen=group_size, fields=(selectable_field(group_by),))
            (request,) = await compute(collection.build_requests, tokens, further, builder, tell_found_by=False)
            if request.main is None:
                return []
            if request.fused is not None:
                return await execute_groups(
                    collection.engine,
                    collection.name,
                    request,
                    builder=builder,
                    group_by=group_by,
                    group_size=group_size,
                )
            return await collection.engine.search_groups(
                collection.name, request.main, group_by=group_by, group_size=group_size
            )

        groups = await keep_to_limits(collection, ask)
    found = [
        SearchGroup(key=each.id, hits=to_hits(each.hits, config, with_payload=options.with_payload)) for each in groups
    ]
    return sorted(
        found, key=lambda group: (-max((hit.score for hit in group.hits), default=0.0), id_sort_key(group.key))
    )


async def more_like(collection: OpenCollection, id: DocumentId, options: CheckedOptions) -> SearchHits:
    """Find the documents most similar to a stored one; see `ColbertCollection.more_like`."""
    await collection.notice_at_times()
    name, (point,) = collection.config.token_vector, point_ids([id], collection.config.id_scheme)
    await collection.shards.require("search")
    records = await collection.engine.retrieve(collection.name, ids=[point], with_payload=False, with_vectors=[name])
    vectors = vectors_of(records[0]) if records else {}
    if name not in vectors:
        raise InvalidQueryError(
            f"collection {collection.name!r} has no document {shown(id)}: pass the id of a stored document"
        )
    tokens = TokenEmbeddings.from_matrices([vectors[name]], dim=collection.encoder.dim)
    others = models.Filter(
        must=None if options.filter is None else [options.filter], must_not=[models.HasIdCondition(has_id=[point])]
    )
    return (await search(collection, tokens, replace(options, filter=others)))[0]


async def _encode(
    collection: OpenCollection, queries: Sequence[str] | TokenEmbeddings, options: CheckedOptions
) -> tuple[TokenEmbeddings | None, list[dict[str, Any]]]:
    """Encode queries; ready token vectors need no other thread."""
    if isinstance(queries, TokenEmbeddings):
        return collection.encode_queries(queries, options)
    return await collection.engine.runtime.compute(collection.encode_queries, queries, options)


async def _builder(collection: OpenCollection, options: CheckedOptions) -> RequestBuilder:
    if collection.config.fde_vector in options.prefetch_limits(collection.config):
        await collection.unbuilt.tell()
    return RequestBuilder(
        options=options,
        config=collection.config,
        capabilities=await collection.engine.capabilities(),
        shard_key=collection.engine.shard_key,
    )
