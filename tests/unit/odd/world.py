"""What odd calls are made on: stores with one collection of documents, and whatever else has methods."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

import colbert_qdrant as cq
from tests.encoders import WordEncoder, random_texts
from tests.parity.checkpoints import build
from tests.unit.evaluation.datasets.files import beir_folder

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

MUVERA = cq.MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)
CONFIG = cq.CollectionConfig(fde=MUVERA, segments=1, dense={"meaning": cq.DenseConfig(dim=2)})
TEXTS = random_texts(6, seed=3)
LEMUR = cq.LemurConfig(
    dim=8, hidden=16, epochs=1, learn_tokens=64, fit_documents=10, training_documents=10, own_tokens=4
)


def documents() -> list[cq.Document]:
    return [cq.Document(n, text, {"n": n}) for n, text in enumerate(TEXTS)]


class World:
    """Everything that has methods. `renew` makes the stores anew, which calls change."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.encoder = folder, WordEncoder()
        self.tokens = self.encoder.encode_documents(TEXTS)
        self.muvera = cq.MuveraEncoder(MUVERA, token_dim=32)
        self.lemur = cq.LemurEncoder.fit(self.tokens, config=LEMUR)
        self.model = build("stanford-bert", folder / "model")
        self.colbert = cq.ColbertEncoder.from_pretrained(self.model, device="cpu")
        self.reranker = cq.ColbertReranker(self.encoder)
        self.ready = cq.ReadyTokens(dim=32)
        self.request = models.QueryRequest(query=[0.0] * MUVERA.dim, using="fde", limit=10)
        self.bm25 = cq.Bm25Config()
        self.runner = asyncio.Runner()
        self.stores = 0
        self._parts: dict[str, Any] = {}

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(coroutine)

    def renew(self) -> None:
        """Makes everything that calls may have changed when it is asked for again."""
        for part in self._parts.values():
            if isinstance(part, cq.AsyncEdgeClient):
                self.run(part.close())
            elif isinstance(part, cq.EdgeClient | QdrantClient):
                part.close()
        self._parts.clear()
        shutil.rmtree(self.folder / "stores", ignore_errors=True)

    def __getattr__(self, name: str) -> Any:
        """Makes a store, or what is on one, at its first use."""
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._parts:
            self._parts[name] = getattr(self, f"_make_{name}")()
        return self._parts[name]

    def new_path(self) -> Path:
        self.stores += 1
        return self.folder / "stores" / str(self.stores)

    def _make_edge(self) -> cq.EdgeClient:
        self._fill(client := cq.EdgeClient(self.new_path()))
        return client

    def _make_memory(self) -> QdrantClient:
        self._fill(client := QdrantClient(":memory:"))
        return client

    def _make_aio(self) -> cq.AsyncEdgeClient:
        return self._filled_async()

    def _make_moving(self) -> cq.EdgeClient:
        self._fill(client := cq.EdgeClient(self.new_path()))
        return client

    def _make_aio_moving(self) -> cq.AsyncEdgeClient:
        return self._filled_async()

    def _fill(self, client: cq.EdgeClient | QdrantClient) -> None:
        docs = cq.ColbertCollection.create("docs", client=client, encoder=self.encoder, config=CONFIG)
        docs.upsert(documents())

    def _filled_async(self) -> cq.AsyncEdgeClient:
        path = self.new_path()
        self._fill(client := cq.EdgeClient(path))
        client.close()
        return cq.AsyncEdgeClient(path)

    def _make_transformer(self) -> Any:
        return pytest.importorskip("sentence_transformers").MultiVectorEncoder(
            str(build("mve-fixed", self.folder / "mve")), device="cpu"
        )

    def _make_chunker(self) -> cq.SentenceChunker:
        return cq.SentenceChunker(self.colbert)

    def _make_wrapped(self) -> cq.SentenceTransformersEncoder:
        return cq.SentenceTransformersEncoder(self.transformer)

    def _make_point(self) -> models.Record:
        points: list[models.Record] = self.edge.scroll("docs", limit=1, with_vectors=True)[0]
        return points[0]

    def _make_exported(self) -> Path:
        path = self.folder / f"exported{self.stores}.jsonl"
        if not path.exists():
            self.docs.export(path)
        return path

    def _make_beir(self) -> Path:
        folder = self.folder / "beir"
        return folder if folder.exists() else beir_folder(folder)

    def _make_dataset(self) -> cq.RetrievalDataset:
        return cq.RetrievalDataset.load(self.beir)

    def _make_plan(self) -> Any:
        return self.migration.details

    def _make_reranking(self) -> cq.Reranker:
        return cq.Reranker(self.docs, self.reranker)

    def _make_evaluation(self) -> cq.Evaluation:
        dataset = cq.RetrievalDataset(name="odd", queries={"q": "river"}, qrels={"q": {"1": 1}})
        return cq.evaluate(cq.Run(name="theirs", hits={"q": {"1": 1.0}}), dataset, metrics="RR@10")

    def _make_run_of_hits(self) -> cq.Run:
        return cq.Run(name="theirs", hits={"q": {"1": 1.0}})

    def _make_run_file(self) -> Path:
        path = self.folder / "theirs.run"
        self.run_of_hits.write(path)
        return path

    def _make_evaluated(self) -> cq.EvaluatedRun:
        return cq.EvaluatedRun(dataset="odd", mode="theirs", run=None, values={"RR@10": {"q": 1.0}})

    def _make_card_report(self) -> cq.CardReport:
        figure = cq.CardFigure(
            table="BEIR", dataset="scifact", mode="exact", metric="nDCG@10", measured=0.5, published=0.4
        )
        return cq.CardReport(model="me/mine", label=None, figures=(figure,), conditions=())

    def _make_evaluated_file(self) -> Path:
        path = self.folder / "evaluation.json"
        self.evaluation.to_json(path)
        return path

    def _make_docs(self) -> cq.ColbertCollection:
        return cq.ColbertCollection.open("docs", client=self.edge, encoder=self.encoder)

    def _make_memory_docs(self) -> cq.ColbertCollection:
        return cq.ColbertCollection.open("docs", client=self.memory, encoder=self.encoder)

    def _make_aio_docs(self) -> Any:
        return self.run(cq.AsyncColbertCollection.open("docs", client=self.aio, encoder=self.encoder))

    def _make_attached(self) -> cq.AttachedCollection:
        return cq.attach(self.edge, "docs", encoder=self.encoder)

    def _make_aio_attached(self) -> cq.AsyncAttachedCollection:
        return cq.attach_async(self.aio, "docs", encoder=self.encoder)

    def _make_migration(self) -> cq.Migration:
        migration = cq.Migration.plan(self.moving, "docs", "other", encoder=self.encoder, fde=cq.MuveraConfig(seed=5))
        migration.run()
        migration.verify(min_recall=0)
        return migration

    def _make_aio_migration(self) -> cq.AsyncMigration:
        async def made() -> cq.AsyncMigration:
            fde = cq.MuveraConfig(seed=5)
            migration = await cq.AsyncMigration.plan(self.aio_moving, "docs", "other", encoder=self.encoder, fde=fde)
            await migration.run()
            await migration.verify(min_recall=0)
            return migration

        made_one: cq.AsyncMigration = self.run(made())
        return made_one

    def contents(self, client: str) -> dict[str, Any]:
        """Everything that a store holds."""
        if client.endswith("moving"):
            getattr(self, client.replace("moving", "migration"))  # which is made at its first use
        asked = getattr(self, client)
        run = self.run if client.startswith("aio") else (lambda answer: answer)
        found: dict[str, Any] = {"aliases": run(asked.get_aliases())}
        for each in run(asked.get_collections()).collections:
            info = run(asked.get_collection(each.name))
            points, _ = run(asked.scroll(each.name, limit=1000, with_vectors=True))
            found[each.name] = info.config, info.payload_schema, {point.id: _content(point) for point in points}
        return found


def _content(point: models.Record) -> Any:
    vectors = point.vector if isinstance(point.vector, dict) else {"": point.vector}
    return point.payload, {
        name: vector if _sparse(vector) else np.array(vector).tolist() for name, vector in vectors.items()
    }


def _sparse(vector: object) -> bool:
    return isinstance(vector, models.SparseVector)
