"""Sends requests with deadlines to a Qdrant server or cluster, over REST or gRPC."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar
from urllib.parse import urlsplit

from qdrant_client import AsyncQdrantClient, QdrantClient, grpc, models
from qdrant_client.conversions.conversion import GrpcToRest, RestToGrpc
from qdrant_client.http.models import QueryResponse
from qdrant_client.qdrant_remote import QdrantRemote

from colbert_qdrant.capabilities import Capabilities
from colbert_qdrant.engines.answers import check_answers, require_applied, require_result
from colbert_qdrant.engines.base import Answers
from colbert_qdrant.engines.choice import choice_of, has_choice
from colbert_qdrant.engines.client import ClientEngine
from colbert_qdrant.engines.copies import missing_copies
from colbert_qdrant.engines.faults import DeadlineError, fault_of
from colbert_qdrant.engines.json_points import dump, points_to_json, vectors_to_json
from colbert_qdrant.engines.keys import keys_of
from colbert_qdrant.engines.local import LocalEngine
from colbert_qdrant.engines.messages import upsert_request, vectors_request
from colbert_qdrant.engines.order import Writer
from colbert_qdrant.engines.parts import MAX_REQUEST_BYTES
from colbert_qdrant.engines.snapshots import ServerSnapshots
from colbert_qdrant.engines.transport import bound
from colbert_qdrant.errors import AuthenticationError, CollectionNotFoundError, RequestRefusedError
from colbert_qdrant.points.stamp import unstamped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from colbert_qdrant.config import RetryConfig
    from colbert_qdrant.engines.base import PointId, ShardKey, Snapshots
    from colbert_qdrant.engines.choice import Choice
    from colbert_qdrant.points.point import Point

Result = TypeVar("Result")

_FEW_SEARCHES: Final = 2
"""Searches whose serialization takes a millisecond at most, which is less than waking another thread may take."""

_CLOCK_ERROR: Final = 0.01
"""Seconds by which gRPC may end a call before the deadline."""


class RestEngine(ClientEngine):
    """The engine of a ``QdrantClient(url=…)``, which sends JSON over HTTP."""

    NAME = "server"
    BLOCKING: ClassVar = (QdrantClient,)
    AWAITED: ClassVar = (AsyncQdrantClient,)
    MAX_REQUEST_BYTES: ClassVar[int | None] = MAX_REQUEST_BYTES

    def __init__(
        self,
        client: QdrantClient | AsyncQdrantClient,
        *,
        retry: RetryConfig | None = None,
        shard_key: ShardKey | None = None,
    ) -> None:
        super().__init__(bound(client), retry=retry, shard_key=shard_key)
        self._address = _address(client)
        self._capabilities: Capabilities | None = None
        self._writer = Writer()

    @classmethod
    def accepts(cls, client: object) -> bool:
        return super().accepts(client) and not LocalEngine.accepts(client)

    @property
    def address(self) -> tuple[str, int]:
        return self._address

    def keys(self) -> Iterable[str]:
        return keys_of(self.client.init_options)

    async def capabilities(self) -> Capabilities:
        if self._capabilities is None:
            self._capabilities = Capabilities.of_server((await self._call("info")).version)
        return self._capabilities

    async def missing_copies(self, collection: str, *, like: str, copies: int) -> list[models.ReplicateShard]:
        own, others = [await self._call("collection_cluster_info", name) for name in (collection, like)]
        return missing_copies(own, others, copies)

    async def upsert(
        self, collection: str, points: Sequence[Point], *, insert_only: bool = False, ordered: bool = False
    ) -> None:
        if insert_only or not ordered or not (await self.capabilities()).has("update_filter"):
            return await super().upsert(collection, points, insert_only=insert_only)

        async def send(marked: Sequence[Point], only: models.Filter) -> None:
            await self._upsert(collection, marked, only=only)

        return await self.request("upsert", collection, self._writer.begin(collection, points, send))

    async def update_vectors(
        self,
        collection: str,
        points: Sequence[models.PointVectors],
        *,
        update_filter: models.Filter | None = None,
        float16: frozenset[str] = frozenset(),
    ) -> None:
        async def update(part: Sequence[models.PointVectors], deadline: float) -> None:
            send = partial(self._update_vectors, collection, part, only=update_filter, float16=float16)
            await self.request("update_vectors", collection, send, deadline=deadline)

        await self._in_parts(points, update)

    async def retrieve(self, collection: str, **named: Any) -> list[models.Record]:
        return unstamped(await super().retrieve(collection, **named))

    async def scroll(self, collection: str, **named: Any) -> tuple[list[models.Record], PointId | None]:
        records, offset = await super().scroll(collection, **named)
        return unstamped(records), offset

    async def search_given(self, collection: str, requests: Sequence[models.QueryRequest]) -> list[QueryResponse]:
        return _unstamped(await super().search_given(collection, requests))

    async def search_groups(
        self, collection: str, request: models.QueryRequest, *, group_by: str, group_size: int
    ) -> list[models.PointGroup]:
        groups = await super().search_groups(collection, request, group_by=group_by, group_size=group_size)
        for group in groups:
            unstamped(group.hits)
        return groups

    async def _search_part(self, collection: str, part: Sequence[models.QueryRequest], deadline: float) -> Answers:
        return await self.request("search", collection, partial(self._search, collection, part), deadline=deadline)

    @property
    def snapshots(self) -> Snapshots:
        return ServerSnapshots(self)

    def bounded(self, send: Callable[[], Awaitable[Result]], deadline: float) -> Callable[[], Awaitable[Result]]:
        return partial(self._within, self.runtime.now() + deadline, send)

    async def cluster_info(self, collection: str) -> models.CollectionClusterInfo | None:
        found: models.CollectionClusterInfo | None = await self._if_allowed("collection_cluster_info", collection)
        return found

    async def optimizations(self, collection: str) -> models.OptimizationsResponse | None:
        if self.binary or not (await self.capabilities()).has("optimizations"):
            return None  # gRPC does not provide it
        found: models.OptimizationsResponse | None = await self._if_allowed("get_optimizations", collection)
        return found

    async def _if_allowed(self, method: str, collection: str) -> Any:
        """Call a method about an existing collection; ``None`` if the key does not permit it or the server lacks it."""
        try:
            return await self._call(method, collection)
        except (AuthenticationError, CollectionNotFoundError, RequestRefusedError):
            return None

    def shards(self) -> dict[str, Any]:
        return {} if self.shard_key is None else {"shard_key_selector": self.shard_key}

    async def _within(self, end: float, send: Callable[[], Awaitable[Result]]) -> Result:
        try:
            return await self.runtime.within(end - self.runtime.now(), send)
        except Exception as error:
            fault = fault_of(error)
            late = fault is not None and fault.kind == "timeout" and self.runtime.now() > end - _CLOCK_ERROR
            if late or isinstance(error, TimeoutError):
                raise DeadlineError(f"within the deadline of {self.retry.deadline:g} s") from None
            raise

    async def _search(self, collection: str, requests: Sequence[models.QueryRequest]) -> Answers:
        # the client's own method drops the time, and would block an event loop while it serializes many requests
        few = len(requests) <= _FEW_SEARCHES
        body: Any = _to_json(requests) if few else await self.runtime.compute(_to_json, requests)
        answer = await self.runtime.call(
            self.client.http.search_api.query_batch_points, collection_name=collection, query_request_batch=body
        )
        return Answers(_unstamped(check_answers(answer.result or [], requests)), answer.time)

    async def _upsert(
        self, collection: str, points: Sequence[Point], *, insert_only: bool = False, only: models.Filter | None = None
    ) -> None:
        settings = models.PointsList(points=[], shard_key=self.shard_key)
        if only is not None:
            settings.update_filter = only
        if insert_only:
            settings.update_mode = models.UpdateMode.INSERT_ONLY
        body: Any = await self.runtime.compute(points_to_json, points, settings)  # does not block an event loop
        answer = await self.runtime.call(
            self.client.http.points_api.upsert_points,
            collection_name=collection,
            wait=True,
            point_insert_operations=body,
        )
        require_result(answer)

    async def _update_vectors(
        self,
        collection: str,
        points: Sequence[models.PointVectors],
        *,
        only: models.Filter | None,
        float16: frozenset[str],
    ) -> None:
        settings = models.UpdateVectors(points=[], shard_key=self.shard_key)
        if only is not None:
            settings.update_filter = only
        body: Any = await self.runtime.compute(vectors_to_json, points, settings, float16)
        answer = await self.runtime.call(
            self.client.http.points_api.update_vectors, collection_name=collection, wait=True, update_vectors=body
        )
        require_result(answer)


class GrpcEngine(RestEngine):
    """The engine of a ``QdrantClient(url=…, prefer_grpc=True)``, which sends numbers as bytes."""

    MAX_REQUEST_BYTES: ClassVar[int | None] = None

    binary = True

    @classmethod
    def accepts(cls, client: object) -> bool:
        if not isinstance(client, QdrantClient | AsyncQdrantClient):
            return False
        return super().accepts(client) and bool(client.init_options.get("prefer_grpc"))

    async def _search(self, collection: str, requests: Sequence[models.QueryRequest]) -> Answers:
        message = grpc.QueryBatchPoints(
            collection_name=collection,
            query_points=[RestToGrpc.convert_query_request(request, collection) for request in requests],
        )
        answer = await self.runtime.call(self.client.grpc_points.QueryBatch, message, timeout=self._timeout)
        points = [[GrpcToRest.convert_scored_point(hit) for hit in each.result] for each in answer.result]
        answers = check_answers([QueryResponse(points=each) for each in points], requests)
        return Answers(_unstamped(answers), answer.time)

    async def _upsert(
        self, collection: str, points: Sequence[Point], *, insert_only: bool = False, only: models.Filter | None = None
    ) -> None:
        message = upsert_request(collection, points, self.shard_key)
        if only is not None:
            message.update_filter.CopyFrom(RestToGrpc.convert_filter(only))
        if insert_only:
            message.update_mode = grpc.UpdateMode.InsertOnly
        answer = await self.runtime.call(self.client.grpc_points.Upsert, message, timeout=self._timeout)
        require_applied(grpc.UpdateStatus.Name(answer.result.status))

    async def _update_vectors(
        self,
        collection: str,
        points: Sequence[models.PointVectors],
        *,
        only: models.Filter | None,
        float16: frozenset[str],  # noqa: ARG002 - numbers are sent as float32
    ) -> None:
        message = await self.runtime.compute(vectors_request, collection, points, self.shard_key)
        if only is not None:
            message.update_filter.CopyFrom(RestToGrpc.convert_filter(only))
        answer = await self.runtime.call(self.client.grpc_points.UpdateVectors, message, timeout=self._timeout)
        require_applied(grpc.UpdateStatus.Name(answer.result.status))

    @property
    def _timeout(self) -> int:
        """The client's timeout in seconds, which its stubs do not apply automatically."""
        seconds = self.client.init_options["timeout"]
        return QdrantRemote.DEFAULT_GRPC_TIMEOUT if seconds is None else math.ceil(seconds)


class AutoEngine(GrpcEngine):
    """The engine of a client that `connect` made with ``prefer_grpc="auto"``: documents use gRPC if they can."""

    MAX_REQUEST_BYTES: ClassVar[int | None] = MAX_REQUEST_BYTES

    binary = False

    @classmethod
    def accepts(cls, client: object) -> bool:
        return isinstance(client, QdrantClient | AsyncQdrantClient) and has_choice(client)

    def bounded(self, send: Callable[[], Awaitable[Result]], deadline: float) -> Callable[[], Awaitable[Result]]:
        return super().bounded(partial(self._or_over_rest, send), deadline)

    async def _or_over_rest(self, send: Callable[[], Awaitable[Result]]) -> Result:
        """Send a request again, over REST, if the gRPC port cannot be reached."""
        try:
            return await send()
        except Exception as error:
            if not self._choice.failed(error):
                raise
        return await send()

    @property
    def _choice(self) -> Choice:
        return choice_of(self.client)

    async def _over_grpc(self, collection: str) -> bool:
        return await self._choice.over_grpc(self.client, self.runtime, collection)

    async def _search(self, collection: str, requests: Sequence[models.QueryRequest]) -> Answers:
        return await super(GrpcEngine, self)._search(collection, requests)

    async def _upsert(
        self, collection: str, points: Sequence[Point], *, insert_only: bool = False, only: models.Filter | None = None
    ) -> None:
        if await self._over_grpc(collection):
            await super()._upsert(collection, points, insert_only=insert_only, only=only)
        else:
            await super(GrpcEngine, self)._upsert(collection, points, insert_only=insert_only, only=only)

    async def _update_vectors(
        self,
        collection: str,
        points: Sequence[models.PointVectors],
        *,
        only: models.Filter | None,
        float16: frozenset[str],
    ) -> None:
        if await self._over_grpc(collection):
            await super()._update_vectors(collection, points, only=only, float16=float16)
        else:
            await super(GrpcEngine, self)._update_vectors(collection, points, only=only, float16=float16)


def _to_json(requests: Sequence[models.QueryRequest]) -> bytes:
    """Serialize a batch of searches as the client does, one by one, so that other threads can run in between."""
    return b'{"searches":[' + b",".join(map(dump, requests)) + b"]}"


def _unstamped(answers: list[QueryResponse]) -> list[QueryResponse]:
    for answer in answers:
        unstamped(answer.points)
    return answers


def _address(client: QdrantClient | AsyncQdrantClient) -> tuple[str, int]:
    """Return the host and port of a client's server, without a user name and password in its URL."""
    options = client.init_options
    over_grpc = bool(options.get("prefer_grpc"))
    where = options.get("url") or options.get("location") or ""
    parts = urlsplit(where if "//" in where else f"//{where}")
    port = options.get("grpc_port") if over_grpc else parts.port or options.get("port")
    return parts.hostname or (options.get("host") or "localhost").strip("[]"), int(port or 0)
