"""Store and search documents in this process, without a server: `python examples/01_edge.py [MODEL] [FOLDER]`."""

import sys

from colbert_qdrant import ColbertCollection, ColbertEncoder, Document, EdgeClient

model = sys.argv[1] if len(sys.argv) > 1 else "NeuML/colbert-muvera-micro"
folder = sys.argv[2] if len(sys.argv) > 2 else "quickstart-store"

encoder = ColbertEncoder.from_pretrained(model)
with EdgeClient(folder) as client:
    docs = ColbertCollection.open_or_create("docs", client=client, encoder=encoder)
    docs.upsert(
        [
            Document("a/1", "The ferry leaves the harbor at noon.", {"year": 2024}),
            Document("a/2", "A bridge was built over the river.", {"year": 1999}),
            Document("a/3", "Candles light the old temple at night.", {"year": 2024}),
        ]
    )
    for hit in docs.search("when does the boat depart", limit=2):
        print(f"{hit.score:.2f}  {hit.id}  {hit.text}")
