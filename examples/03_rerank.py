"""Rerank without a database, with the APIs of PyLate and txtai: `python examples/03_rerank.py [MODEL]`."""

import sys

from colbert_qdrant import ColbertEncoder, ColbertReranker, rank

model = sys.argv[1] if len(sys.argv) > 1 else "NeuML/colbert-muvera-pico"

queries = ["query A", "query B"]
documents = [["document A", "document B"], ["document 1", "document C", "document B"]]
documents_ids = [[1, 2], [1, 3, 2]]

encoder = ColbertEncoder.from_pretrained(model)

# rank token embeddings with the signature and results of PyLate's function
reranked_documents = rank.rerank(
    documents_ids=documents_ids,
    queries_embeddings=encoder.encode_queries(queries),
    documents_embeddings=[encoder.encode_documents(texts) for texts in documents],
)
for query, results in zip(queries, reranked_documents, strict=True):
    print(query, *(f"{result['id']}: {result['score']:.2f}" for result in results), sep="  ")

# rank texts with the signature of txtai's Similarity(lateencode=True)
reranker = ColbertReranker(encoder)
for index, score in reranker("query A", documents[1]):
    print(f"{score:.2f}  {documents[1][index]}")
