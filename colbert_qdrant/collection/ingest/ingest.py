"""Writes streams of documents, chunk by chunk, and fits the encoding when a fit is due."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from colbert_qdrant._support import telemetry
from colbert_qdrant._support.progress import Silence, reporting
from colbert_qdrant.collection.fitting import Fitter
from colbert_qdrant.collection.ingest.bulk import deferred_indexing
from colbert_qdrant.collection.ingest.chunks import chunks
from colbert_qdrant.collection.ingest.passages import PassageStream
from colbert_qdrant.collection.ingest.pipeline import LANES, Hooks, Pipeline
from colbert_qdrant.collection.ingest.reading import open_source, require_same_tokens
from colbert_qdrant.collection.ingest.session import Session
from colbert_qdrant.collection.reweighing import Reweigher
from colbert_qdrant.collection.rows import Rejections, require_documents, require_on_error
from colbert_qdrant.collection.writer import DocumentWriter, Written
from colbert_qdrant.documents import MOST_REJECTED, IngestReport
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import has

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from colbert_qdrant.collection.ingest.options import CheckedIngest
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.collection.rows import OnError
    from colbert_qdrant.documents import Document, RejectedDocument
    from colbert_qdrant.sources import DocumentSource


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
        await Reweigher(collection).keep(written=len(written.points))
        if await fitter.is_due(last=False):
            await fitter.fit(progress=False)
    if on_error == "raise":
        written.require_all(collection=collection.name)
    tally.add(written)
    return tally.report()


async def ingest(
    collection: OpenCollection,
    source: DocumentSource,
    options: CheckedIngest,
    hooks: Hooks = Hooks(),  # noqa: B008 - frozen
) -> IngestReport:
    """Stream documents into a collection in bounded memory, and fit its encoding when a fit is due.

    Args:
        collection: The open collection.
        source: The source.
        options: The checked options.
        hooks: The seams of the pipeline.

    Raises:
        ConfigurationError: If the source cannot be read, or is asynchronous without an event loop. Also if there are
            queries, and the encoding does not learn from them.
        InvalidDocumentError: If a document cannot be stored. Its chunk is not written; earlier chunks are. Of a list,
            nothing is written.
    """
    fitter = Fitter(collection, queries=options.queries)
    await fitter.check_queries()
    found, rejects, on_error = open_source(source, options)
    documents: Iterable[Any] | AsyncIterable[Any] = found.items
    total, progress, runtime = found.total, options.progress, collection.engine.runtime
    if isinstance(documents, AsyncIterable) and not runtime.has_event_loop:
        raise ConfigurationError("source is asynchronous: use AsyncColbertCollection, or pass a list")
    await require_same_tokens(collection, found.exports)
    session = Session(collection, options, type(source).__name__, rejects)
    writer = DocumentWriter(collection, on_error, session.conflicts)
    tally = Tally()
    passages = None if options.chunker is None else PassageStream(collection, options.chunker)
    listed: list[Document] | None = None
    if found.listed and not isinstance(documents, AsyncIterable) and on_error == "raise":
        listed = list(documents)
        documents = iter(listed)
    documents, total = (passages.of(documents), None) if passages else (documents, total)

    def stopping() -> bool:
        return session.stopping() or hooks.stopping()

    async def is_due(*, last: bool = False) -> bool:
        await Reweigher(collection, stopping).keep(last=last, progress=last and progress)
        return options.fit and await fitter.is_due(last=last)

    async def acknowledged(chunk: Sequence[Document], written: Written) -> None:
        tally.add(written)
        await session.acknowledged(written)
        await hooks.acknowledged(chunk, written)

    with telemetry.operation("ingest"):
        async with (
            session,
            deferred_indexing(collection, options, stopping),
            aclosing(session.rest(chunks(documents, stopping))) as stream,
            runtime.lanes(*LANES) as lanes,
        ):
            if listed is not None:
                await runtime.compute(_check_all, listed, writer, passages)
            pipeline = Pipeline(
                stream, writer, lanes=lanes, is_due=is_due, hooks=Hooks(acknowledged=acknowledged, stopping=stopping)
            )
            ended = False
            while not ended:
                left = None if total is None else total - session.skipped - tally.read
                with reporting(progress, label="ingest", total=left) as report:
                    await session.gracefully(lambda: pipeline.run(report))
                ended = pipeline.ended
                if ended and not stopping():
                    await session.delete_departed()
                if not stopping() and await is_due(last=ended):
                    await fitter.fit(progress=progress)
            fitter.warn_of_unused_queries()
            return session.complete(tally.report())


class Tally:
    """Counts the documents of a stream, without those that a later one replaced, in a few bytes per document.

    Attributes:
        read: The number of documents that were read.
    """

    def __init__(self) -> None:
        self.read = 0
        self._started = time.perf_counter()
        self._written: list[Written] = []
        self._rejected: list[RejectedDocument] = []
        self._rejections = 0

    def add(self, written: Written) -> None:
        """Count documents that were written after all documents counted before."""
        rejected = (*written.rejected, *written.refused)
        self.read += written.documents
        self._rejections += len(rejected)
        self._rejected += rejected[: MOST_REJECTED - len(self._rejected)]
        self._written.append(replace(written, rejected=(), refused=(), items=()))

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
            rejected=tuple(self._rejected),
            rejections=self._rejections,
            seconds=seconds,
        )


def _check_all(documents: Iterable[Document], writer: DocumentWriter, passages: PassageStream | None) -> None:
    """Check every document before any is encoded, since encoding may take hours."""
    rejections = Rejections("raise")

    def check(document: Document) -> None:
        writer.check(passages.first(document) if passages else document)

    for document in documents:
        rejections.keep_good([document], check)
