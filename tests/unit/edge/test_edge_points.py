"""Points: written, changed, read, listed, deleted."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant.edge import EdgeClient
from colbert_qdrant.errors import (
    CapabilityError,
    ConfigurationError,
    EngineError,
    InvalidDocumentError,
    SchemaMismatchError,
)

if TYPE_CHECKING:
    from pathlib import Path

UUID_ID = "6f1f8a5e-0c62-4a57-9b5e-111111111111"
VECTORS = {
    "dense": models.VectorParams(size=2, distance=models.Distance.DOT),
    "tokens": models.VectorParams(
        size=2,
        distance=models.Distance.DOT,
        multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
    ),
}
SPARSE = models.SparseVector(indices=[1], values=[2.0])
FULL: dict[str, Any] = {"dense": [1.0, 2.0], "tokens": [[1.0, 2.0], [3.0, 4.0]], "sparse": SPARSE}


def where(key: str, value: int | str) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key=key, match=models.MatchValue(value=value))])


@pytest.fixture
def docs(client: EdgeClient) -> EdgeClient:
    client.create_collection("docs", VECTORS, sparse_vectors_config={"sparse": models.SparseVectorParams()})
    client.upsert(
        "docs",
        [models.PointStruct(id=n, vector=FULL, payload={"n": n, "group": n % 2}) for n in range(1, 6)]
        + [models.PointStruct(id=UUID(UUID_ID), vector={"dense": [0.0, 1.0]}, payload={"n": 0})],
    )
    return client


def payloads(client: EdgeClient) -> dict[Any, Any]:
    return {record.id: record.payload for record in client.scroll("docs", limit=100)[0]}


def test_results_of_writes(docs: EdgeClient) -> None:
    result = docs.upsert("docs", [], wait=False)
    assert result == models.UpdateResult(status=models.UpdateStatus.COMPLETED)


def test_ids_come_back_as_qdrant_client_gives_them(docs: EdgeClient) -> None:
    records = docs.retrieve("docs", [3, UUID_ID, 999, UUID(UUID_ID)], with_payload=False)
    assert {record.id for record in records} == {3, UUID_ID}
    assert [record.payload for record in records] == [None] * len(records)
    (found,) = docs.query_points("docs", [0.0, 1.0], using="dense", query_filter=where("n", 0)).points
    assert found.id == UUID_ID


def test_upsert_replaces_the_whole_point(docs: EdgeClient) -> None:
    docs.upsert("docs", [models.PointStruct(id=1, vector={"dense": [9.0, 9.0]}, payload={"new": True})])
    (record,) = docs.retrieve("docs", [1], with_vectors=True)
    assert record.payload == {"new": True}
    assert record.vector == {"dense": [9.0, 9.0]}


@pytest.mark.parametrize("dtype", [np.float32, ">f4", np.float64, np.float16])
@pytest.mark.parametrize("step", [1, 2, -1])
def test_numpy_vectors(docs: EdgeClient, dtype: Any, step: int) -> None:
    dense = np.array([1.5, 9, 2.25, 9], dtype)[:: abs(step)][:2][:: step // abs(step)]
    tokens = np.arange(24, dtype=dtype).reshape(6, 4)[::step, ::2]
    if step == 1:
        dense = np.frombuffer(b"1" + dense.tobytes(), dtype, offset=1)  # not aligned, as in messages between processes
    vector: Any = {"dense": dense, "tokens": tokens}
    docs.upsert("docs", [models.PointStruct.model_construct(id=8, vector=vector, payload=None)])
    (record,) = docs.retrieve("docs", [8], with_vectors=True)
    assert record.vector == {"dense": dense.tolist(), "tokens": tokens.tolist()}


@pytest.mark.parametrize("name", ["dense", "tokens"])
@pytest.mark.parametrize("shape", [(3,), (2, 3), (0, 2), (0,)])
def test_numpy_vectors_of_another_shape(docs: EdgeClient, name: str, shape: tuple[int, ...]) -> None:
    vector: Any = {name: np.ones(shape, np.float32)}
    with pytest.raises(SchemaMismatchError, match=f"point 8: vector '{name}' "):
        docs.upsert("docs", [models.PointStruct.model_construct(id=8, vector=vector, payload=None)])


def test_update_vectors_keeps_the_payload_and_the_other_vectors(docs: EdgeClient) -> None:
    docs.update_vectors("docs", [models.PointVectors(id=2, vector={"tokens": [[7.0, 7.0]]})])
    (record,) = docs.retrieve("docs", [2], with_vectors=True)
    assert record.payload == {"n": 2, "group": 0}
    assert record.vector == {**FULL, "tokens": [[7.0, 7.0]]}


def test_update_vectors_of_a_missing_point(docs: EdgeClient) -> None:
    with pytest.raises(EngineError, match=r"update_vectors on collection 'docs'.*99"):
        docs.update_vectors("docs", [models.PointVectors(id=99, vector={"dense": [1.0, 1.0]})])


def test_set_payload_merges(docs: EdgeClient) -> None:
    docs.set_payload("docs", {"x": {"a": 1}}, [1])
    docs.set_payload("docs", {"b": 2}, [1], key="x")
    docs.set_payload("docs", {"n": 50}, where("group", 0))
    assert payloads(docs)[1] == {"n": 1, "group": 1, "x": {"a": 1, "b": 2}}
    assert payloads(docs)[2] == {"n": 50, "group": 0}
    assert payloads(docs)[3] == {"n": 3, "group": 1}


def test_overwrite_payload_replaces(docs: EdgeClient) -> None:
    docs.overwrite_payload("docs", {"x": 1}, models.PointIdsList(points=[1]))
    docs.overwrite_payload("docs", {"y": 1}, models.FilterSelector(filter=where("group", 0)))
    assert payloads(docs)[1] == {"x": 1}
    assert payloads(docs)[2] == payloads(docs)[4] == {"y": 1}
    assert payloads(docs)[3] == {"n": 3, "group": 1}


def test_delete_payload_removes_keys(docs: EdgeClient) -> None:
    docs.delete_payload("docs", ["n"], [1, UUID_ID])
    docs.delete_payload("docs", ["group", "nope"], where("group", 0))
    assert payloads(docs)[1] == {"group": 1}
    assert payloads(docs)[UUID_ID] == {}
    assert payloads(docs)[2] == {"n": 2}


def test_payload_values_are_written_as_json(docs: EdgeClient) -> None:
    values = {"at": dt.datetime(2024, 1, 2, tzinfo=dt.UTC), "id": UUID(UUID_ID), "flags": (True, None)}
    docs.set_payload("docs", values, [1])
    stored = payloads(docs)[1]
    assert dt.datetime.fromisoformat(stored["at"]) == values["at"]
    assert (stored["id"], stored["flags"]) == (UUID_ID, [True, None])
    with pytest.raises(EngineError, match="set_payload"):
        docs.set_payload("docs", {"x": object()}, [1])


@pytest.mark.parametrize(
    ("selector", "left"),
    [
        ([1, UUID_ID, 999], {2, 3, 4, 5}),
        (models.PointIdsList(points=[1, 2]), {3, 4, 5, UUID_ID}),
        (where("group", 1), {2, 4, UUID_ID}),
        (models.FilterSelector(filter=where("group", 0)), {1, 3, 5, UUID_ID}),
        ([], {1, 2, 3, 4, 5, UUID_ID}),
    ],
)
def test_delete(docs: EdgeClient, selector: Any, left: set[int | str]) -> None:
    docs.delete("docs", selector)
    assert set(payloads(docs)) == left
    assert docs.count("docs").count == len(left)


@pytest.mark.parametrize("selector", [1, "all", None])
def test_delete_needs_a_list_or_a_filter(docs: EdgeClient, selector: Any) -> None:
    with pytest.raises(ConfigurationError):
        docs.delete("docs", selector)
    assert docs.count("docs").count == 6


def test_selectors_with_a_shard_key_are_refused(docs: EdgeClient) -> None:
    with pytest.raises(CapabilityError, match="shard_key"):
        docs.delete("docs", models.PointIdsList(points=[1], shard_key="a"))


def test_count(docs: EdgeClient) -> None:
    assert docs.count("docs") == models.CountResult(count=6)
    assert docs.count("docs", where("group", 1), exact=True).count == 3


@pytest.mark.parametrize("page", [1, 2, 4, 6, 100])
def test_scroll_covers_every_point_once(docs: EdgeClient, page: int) -> None:
    seen: list[Any] = []
    offset: Any = None
    while True:
        records, offset = docs.scroll("docs", limit=page, offset=offset)
        assert len(records) <= page
        seen += [record.id for record in records]
        if offset is None:
            break
        assert isinstance(offset, int | str)
    assert seen == [1, 2, 3, 4, 5, UUID_ID]


def test_scroll_with_filter_order_and_vectors(docs: EdgeClient) -> None:
    records, following = docs.scroll("docs", where("group", 1), limit=2, with_vectors=["dense"])
    assert ([record.id for record in records], following) == ([1, 3], 5)
    assert records[0].vector == {"dense": [1.0, 2.0]}
    with pytest.raises(EngineError, match="scroll on collection 'docs'"):
        docs.scroll("docs", order_by="n")
    docs.create_payload_index("docs", "n", "integer")
    down = models.OrderBy(key="n", direction=models.Direction.DESC, start_from=4)
    assert [record.id for record in docs.scroll("docs", limit=3, order_by=down)[0]] == [4, 3, 2]
    assert docs.scroll("docs", limit=1, order_by="n")[0][0].id == UUID_ID


BAD_VECTORS: dict[str, Any] = {
    "too short": {"dense": [1.0]},
    "too long": {"dense": [1.0] * 3},
    "multivector as dense": {"dense": [[1.0, 2.0]]},
    "unknown name": {"nope": [1.0, 2.0]},
    "unnamed": [1.0, 2.0],
    "ragged": {"tokens": [[1.0, 2.0], [3.0]]},
    "rows too long": {"tokens": [[1.0, 2.0, 3.0]]},
    "empty row": {"tokens": [[]]},
    "no rows": {"tokens": []},
    "rows and numbers": {"tokens": [[1.0, 2.0], 3.0]},
    "sparse as dense": {"dense": models.SparseVector(indices=[0], values=[1.0])},
    "dense as sparse": {"sparse": [1.0, 2.0]},
    "sparse lengths": {"sparse": models.SparseVector(indices=[1, 2], values=[1.0])},
    "sparse twice": {"sparse": models.SparseVector(indices=[1, 1], values=[1.0, 1.0])},
}


@pytest.mark.parametrize("vector", BAD_VECTORS.values(), ids=BAD_VECTORS)
def test_a_batch_with_a_vector_that_does_not_fit_writes_nothing(docs: EdgeClient, vector: Any) -> None:
    good = models.PointStruct(id=50, vector=FULL)
    bad = models.PointStruct.model_construct(id=51, vector=vector, payload=None)
    with pytest.raises(SchemaMismatchError, match=r"'docs', point 51"):
        docs.upsert("docs", [good, bad])
    with pytest.raises(SchemaMismatchError, match=r"'docs', point 1"):
        docs.update_vectors("docs", [models.PointVectors.model_construct(id=1, vector=vector)])
    assert docs.count("docs").count == 6


@pytest.mark.parametrize("point_id", ["abc", -1, 2**64, 1.5])
def test_bad_ids_are_refused(docs: EdgeClient, point_id: Any) -> None:
    with pytest.raises(EngineError, match="upsert on collection 'docs'"):
        docs.upsert("docs", [models.PointStruct.model_construct(id=point_id, vector=FULL, payload=None)])
    assert docs.count("docs").count == 6


def test_text_to_embed_is_refused(docs: EdgeClient) -> None:
    document = models.Document(text="hello", model="m")
    with pytest.raises(CapabilityError, match="Document"):
        docs.upsert("docs", [models.PointStruct(id=1, vector={"dense": document})])
    with pytest.raises(CapabilityError, match="tuple"):
        docs.upsert("docs", [(1, [1.0, 2.0])])  # type: ignore[list-item]


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_deep_payloads_and_filters_are_refused_before_they_spoil_the_log(docs: EdgeClient) -> None:
    with pytest.raises(InvalidDocumentError, match="point 1"):
        docs.upsert("docs", [models.PointStruct(id=1, vector=FULL, payload=nested(200))])
    with pytest.raises(InvalidDocumentError, match="payload"):
        docs.set_payload("docs", nested(200), [1])
    for key, payload in (("a" + ".a" * 129, {"x": 1}), ("a" + "[].a" * 63, {"x": 1}), ("a" + ".a" * 30, nested(35))):
        with pytest.raises(InvalidDocumentError, match=r"the payload at key .* is nested more than 64"):
            docs.set_payload("docs", payload, [1], key=key)
    docs.set_payload("docs", {"x": 1}, [2], key="a" + ".a" * 60)
    deep = where("n", 1)
    for _ in range(100):
        deep = models.Filter(must=[deep])
    with pytest.raises(InvalidDocumentError, match="filter"):
        docs.delete("docs", deep)
    docs.overwrite_payload("docs", nested(60), [1])
    assert payloads(docs)[1] == nested(60)


def test_refused_writes_leave_a_log_that_can_be_read(tmp_path: Path, run_script: Any) -> None:
    script = """
import os, sys
from colbert_qdrant.errors import ColbertQdrantError
from colbert_qdrant.edge import EdgeClient
from qdrant_client import models
client = EdgeClient(sys.argv[1])
multi = models.MultiVectorConfig(comparator="max_sim")
client.create_collection("docs", models.VectorParams(size=2, distance="Dot", multivector_config=multi))
deep = {}
for _ in range(64): deep = {"a": deep}
filters = models.Filter(must=[models.HasIdCondition(has_id=[9])])
for _ in range(30): filters = models.Filter(must=[filters])
def attempt(operation, *arguments):
    try:
        operation("docs", *arguments)
    except ColbertQdrantError:
        pass
attempt(client.upsert, [models.PointStruct(id=1, vector=[[1.0, 2.0]], payload=deep["a"])])
attempt(client.upsert, [models.PointStruct(id=2, vector=[[1.0, 2.0], [3.0]])])
attempt(client.upsert, [models.PointStruct(id=3, vector=[[1.0, 2.0]], payload=deep)])
attempt(client.delete, filters)
attempt(client.update_vectors, [models.PointVectors(id=77, vector=[[1.0, 2.0]])])
os._exit(0)
"""
    result = run_script(script, tmp_path)
    assert result.returncode == 0, result.stderr
    with EdgeClient(tmp_path) as client:
        assert {record.id for record in client.scroll("docs")[0]} <= {1, 3}
        assert client.retrieve("docs", [1]) != []


NAMED = {name: models.VectorParams(size=2, distance=models.Distance.DOT) for name in ("first", "second")}


def with_two_vectors(client: EdgeClient) -> None:
    client.create_collection("named", NAMED)
    points = [
        models.PointStruct(id=n, vector={"first": [float(n), 0.0], "second": [0.0, float(n)]}, payload={"n": n})
        for n in (1, 2, 3)
    ]
    client.upsert("named", points)


def vectors_of(client: EdgeClient) -> dict[Any, dict[str, Any]]:
    records, _ = client.scroll("named", with_vectors=True)
    return {record.id: record.vector for record in records}  # type: ignore[misc]


@pytest.mark.parametrize(
    "chosen",
    [
        [1, 3],
        models.PointIdsList(points=[1, 3]),
        models.Filter(must_not=[models.HasIdCondition(has_id=[2])]),
        models.FilterSelector(filter=models.Filter(must_not=[models.HasIdCondition(has_id=[2])])),
    ],
)
def test_delete_vectors_leaves_the_rest_of_a_point(client: EdgeClient, chosen: Any) -> None:
    with_two_vectors(client)
    client.delete_vectors("named", ["second"], chosen)
    assert vectors_of(client) == {1: {"first": [1, 0]}, 2: {"first": [2, 0], "second": [0, 2]}, 3: {"first": [3, 0]}}
    assert [record.payload for record in client.scroll("named")[0]] == [{"n": 1}, {"n": 2}, {"n": 3}]
    found = client.query_points("named", [0.0, 1.0], using="second").points
    assert [point.id for point in found] == [2]
    lacks = models.Filter(must_not=[models.HasVectorCondition(has_vector="second")])
    assert client.count("named", lacks).count == 2


def test_deleted_vectors_stay_deleted_when_the_store_is_opened_again(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        with_two_vectors(client)
        client.delete_vectors("named", ["second"], [1, 2])
        client.optimize("named")
    with EdgeClient(tmp_path) as client:
        assert {id: set(vectors) for id, vectors in vectors_of(client).items()} == {
            1: {"first"},
            2: {"first"},
            3: {"first", "second"},
        }


def test_delete_vectors_names_what_is_missing(client: EdgeClient) -> None:
    with_two_vectors(client)
    with pytest.raises(SchemaMismatchError, match=r"delete_vectors on collection 'named': .*third"):
        client.delete_vectors("named", ["third"], [1])
    with pytest.raises(EngineError, match="No point with id 9"):
        client.delete_vectors("named", ["second"], [9, 1])
    assert set(vectors_of(client)[1]) == {"first"}
    with pytest.raises(ConfigurationError, match="points must be a list of ids or a filter"):
        client.delete_vectors("named", ["second"], "all")


def test_update_vectors_can_leave_alone_what_does_not_match(client: EdgeClient) -> None:
    with_two_vectors(client)
    client.delete_vectors("named", ["second"], [1])
    lacks = models.Filter(must_not=[models.HasVectorCondition(has_vector="second")])
    changes = [models.PointVectors(id=n, vector={"second": [7.0, 7.0]}) for n in (1, 2)]
    client.update_vectors("named", changes, update_filter=lacks)
    assert {id: vectors["second"] for id, vectors in vectors_of(client).items()} == {1: [7, 7], 2: [0, 2], 3: [0, 3]}
