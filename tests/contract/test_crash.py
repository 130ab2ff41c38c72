"""A killed ingest leaves a store that opens, with whole points only, and everything that was acknowledged."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from colbert_qdrant import ColbertCollection
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    from tests.contract.conftest import Engine

INGEST = """
import sys
from pathlib import Path
from colbert_qdrant import ColbertCollection, CollectionConfig, Document, MuveraConfig
from tests.contract.conftest import Engine
from tests.encoders import WordEncoder, random_texts

class Acknowledged:
    def start(self, total): self.count = 0
    def advance(self, documents):
        self.count += documents
        print(self.count, flush=True)
    def stop(self): pass

texts = random_texts(200)
with Engine(kind=sys.argv[1], path=Path(sys.argv[2]), name=sys.argv[3]).client() as client:
    config = CollectionConfig(fde=MuveraConfig(k_sim=3, dim_proj=8, r_reps=20))
    docs = ColbertCollection.open_or_create(sys.argv[3], client=client, encoder=WordEncoder(), config=config)
    docs.ingest((Document(i, texts[i % 200], {"i": i}) for i in range(10**9)), progress=Acknowledged())
"""


def killed_after(engine: Engine, acknowledged: int) -> int:
    """Start an endless ingest, kill it once so many documents are acknowledged; returns how many were."""
    arguments = [sys.executable, "-c", INGEST, engine.kind, str(engine.path), engine.name]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        if process.stdout is None:
            raise RuntimeError("no pipe")
        count = 0
        while count < acknowledged:
            line = process.stdout.readline()
            if not line:
                raise RuntimeError("the ingest ended by itself")
            count = int(line)
        process.kill()
        rest = process.stdout.read().split()
    return int(rest[-1]) if rest else count


def test_kill_during_ingest(engine: Engine) -> None:
    if not engine.persistent:
        pytest.skip(":memory: keeps nothing")
    for target in (1, 700):  # a second kill, in a store that was killed before
        acknowledged = killed_after(engine, target)
        with engine.client() as client:
            docs = ColbertCollection.open(engine.name, client=client, encoder=WordEncoder())
            assert docs.count() >= acknowledged >= target
            assert [document.id for document in docs.get(range(acknowledged))] == list(range(acknowledged))
            points, _ = client.scroll(engine.name, limit=100_000, with_payload=True, with_vectors=True)
            assert len(points) == docs.count()
            for point in points:
                assert isinstance(point.vector, dict)
                assert set(point.vector) == {"fde", "colbert"}
                assert set(point.payload or {}) == {"_id", "text", "i"}
            assert docs.search("river bridge", limit=5)
