# Generated from colbert_qdrant/collection/contents/aio.py by .ci/generate_sync.py: change it, and run `make generate`.

"""The methods that read stored documents."""

from __future__ import annotations

from collections.abc import Generator, Iterable

from qdrant_client import models

from colbert_qdrant.collection import documents as stored_documents
from colbert_qdrant.collection import iterating
from colbert_qdrant.collection.searches.sync import Searches
from colbert_qdrant.documents import Document, DocumentId
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.search.filters import Where


class Contents(Searches):
    """An open collection with the methods that read stored documents."""

    def get(self, ids: DocumentId | Iterable[DocumentId]) -> list[Document]:
        """Fetch documents.

        Args:
            ids: One id or several.

        Returns:
            The stored documents in the order of ``ids``, with the ``vectors`` that have no encoder; missing documents
            are omitted.
        """
        return run_blocking(stored_documents.get(self._open, ids))

    def count(self, *, where: Where | None = None, filter: models.Filter | None = None) -> int:
        """Count the documents exactly, or those whose payload matches ``where`` and ``filter``; see `search`."""
        return run_blocking(stored_documents.count(self._open, where=where, filter=filter))

    def iterate(
        self, *, where: Where | None = None, filter: models.Filter | None = None
    ) -> Generator[Document, None, None]:
        """Stream all documents, or those whose payload matches ``where`` and ``filter``, in bounded memory.

        Each document comes once, with the ``vectors`` that have no encoder, as from `get`. The order is that of the
        points' ids. A document that changes in the meantime comes in its old form, in its new form, or not at all. All
        other documents come.

        Args:
            where: A condition that the payload must match; see `search`.
            filter: A Qdrant filter; see `search`.

        Returns:
            A generator; to stop early, leave the loop and close it.

        Raises:
            ConfigurationError: If ``where`` or ``filter`` is invalid.
            FingerprintMismatchError: If the name refers to another collection in the meantime.
        """
        documents: Generator[Document, None, None] = self._open.engine.runtime.stream(
            iterating.iterate(self._open, where=where, filter=filter)
        )
        return documents
