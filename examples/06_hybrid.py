"""Combine BM25 and late interaction in one search: `python examples/06_hybrid.py [MODEL] [STORE]`."""

import sys

from colbert_qdrant import Bm25Config, ColbertCollection, ColbertEncoder, CollectionConfig, Document, EdgeClient

model = sys.argv[1] if len(sys.argv) > 1 else "NeuML/colbert-muvera-micro"
store = sys.argv[2] if len(sys.argv) > 2 else "store"

DOCUMENTS = [
    Document("E-1107", "The pump stops with error E-1107 when the inlet runs dry."),
    Document("E-2203", "Error E-2203: the outlet valve does not close."),
    Document("care", "Clean the filter of the pump once a month."),
]

encoder = ColbertEncoder.from_pretrained(model)
with EdgeClient(store) as client:
    config = CollectionConfig(bm25=Bm25Config())
    docs = ColbertCollection.open_or_create("manual", client=client, encoder=encoder, config=config)
    docs.upsert(DOCUMENTS)
    for hit in docs.search("E-1107", mode="hybrid"):
        print(f"{hit.score:.2f}  {hit.id}  by {' and '.join(hit.found_by)}  {hit.text}")
    (best,) = docs.search("E-2203", prefetch={"bm25": 1}, limit=1)
    print(f"the word alone finds {best.id}")
