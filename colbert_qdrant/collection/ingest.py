"""Writes streams of documents, chunk by chunk, and fits the encoding when it is time."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Sized
from contextlib import aclosing
from itertools import islice
from typing import TYPE_CHECKING, Final

from colbert_qdrant._support import telemetry
from colbert_qdrant._support.progress import Silence, reporting
from colbert_qdrant.collection.fitting import Fitter
from colbert_qdrant.collection.writer import DocumentWriter
from colbert_qdrant.documents import IngestReport, RejectedDocument
from colbert_qdrant.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.documents import Document

_CHUNK_DOCUMENTS: Final = 256
"""Documents encoded together: enough to sort by length, few enough to hold."""


async def upsert(collection: OpenCollection, documents: Sequence[Document]) -> None:
    """Store documents that were read already; see `ColbertCollection.upsert`."""
    fitter = Fitter(collection)
    with telemetry.operation("upsert", documents=len(documents)):
        written = await DocumentWriter(collection).write(documents, Silence())
        if await fitter.is_due(last=False):
            await fitter.fit(progress=False)
    written.require_all(collection=collection.name)


async def ingest(
    collection: OpenCollection,
    documents: Iterable[Document] | AsyncIterable[Document],
    *,
    progress: bool | ProgressReporter,
) -> IngestReport:
    """Stream documents into a collection in bounded memory, and fit its encoding when it is time to.

    Raises:
        ConfigurationError: The documents have to be awaited, and there is no event loop.
        InvalidDocumentError: A document cannot be stored. It and the others read with it are not written, the
            ones before are.
    """
    if isinstance(documents, AsyncIterable) and not collection.engine.runtime.has_event_loop:
        raise ConfigurationError("the documents come asynchronously: use AsyncColbertCollection, or a list of them")
    writer, fitter = DocumentWriter(collection), Fitter(collection)
    started = time.perf_counter()
    count = tokens = truncated = 0
    rejected: tuple[RejectedDocument, ...] = ()
    total = len(documents) if isinstance(documents, Sized) else None
    chunk: list[Document] | None = None
    with telemetry.operation("ingest"):
        async with aclosing(_chunks(documents)) as stream:
            while chunk != []:
                with reporting(progress, label="ingest", total=None if total is None else total - count) as report:
                    while chunk := await anext(stream, []):
                        written = await writer.write(chunk, report)
                        count += written.documents
                        tokens += written.tokens
                        truncated += written.truncated
                        rejected += written.rejected
                        if await fitter.is_due(last=False):
                            break
                if await fitter.is_due(last=not chunk):
                    await fitter.fit(progress=progress)
    seconds = time.perf_counter() - started
    return IngestReport(documents=count, tokens=tokens, truncated=truncated, rejected=rejected, seconds=seconds)


async def _chunks(documents: Iterable[Document] | AsyncIterable[Document]) -> AsyncGenerator[list[Document], None]:
    if isinstance(documents, AsyncIterable):
        chunk = []
        async for document in documents:
            chunk.append(document)
            if len(chunk) == _CHUNK_DOCUMENTS:
                yield chunk
                chunk = []
        if chunk:
            yield chunk
    else:
        stream = iter(documents)
        while chunk := list(islice(stream, _CHUNK_DOCUMENTS)):
            yield chunk
