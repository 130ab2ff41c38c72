"""Chooses between gRPC and REST for the documents of a client that `connect` made.

gRPC is chosen if its port answers and belongs to the same server as the REST port. Nodes have random ids, so the ports
of one server report at least one id in common. Otherwise another server on this machine could receive the documents.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import grpc
from qdrant_client import grpc as messages
from qdrant_client.http.exceptions import UnexpectedResponse

from colbert_qdrant.engines.deadline import cut
from colbert_qdrant.engines.transport import close_channels, open_channels

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from qdrant_client import AsyncQdrantClient, QdrantClient

    from colbert_qdrant.engines.runtime import Runtime

_LOG: Final = logging.getLogger(__name__)
_ANSWER_SECONDS: Final = 1.0
"""Seconds to wait for a connection to the gRPC port, and then for its answer."""

_AGAIN_SECONDS: Final = 30.0
"""Seconds until a gRPC port that failed is asked again."""


class Choice:
    """The protocol of one client's documents; the first write makes the choice.

    Args:
        client: The client, which uses REST for everything else.
    """

    def __init__(self, client: QdrantClient | AsyncQdrantClient) -> None:
        options = client.init_options
        self._url, self._port = urlsplit(options["url"]), int(options["grpc_port"])
        self._process = os.getpid()
        self._over_grpc: bool | None = None
        self._again = 0.0
        self._changing = Lock()
        self._asking: AbstractAsyncContextManager[None] | None = None

    async def over_grpc(self, client: Any, runtime: Runtime, collection: str) -> bool:
        """Tell whether to use gRPC; asks the port if that is not known yet.

        A forked process uses REST, since gRPC's connections do not survive a fork.
        """
        if self._process != os.getpid():
            return False
        if self._is_open:
            with self._changing:
                self._asking = self._asking or runtime.lock()
            async with self._asking:  # others wait for the one that asks
                if self._is_open:
                    problem = await self._problem(client, runtime, collection)
                    if problem is not None:
                        await close_channels(client)
                    self._decide(problem)
        return bool(self._over_grpc)

    @property
    def _is_open(self) -> bool:
        """Whether the port is to be asked now."""
        return self._over_grpc is None or 0 < self._again <= time.monotonic()

    def failed(self, error: BaseException) -> bool:
        """Take REST for the next seconds if a call failed because gRPC's port is not reachable; tell whether so."""
        if not (isinstance(error, grpc.RpcError) and _code(error) is grpc.StatusCode.UNAVAILABLE):
            return False
        with self._changing:
            if self._over_grpc:
                self._over_grpc = False
                _LOG.warning("port %d no longer answers over gRPC: documents are sent over REST", self._port)
            self._again = time.monotonic() + _AGAIN_SECONDS
        return True

    def _decide(self, problem: str | None) -> None:
        with self._changing:
            if problem is None and not self._over_grpc:
                _LOG.info("documents are sent over gRPC, to port %d", self._port)
            elif self._over_grpc is None:
                _LOG.info("documents are sent over REST, which is slower: %s", problem)
            self._over_grpc = problem is None
            self._again = time.monotonic() + _AGAIN_SECONDS if problem is not None and self._again else 0.0

    async def _problem(self, client: Any, runtime: Runtime, collection: str) -> str | None:
        """Return the reason why gRPC cannot be used; ``None`` if it can."""
        if self._url.path.strip("/"):
            return "the URL has a path"
        where = f"port {self._port}"
        if not await runtime.compute(_accepts, self._url.hostname or "", self._port):
            return f"{where} does not accept connections"
        request = messages.CollectionClusterInfoRequest(collection_name=collection)
        open_channels(client)
        try:
            answer = await runtime.call(client.grpc_collections.CollectionClusterInfo, request, timeout=_ANSWER_SECONDS)
            own = await runtime.call(client.collection_cluster_info, collection)
        except grpc.RpcError as error:
            return f"{where} answers over gRPC with {_code(error).name}"
        except UnexpectedResponse as error:
            return f"the server does not tell whether {where} belongs to it (status {error.status_code})"
        if {answer.peer_id, *_peers(answer)}.isdisjoint({own.peer_id, *_peers(own)}):
            return f"{where} belongs to another server"
        return None


_CHOICES: Final[WeakKeyDictionary[Any, Choice]] = WeakKeyDictionary()


def choose_later(client: QdrantClient | AsyncQdrantClient) -> None:
    """Let a client's first write choose between gRPC and REST."""
    _CHOICES[client] = Choice(client)


def has_choice(client: QdrantClient | AsyncQdrantClient) -> bool:
    """Tell whether a client may use both protocols."""
    return client in _CHOICES


def choice_of(client: QdrantClient | AsyncQdrantClient) -> Choice:
    """Return the choice of a client that may use both protocols."""
    return _CHOICES[client]


def _peers(info: Any) -> list[int]:
    return [shard.peer_id for shard in info.remote_shards]


def _code(error: Any) -> grpc.StatusCode:
    code: grpc.StatusCode = error.code()
    return code


def _accepts(host: str, port: int) -> bool:
    """Tell whether a port accepts connections: this starts no thread, unlike a gRPC channel."""
    try:
        socket.create_connection((host, port), max(0.001, cut(_ANSWER_SECONDS) or 0)).close()
    except OSError:
        return False
    return True
