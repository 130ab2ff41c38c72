"""Enforces deadlines in the transports of clients: after its deadline, a request sends, receives and keeps nothing.

A client's own timeouts limit the time between two bytes, not that of a request. So every read and write of a blocking
client checks the deadline, in the thread that waits for it. If a request fails, its connection is closed with a reset.
Otherwise the operating system would continue to send its buffered bytes.
"""

# ruff: noqa: SLF001, ASYNC109 - httpx and the client have no public access to their transports, whose API has timeouts

from __future__ import annotations

import ipaddress
import math
import os
import socket
import struct
import time
from concurrent.futures import Future
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar
from weakref import WeakSet

import grpc
import httpcore
from qdrant_client import AsyncQdrantClient, QdrantClient

from colbert_qdrant.engines.deadline import cut
from colbert_qdrant.engines.lanes import in_job, require_wanted

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Iterable, Iterator

    import httpx

AnyClient = TypeVar("AnyClient", bound=QdrantClient | AsyncQdrantClient)
SocketOption: TypeAlias = Any

_PIECE: Final = 2**16
"""The number of bytes per write; the deadline is checked between writes."""

_LOOK: Final = 0.1
"""The interval in seconds at which a job that waits for an answer looks whether its lane was closed."""

_OPTIONS: Final = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
_QUICK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)  # Linux only
_RESET: Final = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)

_BOUNDED: Final[WeakSet[Any]] = WeakSet()
_OPENED: Final[ContextVar[list[_AsyncStream] | None]] = ContextVar("_OPENED", default=None)
"""The connections that a task's request opened."""


def bound(client: AnyClient) -> AnyClient:
    """Make a server's client enforce the deadlines of requests, and return the same client.

    A client with a custom transport checks deadlines only between two bytes.
    """
    remote: Any = client._client
    if remote in _BOUNDED:
        return client
    _BOUNDED.add(remote)
    blocking = isinstance(client, QdrantClient)
    http = remote.openapi_client.client
    pools = list(_pools(http._client if blocking else http._async_client))
    for pool in pools:
        pool._network_backend = (_Backend if blocking else _AsyncBackend)(pool._network_backend)
    if blocking:
        http.add_middleware(_wait_for_connection)
        for connection in (each for pool in pools for each in pool.connections if each.is_idle()):
            connection.close()  # opened before, so it does not check deadlines
        if remote._prefer_grpc:
            _bound_calls(remote)
    else:
        http.add_middleware(partial(_close_unused, pools))
    return client


def http_of(client: QdrantClient | AsyncQdrantClient) -> tuple[httpx.Client | httpx.AsyncClient, str]:
    """Return the HTTP client of a server's client, which has its keys and certificates, and the server's address."""
    remote: Any = client._client
    http = remote.openapi_client.client
    return http._client if isinstance(client, QdrantClient) else http._async_client, remote.rest_uri


def _pools(client: Any) -> Iterator[Any]:
    """Yield the connection pools of an httpx client; a custom transport may not have a pool."""
    for transport in (client._transport, *client._mounts.values()):
        if hasattr(transport, "_pool"):
            yield transport._pool


def _wait_for_connection(request: httpx.Request, send: Callable[[httpx.Request], httpx.Response]) -> httpx.Response:
    """Apply the deadline to the wait for a free connection."""
    timeouts = request.extensions.get("timeout", {})
    left = cut(timeouts.get("pool"))
    request.extensions["timeout"] = {**timeouts, "pool": None if left is None else max(0.0, left)}
    return send(request)


async def _close_unused(
    pools: Iterable[Any], request: httpx.Request, send: Callable[[httpx.Request], Awaitable[httpx.Response]]
) -> httpx.Response:
    """Close connections that a request opened, but did not use before it was cancelled; the pool would keep them."""
    opened: list[_AsyncStream] = []
    token = _OPENED.set(opened)
    try:
        return await send(request)
    except BaseException:
        unused = [stream for stream in opened if not stream.used]
        for connection in (each for pool in pools for each in pool.connections if unused):
            if getattr(connection._connection, "_network_stream", None) in unused:
                await connection.aclose()
        raise
    finally:
        _OPENED.reset(token)


def _positive(timeout: float | None, error: type[Exception]) -> float | None:
    left = cut(timeout)
    if left is not None and left <= 0:
        raise error("the deadline has passed")
    return left


class _Stream(httpcore.NetworkStream):
    """A connection of a blocking client."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream
        self._process = os.getpid()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        _acknowledge(self._stream)
        try:
            left = _positive(timeout, httpcore.ReadTimeout)
            return self._read_in_job(max_bytes, left) if in_job() else self._stream.read(max_bytes, left)
        except BaseException:
            _reset(self._stream)
            raise

    def _read_in_job(self, max_bytes: int, timeout: float | None) -> bytes:
        """Read, and check at intervals whether the job's lane was closed, since nothing else interrupts its thread."""
        end = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                return self._stream.read(max_bytes, min(max(0.0, left), _LOOK))
            except httpcore.ReadTimeout:
                require_wanted()
                if left <= _LOOK:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            for start in range(0, len(buffer), _PIECE):
                self._stream.write(buffer[start : start + _PIECE], _positive(timeout, httpcore.WriteTimeout))
        except BaseException:
            buffer = b""  # it may contain a key, which a traceback with local variables would show
            _reset(self._stream)
            raise

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        left = _positive(timeout, httpcore.ConnectTimeout)
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._process != os.getpid():
            return True  # makes the pool discard an idle connection that belongs to the parent process
        return self._stream.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    """Opens the connections of a blocking client."""

    def __init__(self, backend: httpcore.NetworkBackend) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
        options, failure = [*_OPTIONS, *(socket_options or ())], None
        for address in _addresses(host, port, _positive(timeout, httpcore.ConnectTimeout)):
            left = _positive(timeout, httpcore.ConnectTimeout)
            try:
                return _Stream(self._backend.connect_tcp(address, port, left, local_address, options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError(f"{host} has no address")

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[SocketOption] | None = None
    ) -> httpcore.NetworkStream:
        left = _positive(timeout, httpcore.ConnectTimeout)
        return _Stream(self._backend.connect_unix_socket(path, left, socket_options))

    def sleep(self, seconds: float) -> None:
        self._backend.sleep(max(0.0, cut(seconds) or 0.0))


class _AsyncStream(httpcore.AsyncNetworkStream):
    """A connection of an async client; the event loop enforces the deadline."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self.used = False
        if (opened := _OPENED.get()) is not None:
            opened.append(self)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        _acknowledge(self._stream)
        try:
            return await self._stream.read(max_bytes, timeout)
        except BaseException:
            _reset(self._stream)
            raise

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.used = True
        try:
            await self._stream.write(buffer, timeout)
        except BaseException:
            buffer = b""  # it may contain a key, which a traceback with local variables would show
            _reset(self._stream)
            raise

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            return _AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except BaseException:
            _reset(self._stream)
            await self._stream.aclose()  # the transport closes it after errors, but not after a cancellation
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    """Opens the connections of an async client."""

    def __init__(self, backend: httpcore.AsyncNetworkBackend) -> None:
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        options = [*_OPTIONS, *(socket_options or ())]
        return _AsyncStream(await self._backend.connect_tcp(host, port, timeout, local_address, options))

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[SocketOption] | None = None
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(await self._backend.connect_unix_socket(path, timeout, socket_options))

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


def _reset(stream: httpcore.NetworkStream | httpcore.AsyncNetworkStream) -> None:
    """Make a connection discard its unsent bytes when it is closed."""
    with suppress(OSError, AttributeError):
        stream.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _acknowledge(stream: httpcore.NetworkStream | httpcore.AsyncNetworkStream) -> None:
    """Acknowledge received bytes immediately: a server that sends a response in parts may wait 40 ms for that.

    The operating system resets this option on every send.
    """
    if _QUICK is not None:
        with suppress(OSError, AttributeError):
            stream.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _QUICK, 1)


_LOOKUPS: Final[dict[tuple[int, str, int], Future[list[str]]]] = {}
"""Pending DNS lookups by process, host and port; all waiting threads share one lookup."""


def _addresses(host: str, port: int, timeout: float | None) -> list[str]:
    """Resolve a host name with a timeout, which the operating system's resolver lacks."""
    with suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    key, new = (os.getpid(), host, port), Future[list[str]]()
    lookup = _LOOKUPS.setdefault(key, new)
    if lookup is new:
        Thread(target=_look_up, args=(key, new), daemon=True).start()
    try:
        return lookup.result(timeout)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(f"the address of {host} was not found in time") from error
    except OSError as error:
        raise httpcore.ConnectError(str(error)) from error


def _look_up(key: tuple[int, str, int], found: Future[list[str]]) -> None:
    _, host, port = key
    try:
        places = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        found.set_result(list(dict.fromkeys(str(place[4][0]) for place in places)))
    except Exception as error:  # noqa: BLE001 - raised again in the waiting threads
        found.set_exception(error)
    finally:
        del _LOOKUPS[key]


class _Calls(grpc.UnaryUnaryClientInterceptor):
    """Applies deadlines to the gRPC calls of a blocking client."""

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        left = cut(client_call_details.timeout)
        return continuation(client_call_details._replace(timeout=None if left is None else max(0.0, left)), request)


def open_channels(client: QdrantClient | AsyncQdrantClient) -> None:
    """Make the gRPC channels of a client that uses REST otherwise; they connect with their first call."""
    remote: Any = client._client
    if not remote._grpc_channel_pool and isinstance(client, QdrantClient):
        _bound_calls(remote)


async def close_channels(client: QdrantClient | AsyncQdrantClient) -> None:
    """Close the gRPC channels of a client, so that they do not try to connect again."""
    remote: Any = client._client
    channels, remote._grpc_channel_pool = remote._grpc_channel_pool, []
    for kind in _STUBS:
        setattr(remote, f"_grpc_{kind}_client_pool", None)
    for channel in channels:
        closed = channel.close()
        if closed is not None:
            await closed


_STUBS: Final = ("points", "collections", "snapshots", "root")


def _bound_calls(remote: Any) -> None:
    remote._init_grpc_channel()
    remote._grpc_channel_pool = [grpc.intercept_channel(each, _Calls()) for each in remote._grpc_channel_pool]
    for kind in _STUBS:
        setattr(remote, f"_grpc_{kind}_client_pool", None)
