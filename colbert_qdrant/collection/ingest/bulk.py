"""Defers the building of graphs while many documents are written, and starts it afterwards."""

from __future__ import annotations

from contextlib import asynccontextmanager
from math import inf
from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

from colbert_qdrant.collection.aliases import real_name
from colbert_qdrant.collection.metadata import read_metadata, write_metadata
from colbert_qdrant.collection.waiting import build_graphs, wait_until_ready
from colbert_qdrant.errors import AuthenticationError, CapabilityError, ColbertQdrantError, RequestRefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from colbert_qdrant.collection.ingest.options import CheckedIngest
    from colbert_qdrant.collection.opened import OpenCollection

KEY: Final = "colbert_qdrant_bulk"
"""The entry in a collection's metadata while its indexing is deferred. It has the threshold to restore, so that any
process can restore it after a crash. It is written before the threshold is changed, and deleted after it is restored.
"""

_THRESHOLD: Final = "indexing_threshold"
_NEVER: Final = 0
"""A threshold of 0 disables indexing."""

_USUAL: Final = 20_000
"""The threshold of servers that report none."""

_FORBIDDEN: Final = (AuthenticationError, CapabilityError, RequestRefusedError)


@asynccontextmanager
async def deferred_indexing(
    collection: OpenCollection, options: CheckedIngest, stopping: Callable[[], bool]
) -> AsyncGenerator[None, None]:
    """Defer the building of graphs, if the option ``bulk`` is set; at the end, build them and wait.

    The threshold is restored in any case. Nothing is awaited after an error, or if ``stopping`` returns true.
    """
    if not options.bulk:
        yield
        return
    engine = collection.engine
    kind = (await engine.capabilities()).engine
    deferral = Deferral(collection)
    try:
        if kind == "server":
            await deferral.begin()
        yield
    except BaseException as error:
        await engine.runtime.whole(deferral.end_after(error))
        raise
    await engine.runtime.whole(deferral.end())
    if stopping():
        return
    if kind == "edge":
        await build_graphs(engine, collection.name, progress=options.progress)
    elif kind == "server":
        await wait_until_ready(
            engine, collection.name, collection.config, timeout=inf, progress=options.progress, wakes=True
        )


class Deferral:
    """Changes the indexing threshold of a server's collection, and restores it.

    Args:
        collection: The open collection.
    """

    def __init__(self, collection: OpenCollection) -> None:
        self._collection = collection
        self._engine = collection.engine
        self._name = collection.name
        self._threshold: int | None = None

    async def begin(self) -> None:
        """Defer indexing, unless it is disabled; if the client's key may not do this, warn."""
        engine, warned = self._engine, self._collection.warned
        info = await engine.get_collection(self._name)
        self._name = await real_name(engine, self._name)  # which an alias may leave in the meantime
        threshold = deferred_threshold(await read_metadata(engine, self._name, info))
        known = threshold is not None  # another ingest is running, or was killed
        if threshold is None:
            threshold = info.config.optimizer_config.indexing_threshold
            threshold = _USUAL if threshold is None else threshold
        if threshold == _NEVER:
            return
        try:
            self._threshold = threshold
            if not known:
                await write_metadata(engine, self._name, {KEY: {_THRESHOLD: threshold}})
            await self._set(_NEVER)
        except _FORBIDDEN as error:
            if not known:
                await self._forget(error)
            self._threshold = None
            warned.once(
                "bulk",
                f"collection {self._collection.name!r}: indexing is not deferred, because the server refused it "
                f"({error}). Documents are written, but more slowly: use a key that may manage the collection. This "
                "warning appears once.",
            )

    async def end(self) -> None:
        """Restore the threshold.

        Raises:
            ColbertQdrantError: If that failed. The documents are stored, and `repair` restores the threshold.
        """
        if self._threshold is None:
            return
        try:
            await self._set(self._threshold)
            await write_metadata(self._engine, self._name, {KEY: None})
        except ColbertQdrantError as error:
            error.add_note(
                f"All documents are stored, but the indexing of collection {self._name!r} is still deferred: call "
                "repair()."
            )
            raise
        self._threshold = None

    async def undo(self) -> None:
        """Restore the threshold that another process has changed."""
        self._name = await real_name(self._engine, self._name)
        self._threshold = deferred_threshold(await read_metadata(self._engine, self._name))
        await self.end()

    async def end_after(self, error: BaseException) -> None:
        """Restore the threshold after an error; if that fails, add a note to the error."""
        try:
            await self.end()
        except ColbertQdrantError as another:
            error.add_note(
                f"The indexing of collection {self._name!r} is still deferred, because of {type(another).__name__}: "
                f"{another}. Call repair()."
            )

    async def _set(self, threshold: int) -> None:
        await set_threshold(self._collection, self._name, threshold)

    async def _forget(self, error: BaseException) -> None:
        """Delete the entry, which another key may have permitted; a failure adds a note to the error."""
        try:
            await write_metadata(self._engine, self._name, {KEY: None})
        except _FORBIDDEN as another:
            error.add_note(str(another))


def deferred_threshold(metadata: dict[str, Any]) -> int | None:
    """Return the threshold to restore; ``None`` if indexing is not deferred."""
    entry = metadata.get(KEY)
    threshold = entry.get(_THRESHOLD) if isinstance(entry, dict) else None
    return threshold if isinstance(threshold, int) and threshold > 0 else None


async def set_threshold(collection: OpenCollection, name: str, threshold: int) -> None:
    """Change the indexing threshold of a collection."""
    change = models.OptimizersConfigDiff(indexing_threshold=threshold)
    await collection.engine.update_collection(name, optimizers_config=change)
