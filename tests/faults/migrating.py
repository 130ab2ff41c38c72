"""A small collection, migrations of it in processes that are killed, and what has to be true when one has ended."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from qdrant_client import QdrantClient, models

from colbert_qdrant import ColbertCollection, EdgeClient, LemurConfig, MuveraConfig, RetryConfig, edge
from colbert_qdrant.migrate import Migration, copier
from colbert_qdrant.points.ids import RESERVED_POINT
from tests.encoders import WordEncoder, random_texts
from tests.processes import PROCESSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from colbert_qdrant.engines import Client

Kind = Literal["computed", "fitted", "in place", "in place, fitted"]

COUNT = 30
ADDED = ("fde", "colbert", "colbert__origin")
MUVERA = MuveraConfig(k_sim=2, dim_proj=8, r_reps=8)
LEMUR = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=100)
FAST = RetryConfig(attempts=3, first_wait=0.001, longest_wait=0.002, deadline=20)


def fill(client: Client, name: str = "docs", *, count: int = COUNT) -> None:
    """Make a collection as somebody else would: some points lack their text, or a vector."""
    client.create_collection(
        name,
        vectors_config={"dense": models.VectorParams(size=4, distance=models.Distance.DOT)},
        sparse_vectors_config={"words": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    points = []
    for number, text in enumerate(random_texts(count, seed=7)):
        payload: dict[str, Any] = {"document": text, "meta": {"n": number, "at": "2024-02-29T12:00:00Z", "no": None}}
        vector: dict[str, Any] = {"dense": [number + 1.0, 0.5, -2.0, 0.25]}
        if number % 3 == 0:
            vector["words"] = models.SparseVector(indices=[number, number + 7], values=[1.0, 0.5])
        if number % 11 == 5:
            del payload["document"]
        if number % 13 == 7:
            vector = {"words": models.SparseVector(indices=[1], values=[2.0])}
        id: Any = number if number % 2 else f"00000000-0000-4000-8000-{number:012d}"
        points.append(models.PointStruct(id=id, payload=payload, vector=vector))
    client.upsert(name, points)
    if not isinstance(client, EdgeClient):
        return
    client.create_payload_index(name, "meta.n", "integer")


def planned(client: Client, kind: Kind, **other: Any) -> Migration:
    """A migration of ``docs`` to ``new``, or in place."""
    where: dict[str, Any] = {"strategy": "in_place"} if kind.startswith("in place") else {"target": "new"}
    fde = LEMUR if kind.endswith("fitted") else MUVERA
    return Migration.plan(client, "docs", **{**where, "encoder": WordEncoder(), "fde": fde, "retry": FAST, **other})


def resumed(client: Client, kind: Kind) -> Migration:
    """The same, from what is kept with the target."""
    name = "docs" if kind.startswith("in place") else "new"
    return Migration.resume(client, name, encoder=WordEncoder(), retry=FAST)


def contents(client: Client, name: str) -> dict[Any, tuple[Any, dict[str, Any]]]:
    """Every payload and all vectors, by id."""
    records, offset = client.scroll(name, limit=10_000, with_payload=True, with_vectors=True)
    assert offset is None
    found = {record.id: (record.payload or {}, vectors(record)) for record in records}
    assert len(found) == len(records) == client.count(name, exact=True).count
    found.pop(RESERVED_POINT, None)  # what servers without metadata have in their place
    return found


def vectors(record: models.Record) -> dict[str, Any]:
    """A point's vectors as plain numbers."""
    named: Any = record.vector or {}
    return {
        name: dict(zip(vector.indices, vector.values, strict=True))
        if isinstance(vector, models.SparseVector)
        else np.asarray(vector, np.float32).tolist()
        for name, vector in named.items()
    }


def check_migrated(client: Client, kind: Kind, before: dict[Any, tuple[Any, dict[str, Any]]]) -> None:
    """Everything that was in the source is in the target, once, with what had to be added to it, and nothing else."""
    name = "docs" if kind.startswith("in place") else "new"
    docs = ColbertCollection.open(name, client=client, encoder=WordEncoder())
    assert docs.fde is not None
    if name == "new":
        assert contents(client, "docs") == before
    after = contents(client, name)
    assert set(after) == set(before)
    for id, (payload, named) in before.items():
        stored_payload, stored = after[id]
        assert stored_payload == payload
        added = {each: stored.pop(each) for each in ADDED if each in stored}
        assert stored == named
        if "document" not in payload:
            assert not added
            continue
        tokens = WordEncoder().encode_documents([payload["document"]])
        np.testing.assert_allclose(np.array(added["colbert"]), tokens[0], atol=1e-3)
        wanted = docs.fde.encode_documents(tokens)[0]
        np.testing.assert_allclose(np.array(added["fde"]), wanted, rtol=5e-3, atol=5e-3)


def check_aliases(client: Client, allowed: dict[str, set[str | None]]) -> dict[str, str]:
    """Every alias stands for a collection that is there, and for one of those that it may stand for."""
    collections = {each.name for each in client.get_collections().collections}
    aliases = {each.alias_name: each.collection_name for each in client.get_aliases().aliases}
    assert set(aliases) <= set(allowed)
    for alias, names in allowed.items():
        assert aliases.get(alias) in names
        assert alias not in aliases or aliases[alias] in collections
    return aliases


def stand_for(client: Client, alias: str, name: str) -> None:
    """Make an alias."""
    new = models.CreateAlias(alias_name=alias, collection_name=name)
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=new)])


def on_server(port: int) -> QdrantClient:
    """A client of the stub server."""
    return QdrantClient(host="127.0.0.1", port=port, check_compatibility=False, timeout=10)


@contextmanager
def filled(port: int, *, count: int) -> Iterator[QdrantClient]:
    """A client of the stub server, which holds a collection with an index."""
    client = on_server(port)
    fill(client, count=count)
    client.create_payload_index("docs", "meta.n", models.PayloadSchemaType.INTEGER)
    yield client
    client.close()


def step(client: Client, kind: Kind, what: str) -> None:
    """What is killed: from planning to the end of a step."""
    vars(copier)["PAGE_POINTS"] = 8  # more requests, and so more points in time
    if what == "run":
        planned(client, kind).run()
    elif what == "switch":
        planned(client, kind).switch("live")
    else:
        resumed(client, kind).rollback()


def work_on_server(port: int, kind: Kind, what: str) -> None:
    """In a process of its own, which its server kills."""
    step(on_server(port), kind, what)


def work_in_edge(path: str, kind: Kind, what: str, deadly: int, counted: Any) -> None:
    """In a process of its own, which ends at a call of a function of the embedded engine's client, or its return."""
    folder, calls = str(Path(edge.__file__).parent), 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        if event not in ("call", "return", "c_call", "c_return") or not frame.f_code.co_filename.startswith(folder):
            return
        calls += 1
        if calls == deadly:
            os._exit(9)

    with EdgeClient(path) as client:
        sys.setprofile(count)
        step(client, kind, what)
        sys.setprofile(None)
    counted.value = calls


def killed(target: Callable[..., None], *arguments: Any, deadly: Callable[[Any], None] = lambda process: None) -> int:
    """Start a process that is expected to be killed, and wait for that; gives its exit code."""
    process = PROCESSES.Process(target=target, args=arguments, daemon=True)
    deadly(process)
    process.start()
    process.join(60)
    assert process.exitcode is not None
    return process.exitcode
