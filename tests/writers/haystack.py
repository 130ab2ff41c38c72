"""Collections of Haystack's ``QdrantDocumentStore``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast
from unittest import mock

os.environ.setdefault("HAYSTACK_TELEMETRY_ENABLED", "False")  # else the import below writes into the home folder

from haystack.dataclasses import Document, SparseEmbedding
from haystack_integrations.components.retrievers.qdrant import QdrantEmbeddingRetriever, QdrantHybridRetriever
from haystack_integrations.document_stores.qdrant import QdrantDocumentStore

from tests.writers import common
from tests.writers.common import COUNT, DIM, Written

if TYPE_CHECKING:
    from qdrant_client import QdrantClient


def dense(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """One unnamed vector."""
    return _write(client, collection, count, with_sparse=False)


def sparse(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """A dense vector and a sparse one, both named."""
    return _write(client, collection, count, with_sparse=True)


def _store(client: QdrantClient, collection: str, *, with_sparse: bool) -> QdrantDocumentStore:
    """A store over the client: it makes one for itself, at its first use, and then the collection if it is missing."""
    store = QdrantDocumentStore(
        ":memory:", index=collection, embedding_dim=DIM, use_sparse_embeddings=with_sparse, progress_bar=False
    )
    with mock.patch("qdrant_client.QdrantClient", return_value=client):
        store.count_documents()
    return store


def _write(client: QdrantClient, collection: str, count: int, *, with_sparse: bool) -> Written:
    documents = [
        Document(
            content=text,
            meta=common.metadata(number),
            embedding=common.dense(text),
            sparse_embedding=SparseEmbedding(*common.sparse(text)) if with_sparse else None,
        )
        for number, text in enumerate(common.texts(count))
    ]
    _store(client, collection, with_sparse=with_sparse).write_documents(documents)

    def search(name: str, query: str) -> list[str]:
        store = _store(client, name, with_sparse=with_sparse)
        if with_sparse:
            sparse = SparseEmbedding(*common.sparse(query))
            found = QdrantHybridRetriever(store).run(common.dense(query), sparse)["documents"]
        else:
            found = QdrantEmbeddingRetriever(store).run(common.dense(query))["documents"]
        return [document.content or "" for document in found]

    ids = {document.id: document.content or "" for document in documents}  # hashes, of which UUIDs are made
    points, _ = client.scroll(collection, limit=count)
    texts: dict[int | str, str] = {cast("str", point.id): ids[point.payload["id"]] for point in points if point.payload}
    return Written(client, collection, text_path="content", texts=texts, search=search)
