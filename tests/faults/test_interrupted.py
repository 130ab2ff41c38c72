"""Ctrl-C ends whatever a program waits for, within seconds, and leaves what was acknowledged as it is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import pytest
from qdrant_client import QdrantClient

from colbert_qdrant import ColbertCollection, EdgeClient
from tests.encoders import WordEncoder
from tests.processes import Script

if TYPE_CHECKING:
    from pathlib import Path

PROMISED: Final = 2.0
SLOW_MACHINE: Final = 8.0

PREPARED: Final = """
import asyncio, os, signal, socket, sys, threading, time
from qdrant_client import QdrantClient, models
from colbert_qdrant import *
from tests.encoders import WordEncoder

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 50)  # ends by itself, should nothing else end it
place, small = sys.argv[1], CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
listener = socket.create_server(("127.0.0.1", 0))  # it takes connections, and never answers
port = listener.getsockname()[1]
url = f"http://127.0.0.1:{port}"

def begin():
    print("begun", flush=True)

def endless():
    for number in range(10**9):
        if number == 300:
            begin()
        yield Document(number, f"river {number}")

class Slow(WordEncoder):
    waits = False

    def encode_documents(self, texts):
        if self.waits:
            begin()
            time.sleep(0.3)
        return super().encode_documents(texts)

def lacking(client):
    collection = ColbertCollection.create(
        "docs", client=client, encoder=WordEncoder(), config=CollectionConfig(fde=small.fde, id_scheme="native")
    )
    client.upsert("docs", [models.PointStruct(id=n, vector={}, payload={"text": f"river {n}"}) for n in range(9000)])

try:
    exec(sys.argv[2])
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""

WORK: Final = {
    "ingest on edge": """
ColbertCollection.create("docs", client=EdgeClient(place), encoder=WordEncoder(), config=small).ingest(endless())
""",
    "ingest in local mode": """
ColbertCollection.create("docs", client=QdrantClient(path=place), encoder=WordEncoder(), config=small).ingest(endless())
""",
    "ingest in an event loop": """
async def work():
    async with AsyncEdgeClient(place) as client:
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=small)
        await docs.ingest(endless())
asyncio.run(work())
""",
    "migration": """
client = EdgeClient(place)
client.create_collection("source", models.VectorParams(size=2, distance="Dot"))
texts = [models.PointStruct(id=n, vector=[1, 2], payload={"text": f"a long river {n}"}) for n in range(5000)]
client.upsert("source", texts)
encoder = Slow()
migration = Migration.plan(client, "source", encoder=encoder, target="docs")
encoder.waits = True
migration.run()
""",
    "repair": """
client = EdgeClient(place)
lacking(client)
encoder = Slow()
encoder.waits = True
ColbertCollection.open("docs", client=client, encoder=encoder).repair()
""",
    "a server that does not answer": """
begin()
ColbertCollection.open("docs", client=connect(url), encoder=WordEncoder())
""",
    "a server that does not answer, in an event loop": """
begin()
asyncio.run(AsyncColbertCollection.open("docs", client=connect_async(url), encoder=WordEncoder()))
""",
    "a server that does not answer over gRPC": """
begin()
ColbertCollection.open("docs", client=connect(url, prefer_grpc=True, grpc_port=port), encoder=WordEncoder())
""",
    "no server": """
begin()
listener.close()
ColbertCollection.open("docs", client=connect(url), encoder=WordEncoder())
""",
    "a hub that does not answer": """
os.environ |= {"HF_ENDPOINT": url, "HF_HOME": place}
import huggingface_hub.constants as constants
constants.ENDPOINT = url
begin()
ColbertEncoder.from_pretrained("org/model")
""",
}


@pytest.mark.parametrize("work", WORK)
def test_ctrl_c(tmp_path: Path, work: str) -> None:
    place = tmp_path / "store"
    with Script(PREPARED, place, WORK[work]) as running:
        assert running.stdout.readline() == "begun\n"
        running.interrupt()
        started = time.monotonic()
        assert running.stdout.read().splitlines()[-1] == "interrupted"
        assert running.wait() == 0
        assert time.monotonic() - started < PROMISED + SLOW_MACHINE
    if "ingest" in work:
        client = QdrantClient(path=str(place)) if "local" in work else EdgeClient(place)
        docs = ColbertCollection.open("docs", client=client, encoder=WordEncoder())
        stored = docs.count()
        assert [document.id for document in docs.get(range(stored + 1))] == list(range(stored))
        assert docs.check() == ()
        client.close()
