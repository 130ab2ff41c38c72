"""Rerank an existing collection by MaxSim: `python examples/05_attach.py [MODEL] [STORE]`."""

import sys
import zlib
from collections import Counter

from qdrant_client import models

from colbert_qdrant import ColbertEncoder, EdgeClient, attach

model = sys.argv[1] if len(sys.argv) > 1 else "NeuML/colbert-muvera-micro"
store = sys.argv[2] if len(sys.argv) > 2 else "existing-store"

TEXTS = [
    "The ferry leaves the harbor at noon.",
    "A bridge was built over the river by its own engineers.",
    "Candles light the old temple at the harbor.",
    "Roses and thyme grow behind the house.",
]


def word_counts(text: str) -> models.SparseVector:
    """Return word counts; they stand in for the vectors of your collection."""
    counts = Counter(zlib.crc32(word.encode()) for word in text.lower().strip(".").split())
    return models.SparseVector(indices=list(counts), values=[float(count) for count in counts.values()])


def request(question: str) -> models.QueryRequest:
    """Return your existing search; MaxSim ranks its top 50 hits."""
    return models.QueryRequest(query=word_counts(question), using="words", limit=50)


with EdgeClient(store) as client:
    if not client.collection_exists("existing"):
        client.create_collection("existing", sparse_vectors_config={"words": models.SparseVectorParams()})
        points = [
            models.PointStruct(id=number, vector={"words": word_counts(text)}, payload={"meta": {"text": text}})
            for number, text in enumerate(TEXTS)
        ]
        client.upsert("existing", points=points)

    # attach only reads, so a read-only key is enough on a server
    docs = attach(client, "existing", encoder=ColbertEncoder.from_pretrained(model), text_key="meta.text")
    for hit in docs.search("when does the boat leave the harbor", request, limit=2):
        print(f"{hit.score:.2f}  {hit.id}  {hit.text}")
