"""The one way to an engine: every request is bounded in time, tried again where that helps, and fails in our errors."""

from __future__ import annotations

import logging
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, cast
from urllib.parse import urlsplit

from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.qdrant_remote import QdrantRemote

from colbert_qdrant._support import telemetry
from colbert_qdrant.capabilities import Capabilities, engine_of, speaks_grpc
from colbert_qdrant.config import RetryConfig
from colbert_qdrant.edge import AsyncEdgeClient, EdgeClient
from colbert_qdrant.engines import retry
from colbert_qdrant.engines.faults import DeadlineError
from colbert_qdrant.engines.runtime import AsyncioRuntime, BlockingRuntime
from colbert_qdrant.errors import ConfigurationError, RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from colbert_qdrant.capabilities import AsyncClient, Client
    from colbert_qdrant.engines.runtime import Runtime

_LOG: Final = logging.getLogger(__name__)

Result = TypeVar("Result")

ShardKey = str | int
"""Names the shards of a collection with custom sharding that requests are for."""

_OF_SHARDS: Final = frozenset({"upsert", "retrieve", "count", "delete", "scroll", "query_points_groups"})
"""Methods that take a shard key; a search takes one with each query."""

_SPOKEN: Final[Mapping[str, str]] = {
    "query_batch_points": "search",
    "query_points_groups": "search",
    "retrieve": "get",
}
"""What errors call a request, where that is not the name of the client's method."""


class EdgeMethods(Protocol):
    """What `EdgeClient` has and servers have not, as coroutines."""

    async def attach(self, collection_name: str, file_name: str, data: bytes | None) -> None:
        """See `EdgeClient.attach`."""

    async def attachment(self, collection_name: str, file_name: str) -> bytes | None:
        """See `EdgeClient.attachment`."""

    async def optimize(self, collection_name: str) -> bool:
        """See `EdgeClient.optimize`."""
        ...


class Connection:
    """A client, blocking or not, as a client whose methods are awaited.

    Attributes:
        raw: The client itself.
        client: The same methods, as coroutines: each one is a request.
        retry: What is done about failing requests.
        runtime: What runs coroutines that use the connection.
        shard_key: Which shards requests are for; ``None``: all.
        embedded: Whether the engine keeps its collections in a folder.
        remote: Whether it is a server.
    """

    def __init__(
        self, client: Client | AsyncClient, *, retry: RetryConfig | None = None, shard_key: ShardKey | None = None
    ) -> None:
        self.raw: Any = client
        self.shard_key = shard_key
        self.retry = retry or RetryConfig()
        self.runtime: Runtime = BlockingRuntime() if isinstance(client, QdrantClient | EdgeClient) else AsyncioRuntime()
        self.embedded = isinstance(client, EdgeClient | AsyncEdgeClient)
        self.client = cast("AsyncQdrantClient", _Requests(self))
        self._engine = engine_of(client)
        self.remote = self._engine == "server"
        self._address = _address(client) if self.remote else None
        self._capabilities: Capabilities | None = None

    @classmethod
    def blocking(
        cls, client: Client | AsyncClient, *, retry: RetryConfig | None = None, shard_key: ShardKey | None = None
    ) -> Connection:
        """That of a client whose methods return when all is done.

        Raises:
            ConfigurationError: It is another kind of object.
        """
        if isinstance(client, AsyncQdrantClient | AsyncEdgeClient):
            raise ConfigurationError(
                f"{type(client).__name__} has to be awaited: use AsyncColbertCollection or attach_async, or give a "
                "QdrantClient or an EdgeClient"
            )
        return cls(client, retry=retry, shard_key=shard_key)

    @classmethod
    def awaited(
        cls, client: Client | AsyncClient, *, retry: RetryConfig | None = None, shard_key: ShardKey | None = None
    ) -> Connection:
        """That of a client whose methods are awaited.

        Raises:
            ConfigurationError: It is another kind of object.
        """
        if isinstance(client, QdrantClient | EdgeClient):
            raise ConfigurationError(
                f"{type(client).__name__} would block the event loop: use ColbertCollection or attach, or give an "
                "AsyncQdrantClient or an AsyncEdgeClient"
            )
        return cls(client, retry=retry, shard_key=shard_key)

    @property
    def binary(self) -> bool:
        """Whether numbers go to the engine as they are, not as decimal digits."""
        return self.embedded or speaks_grpc(self.raw)

    @property
    def edge(self) -> EdgeMethods:
        """The same client, for the methods that only the embedded engine has."""
        return cast("EdgeMethods", self.client)

    def method(self, name: str) -> Callable[..., Any]:
        """A method of the client itself, for the shards that requests are for."""
        found: Callable[..., Any] = getattr(self.raw, name)
        for_shards = self.shard_key is not None and self.remote and name in _OF_SHARDS
        return partial(found, shard_key_selector=self.shard_key) if for_shards else found

    async def capabilities(self) -> Capabilities:
        """What the engine can do; a server is asked for its version once.

        Raises:
            CapabilityError: The server is older than 1.10.
        """
        if self._capabilities is None:
            version = (await self.client.info()).version if self.remote else None
            self._capabilities = Capabilities.of_version(self._engine, version)
        return self._capabilities

    async def request(self, operation: str, collection: str, send: Callable[[], Awaitable[Result]]) -> Result:
        """Send a request, again where that may help; nothing may happen twice if it is sent twice.

        Args:
            operation: What it does, for messages.
            collection: To which collection; may be empty.
            send: Sends it.

        Raises:
            RequestError: It failed for good; says with which fault and after how many attempts.
            CollectionNotFoundError: There is no such collection.
        """
        started = time.monotonic()
        if self.remote:
            send = partial(self._within, started + self.retry.deadline, send)
        with telemetry.request(operation, collection, self._address) as attributes:
            try:
                result, attempts = await retry.run(
                    send, operation=operation, collection=collection, config=self.retry, sleep=self.runtime.sleep
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

    async def _within(self, end: float, send: Callable[[], Awaitable[Result]]) -> Result:
        try:
            return await self.runtime.within(max(0.0, end - time.monotonic()), send)
        except TimeoutError:
            raise DeadlineError(f"within the deadline of {self.retry.deadline:g} s") from None


def call_timeout(client: QdrantClient | AsyncQdrantClient) -> int:
    """Seconds that a client gives a call over gRPC, which its stubs do not know by themselves."""
    seconds = client.init_options["timeout"]
    return QdrantRemote.DEFAULT_GRPC_TIMEOUT if seconds is None else math.ceil(seconds)


def _address(client: Any) -> tuple[str, int]:
    """Host and port of a client's server; its address may have a user and a password in it."""
    options = client.init_options
    over_grpc = bool(options.get("prefer_grpc"))
    where = options.get("url") or options.get("location") or ""
    parts = urlsplit(where if "//" in where else f"//{where}")
    port = options.get("grpc_port") if over_grpc else parts.port or options.get("port")
    return parts.hostname or (options.get("host") or "localhost").strip("[]"), int(port or 0)


class _Requests:
    """A client's methods, as coroutines that go through `Connection.request`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        connection = self._connection
        method = connection.method(name)

        async def request(*arguments: Any, **named: Any) -> Any:
            collection = arguments[0] if arguments else ""
            send = partial(connection.runtime.call, method, *arguments, **named)
            return await connection.request(_SPOKEN.get(name, name), collection, send)

        return request
