"""A collection of somebody else's, ranked by late interaction, for event loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colbert_qdrant.attach.collection import AttachedShell
from colbert_qdrant.attach.operations import DEFAULT_CACHE_BYTES, AttachedOperations, AttachedSearch
from colbert_qdrant.encoders.memory import DocumentCache
from colbert_qdrant.engines.connection import Connection
from colbert_qdrant.points.texts import TextSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdrant_client import models

    from colbert_qdrant.attach.candidates import BatchCandidates, Candidates
    from colbert_qdrant.capabilities import AsyncClient
    from colbert_qdrant.config import RetryConfig
    from colbert_qdrant.documents import SearchHits
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.points.texts import TextOf


class AsyncAttachedCollection(AttachedShell):
    """`AttachedCollection` with all methods awaited; made by `attach_async`.

    Texts are encoded and ranked in threads, and so is a function that makes requests or finds texts.
    """

    async def search(
        self,
        query: str,
        by: Candidates,
        *,
        limit: int = 10,
        filter: models.Filter | None = None,
        score_threshold: float | None = None,
        timings: bool = False,
    ) -> SearchHits:
        """See `AttachedCollection.search`."""
        plan = AttachedSearch(limit=limit, filter=filter, score_threshold=score_threshold, timings=timings)
        return await self._operations.search(query, by, plan)

    async def search_batch(
        self,
        queries: Sequence[str],
        by: BatchCandidates,
        *,
        limit: int = 10,
        filter: models.Filter | None = None,
        score_threshold: float | None = None,
        timings: bool = False,
    ) -> list[SearchHits]:
        """See `AttachedCollection.search_batch`."""
        plan = AttachedSearch(limit=limit, filter=filter, score_threshold=score_threshold, timings=timings)
        return await self._operations.search_batch(queries, by, plan)


def attach_async(
    client: AsyncClient,
    collection: str,
    *,
    encoder: LateInteractionEncoder,
    text_key: str = "text",
    text: TextOf | None = None,
    retry: RetryConfig | None = None,
    shard_key: str | int | None = None,
    cache_documents: int = DEFAULT_CACHE_BYTES,
) -> AsyncAttachedCollection:
    """`attach` for an ``AsyncQdrantClient`` or an `AsyncEdgeClient`; there is nothing to await."""
    connection = Connection.awaited(client, retry=retry, shard_key=shard_key)
    return AsyncAttachedCollection(
        AttachedOperations(
            name=collection,
            connection=connection,
            encoder=encoder,
            source=TextSource(text_key, text),
            cache=DocumentCache(cache_documents),
        )
    )
