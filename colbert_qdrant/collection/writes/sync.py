# Generated from colbert_qdrant/collection/writes/aio.py by .ci/generate_sync.py: change it, and run `make generate`.

"""The methods that write and delete documents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Unpack

from qdrant_client import models

from colbert_qdrant.collection import documents as stored_documents
from colbert_qdrant.collection.contents.sync import Contents
from colbert_qdrant.collection.ingest.ingest import ingest, upsert
from colbert_qdrant.collection.ingest.options import IngestOptions, check_ingest, shows_options
from colbert_qdrant.collection.rows import OnError
from colbert_qdrant.documents import Document, DocumentId, IngestReport
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.search.filters import Where


class Writes(Contents):
    """An open collection with the methods that write and delete documents."""

    def upsert(self, documents: Iterable[Document], *, on_error: OnError = "raise") -> IngestReport:
        """Store documents; a document replaces the stored one with the same id.

        Vectors without an encoder are kept unless the document provides new ones. All documents are checked and encoded
        before the first is written, so they are held in memory: use `ingest` for many documents. If several have the
        same id, the last one is stored.

        Args:
            documents: Any iterable.
            on_error: ``"raise"`` writes nothing if a document cannot be stored; ``"skip"`` omits such documents, and
                reports them in ``rejected``.

        Returns:
            A report of the documents that were written.

        Raises:
            InvalidDocumentError: If a document cannot be stored; nothing was written.
            InvalidTokensError: If a document's token embeddings cannot be stored; nothing was written.
            RequestError: If the server could not be reached, or refused documents; all others are stored.
        """
        return run_blocking(upsert(self._open, documents, on_error=on_error))

    @shows_options
    def ingest(self, source: Iterable[Document], **options: Unpack[IngestOptions]) -> IngestReport:
        """Stream any number of documents into the collection, in bounded memory.

        Documents are read, encoded and written in chunks, and each request is acknowledged before the next. A later
        document replaces an earlier one with the same id. The documents of a list are all checked before the first is
        encoded.

        Args:
            source: Any iterable.
            **options: See `IngestOptions`.

        Returns:
            A report of the documents that were written.

        Raises:
            ConfigurationError: If the iterable is asynchronous.
            InvalidDocumentError: If a document cannot be stored; the documents acknowledged before it are stored.
            InvalidTokensError: If a document's token embeddings cannot be stored; the documents acknowledged before it
                are stored.
            RequestError: If requests fail despite retries, or the server refuses every document; the documents
                acknowledged before are stored.
        """
        return run_blocking(ingest(self._open, source, check_ingest(options)))

    def delete(
        self,
        *,
        ids: DocumentId | Iterable[DocumentId] | None = None,
        where: Where | None = None,
        filter: models.Filter | None = None,
    ) -> None:
        """Delete documents by id or by payload; ids that are not stored are ignored.

        Args:
            ids: One id or several.
            where: A condition that the payload must match; see `search`.
            filter: A Qdrant filter; see `search`.

        Raises:
            ConfigurationError: If no argument is given, ``ids`` is combined with a filter, ``where`` is invalid, or
                ``filter`` has no condition.
        """
        run_blocking(stored_documents.delete(self._open, ids=ids, where=where, filter=filter))
