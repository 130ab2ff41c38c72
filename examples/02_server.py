"""Ingest and search on a server, with a filter: `QDRANT_URL=http://localhost:6333 python examples/02_server.py`."""

import os
import sys
from collections.abc import Iterator

from colbert_qdrant import ColbertCollection, ColbertEncoder, Document, connect

model = sys.argv[1] if len(sys.argv) > 1 else "NeuML/colbert-muvera-micro"

client = connect(os.environ["QDRANT_URL"], api_key=os.environ.get("QDRANT_API_KEY"))
encoder = ColbertEncoder.from_pretrained(model)
docs = ColbertCollection.open_or_create("docs", client=client, encoder=encoder)


def read_documents() -> Iterator[Document]:
    """Yield documents; replace this with your database, files or crawl."""
    for number in range(1000):
        yield Document(number, f"Report {number} on the bridges of the river", {"year": 2000 + number % 25})


report = docs.ingest(read_documents(), progress=True)
print(f"{report.documents} documents, {report.documents_per_second:.0f} per second")

for hit in docs.search("bridge report", limit=3, candidates=200, where={"year": {"gte": 2020}}):
    print(f"{hit.score:.2f}  {hit.id}  {hit.payload['year']}  {hit.text}")
