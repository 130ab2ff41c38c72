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
"""One for each client, however many collections it has: local mode is not made for several threads."""


class LocalEngine(ClientEngine):
    """A ``QdrantClient(":memory:")`` or ``QdrantClient(path=…)``, which serves one thread at a time."""

    NAME = "local"
    BLOCKING: ClassVar = (QdrantClient,)
    AWAITED: ClassVar = (AsyncQdrantClient,)

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
        deadline: float,  # noqa: ARG002 - nothing here waits for others
    ) -> Callable[[], Awaitable[Result]]:
        """Send while no other thread does; see `ClientEngine.bounded`."""
        lock, name = _LOCKS.setdefault(self.client, threading.RLock()), type(self.client).__name__

        async def alone() -> Result:
            with lock:  # local mode awaits nothing, so that no event loop waits for this
                try:
                    return await send()
                except RuntimeError as error:
                    if "is closed" not in str(error):
                        raise
                    raise ClosedError(f"the {name} is closed: make a new one, and open the collection") from error
                except KeyError as error:  # of a write to points
                    raise EngineError(
                        f"the {name} has no point {error}: somebody else deleted it meanwhile; write it anew, or leave "
                        "it out"
                    ) from error
                except sqlite3.ProgrammingError as error:
                    raise EngineError(
                        f"the files of the {name} refuse this thread ({error}): make the client with "
                        "force_disable_check_same_thread=True, which is safe where only colbert-qdrant uses it"
                    ) from error
                except sqlite3.Error as error:
                    raise EngineError(
                        f"the files of the {name} cannot be read or written ({error}): look at its folder"
                    ) from error

        return alone
