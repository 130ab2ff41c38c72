"""A killed ingest, or fit, leaves a store that opens, with whole points only, and everything that was acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from colbert_qdrant import ColbertCollection, maxsim
from tests.encoders import WordEncoder, random_texts
from tests.processes import Script

if TYPE_CHECKING:
    from tests.contract.conftest import Engine

INGEST = """
import sys
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
with Engine(kind=sys.argv[1], place=sys.argv[2], name=sys.argv[3]).client() as client:
    config = CollectionConfig(fde=MuveraConfig(k_sim=3, dim_proj=8, r_reps=20))
    docs = ColbertCollection.open_or_create(sys.argv[3], client=client, encoder=WordEncoder(), config=config)
    docs.ingest((Document(i, texts[i % 200], {"i": i}) for i in range(10**9)), progress=Acknowledged())
"""


def killed_after(engine: Engine, acknowledged: int) -> int:
    """Start an endless ingest, kill it once so many documents are acknowledged; returns how many were."""
    with Script(INGEST, engine.kind, engine.place, engine.name) as process:
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
    if engine.kind == "model":
        pytest.skip("its JSON takes long")
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


FIT = """
import sys
from colbert_qdrant import ColbertCollection, CollectionConfig, Document, LemurConfig
from tests.contract.conftest import Engine
from tests.encoders import WordEncoder, random_texts

class Reporter:
    runs = 0
    def start(self, total): self.runs += 1
    def advance(self, documents):
        if self.runs == int(sys.argv[4]):
            print("now", flush=True)
            sys.stdin.read()  # until the end comes
    def stop(self): pass

with Engine(kind=sys.argv[1], place=sys.argv[2], name=sys.argv[3]).client() as client:
    fde = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=100)
    config = CollectionConfig(fde=fde)
    docs = ColbertCollection.open_or_create(sys.argv[3], client=client, encoder=WordEncoder(), config=config)
    docs.upsert(Document(i, text) for i, text in enumerate(random_texts(60)))
    docs.fit(refit=docs.fde is not None, progress=Reporter())
"""


def kill_fit(engine: Engine, phase: int) -> None:
    """Start a fit, and kill it when it first reports progress: of the fit itself (1), of adding encodings (2)."""
    with Script(FIT, engine.kind, engine.place, engine.name, phase) as process:
        line = process.stdout.readline()
        process.kill()
    assert line == "now\n"


def test_kill_during_fit_and_refit(engine: Engine) -> None:
    if not engine.persistent:
        pytest.skip(":memory: keeps nothing")
    with_encoding = []
    for phase in (1, 2, 2):  # before there is an encoding; while points get it; while they get another
        kill_fit(engine, phase)
        with engine.client() as client:
            docs = ColbertCollection.open(engine.name, client=client, encoder=WordEncoder())
            docs.check()
            points, _ = client.scroll(engine.name, limit=100, with_vectors=True)
            with_encoding.append(sum("fde" in (point.vector or {}) for point in points))
            query = WordEncoder().encode_queries(["river bridge"])
            expected = maxsim(query, WordEncoder().encode_documents(random_texts(60)))[0]
            found = [hit.score for hit in docs.search(query, limit=60, candidates=60)]
            assert found == pytest.approx(sorted(expected.tolist(), reverse=True), rel=1e-5, abs=1e-5)
    assert with_encoding[0] == 0
    assert 0 < with_encoding[1] < 60
    assert 0 < with_encoding[2] < 60
    with engine.client() as client:
        docs = ColbertCollection.open(engine.name, client=client, encoder=WordEncoder())
        docs.fit()
        assert docs.fde is not None
        points, _ = client.scroll(engine.name, limit=100, with_payload=True, with_vectors=True)
        texts = [(point.payload or {})["text"] for point in points]
        stored = np.array([(point.vector or {})["fde"] for point in points], np.float32)  # type: ignore[call-overload]
        expected = docs.fde.encode_documents(WordEncoder().encode_documents(texts))
        np.testing.assert_allclose(stored, expected, rtol=2e-3, atol=2e-4)
