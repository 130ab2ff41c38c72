"""Sends requests through a client, retries transient failures, and raises this library's errors."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from itertools import chain
from math import isfinite
from types import NoneType
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from qdrant_client import models

from colbert_qdrant._support import telemetry
from colbert_qdrant.config import RetryConfig
from colbert_qdrant.config.checks import require_instance
from colbert_qdrant.engines import retry
from colbert_qdrant.engines.answers import applied, check_answers
from colbert_qdrant.engines.base import Answers, checked_shard_key
from colbert_qdrant.engines.faults import GarbledAnswerError
from colbert_qdrant.engines.pages import count_by_reading, forbids_exact_counts
from colbert_qdrant.engines.parts import send_parts
from colbert_qdrant.engines.runtime import AsyncioRuntime, BlockingRuntime
from colbert_qdrant.errors import RequestError, RequestRefusedError
from colbert_qdrant.points.point import to_struct

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from qdrant_client.http.models import QueryResponse

    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.engines.base import Files, PointId, Selector, ShardKey, Snapshots
    from colbert_qdrant.engines.runtime import Runtime
    from colbert_qdrant.points.point import Point

_LOG: Final = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

_REQUEST_NAMES: Final[Mapping[str, str]] = {
    "query_batch_points": "search",
    "query_points_groups": "search",
    "retrieve": "get",
}
"""The names of requests in errors, if they differ from the names of the client's methods."""


class ClientEngine:
    """Base class of engines whose clients have ``QdrantClient``'s methods; see `Engine` for the methods.

    Args:
        client: The user's client.
        retry: The retry settings of requests.
        shard_key: The shard key of all requests; ``None`` for all shards.

    Attributes:
        NAME: The engine's name in `CollectionState` and `Capabilities`.
        BLOCKING: The classes of its blocking clients.
        AWAITED: The classes of its async clients.
        MAX_REQUEST_BYTES: The approximate maximum size of a request; larger requests are split. ``None`` for no limit.
        THREADS: Whether its blocking clients work in other threads than the one that made them.
    """

    NAME: ClassVar[str]
    BLOCKING: ClassVar[tuple[type, ...]] = ()
    AWAITED: ClassVar[tuple[type, ...]] = ()
    MAX_REQUEST_BYTES: ClassVar[int | None] = None
    THREADS: ClassVar[bool] = True

    binary = False

    def __init__(self, client: Any, *, retry: RetryConfig | None = None, shard_key: ShardKey | None = None) -> None:
        require_instance("retry", retry, (RetryConfig, NoneType), "a RetryConfig")
        self.client = client
        self.retry = retry or RetryConfig()
        self.reserved = set[str]()
        self.shard_key = checked_shard_key(shard_key)
        blocking = isinstance(client, self.BLOCKING)
        self.runtime: Runtime = BlockingRuntime(threads=self.THREADS) if blocking else AsyncioRuntime()

    @classmethod
    def accepts(cls, client: object) -> bool:
        """Tell whether this engine serves a client."""
        return isinstance(client, (*cls.BLOCKING, *cls.AWAITED))

    @property
    def files(self) -> Files | None:
        return None

    @property
    def snapshots(self) -> Snapshots | None:
        return None

    @property
    def address(self) -> tuple[str, int] | None:
        """The host and port of a server."""
        return None

    def keys(self) -> Iterable[str]:
        """Return the API keys, which errors and log records must not show."""
        return ()

    async def capabilities(self) -> Capabilities:
        raise NotImplementedError

    async def collection_exists(self, collection: str) -> bool:
        return bool(await self._call("collection_exists", collection))

    async def get_collection(self, collection: str) -> models.CollectionInfo:
        info: models.CollectionInfo = await self._call("get_collection", collection)
        return info

    async def cluster_info(self, collection: str) -> models.CollectionClusterInfo | None:  # noqa: ARG002
        return None

    async def optimizations(self, collection: str) -> models.OptimizationsResponse | None:  # noqa: ARG002
        return None

    async def create_collection(self, collection: str, **settings: Any) -> None:
        await self._call("create_collection", collection, **settings)

    async def update_collection(self, collection: str, **settings: Any) -> None:
        await self._call("update_collection", collection, **settings)

    async def delete_collection(self, collection: str) -> None:
        await self._call("delete_collection", collection)

    async def missing_copies(self, collection: str, *, like: str, copies: int) -> list[models.ReplicateShard]:
        del collection, like, copies  # only servers have replicas
        return []

    async def replicate_shard(self, collection: str, copy: models.ReplicateShard) -> None:
        operation = models.ReplicateShardOperation(replicate_shard=copy)
        await self._call("cluster_collection_update", collection, operation)

    async def create_payload_index(self, collection: str, *, field_name: str, field_schema: Any) -> None:
        await self._call(
            "create_payload_index", collection, field_name=field_name, field_schema=field_schema, wait=True
        )

    async def create_vector_name(
        self, collection: str, name: str, config: models.DenseVectorNameConfig | models.SparseVectorNameConfig
    ) -> None:
        await self._call("create_vector_name", collection, name, config, wait=True)

    async def delete_vector_name(self, collection: str, name: str) -> None:
        await self._call("delete_vector_name", collection, name, wait=True)

    async def collection_names(self) -> list[str]:
        return [each.name for each in (await self._call("get_collections")).collections]

    async def get_aliases(self) -> Mapping[str, str]:
        return {each.alias_name: each.collection_name for each in (await self._call("get_aliases")).aliases}

    async def update_aliases(self, operations: Sequence[models.AliasOperations]) -> None:
        await self._call("update_collection_aliases", change_aliases_operations=operations)

    async def upsert(
        self,
        collection: str,
        points: Sequence[Point],
        *,
        insert_only: bool = False,
        ordered: bool = False,  # noqa: ARG002 - local writes are never applied late
    ) -> None:
        await self.request("upsert", collection, partial(self._upsert, collection, points, insert_only=insert_only))

    async def update_vectors(
        self,
        collection: str,
        points: Sequence[models.PointVectors],
        *,
        update_filter: models.Filter | None = None,
        float16: frozenset[str] = frozenset(),  # noqa: ARG002 - for engines that send digits
    ) -> None:
        named = {} if update_filter is None else {"update_filter": update_filter}

        async def update(part: Sequence[models.PointVectors], deadline: float) -> None:
            await self._call("update_vectors", collection, part, wait=True, deadline=deadline, **named)

        await self._in_parts(points, update)

    async def delete_vectors(self, collection: str, *, vectors: Sequence[str], points: models.Filter) -> None:
        await self._call("delete_vectors", collection, vectors=list(vectors), points=points, wait=True)

    async def set_payload(
        self, collection: str, payload: Mapping[str, Any], *, points: models.Filter, key: str | None = None
    ) -> None:
        await self._call("set_payload", collection, payload=dict(payload), points=points, key=key, wait=True)

    async def delete_payload(self, collection: str, keys: Sequence[str], *, points: models.Filter) -> None:
        await self._call("delete_payload", collection, keys=list(keys), points=points, wait=True)

    async def delete(self, collection: str, *, points_selector: Selector) -> None:
        if not isinstance(points_selector, models.PointIdsList):
            await self._call("delete", collection, points_selector=points_selector, wait=True)
            return

        async def delete(ids: Sequence[PointId], deadline: float) -> None:
            part = points_selector.model_copy(update={"points": list(ids)})
            await self._call("delete", collection, points_selector=part, wait=True, deadline=deadline)

        await self._in_parts(points_selector.points, delete)

    async def retrieve(
        self,
        collection: str,
        *,
        ids: Sequence[PointId],
        with_payload: bool | list[str] = True,
        with_vectors: bool | list[str] = False,
    ) -> list[models.Record]:
        asked = {"with_payload": with_payload, "with_vectors": with_vectors}

        async def retrieve(part: Sequence[PointId], deadline: float) -> list[models.Record]:
            records: list[models.Record] = await self._call(
                "retrieve", collection, ids=part, deadline=deadline, **asked
            )
            return records

        return list(chain.from_iterable(await self._in_parts(ids, retrieve)))

    async def scroll(
        self,
        collection: str,
        *,
        scroll_filter: models.Filter | None,
        limit: int,
        offset: PointId | None,
        with_payload: bool | list[str],
        with_vectors: bool | list[str],
    ) -> tuple[list[models.Record], PointId | None]:
        asked: dict[str, Any] = {"with_payload": with_payload, "with_vectors": with_vectors}
        page: tuple[list[models.Record], PointId | None] = await self._call(
            "scroll", collection, scroll_filter=scroll_filter, limit=limit, offset=offset, **asked
        )
        return page

    async def count(self, collection: str, count_filter: models.Filter | None = None) -> int:
        try:
            return int((await self._call("count", collection, count_filter=count_filter, exact=True)).count)
        except RequestRefusedError as error:
            if not forbids_exact_counts(error):
                raise
        return await count_by_reading(self, collection, count_filter)

    async def search(self, collection: str, requests: Sequence[models.QueryRequest]) -> Answers:
        answers = await self._in_parts(requests, partial(self._search_part, collection))
        responses = chain.from_iterable(each.responses for each in answers)
        seconds = [each.seconds for each in answers if each.seconds is not None]
        return Answers(list(responses), sum(seconds) if len(seconds) == len(answers) else None)

    async def search_given(self, collection: str, requests: Sequence[models.QueryRequest]) -> list[QueryResponse]:
        answers = await self._in_parts(requests, partial(self._search_given, collection))
        return list(chain.from_iterable(answers))

    async def search_groups(
        self, collection: str, request: models.QueryRequest, *, group_by: str, group_size: int
    ) -> list[models.PointGroup]:
        send = partial(self._search_groups, collection, request, group_by=group_by, group_size=group_size)
        return await self.request("search", collection, send)

    async def flush(self, collection: str) -> None:
        """See `Engine`."""

    async def optimize(self, collection: str) -> None:
        """See `Engine`."""

    async def request(
        self,
        operation: str,
        collection: str,
        send: Callable[[], Awaitable[Result]],
        *,
        deadline: float | None = None,
    ) -> Result:
        """Send an idempotent request, and retry it after transient failures.

        Args:
            operation: The name of the operation, for errors and logs.
            collection: The collection's name.
            send: Sends the request once.
            deadline: Seconds for all attempts; the default is that of `RetryConfig`.

        Raises:
            RequestError: If the request failed after all attempts; the error has the cause and the number of attempts.
            CollectionNotFoundError: If the collection does not exist.
        """
        started = time.monotonic()
        config = self.retry if deadline is None else replace(self.retry, deadline=deadline)
        with telemetry.request(operation, collection, self.address) as attributes:
            try:
                result, attempts = await retry.run(
                    self.bounded(send, config.deadline),
                    operation=operation,
                    collection=collection,
                    config=config,
                    runtime=self.runtime,
                    address=self.address,
                    keys=self.keys,
                )
            except RequestError as error:
                attributes["colbert_qdrant.attempts"] = error.attempts
                raise
            attributes["colbert_qdrant.attempts"] = attempts
        extra = {
            "operation": operation,
            "collection": collection,
            "attempts": attempts,
            "seconds": time.monotonic() - started,
        }
        _LOG.debug("%(operation)s in collection %(collection)r took %(seconds).3f s", extra, extra=extra)
        return result

    def bounded(
        self,
        send: Callable[[], Awaitable[Result]],
        deadline: float,  # noqa: ARG002 - for engines that need one
    ) -> Callable[[], Awaitable[Result]]:
        """Apply a deadline to all attempts together; an engine in this process needs no deadline."""
        return send

    def shards(self) -> dict[str, Any]:
        """Return the argument that selects the shards of a request."""
        return {}

    async def _call(self, method: str, *arguments: Any, deadline: float | None = None, **named: Any) -> Any:
        """Call a method of the client as one request."""
        if method in _OF_SHARDS:
            named.update(self.shards())
        collection = arguments[0] if arguments else ""

        async def send() -> Any:
            return applied(await self.runtime.call(getattr(self.client, method), *arguments, **named))

        return await self.request(_REQUEST_NAMES.get(method, method), collection, send, deadline=deadline)

    async def _upsert(self, collection: str, points: Sequence[Point], *, insert_only: bool = False) -> None:
        named: dict[str, Any] = {"update_mode": models.UpdateMode.INSERT_ONLY} if insert_only else {}
        structs = [self.to_struct(point) for point in points]
        named |= {"points": structs, "wait": True, **self.shards()}
        applied(await self.runtime.call(self.client.upsert, collection, **named))

    def to_struct(self, point: Point) -> models.PointStruct:
        """Convert a point to the form that the client accepts."""
        return to_struct(point)

    async def _in_parts(
        self, items: Sequence[Item], send: Callable[[Sequence[Item], float], Awaitable[Result]]
    ) -> list[Result]:
        """Send items in as few requests as possible, under one deadline."""
        return await send_parts(items, send, deadline=self.retry.deadline, max_bytes=self.MAX_REQUEST_BYTES)

    async def _search_part(self, collection: str, part: Sequence[models.QueryRequest], deadline: float) -> Answers:
        return Answers(await self._call("query_batch_points", collection, requests=part, deadline=deadline), None)

    async def _search_given(
        self, collection: str, part: Sequence[models.QueryRequest], deadline: float
    ) -> list[QueryResponse]:
        async def send() -> list[QueryResponse]:
            return check_answers(
                await self.runtime.call(self.client.query_batch_points, collection, requests=part), part
            )

        return await self.request("search", collection, send, deadline=deadline)

    async def _search_groups(
        self, collection: str, request: models.QueryRequest, *, group_by: str, group_size: int
    ) -> list[models.PointGroup]:
        answer = await self.runtime.call(
            self.client.query_points_groups,
            collection,
            group_by=group_by,
            group_size=group_size,
            query=request.query,
            using=request.using,
            prefetch=request.prefetch,
            query_filter=request.filter,
            search_params=request.params,
            limit=request.limit,
            with_payload=request.with_payload,
            score_threshold=request.score_threshold,
            **self.shards(),
        )
        found: list[models.PointGroup] = answer.groups
        too_many = len(found) > (request.limit or 0) or any(len(group.hits) > group_size for group in found)
        if too_many or not all(isfinite(hit.score) for group in found for hit in group.hits):
            raise GarbledAnswerError
        return found


_OF_SHARDS: Final = frozenset(
    {"retrieve", "count", "delete", "scroll", "set_payload", "delete_payload", "update_vectors"}
)
"""Methods with an argument for the shard key; searches have one in each query."""
