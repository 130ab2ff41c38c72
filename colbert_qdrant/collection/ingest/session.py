"""Resumes an ingest, stops it at Ctrl-C, and deletes the documents that have left its source."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self

from colbert_qdrant.collection.ingest.conflicts import Conflicts
from colbert_qdrant.collection.ingest.departed import Seen
from colbert_qdrant.collection.ingest.interrupts import Interrupts, say
from colbert_qdrant.collection.ingest.resumption import Resumption
from colbert_qdrant.documents import MOST_REJECTED, Document
from colbert_qdrant.errors import ColbertQdrantError
from colbert_qdrant.shown import counted

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine
    from types import TracebackType

    from colbert_qdrant.collection.ingest.options import CheckedIngest
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.collection.writer import Written
    from colbert_qdrant.documents import IngestReport
    from colbert_qdrant.sources import RejectFile

_GRACE: Final = 5.0
"""The seconds in which a cancelled task may finish the documents on their way."""


class Session:
    """One call of `ingest`, from its first document to its report.

    Args:
        collection: The open collection.
        options: The options of the call.
        source: A description of the source.
        rejects: The file of rejected rows.

    Attributes:
        conflicts: The treatment of documents whose ids are stored; ``None`` to replace them.

    Raises:
        JournalError: If the journal cannot be used.
    """

    def __init__(
        self, collection: OpenCollection, options: CheckedIngest, source: str, rejects: RejectFile | None
    ) -> None:
        self._rejects = rejects
        self._collection = collection
        self._source = source
        self._stored = 0
        self._deleted = 0
        self._interrupts = Interrupts()
        self._seen = Seen(collection) if options.sync else None
        self._resumption = None if options.resume is None else Resumption(collection, options.resume, rejects)
        self.conflicts = (
            None if options.on_conflict == "replace" else Conflicts(collection, options.on_conflict, self._resumption)
        )

    async def __aenter__(self) -> Self:
        try:
            if self._resumption is not None:
                await self._resumption.start(self._source)
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, Exception):
                with contextlib.suppress(ColbertQdrantError):  # the error that ended the ingest is the one to raise
                    await self._checkpoint()
        finally:
            self._close()

    @property
    def skipped(self) -> int:
        """The number of items of the source that earlier calls finished."""
        return 0 if self._resumption is None else self._resumption.skipped

    def stopping(self) -> bool:
        """Tell whether the user asked to stop."""
        return self._interrupts.requested

    async def rest(self, chunks: AsyncGenerator[list[Document], None]) -> AsyncGenerator[list[Document], None]:
        """Yield the documents of the source that earlier calls did not finish."""
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                if self.stopping():
                    return
                if self._seen is not None:
                    for item in chunk:  # the documents of a bad row are unknown, for example its passages
                        self._seen.add(item.id if isinstance(item, Document) else None)
                rest = chunk if self._resumption is None else list(self._resumption.take(chunk))
                if rest:
                    yield rest
                else:
                    await self._collection.engine.runtime.sleep(0)  # an event loop has other tasks
        if self._resumption is not None and not self.stopping():
            self._resumption.require_all()

    async def gracefully(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a pipeline; if it is interrupted, finish and record the documents on their way first.

        A cancelled task finishes them only if it has a journal, and in a few seconds.

        Raises:
            KeyboardInterrupt: If the user pressed Ctrl-C.
            CancelledError: If the task was cancelled.
        """
        with self._interrupts:
            try:
                await run()
            except asyncio.CancelledError:
                if self._resumption is not None:
                    self._interrupts.requested = True
                    await self._collection.engine.runtime.whole(self._finish(run))
                raise
        await self._checkpoint()
        if self.stopping():
            self._interrupt()

    async def acknowledged(self, written: Written) -> None:
        """Record the outcome of the next chunk."""
        self._stored += len(written.points)
        if self._resumption is not None:
            await self._resumption.acknowledged(written)
        elif self._rejects is not None:
            self._rejects.add(written.items)

    async def _finish(self, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with contextlib.suppress(Exception):  # the caller gets the cancellation
            async with asyncio.timeout(_GRACE):
                await run()
        with contextlib.suppress(Exception):
            await self._checkpoint()

    async def _checkpoint(self) -> None:
        if self._resumption is not None:
            await self._resumption.checkpoint()

    async def delete_departed(self) -> None:
        """Delete the documents that have left the source, after all of it was ingested.

        Raises:
            ConfigurationError: If the source to synchronize with has no documents.
        """
        if self._seen is not None:
            self._deleted = await self._seen.delete_others()

    def complete(self, report: IngestReport) -> IngestReport:
        """Add the deletions of this call, and the counts of earlier calls, to a report."""
        if self._resumption is None:
            return replace(report, deleted=self._deleted)
        earlier, rejections = self._resumption.rejected, self._resumption.rejections
        return replace(
            report,
            deleted=self._deleted,
            resumed=self._resumption.resumed,
            rejected=(*earlier, *report.rejected)[:MOST_REJECTED],
            rejections=rejections + report.rejections,
        )

    def _interrupt(self) -> NoReturn:
        stored = f"Interrupted: this call stored {counted(self._stored, 'document')}."
        if self._resumption is not None:
            how = "Run the same call again to continue."
        else:
            how = (
                "Ingest again with on_conflict='skip' to encode only the rest. A call with resume='FILE' can be "
                "interrupted and continued."
            )
        say(f"{stored} {how}")
        raise KeyboardInterrupt(f"{stored} {how}")

    def _close(self) -> None:
        if self._resumption is not None:
            self._resumption.close()
