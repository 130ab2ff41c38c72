"""The asynchronous methods that read stored documents."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from os import PathLike

from qdrant_client import models

from colbert_qdrant._support.progress import ProgressReporter
from colbert_qdrant.collection import documents as stored_documents
from colbert_qdrant.collection import exporting, iterating
from colbert_qdrant.collection.exporting import ExportReport
from colbert_qdrant.collection.searches.aio import AsyncSearches
from colbert_qdrant.documents import Document, DocumentId
from colbert_qdrant.search.filters import Where


class AsyncContents(AsyncSearches):
    """An open collection with the methods that read stored documents."""

    async def get(self, ids: DocumentId | Iterable[DocumentId]) -> list[Document]:
        """Fetch documents.

        Args:
            ids: One id or several.

        Returns:
            The stored documents in the order of ``ids``, with the ``vectors`` that have no encoder; missing documents
            are omitted.
        """
        return await stored_documents.get(self._open, ids)

    async def count(self, *, where: Where | None = None, filter: models.Filter | None = None) -> int:
        """Count the documents exactly, or those whose payload matches ``where`` and ``filter``; see `search`."""
        return await stored_documents.count(self._open, where=where, filter=filter)

    def iterate(
        self, *, where: Where | None = None, filter: models.Filter | None = None, with_tokens: bool = False
    ) -> AsyncGenerator[Document, None]:
        """Stream all documents, or those whose payload matches ``where`` and ``filter``, in bounded memory.

        Each document comes once, with the ``vectors`` that have no encoder, as from `get`. The order is that of the
        points' ids. A document that changes in the meantime comes in its old form, in its new form, or not at all. All
        other documents come.

        Args:
            where: A condition that the payload must match; see `search`.
            filter: A Qdrant filter; see `search`.
            with_tokens: Whether documents have their ``tokens``: a matrix of shape ``(n_tokens, dim)``.

        Returns:
            An asynchronous generator; to stop early, leave the loop and close it.

        Raises:
            ConfigurationError: If ``where`` or ``filter`` is invalid.
            FingerprintMismatchError: If the name refers to another collection in the meantime.
        """
        documents: AsyncGenerator[Document, None] = self._open.engine.runtime.stream(
            iterating.iterate(self._open, where=where, filter=filter, with_tokens=with_tokens)
        )
        return documents

    async def export(
        self,
        path: str | PathLike[str],
        *,
        where: Where | None = None,
        filter: models.Filter | None = None,
        with_tokens: bool = True,
        progress: bool | ProgressReporter = False,
    ) -> ExportReport:
        """Write all documents, or those that match, to a file, from which `ingest` rebuilds a collection.

        The file has ids, texts, payloads, token vectors, all further vectors, and the settings of the collection. So
        no model runs when it is ingested; `export_info` tells the settings. It appears under its name when it is
        complete. Documents are read in bounded memory, as with `iterate`.

        Args:
            path: A new file: ``.jsonl``, ``.jsonl.gz`` or ``.parquet`` (needs the ``arrow`` extra).
            where: A condition that the payload must match; see `search`.
            filter: A Qdrant filter; see `search`.
            with_tokens: ``False`` leaves the token vectors out. The file is then much smaller, and `ingest` encodes the
                texts.
            progress: See `ingest`.

        Raises:
            ConfigurationError: If the file exists, its folder does not, or its name has another ending.
            MissingExtraError: If pyarrow is needed and not installed.
        """
        return await exporting.export(
            self._open, path, where=where, filter=filter, with_tokens=with_tokens, progress=progress
        )
