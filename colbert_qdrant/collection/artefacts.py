"""Stores the artifact of a fitted encoding with its collection: in a file, or in a companion collection."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, Protocol

from colbert_qdrant.collection.aliases import real_name
from colbert_qdrant.collection.companion import Companion, digest
from colbert_qdrant.errors import ArtefactError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from colbert_qdrant.engines import Engine
    from colbert_qdrant.engines.base import Files

FILE_NAME: Final = "fde.safetensors"
_NEXT_FILE_NAME: Final = "fde.next.safetensors"
_REMEMBERED_BYTES: Final = 64 * 2**20


class Keeper(Protocol):
    """Stores the artifact of one collection."""

    @property
    def place(self) -> str:
        """The place of the artifact, for a message."""

    async def prepare(self) -> None:
        """Make sure that an artifact can be stored."""

    async def read(self, *, any_owner: bool = False) -> bytes | None:
        """Read the artifact; ``None`` if the collection has no artifact."""

    async def holds(self, wanted: str) -> bool:
        """Tell whether the artifact with the given SHA-256 seems to be complete."""

    async def store(self, data: bytes) -> None:
        """Store an artifact next to the collection's current one."""

    async def claim(self, data: bytes, *, replace: bool) -> None:
        """Make the artifact that was just stored the collection's current one."""

    async def delete(self) -> None:
        """Delete the artifact."""


class _Remembered:
    """Caches recent artifacts, so that a collection can be opened while its companion cannot be read."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._artefacts: OrderedDict[str, bytes] = OrderedDict()

    def get(self, wanted: str) -> bytes | None:
        with self._lock:
            if wanted in self._artefacts:
                self._artefacts.move_to_end(wanted)
            return self._artefacts.get(wanted)

    def add(self, data: bytes) -> None:
        with self._lock:
            self._artefacts[digest(data)] = data
            while sum(map(len, self._artefacts.values())) > _REMEMBERED_BYTES:
                self._artefacts.popitem(last=False)

    def clear(self) -> None:
        with self._lock:
            self._artefacts.clear()


REMEMBERED: Final = _Remembered()


async def keeper_of(engine: Engine, collection: str, encoder: Mapping[str, Any]) -> Keeper:
    """Return the keeper of a collection's artifact; ``encoder`` is the fingerprint of its token encoder."""
    if engine.files is not None:
        return _FileKeeper(engine.files, collection)
    return Companion(engine, await real_name(engine, collection), encoder)


async def publish(
    engine: Engine,
    collection: str,
    data: bytes,
    *,
    encoder: Mapping[str, Any],
    replace: bool = False,
    before: Callable[[], Awaitable[None]] | None = None,
) -> bytes:
    """Store an artifact with its collection. If two writers compete, the first one wins.

    Servers before 1.17 cannot guarantee that: if two writers finish within milliseconds, the second one wins.

    Args:
        engine: The engine.
        collection: The collection's name.
        data: The artefact.
        encoder: The fingerprint of the collection's token encoder.
        replace: Whether to replace a stored artefact.
        before: Awaited after the artifact is stored, and before it becomes the collection's current one.

    Returns:
        The collection's current artefact: this one, or the one that another writer stored first.

    Raises:
        ArtefactError: If a stored artifact cannot be read, or the companion's name is taken.
    """
    keeper = await keeper_of(engine, collection, encoder)
    await keeper.prepare()
    stored = None if replace else await keeper.read()
    if stored is None:
        await keeper.store(data)
        if before is not None:
            await before()
        await keeper.claim(data, replace=replace)
        stored = await keeper.read()
    if stored is None:
        raise ArtefactError(
            f"the fitted encoding of collection {collection!r} is missing from {keeper.place} right after it was "
            "stored: call fit() again"
        )
    REMEMBERED.add(stored)
    return stored


async def fetch(
    engine: Engine, collection: str, *, encoder: Mapping[str, Any] | None = None, wanted: str | None = None
) -> bytes | None:
    """Read the artifact of a collection; ``None`` if it does not exist.

    Args:
        engine: The engine.
        collection: The collection's name.
        encoder: The fingerprint of the collection's token encoder: an artifact of another collection or encoder is
            ignored. ``None`` reads an artifact of any owner.
        wanted: The SHA-256 of the artifact, if known; the artifact may then come from the cache.

    Raises:
        ArtefactError: If the artifact is incomplete.
    """
    data = None if wanted is None else REMEMBERED.get(wanted)
    if data is None:
        keeper = await keeper_of(engine, collection, encoder or {})
        data = await keeper.read(any_owner=encoder is None)
        if data is not None and wanted is not None and digest(data) == wanted:
            REMEMBERED.add(data)
    return data


async def location(engine: Engine, collection: str) -> str:
    """Name the file or the collection that an artifact is stored in."""
    return (await keeper_of(engine, collection, {})).place


async def delete(engine: Engine, collection: str) -> None:
    """Delete the artifact of a deleted collection; the embedded engine deletes it with the collection."""
    if engine.files is None:
        await Companion(engine, collection, {}).delete()


async def require_free(engine: Engine, collection: str) -> None:
    """Delete the artifact of an earlier collection with the same name, before one is created.

    Raises:
        ArtefactError: If another program's collection has the companion's name.
    """
    if engine.files is None:
        await Companion(engine, collection, {}).require_free()


async def forget(engine: Engine, collection: str) -> None:
    """Delete the artifact of a collection, but not the collection."""
    await (await keeper_of(engine, collection, {})).delete()


class _FileKeeper:
    """Stores the artifact in a file in the collection's folder."""

    def __init__(self, files: Files, collection: str) -> None:
        self._files = files
        self._collection = collection

    @property
    def place(self) -> str:
        return f"the file {FILE_NAME} in its folder"

    async def prepare(self) -> None:
        """See `Keeper`; there is nothing to prepare for a file."""

    async def read(self, *, any_owner: bool = False) -> bytes | None:  # noqa: ARG002 - a file has one owner only
        return await self._files.read(self._collection, FILE_NAME)

    async def holds(self, wanted: str) -> bool:
        data = await self.read()
        return data is not None and digest(data) == wanted

    async def store(self, data: bytes) -> None:
        await self._files.write(self._collection, _NEXT_FILE_NAME, data)

    async def claim(self, data: bytes, *, replace: bool) -> None:
        if replace or await self.read() is None:
            await self._files.write(self._collection, FILE_NAME, data)
        await self._files.write(self._collection, _NEXT_FILE_NAME, None)

    async def delete(self) -> None:
        await self._files.write(self._collection, FILE_NAME, None)
