"""No public call fails with an error of somebody else's, whatever it is given."""

from __future__ import annotations

import enum
import inspect
import io
import os
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

import colbert_qdrant as cq
from colbert_qdrant.fde.lemur.encoder import LemurEncoder
from tests.encoders import WordEncoder, random_texts
from tests.parity.checkpoints import build


class _Colour(enum.Enum):
    RED = "red"


class _Odd:
    """Has nothing that anything could use."""


ODD: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "False": lambda: False,
    "zero": lambda: 0,
    "negative": lambda: -1,
    "half": lambda: 2.5,
    "nan": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "huge": lambda: 10**30,
    "complex": lambda: 1j,
    "empty text": lambda: "",
    "blank": lambda: "  ",
    "digits": lambda: "5",
    "word": lambda: "river",
    "nul": lambda: "a\0b",
    "surrogate": lambda: "\ud800",
    "long text": lambda: "x" * 5000,
    "bytes": lambda: b"river",
    "bytearray": lambda: bytearray(b"\0\1"),
    "no list": list,
    "list of None": lambda: [None],
    "list of words": lambda: ["river", "bridge"],
    "list of numbers": lambda: [1, 2, 3],
    "list of lists": lambda: [[1.0, 2.0], [3.0]],
    "tuple": lambda: (1, "a"),
    "no dict": dict,
    "dict": lambda: {"a": 1},
    "dict with odd keys": lambda: {1: None, None: object()},
    "ordered": lambda: OrderedDict(x=[1]),
    "set": lambda: {"a", "b"},
    "frozenset": frozenset,
    "range": lambda: range(3),
    "generator": lambda: (word for word in ["river", "bridge"]),
    "object": _Odd,
    "class": lambda: _Odd,
    "function": lambda: lambda *_, **__: None,
    "module": lambda: inspect,
    "file": lambda: io.BytesIO(b"x"),
    "path": lambda: Path("there/is/none"),
    "int64": lambda: np.int64(3),
    "float32": lambda: np.float32(0.5),
    "numpy bool": lambda: np.bool_(True),
    "numpy text": lambda: np.str_("river"),
    "vector": lambda: np.ones(3),
    "matrix": lambda: np.ones((2, 32), np.float32),
    "cube": lambda: np.ones((2, 2, 2)),
    "empty array": lambda: np.empty(0),
    "array of objects": lambda: np.array([None, "a"], dtype=object),
    "array of texts": lambda: np.array(["river", "bridge"]),
    "datetime": lambda: datetime(2024, 1, 1, tzinfo=UTC),
    "date": lambda: date(2024, 1, 1),
    "timedelta": lambda: timedelta(seconds=1),
    "UUID": lambda: UUID(int=7),
    "Decimal": lambda: Decimal("1.5"),
    "Fraction": lambda: Fraction(1, 3),
    "enum": lambda: _Colour.RED,
    "Document": lambda: cq.Document("a", "river"),
    "tokens": lambda: cq.TokenEmbeddings(np.ones((2, 7)), [1, 1]),
    "filter": lambda: models.Filter(must=[]),
    "condition": lambda: models.FieldCondition(key="a", match=models.MatchValue(value=1)),
    "error": lambda: ValueError("odd"),
    "ellipsis": lambda: ...,
}

MUVERA = cq.MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)
CONFIG = cq.CollectionConfig(fde=MUVERA, segments=1)
TEXTS = random_texts(12, seed=3)
LEMUR = cq.LemurConfig(
    dim=8, hidden=16, epochs=1, learn_tokens=64, fit_documents=10, training_documents=10, own_tokens=4
)


class World:
    """What the calls are made on; it is made once."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.encoder = folder, WordEncoder()
        self.client = cq.EdgeClient(folder / "store")
        self.local = QdrantClient(":memory:")
        self.docs = cq.ColbertCollection.create("docs", client=self.client, encoder=self.encoder, config=CONFIG)
        self.docs.upsert([cq.Document(n, text, {"n": n}) for n, text in enumerate(TEXTS)])
        self.in_memory = cq.ColbertCollection.create("docs", client=self.local, encoder=self.encoder, config=CONFIG)
        self.in_memory.upsert([cq.Document(n, text, {"n": n}) for n, text in enumerate(TEXTS)])
        self.attached = cq.attach(self.client, "docs", encoder=self.encoder)
        self.tokens = self.encoder.encode_documents(TEXTS)
        self.muvera = cq.MuveraEncoder(MUVERA, token_dim=32)
        self.model = folder / "model"
        self.colbert = cq.ColbertEncoder.from_pretrained(build("stanford-bert", self.model), device="cpu")
        self.request = models.QueryRequest(query=[0.0] * CONFIG.fde.dim, using="fde", limit=3)


Calls = dict[str, tuple[Callable[..., Any], dict[str, Any]]]
PARTS = 8
SLOW = ("fde_report", "muvera_fitness", "inspect", "plot_recall", "LemurEncoder.fit", "ColbertEncoder.from_pretrained")
"""Calls that take long, if nothing is wrong with them."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Calls:
    return calls(World(tmp_path_factory.mktemp("world")))


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a text may be a path
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.filterwarnings("ignore")
def test_odd_arguments_are_taken_or_refused_with_an_error_of_this_library(table: Calls, part: int) -> None:
    """Each parameter of each call gets some values of every kind; ``COLBERT_QDRANT_ODD=all`` tries all of them."""
    wrong = []
    for number, (name, (call, good)) in list(enumerate(table.items()))[part::PARTS]:
        for place, parameter in enumerate(good):
            few = 3 if name in SLOW else 14
            step = 1 if os.environ.get("COLBERT_QDRANT_ODD") == "all" else max(1, len(ODD) // few)
            for odd in list(ODD)[(number + place) % step :: step]:
                try:
                    call(**{**good, parameter: ODD[odd]()})
                except cq.ColbertQdrantError:
                    continue
                except Exception as error:  # noqa: BLE001 - that is the question
                    wrong.append(f"{name}({parameter}={odd}): {type(error).__name__}: {error!s:.100}")
    assert wrong == []


def test_the_table_has_every_public_name(table: Calls) -> None:
    """All that can be called, but errors, protocols, and what only comes back from calls."""
    called = {name.split()[-1].split(".")[0].split("(")[0] for name in table}
    others = {
        name
        for name in cq.__all__
        if callable(getattr(cq, name)) and not (inspect.isclass(getattr(cq, name)) and _comes_back(getattr(cq, name)))
    }
    assert others - called == {"attach_async", "SearchMode", "Where"}


def _comes_back(kind: type) -> bool:
    if issubclass(kind, cq.ColbertQdrantError | cq.ColbertQdrantWarning | dict) or getattr(kind, "_is_protocol", False):
        return True
    reports = ("Report", "Plan", "State", "Quality", "Timings", "Group", "Hit", "Verdict", "Inspection", "Fitness")
    return (
        kind.__name__.endswith((*reports, "Document"))
        or kind.__name__.startswith("Async")
        or kind in (cq.AttachedCollection, cq.Migration, cq.FixedDimensionalEncoder)
    )


def on_documents(engine: str, docs: cq.ColbertCollection, search: dict[str, Any], similar: dict[str, Any]) -> Calls:
    """The calls on a collection that is open."""
    return {
        f"{engine} upsert": (docs.upsert, {"documents": [cq.Document(1, "river")], "on_error": "raise"}),
        f"{engine} ingest": (
            docs.ingest,
            {"documents": [cq.Document(1, "river")], "on_error": "raise", "progress": False},
        ),
        f"{engine} get": (docs.get, {"ids": [1]}),
        f"{engine} delete ids": (docs.delete, {"ids": [10**6]}),
        f"{engine} delete where": (docs.delete, {"where": {"n": -5}, "filter": None}),
        f"{engine} count": (docs.count, {"where": {"n": 1}, "filter": None}),
        f"{engine} fit": (docs.fit, {"refit": False, "config": None, "device": "cpu", "progress": False}),
        f"{engine} repair": (docs.repair, {"progress": False}),
        f"{engine} wait_until_ready": (docs.wait_until_ready, {"timeout": 0.1, "progress": False}),
        f"{engine} search": (docs.search, {"query": "river", **search, "offset": 0, "timings": False}),
        f"{engine} search_batch": (
            docs.search_batch,
            {"queries": ["river"], **search, "offset": 0, "timings": False},
        ),
        f"{engine} search_groups": (
            docs.search_groups,
            {"query": "river", "group_by": "n", "group_size": 2, **search},
        ),
        f"{engine} more_like": (docs.more_like, {"id": 1, **similar}),
        f"{engine} payload": (
            lambda **kw: docs.upsert([cq.Document(**kw)]),
            {"id": 3, "text": "river", "payload": {}, "vectors": {}},
        ),
        f"{engine} payload value": (
            lambda value: docs.upsert([cq.Document(3, "river", {"key": value})]),
            {"value": 1},
        ),
        f"{engine} where value": (lambda value: docs.count(where={"key": value}), {"value": 1}),
        f"{engine} where bound": (lambda value: docs.count(where={"key": {"gte": value}}), {"value": 1}),
    }


def calls(world: World) -> Calls:
    """Every public call, with arguments that are right."""
    docs, client, tokens, encoder = world.docs, world.client, world.tokens, world.encoder
    search = {
        "limit": 3,
        "candidates": 10,
        "where": {"n": 1},
        "filter": None,
        "with_payload": True,
        "mode": "two-stage",
        "params": None,
        "prefetch": None,
        "fusion": "maxsim",
        "score_threshold": None,
        "token_threshold": None,
        "vectors": None,
    }
    similar = {name: search[name] for name in ("limit", "candidates", "where", "filter", "with_payload")}
    opening = {
        "name": "docs",
        "client": client,
        "encoder": encoder,
        "config": None,
        "retry": None,
        "shard_key": None,
        "vector_encoders": None,
    }
    attached = {"limit": 3, "filter": None, "score_threshold": None, "timings": False}
    table: Calls = {
        "open": (cq.ColbertCollection.open, opening),
        "create": (cq.ColbertCollection.create, {**opening, "name": "new"}),
        "open_or_create": (cq.ColbertCollection.open_or_create, opening),
        "ColbertCollection": (lambda **kw: cq.ColbertCollection(**kw).search("river"), {"opened": docs._opened}),
        "attach": (
            lambda **kw: cq.attach(**kw).search("river", world.request),
            {
                "client": client,
                "collection": "docs",
                "encoder": encoder,
                "text_key": "text",
                "text": None,
                "retry": None,
                "shard_key": None,
                "cache_documents": 0,
            },
        ),
        "attached.search": (world.attached.search, {"query": "river", "by": world.request, **attached}),
        "attached.search_batch": (
            world.attached.search_batch,
            {"queries": ["river"], "by": [world.request], **attached},
        ),
        "plan": (
            cq.Migration.plan,
            {
                "client": client,
                "source": "docs",
                "target": "other",
                "target_client": None,
                "encoder": encoder,
                "fde": None,
                "config": None,
                "text_key": None,
                "text": None,
                "token_vector": None,
                "reencode": False,
                "strategy": "blue_green",
                "filter": None,
                "allow_irreversible": False,
                "retry": None,
            },
        ),
        "resume": (
            cq.Migration.resume,
            {
                "client": client,
                "target": "other",
                "target_client": None,
                "encoder": encoder,
                "text": None,
                "retry": None,
            },
        ),
        "connect": (
            cq.connect,
            {
                "url": "http://localhost:1",
                "api_key": None,
                "api_key_env": None,
                "api_key_file": None,
                "auth_token_provider": None,
                "prefer_grpc": False,
                "grpc_port": 6334,
                "timeout": 1,
                "ca_file": None,
                "client_certificate": None,
                "client_key": None,
                "allow_insecure": False,
            },
        ),
        "connect_async": (cq.connect_async, {"url": "http://localhost:1", "api_key": None, "timeout": 1}),
        "maxsim": (cq.maxsim, {"queries": tokens, "documents": tokens, "device": None}),
        "rank.rerank": (
            cq.rank.rerank,
            {
                "documents_ids": [["a"]],
                "queries_embeddings": [tokens[0]],
                "documents_embeddings": [[tokens[1]]],
                "device": None,
            },
        ),
        "ColbertReranker": (
            lambda **kw: cq.ColbertReranker(**kw)("river", ["river"]),
            {"encoder": encoder, "normalize": False, "device": None},
        ),
        "ColbertReranker()": (cq.ColbertReranker(encoder), {"query": "river", "texts": ["river"], "limit": 3}),
        "Reranker": (
            lambda **kw: cq.Reranker(**kw)("river"),
            {"retriever": docs, "reranker": cq.ColbertReranker(encoder)},
        ),
        "Reranker()": (cq.Reranker(docs, cq.ColbertReranker(encoder)), {"query": "river", "limit": 3, "factor": 2}),
        "fde_report": (
            cq.fde_report,
            {
                "fde": world.muvera,
                "documents": tokens,
                "queries": tokens,
                "encoder": encoder,
                "qrels": None,
                "depths": (1, 5),
                "candidates": 10,
                "graph": False,
                "quantization": None,
                "maxsim_scores": None,
                "progress": False,
            },
        ),
        "plot_recall": (cq.plot_recall, {"reports": {}, "path": None}),
        "muvera_fitness": (cq.muvera_fitness, {"queries": tokens, "documents": tokens, "seed": 0}),
        "inspect": (
            cq.inspect,
            {
                "name_or_path": str(world.model),
                "documents": None,
                "queries": None,
                "revision": None,
                "token": None,
                "local_files_only": True,
                "trust_remote_code": False,
                "device": "cpu",
            },
        ),
        "TokenEmbeddings": (cq.TokenEmbeddings, {"values": np.ones((3, 4)), "lengths": [1, 2], "truncated": None}),
        "from_matrices": (cq.TokenEmbeddings.from_matrices, {"matrices": [np.ones((2, 4))], "dim": 4}),
        "concatenate": (cq.TokenEmbeddings.concatenate, {"batches": [tokens, tokens]}),
        "blocks": (lambda **kw: list(tokens.blocks(**kw)), {"max_tokens": 8}),
        "MuveraEncoder": (cq.MuveraEncoder, {"config": CONFIG.fde, "token_dim": 32, "device": None, "fitted": None}),
        "MuveraEncoder.fit": (
            cq.MuveraEncoder.fit,
            {
                "documents": tokens,
                "config": cq.MuveraConfig(k_sim=2, dim_proj=4, r_reps=1, center=True, fit_documents=12),
                "progress": False,
            },
        ),
        "MuveraEncoder.encode_documents": (world.muvera.encode_documents, {"tokens": tokens}),
        "MuveraEncoder.encode_queries": (world.muvera.encode_queries, {"tokens": tokens}),
        "MuveraEncoder.to": (world.muvera.to, {"device": None}),
        "MuveraEncoder.from_bytes": (cq.MuveraEncoder.from_bytes, {"data": b""}),
        "MuveraEncoder.load": (cq.MuveraEncoder.load, {"path": "missing"}),
        "LemurEncoder": (LemurEncoder, {"config": LEMUR, "parameters": None, "device": None}),
        "LemurEncoder.fit": (
            cq.LemurEncoder.fit,
            {"documents": tokens, "query_tokens": None, "config": LEMUR, "device": "cpu", "progress": False},
        ),
        "LemurEncoder.from_bytes": (cq.LemurEncoder.from_bytes, {"data": b""}),
        "LemurEncoder.load": (cq.LemurEncoder.load, {"path": "missing"}),
        "ColbertEncoder": (cq.ColbertEncoder, {"checkpoint": "name"}),
        "ColbertEncoder.from_pretrained": (
            cq.ColbertEncoder.from_pretrained,
            {
                "name_or_path": str(world.model),
                "revision": None,
                "device": "cpu",
                "dtype": "float32",
                "trust_remote_code": False,
                "token": None,
                "local_files_only": True,
                "batch_size": None,
                "query_length": None,
                "document_length": None,
                "query_prefix": None,
                "document_prefix": None,
                "prompts": None,
                "pool_factor": None,
                "cache": None,
            },
        ),
        "ColbertEncoder.encode_queries": (world.colbert.encode_queries, {"texts": ["river"]}),
        "ColbertEncoder.encode_documents": (world.colbert.encode_documents, {"texts": ["river"]}),
        "ColbertEncoder.document_tokens": (world.colbert.document_tokens, {"texts": ["river"]}),
        "PylateEncoder": (cq.PylateEncoder, {"model": None}),
        "SentenceTransformersEncoder": (cq.SentenceTransformersEncoder, {"model": None}),
        "Secret": (cq.Secret, {"value": "x"}),
        "Rrf": (cq.Rrf, {"k": 60, "weights": {}}),
        "SearchHits.ranked": (cq.SearchHits.ranked, {"hits": [cq.SearchHit(1, 1.0)]}),
        "MigrationPlan.from_dict": (cq.MigrationPlan.from_dict, {"data": {}}),
        "EdgeClient": (
            lambda **kw: cq.EdgeClient(**kw).close(),
            {"path": world.folder / "another", "durability": "checkpoint"},
        ),
    }
    table |= on_documents("edge", world.docs, search, similar) | on_documents(
        "memory", world.in_memory, search, similar
    )
    for kind in (
        cq.CollectionConfig,
        cq.MuveraConfig,
        cq.LemurConfig,
        cq.HnswConfig,
        cq.Bm25Config,
        cq.DenseConfig,
        cq.SparseConfig,
        cq.RetryConfig,
    ):
        good = {
            name: each.default
            for name, each in inspect.signature(kind).parameters.items()
            if each.default is not inspect.Parameter.empty and "factory" not in repr(each.default)
        }
        more: dict[type, dict[str, Any]] = {
            cq.CollectionConfig: {
                "fde": CONFIG.fde,
                "hnsw": cq.HnswConfig(),
                "dense": {},
                "sparse": {},
                "payload_indexes": {},
            },
            cq.DenseConfig: {"dim": 3},
        }
        table[kind.__name__] = (kind, {**good, **more.get(kind, {})})
        if hasattr(kind, "from_dict"):
            table[f"{kind.__name__}.from_dict"] = (kind.from_dict, {"data": {}})
        if hasattr(kind, "preset"):
            table[f"{kind.__name__}.preset"] = (kind.preset, {"name": "small"})
    return table
