"""Writes streams of documents, chunk by chunk, and fits the encoding when a fit is due."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Sized
from contextlib import aclosing
from typing import TYPE_CHECKING

import numpy as np

from colbert_qdrant._support import telemetry
from colbert_qdrant._support.progress import Silence, reporting
from colbert_qdrant.collection.fitting import Fitter
from colbert_qdrant.collection.ingest.bulk import deferred_indexing
from colbert_qdrant.collection.ingest.chunks import chunks
from colbert_qdrant.collection.ingest.passages import PassageStream
from colbert_qdrant.collection.ingest.pipeline import LANES, Hooks, Pipeline
from colbert_qdrant.collection.ingest.session import Session
from colbert_qdrant.collection.rows import Rejections, require_documents, require_on_error
from colbert_qdrant.collection.writer import DocumentWriter, Written
from colbert_qdrant.documents import IngestReport
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import has

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from colbert_qdrant.collection.ingest.options import CheckedIngest
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.collection.rows import OnError
    from colbert_qdrant.documents import Document


async def upsert(collection: OpenCollection, documents: Iterable[Document], *, on_error: OnError) -> IngestReport:
    """Read all documents, then store them; see `ColbertCollection.upsert`."""
    require_documents(documents)
    if has(documents, "__aiter__") and not has(documents, "__iter__"):
        raise ConfigurationError(
            "documents is asynchronous, and upsert takes a list: use AsyncColbertCollection.ingest"
        )
    require_on_error(on_error)
    fitter, writer, tally = Fitter(collection), DocumentWriter(collection, on_error), Tally()
    read = list(documents)
    with telemetry.operation("upsert", documents=len(read)):
        written = await writer.write(read, Silence())
        if await fitter.is_due(last=False):
            await fitter.fit(progress=False)
    if on_error == "raise":
        written.require_all(collection=collection.name)
    tally.add(written)
    return tally.report()


async def ingest(
    collection: OpenCollection,
    documents: Iterable[Document] | AsyncIterable[Document],
    options: CheckedIngest,
    hooks: Hooks = Hooks(),  # noqa: B008 - frozen
) -> IngestReport:
    """Stream documents into a collection in bounded memory, and fit its encoding when a fit is due.

    Args:
        collection: The open collection.
        documents: The source.
        options: The checked options.
        hooks: The seams of the pipeline.

    Raises:
        ConfigurationError: If ``documents`` is not an iterable of documents, or is asynchronous without an event loop.
        InvalidDocumentError: If a document cannot be stored. Its chunk is not written; earlier chunks are. Of a list,
            nothing is written.
    """
    require_documents(documents)
    on_error, progress = options.on_error, options.progress
    runtime = collection.engine.runtime
    if isinstance(documents, AsyncIterable) and not runtime.has_event_loop:
        raise ConfigurationError("documents is asynchronous: use AsyncColbertCollection, or pass a list")
    session = Session(collection, options, type(documents).__name__)
    writer, fitter, tally = DocumentWriter(collection, on_error, session.conflicts), Fitter(collection), Tally()
    rejections = Rejections(on_error)
    passages = options.chunker and PassageStream(collection, options.chunker, rejections)
    given = documents
    documents = passages.of(documents) if passages else documents
    total = len(documents) if isinstance(documents, Sized) else None

    async def is_due(*, last: bool = False) -> bool:
        return options.fit and await fitter.is_due(last=last)

    async def acknowledged(chunk: Sequence[Document], written: Written) -> None:
        tally.add(written)
        await session.acknowledged(written)
        await hooks.acknowledged(chunk, written)

    def stopping() -> bool:
        return session.stopping() or hooks.stopping()

    with telemetry.operation("ingest"):
        async with (
            session,
            deferred_indexing(collection, options, stopping),
            aclosing(session.rest(chunks(documents))) as source,
            runtime.lanes(*LANES) as lanes,
        ):
            if isinstance(given, list | tuple) and on_error == "raise":
                await runtime.compute(_check_all, map(passages.first, given) if passages else given, writer)
            pipeline = Pipeline(
                source, writer, lanes=lanes, is_due=is_due, hooks=Hooks(acknowledged=acknowledged, stopping=stopping)
            )
            ended = False
            while not ended:
                left = None if total is None else total - session.skipped - tally.read
                with reporting(progress, label="ingest", total=left) as report:
                    await session.gracefully(lambda: pipeline.run(report))
                ended = pipeline.ended
                if ended and not stopping():
                    await session.delete_departed(rejected=rejections.found)
                if not stopping() and await is_due(last=ended):
                    await fitter.fit(progress=progress)
            tally.add(Written(rejected=tuple(rejections.found)))
            return session.complete(tally.report())


class Tally:
    """Counts the documents of a stream, without those that a later one replaced, in a few bytes per document."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._written: list[Written] = []

    def add(self, written: Written) -> None:
        """Count documents that were written after all documents counted before."""
        self._written.append(written)

    @property
    def read(self) -> int:
        """The number of documents that were read."""
        return sum(each.documents for each in self._written)

    def report(self) -> IngestReport:
        """Return the report."""
        seconds, written = time.perf_counter() - self._started, [Written(), *self._written]
        points = np.concatenate([each.points for each in written])
        _, last = np.unique(points[::-1], return_index=True)
        stays = len(points) - 1 - last
        return IngestReport(
            documents=len(stays),
            tokens=int(np.concatenate([each.tokens for each in written])[stays].sum()),
            truncated=int(np.concatenate([each.truncated for each in written])[stays].sum()),
            replaced=len(points) - len(stays) + sum(each.replaced for each in written),
            unchanged=sum(each.unchanged for each in written),
            rejected=tuple(one for each in written for one in (*each.rejected, *each.refused)),
            seconds=seconds,
        )


def _check_all(documents: Iterable[Document], writer: DocumentWriter) -> None:
    """Check every document before any is encoded, since encoding may take hours."""
    for document in documents:
        writer.check(document)
