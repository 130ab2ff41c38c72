"""A collection of documents for late interaction, for event loops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from colbert_qdrant.collection.operations import CollectionOperations, Encoders
from colbert_qdrant.collection.shell import CollectionShell
from colbert_qdrant.engines.connection import Connection
from colbert_qdrant.search.request import Groups, LegLimits, SearchMode, SearchPlan

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
    from types import TracebackType

    from qdrant_client import models

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.capabilities import AsyncClient
    from colbert_qdrant.collection.info import CollectionState
    from colbert_qdrant.config import CollectionConfig, FdeConfig, RetryConfig
    from colbert_qdrant.documents import Document, DocumentId, IngestReport, SearchGroup, SearchHits
    from colbert_qdrant.encoders import LateInteractionEncoder, VectorEncoder
    from colbert_qdrant.search.filters import Where
    from colbert_qdrant.search.fusion import Fusion
    from colbert_qdrant.tokens import TokenEmbeddings


class AsyncColbertCollection(CollectionShell):
    """`ColbertCollection` with all methods awaited: same names, same parameters, same errors.

    Requests go out through an ``AsyncQdrantClient`` or an `AsyncEdgeClient`, and many can be under way at once.
    Encoding and fitting happen in threads, so an encoder has to stand being used by several of them: this library's do.
    A task that is cancelled leaves each document stored whole, or not at all; a `create` or a `drop` that has begun is
    finished first. Progress is told about in the event loop, that of a fit in a thread.

    Example:
        >>> from qdrant_client import AsyncQdrantClient
        >>> from colbert_qdrant import AsyncColbertCollection, ColbertEncoder, Document
        >>> async def index(path):
        ...     encoder, client = ColbertEncoder.from_pretrained(path), AsyncQdrantClient(":memory:")
        ...     async with await AsyncColbertCollection.create("docs", client=client, encoder=encoder) as docs:
        ...         await docs.upsert([Document("a", "How to parse a date")])
        ...         return await docs.search("dates", limit=1)
    """

    @classmethod
    async def create(
        cls,
        name: str,
        *,
        client: AsyncClient,
        encoder: LateInteractionEncoder,
        config: CollectionConfig | None = None,
        retry: RetryConfig | None = None,
        shard_key: str | int | None = None,
        vector_encoders: Mapping[str, VectorEncoder] | None = None,
    ) -> Self:
        """See `ColbertCollection.create`."""
        connection = Connection.awaited(client, retry=retry, shard_key=shard_key)
        return cls(
            await CollectionOperations.create(
                name, connection=connection, encoders=Encoders(encoder, vector_encoders or {}), config=config
            )
        )

    @classmethod
    async def open(
        cls,
        name: str,
        *,
        client: AsyncClient,
        encoder: LateInteractionEncoder,
        config: CollectionConfig | None = None,
        retry: RetryConfig | None = None,
        shard_key: str | int | None = None,
        vector_encoders: Mapping[str, VectorEncoder] | None = None,
    ) -> Self:
        """See `ColbertCollection.open`."""
        connection = Connection.awaited(client, retry=retry, shard_key=shard_key)
        return cls(
            await CollectionOperations.open(
                name, connection=connection, encoders=Encoders(encoder, vector_encoders or {}), config=config
            )
        )

    @classmethod
    async def open_or_create(
        cls,
        name: str,
        *,
        client: AsyncClient,
        encoder: LateInteractionEncoder,
        config: CollectionConfig | None = None,
        retry: RetryConfig | None = None,
        shard_key: str | int | None = None,
        vector_encoders: Mapping[str, VectorEncoder] | None = None,
    ) -> Self:
        """See `ColbertCollection.open_or_create`."""
        connection = Connection.awaited(client, retry=retry, shard_key=shard_key)
        return cls(
            await CollectionOperations.open_or_create(
                name, connection=connection, encoders=Encoders(encoder, vector_encoders or {}), config=config
            )
        )

    async def upsert(self, documents: Iterable[Document]) -> None:
        """See `ColbertCollection.upsert`."""
        await self._operations.upsert(list(documents))

    async def ingest(
        self, documents: Iterable[Document] | AsyncIterable[Document], *, progress: bool | ProgressReporter = False
    ) -> IngestReport:
        """See `ColbertCollection.ingest`; ``documents`` may be asynchronous, and others are read in the event loop."""
        return await self._operations.ingest(documents, progress=progress)

    async def fit(
        self,
        *,
        refit: bool = False,
        config: FdeConfig | None = None,
        device: str = "cpu",
        progress: bool | ProgressReporter = False,
    ) -> None:
        """See `ColbertCollection.fit`."""
        await self._operations.fit(refit=refit, config=config, device=device, progress=progress)

    async def get(self, ids: DocumentId | Iterable[DocumentId]) -> list[Document]:
        """See `ColbertCollection.get`."""
        return await self._operations.get(ids)

    async def delete(
        self,
        *,
        ids: DocumentId | Iterable[DocumentId] | None = None,
        where: Where | None = None,
        filter: models.Filter | None = None,
    ) -> None:
        """See `ColbertCollection.delete`."""
        await self._operations.delete(ids=ids, where=where, filter=filter)

    async def count(self, *, where: Where | None = None, filter: models.Filter | None = None) -> int:
        """See `ColbertCollection.count`."""
        return await self._operations.count(where=where, filter=filter)

    async def search(
        self,
        query: str | TokenEmbeddings,
        *,
        limit: int = 10,
        offset: int = 0,
        candidates: int | None = None,
        mode: SearchMode = "two-stage",
        where: Where | None = None,
        filter: models.Filter | None = None,
        params: models.SearchParams | None = None,
        with_payload: bool = True,
        legs: LegLimits | None = None,
        fusion: Fusion = "maxsim",
        score_threshold: float | None = None,
        token_threshold: float | None = None,
        vectors: Mapping[str, Any] | None = None,
        timings: bool = False,
    ) -> SearchHits:
        """See `ColbertCollection.search`."""
        plan = SearchPlan(
            limit=limit,
            offset=offset,
            score_threshold=score_threshold,
            token_threshold=token_threshold,
            candidates=candidates,
            mode=mode,
            legs=legs,
            fusion=fusion,
            where=where,
            filter=filter,
            params=params,
            with_payload=with_payload,
        )
        return await self._operations.search(query, plan, vectors=vectors or {}, timings=timings)

    async def search_batch(
        self,
        queries: Sequence[str] | TokenEmbeddings,
        *,
        limit: int = 10,
        offset: int = 0,
        candidates: int | None = None,
        mode: SearchMode = "two-stage",
        where: Where | None = None,
        filter: models.Filter | None = None,
        params: models.SearchParams | None = None,
        with_payload: bool = True,
        legs: LegLimits | None = None,
        fusion: Fusion = "maxsim",
        score_threshold: float | None = None,
        token_threshold: float | None = None,
        vectors: Mapping[str, Any] | None = None,
        timings: bool = False,
    ) -> list[SearchHits]:
        """See `ColbertCollection.search_batch`."""
        plan = SearchPlan(
            limit=limit,
            offset=offset,
            score_threshold=score_threshold,
            token_threshold=token_threshold,
            candidates=candidates,
            mode=mode,
            legs=legs,
            fusion=fusion,
            where=where,
            filter=filter,
            params=params,
            with_payload=with_payload,
        )
        return await self._operations.search_batch(queries, plan, vectors=vectors or {}, timings=timings)

    async def search_groups(
        self,
        query: str | TokenEmbeddings,
        group_by: str,
        *,
        group_size: int = 3,
        limit: int = 10,
        candidates: int | None = None,
        mode: SearchMode = "two-stage",
        where: Where | None = None,
        filter: models.Filter | None = None,
        params: models.SearchParams | None = None,
        with_payload: bool = True,
        legs: LegLimits | None = None,
        fusion: Fusion = "maxsim",
        score_threshold: float | None = None,
        token_threshold: float | None = None,
        vectors: Mapping[str, Any] | None = None,
    ) -> list[SearchGroup]:
        """See `ColbertCollection.search_groups`."""
        plan = SearchPlan(
            limit=limit,
            score_threshold=score_threshold,
            token_threshold=token_threshold,
            candidates=candidates,
            mode=mode,
            legs=legs,
            fusion=fusion,
            where=where,
            filter=filter,
            params=params,
            with_payload=with_payload,
        )
        groups = Groups(by=group_by, size=group_size)
        return await self._operations.search_groups(query, plan, groups=groups, vectors=vectors or {})

    async def more_like(
        self,
        id: DocumentId,
        *,
        limit: int = 10,
        candidates: int | None = None,
        where: Where | None = None,
        filter: models.Filter | None = None,
        with_payload: bool = True,
    ) -> SearchHits:
        """See `ColbertCollection.more_like`."""
        plan = SearchPlan(limit=limit, candidates=candidates, where=where, filter=filter, with_payload=with_payload)
        return await self._operations.more_like(id, plan)

    async def check(self) -> None:
        """See `ColbertCollection.check`."""
        await self._operations.check()

    async def info(self) -> CollectionState:
        """See `ColbertCollection.info`."""
        return await self._operations.info()

    async def wait_until_ready(
        self,
        *,
        timeout: float = 600,  # noqa: ASYNC109 - the parameter of the other class
    ) -> CollectionState:
        """See `ColbertCollection.wait_until_ready`."""
        return await self._operations.wait_until_ready(timeout)

    async def optimize(self) -> None:
        """See `ColbertCollection.optimize`."""
        await self._operations.optimize()

    async def drop(self) -> None:
        """See `ColbertCollection.drop`."""
        await self._operations.drop()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
