"""The asynchronous methods that write and delete documents."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Unpack

from qdrant_client import models

from colbert_qdrant.collection import documents as stored_documents
from colbert_qdrant.collection import further_vectors, payloads
from colbert_qdrant.collection.contents.aio import AsyncContents
from colbert_qdrant.collection.ingest.ingest import ingest, upsert
from colbert_qdrant.collection.ingest.options import (
    IngestOptions,
    IngestTokensOptions,
    check_ingest,
    check_ingest_tokens,
    shows_options,
)
from colbert_qdrant.collection.rows import OnError
from colbert_qdrant.documents import Document, DocumentId, IngestReport
from colbert_qdrant.search.filters import Where
from colbert_qdrant.sources import DocumentSource
from colbert_qdrant.sources.ready import ready_documents
from colbert_qdrant.tokens import TokenEmbeddings


class AsyncWrites(AsyncContents):
    """An open collection with the methods that write and delete documents."""

    async def upsert(self, documents: Iterable[Document], *, on_error: OnError = "raise") -> IngestReport:
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
        return await upsert(self._open, documents, on_error=on_error)

    @shows_options(IngestOptions)
    async def ingest(self, source: DocumentSource, **options: Unpack[IngestOptions]) -> IngestReport:
        """Stream any number of documents into the collection, in bounded memory.

        The source is an iterable of documents, dicts or tuples, a file, a table or a dataset. Files are JSON lines,
        CSV, Parquet, text, Markdown and the corpus of a BEIR folder. Tables are of pandas, Polars or Arrow, and
        datasets are of Hugging Face ``datasets``. Parquet, Arrow and ``.zst`` files need the ``arrow`` extra.

        Documents are read, encoded and written in chunks, and each request is acknowledged before the next. A later
        document replaces an earlier one with the same id. The documents of a list are all checked before the first is
        encoded.

        Args:
            source: Documents, or the path, folder or glob of files. An iterable may be asynchronous. A plain one is
                read in the event loop.
            **options: See `IngestOptions`.

        Returns:
            A report of the documents that were written.

        Raises:
            ConfigurationError: If there is no such file, or an option is wrong.
            FingerprintMismatchError: If a file that `export` wrote has the token vectors of another encoder.
            InvalidDocumentError: If a row or a document cannot be stored; the error names its file and line. The
                documents acknowledged before it are stored.
            InvalidTokensError: If a document's token embeddings cannot be stored; the documents acknowledged before it
                are stored.
            MissingExtraError: If a library that reads the source is not installed.
            RequestError: If requests fail despite retries, or the server refuses every document; the documents
                acknowledged before are stored.
        """
        return await ingest(self._open, source, check_ingest(options))

    @shows_options(IngestTokensOptions)
    async def ingest_tokens(
        self,
        ids: Iterable[DocumentId],
        tokens: TokenEmbeddings | Iterable[Any],
        payloads: Iterable[Mapping[str, Any]] | None = None,
        *,
        texts: Iterable[str] | None = None,
        **options: Unpack[IngestTokensOptions],
    ) -> IngestReport:
        """Store ready token embeddings of any model, without encoding texts; otherwise like `ingest`.

        This is `ingest` of documents with ``tokens``. To stream more than fits into memory, call it for one batch after
        another, or call `ingest` with a generator of such documents.

        Args:
            ids: The id of each document.
            tokens: A `TokenEmbeddings`, or one matrix per document (see `Document`), such as an encoder service
                returns.
            payloads: The payload of each document; empty by default.
            texts: The text of each document, which is stored and returned, and which BM25 and ``vector_encoders``
                encode; empty by default.
            **options: See `IngestTokensOptions`.

        Returns:
            A report of the documents that were written.

        Raises:
            ConfigurationError: If the arguments differ in length.
            InvalidDocumentError: If a document cannot be stored.
            InvalidTokensError: If token embeddings cannot be stored, or do not have the collection's dimensions.
            RequestError: If requests fail despite retries, or the server refuses every document; the documents
                acknowledged before are stored.
        """
        documents = ready_documents(ids, tokens, payloads, texts)
        return await ingest(self._open, documents, check_ingest_tokens(options))

    async def delete(
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
        await stored_documents.delete(self._open, ids=ids, where=where, filter=filter)

    async def set_payload(
        self,
        payload: Mapping[str, Any],
        *,
        key: str | None = None,
        ids: DocumentId | Iterable[DocumentId] | None = None,
        where: Where | None = None,
        filter: models.Filter | None = None,
    ) -> None:
        """Set payload keys of stored documents, and keep all other keys; nothing is encoded again.

        The text and the id of a document cannot be set; upsert the document instead. If the call fails, some documents
        may have the new values: repeat it.

        Args:
            payload: The keys with their new values, which are converted and checked like a document's payload. Each
                value replaces the old one, also if both are objects. ``None`` removes the key.
            key: The path of an object in the payload to set the keys in, such as ``"meta"`` or ``"meta.inner"``. It is
                made if it is missing. ``None`` stands for the whole payload.
            ids: One id or several; ids that are not stored are ignored.
            where: A condition that the payload must match; see `search`.
            filter: A Qdrant filter; see `search`.

        Raises:
            ConfigurationError: If neither ``ids`` nor a filter is given, ``ids`` is combined with a filter, ``where``
                is invalid, or ``filter`` has no condition.
            InvalidDocumentError: If a value cannot be stored, or a key holds the document's text or id; nothing was
                written.
        """
        await payloads.set_payload(self._open, payload, key=key, ids=ids, where=where, filter=filter)

    async def delete_payload(
        self,
        keys: str | Iterable[str],
        *,
        ids: DocumentId | Iterable[DocumentId] | None = None,
        where: Where | None = None,
        filter: models.Filter | None = None,
    ) -> None:
        """Remove payload keys of stored documents; keys that a document lacks are ignored.

        Args:
            keys: One key or several, as paths in Qdrant's syntax: ``"year"``, ``"author.name"``, ``"authors[].name"``.
                The text and the id of a document cannot be removed.
            ids: One id or several; ids that are not stored are ignored.
            where: A condition that the payload must match; see `search`.
            filter: A Qdrant filter; see `search`.

        Raises:
            ConfigurationError: If a key is not a valid path, or the documents are not given as in `set_payload`.
            InvalidDocumentError: If a key holds the document's text or id; nothing was removed.
        """
        await payloads.delete_payload(self._open, keys, ids=ids, where=where, filter=filter)

    async def update_vectors(self, name: str, vectors: Mapping[DocumentId, Any]) -> None:
        """Replace one further vector of stored documents, and keep everything else; nothing is encoded again.

        Args:
            name: A vector in ``config.dense`` or ``config.sparse``.
            vectors: The new vector of each document, by id; ids that are not stored are ignored. See `Document`.

        Raises:
            ConfigurationError: If the collection has no such vector, or makes it from the text or the token vectors.
            InvalidDocumentError: If a vector cannot be stored; nothing was written.
            RequestError: If the server could not be reached, or refused vectors; all others are stored.
        """
        await further_vectors.update(self._open, name, vectors)
