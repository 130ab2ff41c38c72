"""Collections of LangChain's ``QdrantVectorStore``."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any
from unittest import mock

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings
from langchain_qdrant.sparse_embeddings import SparseVector
from qdrant_client import models

from tests.writers import common
from tests.writers.common import COUNT, DIM, Written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdrant_client import QdrantClient


class Words(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [common.dense(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return common.dense(text)


class SparseWords(SparseEmbeddings):
    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> SparseVector:
        indices, values = common.sparse(text)
        return SparseVector(indices=indices, values=values)


def dense(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """One unnamed vector, in a collection that was made beforehand, as LangChain's examples do."""
    client.create_collection(collection, vectors_config=_params())
    return _write(client, collection, count)


def from_documents(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """One vector named by the empty string, in a collection that LangChain makes."""
    with mock.patch("langchain_qdrant.qdrant.QdrantClient", return_value=client):
        QdrantVectorStore.from_documents(
            _documents(count), Words(), collection_name=collection, ids=common.uuids(count), location=":memory:"
        )
    return _written(client, collection, common.uuids(count))


def named(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """One vector with a name. Half of the documents come without metadata."""
    client.create_collection(collection, vectors_config={"text": _params()})
    store = QdrantVectorStore(client, collection, Words(), vector_name="text")
    half = count // 2
    ids = [*store.add_documents(_documents(count)[:half]), *store.add_texts(common.texts(count)[half:])]
    return _written(client, collection, ids, vector_name="text")


def hybrid(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """An unnamed vector and a sparse one."""
    client.create_collection(
        collection,
        vectors_config={QdrantVectorStore.VECTOR_NAME: _params()},
        sparse_vectors_config={QdrantVectorStore.SPARSE_VECTOR_NAME: models.SparseVectorParams()},
    )
    return _write(client, collection, count, retrieval_mode=RetrievalMode.HYBRID, sparse_embedding=SparseWords())


def own_keys(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """Text and metadata under keys of one's own; LangChain does not take a dot for a path."""
    client.create_collection(collection, vectors_config=_params(models.Distance.DOT))
    return _write(
        client,
        collection,
        count,
        content_payload_key="body.text",
        metadata_payload_key="about",
        distance=models.Distance.DOT,
    )


def _params(distance: models.Distance = models.Distance.COSINE) -> models.VectorParams:
    return models.VectorParams(size=DIM, distance=distance)


def _documents(count: int) -> list[Document]:
    return [
        Document(page_content=text, metadata=common.metadata(number)) for number, text in enumerate(common.texts(count))
    ]


def _write(client: QdrantClient, collection: str, count: int, **settings: Any) -> Written:
    store = QdrantVectorStore(client, collection, Words(), **settings)
    return _written(client, collection, store.add_documents(_documents(count), ids=common.uuids(count)), **settings)


def _written(client: QdrantClient, collection: str, ids: Sequence[str | int], **settings: Any) -> Written:
    def search(name: str, query: str) -> list[str]:
        found = QdrantVectorStore(client, name, Words(), **settings).similarity_search(query)
        return [document.page_content for document in found]

    key = settings.get("content_payload_key", QdrantVectorStore.CONTENT_KEY)
    return Written(
        client,
        collection,
        text_path=f'"{key}"' if "." in key else key,
        texts=dict(zip((str(uuid.UUID(str(id))) for id in ids), common.texts(len(ids)), strict=True)),
        search=search,
    )
