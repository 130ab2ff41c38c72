"""Collections of LlamaIndex's ``QdrantVectorStore``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.schema import Document, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.qdrant import QdrantVectorStore

from tests.writers import common
from tests.writers.common import COUNT, Written

if TYPE_CHECKING:
    from llama_index.core.schema import BaseNode
    from qdrant_client import QdrantClient


def dense(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """One unnamed vector. Every fourth node is a whole document, the others are pieces of one."""
    return _write(client, collection, count)


def hybrid(client: QdrantClient, collection: str, count: int = COUNT) -> Written:
    """A dense vector and a sparse one, both named."""
    return _write(client, collection, count, enable_hybrid=True, sparse_doc_fn=_sparse, sparse_query_fn=_sparse)


def _sparse(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
    vectors = [common.sparse(text) for text in texts]
    return [indices for indices, _ in vectors], [values for _, values in vectors]


def _node(number: int, id: str, text: str) -> BaseNode:
    given: dict[str, Any] = {"id_": id, "text": text, "metadata": common.metadata(number)}
    if number % 4 == 0:
        return Document(**given, embedding=common.dense(text))
    source = RelatedNodeInfo(node_id=f"report-{number // 4}")
    return TextNode(**given, embedding=common.dense(text), relationships={NodeRelationship.SOURCE: source})


def _write(client: QdrantClient, collection: str, count: int, **settings: Any) -> Written:
    ids = common.uuids(count)
    texts = common.texts(count)
    store = QdrantVectorStore(collection, client, **settings)
    with common.payload_indexes():
        store.add([_node(number, *each) for number, each in enumerate(zip(ids, texts, strict=True))])

    def search(name: str, query: str) -> list[str]:
        mode = VectorStoreQueryMode.HYBRID if settings else VectorStoreQueryMode.DEFAULT
        asked = VectorStoreQuery(query_embedding=common.dense(query), query_str=query, similarity_top_k=4, mode=mode)
        found = QdrantVectorStore(name, client, **settings).query(asked)
        return [node.get_content() for node in found.nodes or []]

    return Written(
        client, collection, text_path="_node_content.text", texts=dict(zip(ids, texts, strict=True)), search=search
    )
