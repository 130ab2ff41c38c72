"""What can be done with a collection, as coroutines; `ColbertCollection` and `AsyncColbertCollection` are shells."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar
from uuid import UUID

from qdrant_client import models

from colbert_qdrant._support import telemetry
from colbert_qdrant._support.progress import Silence
from colbert_qdrant.collection import lifecycle as opening
from colbert_qdrant.collection.fitting import CollectionEncoding
from colbert_qdrant.collection.info import read_state, wait_until_ready
from colbert_qdrant.collection.ingest import ingest
from colbert_qdrant.collection.metadata import count_documents, documents_only
from colbert_qdrant.config import CollectionConfig
from colbert_qdrant.documents import SearchGroup, SearchTimings
from colbert_qdrant.encoders.vectors import Legs
from colbert_qdrant.engines.searching import search, search_groups
from colbert_qdrant.errors import ClosedError, CollectionExistsError, ConfigurationError, InvalidQueryError
from colbert_qdrant.points.convert import to_document, to_hits, vectors_of
from colbert_qdrant.points.ids import canonical_id, point_id
from colbert_qdrant.search.filters import joined
from colbert_qdrant.search.request import Search, query_tokens, scanned
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.collection.info import CollectionState
    from colbert_qdrant.collection.lifecycle import Opened
    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.documents import Document, DocumentId, IngestReport, SearchHits
    from colbert_qdrant.encoders import LateInteractionEncoder, VectorEncoder
    from colbert_qdrant.engines.connection import Connection
    from colbert_qdrant.search.filters import Where
    from colbert_qdrant.search.limits import Limits
    from colbert_qdrant.search.request import Groups, SearchPlan


class Encoders(NamedTuple):
    """What a collection is used with.

    Attributes:
        tokens: Text → token embeddings.
        vectors: Text → the vectors of further legs, by name.
    """

    tokens: LateInteractionEncoder
    vectors: Mapping[str, VectorEncoder]


Checked = TypeVar("Checked")


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
        cls, name: str, *, connection: Connection, encoders: Encoders, config: CollectionConfig | None
    ) -> Self:
        """See `ColbertCollection.create`."""
        config = config or CollectionConfig()
        legs = Legs(config, encoders.vectors, await connection.capabilities())
        making = opening.create(name, connection=connection, encoder=encoders.tokens, config=config)
        made = await connection.runtime.whole(making)
        return await cls._of(made, name, connection=connection, encoder=encoders.tokens, legs=legs)

    @classmethod
    async def open(
        cls, name: str, *, connection: Connection, encoders: Encoders, config: CollectionConfig | None
    ) -> Self:
        """See `ColbertCollection.open`."""
        stored = await opening.open(name, connection=connection, encoder=encoders.tokens, config=config)
        legs = Legs(stored.config, encoders.vectors, await connection.capabilities())
        return await cls._of(stored, name, connection=connection, encoder=encoders.tokens, legs=legs)

    @classmethod
    async def open_or_create(
        cls, name: str, *, connection: Connection, encoders: Encoders, config: CollectionConfig | None
    ) -> Self:
        """See `ColbertCollection.open_or_create`."""
        if not await connection.client.collection_exists(name):
            with contextlib.suppress(CollectionExistsError):  # by somebody else, in the meantime
                return await cls.create(name, connection=connection, encoders=encoders, config=config)
        return await cls.open(name, connection=connection, encoders=encoders, config=config)

    @classmethod
    async def _of(
        cls, opened: Opened, name: str, *, connection: Connection, encoder: LateInteractionEncoder, legs: Legs
    ) -> Self:
        encoding = await CollectionEncoding.of(
            opened, connection=connection, collection=name, encoder=encoder, legs=legs
        )
        return cls(name, connection=connection, encoder=encoder, encoding=encoding)

    async def upsert(self, documents: Sequence[Document]) -> None:
        """See `ColbertCollection.upsert`."""
        self.check_open()
        with telemetry.operation("upsert", documents=len(documents)):
            written = await self.encoding.write(documents, Silence())
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
        points = self._points(ids)
        brought = self.encoding.legs.brought
        records = await self._connection.client.retrieve(
            self.name, ids=points, with_payload=True, with_vectors=brought or False
        )
        found = {canonical_id(record.id): record for record in records}
        config = self.encoding.config
        return [
            replace(to_document(record, config), vectors=_brought(record, brought))
            for point in points
            if (record := found.get(point)) is not None and (config.native or record.payload is not None)
        ]

    async def delete(
        self, *, ids: DocumentId | Iterable[DocumentId] | None, where: Where | None, filter: models.Filter | None
    ) -> None:
        """See `ColbertCollection.delete`."""
        chosen = joined(filter, where)
        if (ids is None) == (chosen is None):
            raise ConfigurationError("delete needs either ids=… or a filter (where=… or filter=…), and not both")
        await self._allowed(lambda limits: limits.check_filter(chosen, writes=True))
        selector: models.PointsSelector = models.FilterSelector(filter=documents_only(chosen))
        if ids is not None:
            selector = models.PointIdsList(points=self._points(ids))
            if not selector.points:
                return  # not every engine takes none for an answer
        await self._connection.client.delete(self.name, points_selector=selector, wait=True)

    async def count(self, *, where: Where | None, filter: models.Filter | None) -> int:
        """See `ColbertCollection.count`."""
        chosen = joined(filter, where)
        await self._allowed(lambda limits: limits.check_filter(chosen))
        return await count_documents(self._connection, self.name, chosen)

    async def search(
        self, query: str | TokenEmbeddings, plan: SearchPlan, *, vectors: Mapping[str, Any], timings: bool
    ) -> SearchHits:
        """See `ColbertCollection.search`."""
        batch = {name: [vector] for name, vector in vectors.items()}
        return (await self.search_batch(_one(query), plan, vectors=batch, timings=timings))[0]

    async def search_batch(
        self,
        queries: Sequence[str] | TokenEmbeddings,
        plan: SearchPlan,
        *,
        vectors: Mapping[str, Sequence[Any]],
        timings: bool,
    ) -> list[SearchHits]:
        """See `ColbertCollection.search_batch`."""
        compute, config = self._connection.runtime.compute, self.encoding.config
        asked = plan
        plan = await self._allowed(lambda limits: asked.within(limits, config))
        marks = [time.perf_counter()]
        with telemetry.operation("search", mode=plan.mode, queries=len(queries), limit=plan.limit):
            capabilities = await self._connection.capabilities()
            tokens, others = await compute(self._encoded, queries, plan, vectors)
            marks.append(time.perf_counter())
            searches = await compute(self._searches, tokens, others, plan, capabilities)
            marks.append(time.perf_counter())
            responses, server = await self._send([request for each in searches for request in each.requests])
            if plan.may_fall_short(config) and capabilities.has("search_params"):
                again = await self._complete(searches, responses, limit=plan.limit)
                server = _sum(server, again)
            marks.append(time.perf_counter())
        answers, hits = iter(responses), []
        for each in searches:
            hits.append(each.hits(answers, self.encoding.config, with_payload=plan.with_payload))
            if timings:
                encode, fde, request = (after - before for before, after in pairwise(marks))
                hits[-1].timings = SearchTimings(encode=encode, fde=fde, request=request, server=server)
        return hits

    async def search_groups(
        self, query: str | TokenEmbeddings, plan: SearchPlan, *, groups: Groups, vectors: Mapping[str, Any]
    ) -> list[SearchGroup]:
        """See `ColbertCollection.search_groups`."""
        queries, connection, config = _one(query), self._connection, self.encoding.config
        capabilities = await connection.capabilities()
        capabilities.require("groups", what=f"group_by={groups.by!r}", remedy="group the hits of search(limit=…)")
        await self._allowed(lambda limits: limits.check_groups(groups.by, points=plan.limit * groups.size))
        allowed = await self._allowed(lambda limits: plan.within(limits, config))
        with telemetry.operation("search", mode=plan.mode, queries=1, limit=plan.limit):
            compute, batch = connection.runtime.compute, {name: [vector] for name, vector in vectors.items()}
            tokens, others = await compute(self._encoded, queries, allowed, batch)
            (prepared,) = await compute(self._searches, tokens, others, allowed, capabilities, tell_legs=False)
            if prepared.main is None:
                return []
            found = await search_groups(connection, self.name, prepared.main, groups)
        return [
            SearchGroup(key=group.id, hits=to_hits(group.hits, config, with_payload=plan.with_payload))
            for group in found
        ]

    async def more_like(self, id: DocumentId, plan: SearchPlan) -> SearchHits:
        """See `ColbertCollection.more_like`."""
        name, (point,) = self.encoding.config.token_vector, self._points([id])
        records = await self._connection.client.retrieve(
            self.name, ids=[point], with_payload=False, with_vectors=[name]
        )
        vectors = vectors_of(records[0]) if records else {}
        if name not in vectors:
            raise InvalidQueryError(
                f"collection {self.name!r} has no document {id!r}: there is nothing to compare with"
            )
        tokens = TokenEmbeddings.from_matrices([vectors[name]], dim=self.encoder.dim)
        others = models.Filter(
            must=None if plan.filter is None else [plan.filter], must_not=[models.HasIdCondition(has_id=[point])]
        )
        return await self.search(tokens, replace(plan, filter=others), vectors={}, timings=False)

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

    def _points(self, ids: DocumentId | Iterable[DocumentId]) -> list[Any]:
        """The point ids of documents."""
        given = [ids] if isinstance(ids, str | int | UUID) else ids
        return [point_id(id, self.encoding.config.id_scheme) for id in given]

    async def _allowed(self, check: Callable[[Limits], Checked]) -> Checked:
        """The outcome of a check. What is refused may have been allowed since the collection was opened."""
        self.check_open()
        try:
            return check(self.encoding.limits)
        except ConfigurationError:
            await self.encoding.read_limits()
            return check(self.encoding.limits)

    def _encoded(
        self, queries: Sequence[str] | TokenEmbeddings, plan: SearchPlan, given: Mapping[str, Sequence[Any]]
    ) -> tuple[TokenEmbeddings, list[dict[str, Any]]]:
        """The queries' token vectors, and what all legs but the encodings search for."""
        tokens = query_tokens(queries, encoder=self.encoder, collection=self.name)
        texts, legs = None if isinstance(queries, TokenEmbeddings) else queries, plan.leg_limits(self.encoding.config)
        return tokens, self.encoding.legs.queries(texts, given, legs=legs, count=len(tokens))

    def _searches(
        self,
        tokens: TokenEmbeddings,
        others: list[dict[str, Any]],
        plan: SearchPlan,
        capabilities: Capabilities,
        *,
        tell_legs: bool = True,
    ) -> list[Search]:
        config, shard_key = self.encoding.config, self._open_connection.shard_key
        by_fde = config.fde_vector in plan.leg_limits(config)
        encoded = self.encoding.encode_queries(tokens) if by_fde else [None] * len(tokens)
        return [
            Search.of(
                plan,
                config,
                tokens=matrix,
                vectors=vectors if fde is None else {config.fde_vector: fde.tolist(), **vectors},
                capabilities=capabilities,
                shard_key=shard_key,
                tell_legs=tell_legs,
            )
            for matrix, fde, vectors in zip(tokens, encoded, others, strict=True)
        ]

    async def _complete(
        self, searches: Sequence[Search], responses: list[models.QueryResponse], *, limit: int
    ) -> float | None:
        """Ask again, without a graph, where a filtered search found too little; what it answers takes its place.

        Returns:
            The seconds that the server worked, if it says so.
        """
        vector, place = self.encoding.config.fde_vector, 0
        short: dict[int, models.QueryRequest] = {}
        for each in searches:
            if each.main is not None and len(responses[place].points) < limit:
                short[place] = scanned(each.main, vector)
            place += len(each.requests)
        answers, server = await self._send(list(short.values()))
        for number, answer in zip(short, answers, strict=True):
            responses[number] = answer
        return server

    async def _send(self, requests: list[models.QueryRequest]) -> tuple[list[models.QueryResponse], float | None]:
        """Search, in as many requests as the server's limits make necessary."""
        at_once = self.encoding.limits.search_batch or max(1, len(requests))
        responses: list[models.QueryResponse] = []
        server: float | None = 0.0
        for start in range(0, len(requests), at_once):
            answers, seconds = await search(self._connection, self.name, requests[start : start + at_once])
            responses += answers
            server = _sum(server, seconds)
        return responses, server


def _sum(one: float | None, other: float | None) -> float | None:
    """Seconds of two requests, if both are known."""
    return None if one is None or other is None else one + other


def _one(query: str | TokenEmbeddings) -> list[str] | TokenEmbeddings:
    if isinstance(query, str):
        return [query]
    if len(query) != 1:
        raise InvalidQueryError(f"search takes one query, got {len(query)}: use search_batch")
    return query


def _brought(record: models.Record, names: Sequence[str]) -> dict[str, Any]:
    stored = vectors_of(record)
    return {name: stored[name] for name in names if name in stored}
