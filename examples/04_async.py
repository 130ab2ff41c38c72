"""Ask several questions concurrently with asyncio: `python examples/04_async.py [MODEL] [STORE]`."""

import asyncio
import sys

from colbert_qdrant import AsyncColbertCollection, AsyncEdgeClient, ColbertEncoder, Document

model = sys.argv[1] if len(sys.argv) > 1 else "NeuML/colbert-muvera-micro"
store = sys.argv[2] if len(sys.argv) > 2 else "store"

QUESTIONS = ["when does the boat depart", "who built the bridge", "what grows in the garden"]
TEXTS = [
    "The ferry leaves the harbor at noon.",
    "A bridge was built over the river by its own engineers.",
    "Roses and thyme grow behind the house.",
]


async def main() -> None:
    """Store three sentences, and ask three questions concurrently."""
    encoder = ColbertEncoder.from_pretrained(model)
    # on a server: client = connect_async(url), and `await client.close()` at the end
    async with AsyncEdgeClient(store) as client:
        docs = await AsyncColbertCollection.open_or_create("async", client=client, encoder=encoder)
        await docs.upsert([Document(number, text) for number, text in enumerate(TEXTS)])
        answers = await asyncio.gather(*(docs.search(question, limit=1) for question in QUESTIONS))
    for question, (best,) in zip(QUESTIONS, answers, strict=True):
        print(f"{question}: {best.text}")


asyncio.run(main())
