"""Add late interaction to LangChain's documents: `python examples/07_migrate_langchain.py [MODEL]`.

LangChain continues to work on the same documents. Run `pip install langchain-qdrant` first.
"""

import sys
import zlib

from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore
from qdrant_client import QdrantClient, models

from colbert_qdrant import ColbertCollection, ColbertEncoder, Migration

model = sys.argv[1] if len(sys.argv) > 1 else "NeuML/colbert-muvera-micro"

TEXTS = [
    "The ferry leaves the harbor at noon.",
    "A bridge was built over the river by its own engineers.",
    "Candles light the old temple at the harbor.",
    "Roses and thyme grow behind the house.",
]


class WordCounts(Embeddings):
    """Counts words; it stands in for your embeddings."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Return one vector per text."""
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        """Return word counts in 64 bins."""
        vector = [0.0] * 64
        for word in text.lower().strip(".").split():
            vector[zlib.crc32(word.encode()) % 64] += 1
        return vector


# your existing collection, with an alias for applications
client = QdrantClient(":memory:")  # or connect(url)
client.create_collection("docs-1", vectors_config=models.VectorParams(size=64, distance=models.Distance.COSINE))
create = models.CreateAlias(alias_name="docs", collection_name="docs-1")
client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])
application = QdrantVectorStore(client, "docs", WordCounts())
application.add_texts(TEXTS, metadatas=[{"page": number} for number in range(len(TEXTS))])

# copy the points to a new collection, and add encodings and token vectors
encoder = ColbertEncoder.from_pretrained(model)
migration = Migration.plan(client, "docs", "docs-2", encoder=encoder)
print(migration)
migration.run(progress=True)
verdict = migration.verify()
print("verified" if verdict.passed else verdict)
migration.switch("docs")  # migration.rollback() undoes the switch

# LangChain works as before, and late interaction searches the same documents
question = "when does the boat leave the harbor"
print("LangChain:", application.similarity_search(question, k=1)[0].page_content)
docs = ColbertCollection.open("docs", client=client, encoder=encoder)
for hit in docs.search(question, limit=2):
    print(f"{hit.score:.2f}  page {hit.payload['metadata']['page']}  {hit.text}")
