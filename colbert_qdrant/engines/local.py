"""Runs requests on the local mode of ``qdrant_client``, in memory or in files."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar
from weakref import WeakKeyDictionary

from qdrant_client import AsyncQdrantClient, QdrantClient

from colbert_qdrant.capabilities import Capabilities
from colbert_qdrant.engines.client import ClientEngine
from colbert_qdrant.errors import ClosedError, EngineError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Result = TypeVar("Result")

LOCAL: Final = Capabilities(
    engine="local",
    lacks=frozenset(
        {"bm25_inference", "sharding", "shard_keys", "strict_mode", "search_params", "acorn", "payload_indexes"}
    ),
)
"""The capabilities of local mode."""

_LOCKS: Final[WeakKeyDictionary[Any, threading.RLock]] = WeakKeyDictionary()
"""A lock per client, for all its collections: local mode is not thread-safe."""


class LocalEngine(ClientEngine):
    """The engine of a ``QdrantClient(":memory:")`` or ``QdrantClient(path=…)``, which serves one thread at a time."""

    NAME = "local"
    BLOCKING: ClassVar = (QdrantClient,)
    AWAITED: ClassVar = (AsyncQdrantClient,)
    THREADS: ClassVar = False  # SQLite's connections belong to the thread that opened them

    @classmethod
    def accepts(cls, client: object) -> bool:
        if not isinstance(client, QdrantClient | AsyncQdrantClient):
            return False
        return client.init_options.get("location") == ":memory:" or client.init_options.get("path") is not None

    async def capabilities(self) -> Capabilities:
        return LOCAL

    def bounded(
        self,
        send: Callable[[], Awaitable[Result]],
        deadline: float,  # noqa: ARG002 - local mode sends nothing
    ) -> Callable[[], Awaitable[Result]]:
        """Send while no other thread sends; see `ClientEngine.bounded`."""
        lock, name = _LOCKS.setdefault(self.client, threading.RLock()), type(self.client).__name__

        async def alone() -> Result:
            with lock:  # local mode never awaits while it holds the lock, so event loops cannot deadlock
                try:
                    return await send()
                except RuntimeError as error:
                    if "is closed" not in str(error):
                        raise
                    raise ClosedError(f"the {name} is closed: make a new one, and reopen the collection") from error
                except KeyError as error:  # of a write to points
                    raise EngineError(
                        f"the {name} has no point {error}, because another client deleted it: write it again, or leave "
                        "it out"
                    ) from error
                except sqlite3.ProgrammingError as error:
                    raise EngineError(
                        f"the files of the {name} cannot be used in this thread ({error}): make the client with "
                        "force_disable_check_same_thread=True, which is safe if only colbert-qdrant uses it"
                    ) from error
                except sqlite3.Error as error:
                    raise EngineError(
                        f"the files of the {name} cannot be read or written ({error}): check its folder"
                    ) from error

        return alone
