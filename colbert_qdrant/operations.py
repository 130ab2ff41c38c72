"""What can be done with a collection, as coroutines; `ColbertCollection` and `AsyncColbertCollection` are shells."""

from __future__ import annotations

import contextlib
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Self
from uuid import UUID

from qdrant_client import models

from colbert_qdrant import telemetry
from colbert_qdrant.config import CollectionConfig
from colbert_qdrant.documents import SearchTimings
from colbert_qdrant.errors import ClosedError, CollectionExistsError, ConfigurationError, InvalidQueryError
from colbert_qdrant.ingest import CollectionEncoding, ingest
from colbert_qdrant.progress import Silence
from colbert_qdrant.qdrant import opening
from colbert_qdrant.qdrant.ids import point_id
from colbert_qdrant.qdrant.metadata import documents_only
from colbert_qdrant.qdrant.points import to_document, to_hits
from colbert_qdrant.qdrant.queries import query_tokens
from colbert_qdrant.qdrant.searching import search
from colbert_qdrant.qdrant.state import read_state, wait_until_ready
from colbert_qdrant.qdrant.where import joined

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Iterable, Sequence

    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.documents import Document, DocumentId, IngestReport, SearchHits
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.progress import ProgressReporter
    from colbert_qdrant.qdrant.connection import Connection
    from colbert_qdrant.qdrant.queries import SearchPlan
    from colbert_qdrant.qdrant.state import CollectionState
    from colbert_qdrant.qdrant.where import Where
    from colbert_qdrant.tokens import TokenEmbeddings


class CollectionOperations:
    """One open collection. Methods are those of `ColbertCollection`, where they are described."""

    def __init__(
        self, name: str, *, connection: Connection, encoder: LateInteractionEncoder, encoding: CollectionEncoding
    ) -> None:
        """Used by `create` and `open`."""
        self.name = name
        self.encoder = encoder
        self.encoding = encoding
        self._open_connection = connection
        self._closed = False

    @classmethod
    async def create(
        cls, name: str, *, connection: Connection, encoder: LateInteractionEncoder, config: CollectionConfig | None
    ) -> Self:
        """See `ColbertCollection.create`."""
        config = config or CollectionConfig()
        making = opening.create(name, connection=connection, encoder=encoder, config=config)
        made = await connection.runtime.whole(making)
        encoding = await CollectionEncoding.of(made, connection=connection, collection=name, encoder=encoder)
        return cls(name, connection=connection, encoder=encoder, encoding=encoding)

    @classmethod
    async def open(
        cls, name: str, *, connection: Connection, encoder: LateInteractionEncoder, config: CollectionConfig | None
    ) -> Self:
        """See `ColbertCollection.open`."""
        stored = await opening.open(name, connection=connection, encoder=encoder, config=config)
        encoding = await CollectionEncoding.of(stored, connection=connection, collection=name, encoder=encoder)
        return cls(name, connection=connection, encoder=encoder, encoding=encoding)

    @classmethod
    async def open_or_create(
        cls, name: str, *, connection: Connection, encoder: LateInteractionEncoder, config: CollectionConfig | None
    ) -> Self:
        """See `ColbertCollection.open_or_create`."""
        if not await connection.client.collection_exists(name):
            with contextlib.suppress(CollectionExistsError):  # by somebody else, in the meantime
                return await cls.create(name, connection=connection, encoder=encoder, config=config)
        return await cls.open(name, connection=connection, encoder=encoder, config=config)

    async def upsert(self, documents: Sequence[Document]) -> None:
        """See `ColbertCollection.upsert`."""
        self.check_open()
        with telemetry.operation("upsert", documents=len(documents)):
            written = await (await self.encoding.writer()).write(documents, Silence())
            if await self.encoding.is_due(last=False):
                await self.encoding.fit(progress=False)
        written.require_all(collection=self.name)

    async def ingest(
        self, documents: Iterable[Document] | AsyncIterable[Document], *, progress: bool | ProgressReporter
    ) -> IngestReport:
        """See `ColbertCollection.ingest`."""
        self.check_open()
        with telemetry.operation("ingest"):
            return await ingest(self.encoding, documents, progress=progress)

    async def fit(
        self, *, refit: bool, config: FdeConfig | None, device: str, progress: bool | ProgressReporter
    ) -> None:
        """See `ColbertCollection.fit`."""
        self.check_open()
        with telemetry.operation("fit", refit=refit):
            await self.encoding.fit(config=config, refit=refit, device=device, progress=progress)

    async def get(self, ids: DocumentId | Iterable[DocumentId]) -> list[Document]:
        """See `ColbertCollection.get`."""
        points = [point_id(id) for id in _as_ids(ids)]
        records = await self._connection.client.retrieve(self.name, ids=points, with_payload=True)
        found = {str(record.id): record.payload for record in records}
        config = self.encoding.config
        return [to_document(payload, config) for point in points if (payload := found.get(point)) is not None]

    async def delete(
        self, *, ids: DocumentId | Iterable[DocumentId] | None, where: Where | None, filter: models.Filter | None
    ) -> None:
        """See `ColbertCollection.delete`."""
        chosen = joined(filter, where)
        if (ids is None) == (chosen is None):
            raise ConfigurationError("delete needs either ids=… or a filter (where=… or filter=…), and not both")
        self.encoding.limits.check_filter(chosen, writes=True)
        selector: models.PointsSelector = models.FilterSelector(filter=documents_only(chosen))
        if ids is not None:
            selector = models.PointIdsList(points=[point_id(id) for id in _as_ids(ids)])
            if not selector.points:
                return  # not every engine takes none for an answer
        await self._connection.client.delete(self.name, points_selector=selector, wait=True)

    async def count(self, *, where: Where | None, filter: models.Filter | None) -> int:
        """See `ColbertCollection.count`."""
        chosen = joined(filter, where)
        self.encoding.limits.check_filter(chosen)
        return (await self._connection.client.count(self.name, count_filter=documents_only(chosen), exact=True)).count

    async def search(self, query: str | TokenEmbeddings, plan: SearchPlan, *, timings: bool) -> SearchHits:
        """See `ColbertCollection.search`."""
        if not isinstance(query, str) and len(query) != 1:
            raise InvalidQueryError(f"search takes one query, got {len(query)}: use search_batch")
        return (await self.search_batch([query] if isinstance(query, str) else query, plan, timings=timings))[0]

    async def search_batch(
        self, queries: Sequence[str] | TokenEmbeddings, plan: SearchPlan, *, timings: bool
    ) -> list[SearchHits]:
        """See `ColbertCollection.search_batch`."""
        compute, plan = self._connection.runtime.compute, plan.within(self.encoding.limits)
        marks = [time.perf_counter()]
        with telemetry.operation("search", mode=plan.mode, queries=len(queries), limit=plan.limit):
            tokens = await compute(query_tokens, queries, encoder=self.encoder, collection=self.name)
            marks.append(time.perf_counter())
            send_params = (await self._connection.capabilities()).has("search_params")
            requests = await compute(self._requests, tokens, plan, send_params=send_params)
            marks.append(time.perf_counter())
            responses, server = await self._send(requests)
            marks.append(time.perf_counter())
        config, hits = self.encoding.config, []
        for response in responses:
            hits.append(to_hits(response.points, config, with_payload=plan.with_payload))
            if timings:
                encode, fde, request = (after - before for before, after in pairwise(marks))
                hits[-1].timings = SearchTimings(encode=encode, fde=fde, request=request, server=server)
        return hits

    async def check(self) -> None:
        """See `ColbertCollection.check`."""
        await opening.open(self.name, connection=self._connection, encoder=self.encoder, config=self.encoding.config)

    async def info(self) -> CollectionState:
        """See `ColbertCollection.info`."""
        return await read_state(self._connection, self.name, self.encoding.config)

    async def wait_until_ready(self, seconds: float) -> CollectionState:
        """See `ColbertCollection.wait_until_ready`."""
        return await wait_until_ready(self._connection, self.name, self.encoding.config, timeout=seconds)

    async def optimize(self) -> None:
        """See `ColbertCollection.optimize`."""
        if self._connection.embedded:
            await self._connection.edge.optimize(self.name)

    async def drop(self) -> None:
        """See `ColbertCollection.drop`."""
        connection = self._connection
        dropping = opening.drop(self.name, connection=connection, config=self.encoding.config)
        await connection.runtime.whole(dropping)
        self.close()

    def close(self) -> None:
        """Refuse further use."""
        self._closed = True

    def check_open(self) -> None:
        """Raise if it is closed.

        Raises:
            ClosedError: It is.
        """
        if self._closed:
            raise ClosedError(f"collection {self.name!r} is closed: open it again")

    @property
    def _connection(self) -> Connection:
        self.check_open()
        return self._open_connection

    def _requests(self, tokens: TokenEmbeddings, plan: SearchPlan, *, send_params: bool) -> list[models.QueryRequest]:
        encoded = [None] * len(tokens) if plan.mode == "exact" else self.encoding.encode_queries(tokens)
        return [
            plan.request(
                self.encoding.config,
                tokens=matrix,
                fde=fde,
                send_params=send_params,
                shard_key=self._open_connection.shard_key,
            )
            for matrix, fde in zip(tokens, encoded, strict=True)
        ]

    async def _send(self, requests: list[models.QueryRequest]) -> tuple[list[models.QueryResponse], float | None]:
        """Search, in as many requests as the server's limits make necessary."""
        at_once = self.encoding.limits.search_batch or max(1, len(requests))
        responses: list[models.QueryResponse] = []
        server: float | None = 0.0
        for start in range(0, len(requests), at_once):
            answers, seconds = await search(self._connection, self.name, requests[start : start + at_once])
            responses += answers
            server = None if seconds is None or server is None else server + seconds
        return responses, server


class CollectionShell:
    """What both kinds of collections have, and what needs no engine."""

    def __init__(self, operations: CollectionOperations) -> None:
        """Used by ``create`` and ``open``."""
        self._operations = operations

    def close(self) -> None:
        """Refuse further use. The client stays open: it is the caller's."""
        self._operations.close()

    def __repr__(self) -> str:
        fitted = "" if self.fde else ", not fitted"
        return (
            f"{type(self).__name__}({self.name!r}, fde_dim={self.config.fde.dim}, token_dim={self.encoder.dim}{fitted})"
        )

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._operations.name

    @property
    def encoder(self) -> LateInteractionEncoder:
        """What makes token embeddings."""
        return self._operations.encoder

    @property
    def config(self) -> CollectionConfig:
        """The collection's settings; a refit may change those of its encoding."""
        return self._operations.encoding.config

    @property
    def fde(self) -> FixedDimensionalEncoder | None:
        """The encoding; ``None`` while it has to be fitted."""
        return self._operations.encoding.fde


def _as_ids(ids: DocumentId | Iterable[DocumentId]) -> list[DocumentId]:
    return [ids] if isinstance(ids, str | int | UUID) else list(ids)
