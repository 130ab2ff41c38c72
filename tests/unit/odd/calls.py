"""Every public call, as the list of the public API has them, with arguments that are right."""

from __future__ import annotations

import contextlib
import inspect
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import numpy as np
from qdrant_client import models

import colbert_qdrant as cq
from tests.unit.odd.world import CONFIG, LEMUR, MUVERA, TEXTS, World
from tests.unit.public_api import NAMES, is_callable_object, is_function

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Call:
    """A public call.

    Attributes:
        name: As in the list of the public API.
        function: Takes the arguments.
        good: Arguments that are right, made anew.
        parameters: Their names.
        client: The store that it reads or writes, as `World` calls it.
        iterated: The parameters that take anything that can be iterated over.
    """

    name: str
    function: Callable[..., Any]
    good: Callable[[], dict[str, Any]]
    client: str | None
    parameters: tuple[str, ...]
    iterated: frozenset[str] = frozenset()


EXCEPTIONS: Final = {
    "ColbertCollection": "it is made with create and open, but its methods are called",
    "AsyncColbertCollection": "it is made with create and open, but its methods are called",
    "Migration": "it is made with Migration.plan",
    "AsyncMigration": "it is made with AsyncMigration.plan",
    "AttachedCollection": "it is made with attach",
    "AsyncAttachedCollection": "it is made with attach_async",
    "Where": "a type",
    "SearchMode": "a type",
    "DocumentId": "a type",
}
"""Public names that are no call, and why; protocols, errors, dicts of options and plain results are none either."""

INSTANCES: Final[dict[str, tuple[str, str | None]]] = {
    "AsyncAttachedCollection": ("aio_attached", "aio"),
    "AsyncColbertCollection": ("aio_docs", "aio"),
    "AsyncEdgeClient": ("aio", "aio"),
    "AsyncMigration": ("aio_migration", "aio_moving"),
    "AttachedCollection": ("attached", "edge"),
    "Bm25Config": ("bm25", None),
    "ColbertCollection": ("docs", "edge"),
    "ColbertEncoder": ("colbert", None),
    "ColbertReranker": ("reranker", None),
    "EdgeClient": ("edge", "edge"),
    "EvaluatedRun": ("evaluated", None),
    "Evaluation": ("evaluation", None),
    "CardReport": ("card_report", None),
    "LemurEncoder": ("lemur", None),
    "Migration": ("migration", "moving"),
    "MigrationPlan": ("plan", None),
    "MuveraEncoder": ("muvera", None),
    "PylateEncoder": ("colbert", None),  # its methods are the same, and it needs a library that is not installed
    "ReadyTokens": ("ready", None),
    "Reranker": ("reranking", None),
    "RetrievalDataset": ("dataset", None),
    "Run": ("run_of_hits", None),
    "SentenceChunker": ("chunker", None),
    "SentenceTransformersEncoder": ("wrapped", None),
    "TokenEmbeddings": ("tokens", None),
}
"""Class → what its methods are called on, and the store that they change."""

_MANY: Final = ("DocumentSource", "Iterable", "Iterator", "Sequence", "Selector", "WithVectors")
"""Words in the hints of parameters that take anything that can be iterated over."""


def _copied(world: World) -> Path:
    folder = world.new_path()
    world.edge.copy_collection("docs", folder)
    return folder


def _backed_up(world: World) -> Path:
    folder = world.new_path()
    world.docs.backup(folder)
    return folder


GOOD: Final[dict[str, Callable[[World], Any]]] = {
    "alias": lambda _: "now",
    "AsyncColbertCollection.client": lambda world: world.aio,
    "AsyncMigration.client": lambda world: world.aio_moving,
    "attach_async.client": lambda world: world.aio,
    "list_collections_async.client": lambda world: world.aio,
    "batches": lambda world: [world.tokens, world.tokens],
    "by": lambda world: world.request,
    "search_batch.by": lambda world: [world.request],
    "change_aliases_operations": lambda _: [],
    "client": lambda world: world.edge,
    "collection": lambda _: "docs",
    "collection_name": lambda _: "docs",
    "create_collection.collection_name": lambda _: "new",
    "create_collection.vectors_config": lambda _: models.VectorParams(size=3, distance=models.Distance.DOT),
    "ColbertCollection.name": lambda _: "docs",
    "ColbertCollection.create.name": lambda _: "new",
    "config": lambda _: LEMUR,
    "cleanup.confirm": lambda _: lambda _: False,
    "cleanup.what": lambda _: "target",
    "data": lambda _: b"",
    "MigrationPlan.data": lambda world: world.plan.to_dict(),
    "from_dict.data": lambda _: {},
    "add_collection.collection_name": lambda _: "new",
    "add_collection.folder": _copied,
    "copy_collection.folder": lambda world: world.new_path(),
    "ColbertCollection.backup.path": lambda world: world.new_path(),
    "ColbertCollection.restore.path": _backed_up,
    "ColbertCollection.restore.name": lambda _: "new",
    "delete.ids": lambda _: [10**6],
    "CardReport.figure.dataset": lambda _: "scifact",
    "CardReport.figure.mode": lambda _: "exact",
    "CardReport.figure.metric": lambda _: "nDCG@10",
    "evaluate.card.model": lambda _: "me/mine",
    "evaluate.card.datasets": lambda world: world.dataset,
    "evaluate.card.encoder": lambda world: world.encoder,
    "evaluate.card.config": lambda _: CONFIG,
    "evaluate.card.folder": lambda world: world.new_path(),
    "evaluate.card.progress": lambda _: False,
    "set_payload.ids": lambda _: [1],
    "delete_payload.ids": lambda _: [1],
    "device": lambda _: "cpu",
    "dim": lambda _: 4,
    "document": lambda _: cq.Document(1, TEXTS[1], {"n": 1}),
    "documents": lambda _: [cq.Document(1, TEXTS[1], {"n": 1})],
    "documents_embeddings": lambda world: [[world.tokens[1]]],
    "documents_ids": lambda _: [["a"]],
    "encoder": lambda world: world.encoder,
    "end": lambda _: 5,
    "Evaluation.data": lambda world: world.evaluation.to_dict(),
    "Evaluation.write_runs.folder": lambda world: world.new_path(),
    "Evaluation.load.path": lambda world: world.evaluated_file,
    "EvaluatedRun.dataset": lambda _: "odd",
    "EvaluatedRun.mode": lambda _: "theirs",
    "EvaluatedRun.run": lambda world: world.run_of_hits,
    "EvaluatedRun.values": lambda _: {"RR@10": {"q": 1.0}},
    "Run.read.path": lambda world: world.run_file,
    "Run.hits": lambda _: {"q": {"1": 1.0}},
    "Run.write.path": lambda world: world.new_path(),
    "Run.from_hits.hits": lambda _: {"q": [cq.SearchHit(1, 1.0)]},
    "compare.a": lambda world: world.evaluated,
    "compare.b": lambda world: world.evaluated,
    "metric": lambda _: "RR@10",
    "mode": lambda _: "theirs",
    "evaluate.target": lambda world: world.docs,
    "evaluate.dataset": lambda _: cq.RetrievalDataset(name="odd", queries={"q": "river"}, qrels={"q": {"1": 1}}),
    "evaluate.modes": lambda _: ["exact"],
    "evaluate.folder": lambda world: world.new_path(),
    "evaluate.progress": lambda _: False,
    "fde": lambda world: world.muvera,
    "fde_report.documents": lambda world: world.tokens,
    "fde_report.depths": lambda _: (1, 5),
    "fde_report.graph": lambda _: False,
    "fde_report.candidates": lambda _: 10,
    "field_name": lambda _: "n",
    "create_payload_index.field_schema": lambda _: "integer",
    "file_name": lambda _: "notes.txt",
    "attach.data": lambda _: b"x",
    "group_by": lambda _: "n",
    "hits": lambda _: [cq.SearchHit(1, 1.0)],
    "id": lambda _: 1,
    "ids": lambda _: [1],
    "ingest_tokens.tokens": lambda world: world.tokens[:1],
    "inspect.device": lambda _: "cpu",
    "inspect.local_files_only": lambda _: True,
    "from_pretrained.device": lambda _: "cpu",
    "from_pretrained.local_files_only": lambda _: True,
    "from_pretrained.name_or_path": lambda world: str(world.model),
    "keys": lambda _: ["missing"],
    "LemurEncoder.documents": lambda world: world.tokens,
    "LemurEncoder.fit.config": lambda _: LEMUR,
    "LemurEncoder.parameters": lambda world: world.lemur.parameters,
    "lengths": lambda _: [1, 2],
    "matrices": lambda _: [np.ones((2, 4))],
    "max_tokens": lambda _: 8,
    "MuveraConfig.data": lambda _: MUVERA.to_dict(),
    "LemurConfig.data": lambda _: LEMUR.to_dict(),
    "maxsim.documents": lambda world: world.tokens,
    "maxsim.queries": lambda world: world.tokens,
    "Migration.client": lambda world: world.moving,
    "plan.target": lambda _: "third",
    "plan.encoder": lambda world: world.encoder,
    "plan.fde": lambda _: MUVERA,
    "resume.target": lambda world: world.migration.details.target,
    "model": lambda world: world.transformer,
    "muvera_fitness.documents": lambda world: world.tokens,
    "muvera_fitness.queries": lambda world: world.tokens,
    "MuveraEncoder.config": lambda _: MUVERA,
    "MuveraEncoder.documents": lambda world: world.tokens,
    "MuveraEncoder.fit.config": lambda _: cq.MuveraConfig(k_sim=2, dim_proj=4, r_reps=1, center=True, fit_documents=5),
    "name": lambda _: "small",
    "name_or_path": lambda world: str(world.model),
    "opened": lambda world: world.docs._opened,
    "checkpoint": lambda world: world.colbert.checkpoint,
    "other": lambda world: world.plan,
    "path": lambda world: world.folder / "file",
    "export.path": lambda world: world.folder / f"{uuid4().hex}.jsonl",
    "export_info.path": lambda world: world.exported,
    "EdgeClient.path": lambda world: world.folder / "another",
    "AsyncEdgeClient.path": lambda world: world.folder / "another",
    "payload": lambda _: {"n": 1},
    "points": lambda world: [world.point],
    "set_payload.points": lambda world: [world.point.id],
    "overwrite_payload.points": lambda world: [world.point.id],
    "overwrite_payload.payload": lambda world: world.point.payload,
    "delete_payload.points": lambda world: [world.point.id],
    "delete_vectors.points": lambda world: [world.point.id],
    "points_selector": lambda _: [10**6],
    "upsert.points": lambda world: [
        models.PointStruct(id=world.point.id, vector=world.point.vector, payload=world.point.payload)
    ],
    "update_vectors.points": lambda world: [models.PointVectors(id=world.point.id, vector=world.point.vector)],
    "qrels": lambda _: None,
    "queries": lambda _: ["river"],
    "fde_report.queries": lambda world: world.tokens,
    "queries_embeddings": lambda world: [world.tokens[0]],
    "query": lambda _: "river",
    "EdgeClient.query": lambda _: [0.5] * MUVERA.dim,
    "EdgeClient.using": lambda _: "fde",
    "AsyncEdgeClient.query": lambda _: [0.5] * MUVERA.dim,
    "AsyncEdgeClient.using": lambda _: "fde",
    "reports": lambda _: {},
    "requests": lambda world: [world.request],
    "reranker": lambda world: world.reranker,
    "RetrievalDataset.queries": lambda _: {"q": "river"},
    "RetrievalDataset.qrels": lambda _: {"q": {"1": 1}},
    "RetrievalDataset.load.source": lambda world: world.beir,
    "RetrievalDataset.from_files.queries": lambda world: world.beir / "queries.jsonl",
    "RetrievalDataset.from_files.qrels": lambda world: world.beir / "qrels" / "test.tsv",
    "RetrievalDataset.from_files.corpus": lambda world: world.beir / "corpus.jsonl",
    "retriever": lambda world: world.docs,
    "retrieve.ids": lambda world: [world.point.id],
    "seed": lambda _: 0,
    "SentenceChunker.encoder": lambda world: world.colbert,
    "source": lambda _: "docs",
    "ingest.source": lambda _: [cq.Document(1, TEXTS[1], {"n": 1})],
    "start": lambda _: 0,
    "text": lambda _: "river",
    "texts": lambda _: ["river"],
    "token_dim": lambda _: 32,
    "tokens": lambda world: world.tokens,
    "url": lambda _: "http://localhost:1",
    "connect.timeout": lambda _: 1,
    "connect_async.timeout": lambda _: 1,
    "value": lambda _: "x",
    "values": lambda _: np.ones((3, 4)),
    "vector_name": lambda _: "fde",
    "create_vector_name.vector_name": lambda _: "more",
    "vector_name_config": lambda _: models.DenseVectorNameConfig(
        dense=models.DenseVectorConfig(size=3, distance=models.Distance.DOT)
    ),
    "vectors": lambda _: ["fde"],
    "ColbertCollection.update_vectors.name": lambda _: "meaning",
    "ColbertCollection.update_vectors.vectors": lambda _: {1: [0.0, 1.0]},
    "wait_until_ready.timeout": lambda _: 0.1,
}
"""`Class.method.parameter`, `Class.parameter`, `method.parameter` or parameter → a value that is right.

One without a class or method is for parameters without a default.
"""


CLIENTS: Final = {
    "attach": "edge",
    "attach_async": "aio",
    "evaluate": "edge",
    "list_collections": "edge",
    "list_collections_async": "aio",
}
"""Function → the store that it reads or writes."""


def public_calls(world: World) -> Iterator[Call]:
    """Derives the calls from the public names, so that a new one is tried, too."""
    for name in NAMES:
        value = getattr(cq, name)
        if inspect.ismodule(value):
            for function in filter(inspect.isfunction, list(vars(value).values())):
                if function.__module__ == value.__name__ and not function.__name__.startswith("_"):
                    yield _call(world, f"{name}.{function.__name__}", function, None)
        elif is_function(value):
            yield _call(world, name, value, CLIENTS.get(name))
            for member in dir(type(value)) if is_callable_object(value) else ():
                if not member.startswith("_"):
                    yield _call(world, f"{name}.{member}", getattr(value, member), None)
        elif inspect.isclass(value) and not _is_no_call(value):
            yield from _calls_of_class(world, name, value)


def _is_no_call(kind: type) -> bool:
    return issubclass(kind, Exception | dict) or getattr(kind, "_is_protocol", False)


def _calls_of_class(world: World, name: str, kind: type) -> Iterator[Call]:
    takes_anything = hasattr(kind, "__dataclass_fields__") and not hasattr(kind, "__post_init__")
    if inspect.isfunction(inspect.getattr_static(kind, "__init__")) and not takes_anything and name not in EXCEPTIONS:
        yield _call(world, name, kind, None)
    instance, client = INSTANCES.get(name, (None, None))
    for member, found in inspect.getmembers_static(kind):
        ours = any(member in vars(base) for base in kind.__mro__ if base.__module__.startswith("colbert_qdrant"))
        if (member.startswith("_") and member != "__call__") or not ours or isinstance(found, property):
            continue
        if isinstance(found, classmethod | staticmethod):
            yield _call(world, f"{name}.{member}", getattr(kind, member), client)
        elif inspect.isfunction(found) and len(inspect.signature(found).parameters) > 1:
            assert instance, f"tell in INSTANCES what {name}.{member} is called on"
            yield _call(world, f"{name}.{member}", found, client, on=instance)


def _call(world: World, name: str, function: Callable[..., Any], client: str | None, on: str | None = None) -> Call:
    """Makes a call of a function, or of the method of that name of a part of the world."""
    parameters = {
        each.name: each
        for each in inspect.signature(function).parameters.values()
        if each.name != "self" and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }
    makers = {each.name: _maker(name, each) for each in parameters.values()}
    asynchronous = inspect.iscoroutinefunction(function)

    def called(**arguments: Any) -> Any:
        method = function if on is None else getattr(getattr(world, on), function.__name__)
        answer = method(**arguments)
        if inspect.isasyncgen(answer):
            return world.run(_items(answer))
        return world.run(answer) if asynchronous else list(answer) if inspect.isgenerator(answer) else answer

    return Call(
        name=name,
        function=called,
        good=lambda: {each: maker(world) for each, maker in makers.items()},
        client=client,
        parameters=tuple(parameters),
        iterated=frozenset(name for name, each in parameters.items() if any(word in str(each) for word in _MANY)),
    )


def _maker(name: str, parameter: inspect.Parameter) -> Callable[[World], Any]:
    owner, _, method = name.rpartition(".")
    keys = [f"{name}.{parameter.name}", f"{owner}.{parameter.name}", f"{method}.{parameter.name}"]
    if name.startswith("Async"):
        keys = [each for key in keys for each in (key, key.removeprefix("Async"))]
    if parameter.default is inspect.Parameter.empty:
        keys.append(parameter.name)
    for key in keys:
        if key in GOOD:
            return GOOD[key]
    assert parameter.default is not inspect.Parameter.empty, f"tell in GOOD what is right for {name}({parameter.name}=)"
    return lambda _: parameter.default


async def _items(stream: AsyncIterator[Any]) -> list[Any]:
    return [each async for each in stream]


def inner_calls(world: World) -> Iterator[Call]:
    """Calls that take a value inside another one, and those on another engine."""
    for on, client in (("docs", "edge"), ("memory_docs", "memory")):
        for name, (function, good) in _inner(partial(getattr, world, on)).items():
            yield Call(name=f"{on} {name}", function=function, good=good.copy, client=client, parameters=tuple(good))
    for method in _ANYWHERE:
        function = getattr(cq.ColbertCollection, method)
        made = _call(world, f"ColbertCollection.{method}", function, "memory", on="memory_docs")
        yield replace(made, name=f"{made.name} in memory")


_ANYWHERE: Final = (  # methods that engines differ in
    "search",
    "search_batch",
    "search_groups",
    "more_like",
    "ingest",
    "upsert",
    "delete",
    "set_payload",
    "delete_payload",
    "update_vectors",
    "get",
    "count",
    "iterate",
)


def _inner(docs: Callable[[], cq.ColbertCollection]) -> dict[str, tuple[Callable[..., Any], dict[str, Any]]]:
    first = cq.Document(1, TEXTS[1], {"n": 1})
    return {
        "document": (
            lambda **fields: docs().upsert([cq.Document(**fields)]),
            {"id": 1, "text": TEXTS[1], "payload": {"n": 1}, "vectors": {}, "tokens": np.ones((2, 32))},
        ),
        "payload": (
            lambda value, key: docs().upsert([cq.Document(1, TEXTS[1], _dict({"n": value}, key, 1))]),
            {"value": 1, "key": "n"},
        ),
        "documents": (lambda one: docs().ingest([first, one]), {"one": cq.Document(2, TEXTS[2], {"n": 2})}),
        "where": (lambda value, key: docs().count(where=_dict({}, key, value)), {"value": 1, "key": "n"}),
        "where bound": (lambda value: docs().count(where={"n": {"gte": value}}), {"value": 1}),
        "where any": (lambda value: docs().search("river", where={"n": [value]}), {"value": 1}),
        "query in a batch": (lambda query: docs().search_batch(["a", query]), {"query": "river"}),
    }


def _dict(items: dict[Any, Any], key: Any, value: Any) -> dict[Any, Any]:
    with contextlib.suppress(Exception):  # not every value can be a key
        items[key] = value
    return items
