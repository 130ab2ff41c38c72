"""Skips the documents that earlier calls of an ingest stored, and records the progress of this call in the journal."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from colbert_qdrant.collection.ingest.content import ContentDigest
from colbert_qdrant.collection.ingest.journal import Journal
from colbert_qdrant.collection.ingest.lookup import find_stored
from colbert_qdrant.collection.metadata import ID_KEY, read_metadata
from colbert_qdrant.documents import RejectedDocument
from colbert_qdrant.errors import JournalError
from colbert_qdrant.points.ids import id_from_json, id_to_json
from colbert_qdrant.shown import counted, shown

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.collection.writer import Written
    from colbert_qdrant.sources import RejectFile

_SHARE: Final = 0.02
"""The maximum share of the time that checkpoints take."""

_AGAIN: Final = "delete the journal, and ingest again with on_conflict='skip', which encodes only changed documents"

Item = TypeVar("Item")


@dataclass(frozen=True, kw_only=True)
class _Read:
    """The source up to the end of a chunk that was read, and how many items of it an earlier call began to write."""

    items: int
    digest: str
    begun: int


class Resumption:
    """The progress of one ingest, which a journal keeps.

    Chunks are read ahead of those that are acknowledged, and both in the order of the source.

    Args:
        collection: The open collection.
        path: The journal.
        rejects: The file of rejected rows.

    Raises:
        JournalError: If the journal cannot be used.
    """

    def __init__(
        self, collection: OpenCollection, path: str | os.PathLike[str], rejects: RejectFile | None = None
    ) -> None:
        self._collection = collection
        self._journal = Journal(path)
        self._digest = ContentDigest()
        self._ahead = deque[_Read]()
        self._before = self._journal.last
        self._now = self._journal.last
        self._begun = self._journal.begun
        self._rejects = rejects
        self._rejected: list[RejectedDocument] = []
        self._items: list[tuple[object, str]] = []
        self._lasted, self._ended = 0.0, time.monotonic()

    @property
    def resumed(self) -> int:
        """The number of documents that earlier calls stored."""
        return self._before.documents

    @property
    def skipped(self) -> int:
        """The number of items of the source that earlier calls finished."""
        return self._before.items

    @property
    def rejected(self) -> tuple[RejectedDocument, ...]:
        """The first documents that earlier calls rejected."""
        return tuple(RejectedDocument(id=_id_of(id), reason=reason) for id, reason in self._journal.rejected)

    @property
    def rejections(self) -> int:
        """The number of documents that earlier calls rejected."""
        return self._journal.rejections

    async def start(self, source: str) -> None:
        """Check that the journal belongs to the collection, and that it can be written.

        Args:
            source: A description of the source, for readers of the journal.

        Raises:
            JournalError: If the journal belongs to another collection or encoder, or cannot be written.
        """
        collection, journal = self._collection, self._journal
        metadata = await read_metadata(collection.engine, collection.name)
        about = {
            "collection": collection.name,
            "collection_id": metadata.get(ID_KEY),
            "encoder": _digest_of(collection.tokens_of),
            "id_scheme": collection.config.id_scheme,
        }
        if journal.header is not None:
            self._compare(about, journal.header)
            await self._require_sample()
        journal.start({**about, "source": source})

    def take(self, chunk: Sequence[Item]) -> Sequence[Item]:
        """Return the items of the next chunk of the source that earlier calls did not finish.

        Raises:
            JournalError: If the source has changed since.
        """
        skipped = min(len(chunk), max(0, self._before.items - self._digest.items))
        for item in chunk[:skipped]:
            self._digest.add(item)
        if skipped and self._digest.items == self._before.items and str(self._digest) != self._before.digest:
            raise JournalError(
                f"the first {counted(self._before.items, 'item')} of the source differ from those that journal "
                f"{self._journal.path} records, so it cannot tell what is stored: {_AGAIN}"
            )
        rest = chunk[skipped:]
        begun = min(len(rest), max(0, self._begun - self._digest.items))
        for item in rest:
            self._digest.add(item)
        if rest:
            self._ahead.append(_Read(items=self._digest.items, digest=str(self._digest), begun=begun))
        return rest

    @property
    def latest(self) -> tuple[int, int]:
        """The number of items up to the end of the last chunk, and how many of it an earlier call began to write."""
        return self._ahead[-1].items, self._ahead[-1].begun

    def begin(self, items: int) -> None:
        """Announce that the chunk that ends after a number of items will be written next."""
        self._journal.begin(items)

    def require_all(self) -> None:
        """Check at the end of the source that it has all items that the journal records.

        Raises:
            JournalError: If it has fewer.
        """
        if self._digest.items < self._before.items:
            raise JournalError(
                f"the source has {counted(self._digest.items, 'item')}, but journal {self._journal.path} records "
                f"{self._before.items:,}, so it has changed since: {_AGAIN}"
            )

    async def acknowledged(self, written: Written) -> None:
        """Count the next chunk as written, and make a checkpoint if one is due."""
        read = self._ahead.popleft()
        self._now = replace(
            self._now,
            items=read.items,
            digest=read.digest,
            documents=self._now.documents + len(written.points),
            sample=written.sample or self._now.sample,
        )
        self._rejected += [*written.rejected, *written.refused]
        self._items += written.items
        if self._lasted <= _SHARE * (time.monotonic() - self._ended):
            await self.checkpoint()

    async def checkpoint(self) -> None:
        """Record all acknowledged chunks, after their data is durable.

        Raises:
            JournalError: If the journal cannot be written.
        """
        if self._now == self._journal.last:
            return
        started = time.monotonic()
        await self._collection.engine.flush(self._collection.name)
        if self._rejects is not None:  # here, so that a row is hardly ever in the file twice after a crash
            self._rejects.add(self._items)
        self._journal.checkpoint(self._now, [_as_json(each) for each in self._rejected])
        self._rejected, self._items = [], []
        self._ended = time.monotonic()
        self._lasted = self._ended - started

    def close(self) -> None:
        """Close the journal."""
        self._journal.close()

    def _compare(self, about: dict[str, Any], header: Any) -> None:
        path, name = self._journal.path, about["collection"]
        if about["collection_id"] != header["collection_id"] or (
            about["collection_id"] is None and name != header["collection"]
        ):
            raise JournalError(
                f"journal {path} belongs to another collection {header['collection']!r}, or to one that was deleted "
                f"and created again, so collection {name!r} may lack its documents: {_AGAIN}"
            )
        if (about["encoder"], about["id_scheme"]) != (header["encoder"], header["id_scheme"]):
            raise JournalError(f"journal {path} belongs to collection {name!r} when it had another encoder: {_AGAIN}")

    async def _require_sample(self) -> None:
        """Check that the documents that were written last are stored: a backup may have been restored."""
        sample = self._before.sample
        if sample and not await find_stored(self._collection, sample):
            raise JournalError(
                f"collection {self._collection.name!r} lacks the documents that journal {self._journal.path} records "
                f"as stored last; they were deleted, or a backup was restored: {_AGAIN}"
            )


def _digest_of(fingerprint: Any) -> str:
    """Return a digest of an encoder, as far as it affects documents."""
    relevant = {key: value for key, value in fingerprint.items() if key not in {"name", "query"}}
    return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()


def _as_json(rejected: RejectedDocument) -> tuple[Any, str]:
    id: Any = rejected.id
    with contextlib.suppress(TypeError, ValueError, RecursionError):
        json.dumps(id_to_json(id))
        return id_to_json(id), rejected.reason
    return shown(id), rejected.reason


def _id_of(value: Any) -> Any:
    """Return the id that `_as_json` recorded."""
    try:
        return id_from_json(value)
    except (LookupError, TypeError, ValueError):  # an id that cannot be stored may be any value
        return value
