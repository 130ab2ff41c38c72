"""Vectors of a filled collection: added, changed, removed, and what is left when the process dies meanwhile."""

from __future__ import annotations

import asyncio
import json
import shutil
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant.edge import AsyncEdgeClient, EdgeClient
from colbert_qdrant.errors import ClosedError, ConfigurationError, EngineError, SchemaMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tests.unit.edge.conftest import RunScript

DOT = models.Distance.DOT
SMALL = models.VectorParams(size=4, distance=DOT)
INT8 = models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8))
COUNT, DIM = 3000, 32
RANDOM = np.random.default_rng(0)
MATRIX = RANDOM.normal(size=(COUNT, DIM)).astype(np.float32)
QUERIES = RANDOM.normal(size=(30, DIM)).astype(np.float32)
BEST = np.argsort(-QUERIES @ MATRIX.T, axis=1)[:, :10]


def dense(size: int, **more: Any) -> models.DenseVectorNameConfig:
    return models.DenseVectorNameConfig(dense=models.DenseVectorConfig(size=size, distance=DOT, **more))


def sparse(**more: Any) -> models.SparseVectorNameConfig:
    return models.SparseVectorNameConfig(sparse=models.SparseVectorConfig(**more))


def small(client: EdgeClient, vectors: Any = None) -> None:
    """A collection of three points."""
    client.create_collection(
        "docs",
        vectors or {"first": SMALL},
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=1, default_segment_number=2),
    )
    vector: Any = [1.0, 2.0, 3.0, 4.0]
    points = [
        models.PointStruct(id=n, vector=vector if vectors else {"first": vector}, payload={"n": n}) for n in (1, 2)
    ]
    client.upsert("docs", points)
    client.optimize("docs")
    client.upsert("docs", [models.PointStruct(id=3, vector=points[0].vector, payload={"n": 3})])


def segmented(client: EdgeClient) -> None:
    """The same with more points, an indexed segment, and a vector that some of them have."""
    small(client)
    client.upsert("docs", [models.PointStruct(id=n, vector={"first": [float(n)] * 4}) for n in range(10, 200)])
    client.optimize("docs")
    client.create_vector_name("docs", "filled", dense(2))
    client.update_vectors("docs", [models.PointVectors(id=n, vector={"filled": [1.0, 2.0]}) for n in (1, 3)])


def big(client: EdgeClient, **params: Any) -> None:
    vectors = {"v": models.VectorParams(size=DIM, distance=DOT, **params)}
    hnsw = models.HnswConfigDiff(full_scan_threshold=10)
    optimizers = models.OptimizersConfigDiff(indexing_threshold=1, default_segment_number=1)
    client.create_collection("docs", vectors, hnsw_config=hnsw, optimizers_config=optimizers)
    client.upsert("docs", [models.PointStruct(id=n, vector={"v": row.tolist()}) for n, row in enumerate(MATRIX)])
    client.optimize("docs")


def vectors_of(client: EdgeClient) -> Any:
    return client.get_collection("docs").config.params.vectors


def names(client: EdgeClient) -> set[str]:
    params = client.get_collection("docs").config.params
    return {*(params.vectors or {}), *(params.sparse_vectors or {})}


def recall(client: EdgeClient) -> float:
    """The share of the best points that a walk of a graph finds, if it looks at as few as it can."""
    few = models.SearchParams(hnsw_ef=1)
    found = [
        client.query_points("docs", query.tolist(), using="v", limit=10, search_params=few).points for query in QUERIES
    ]
    return float(
        np.mean([len({p.id for p in points} & set(row)) / 10 for points, row in zip(found, BEST, strict=True)])
    )


def distortion(client: EdgeClient) -> float:
    """How far scores that are not computed again are from the products of the vectors."""
    rough = models.SearchParams(quantization=models.QuantizationSearchParams(rescore=False))
    query = QUERIES[0]
    points = client.query_points("docs", query.tolist(), using="v", limit=10, search_params=rough).points
    return max(abs(point.score - float(MATRIX[int(point.id)] @ query)) for point in points)


ADDED: dict[str, tuple[Any, Any, Any, float]] = {
    "dense": (dense(2), [3.0, 4.0], [1.0, 2.0], 11.0),
    "float16": (dense(2, datatype=models.VectorStorageDatatype.FLOAT16), [3.0, 4.0], [1.0, 2.0], 11.0),
    "multi": (
        dense(2, multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)),
        [[3.0, 4.0], [5.0, 0.0]],
        [[1.0, 0.0], [0.0, 1.0]],
        9.0,
    ),
    "sparse": (
        sparse(),
        models.SparseVector(indices=[1, 7], values=[2.0, 3.0]),
        models.SparseVector(indices=[7, 9], values=[2.0, 1.0]),
        6.0,
    ),
    "sparse of float16": (
        sparse(datatype=models.VectorStorageDatatype.FLOAT16, modifier=models.Modifier.NONE),
        models.SparseVector(indices=[1, 7], values=[2.0, 3.0]),
        models.SparseVector(indices=[7, 9], values=[2.0, 1.0]),
        6.0,
    ),
}


@pytest.mark.parametrize(
    ("name", "kind"), [*(("second", kind) for kind in ADDED), ("", "dense"), ("", "float16"), ("", "multi")]
)
def test_a_vector_is_added_filled_found_and_removed(tmp_path: Path, kind: str, name: str) -> None:
    config, vector, query, score = ADDED[kind]
    with EdgeClient(tmp_path) as client:
        small(client)
        done = client.create_vector_name("docs", name, config)
        assert done == models.UpdateResult(status=models.UpdateStatus.COMPLETED)
        assert client.create_vector_name("docs", name, config, wait=False) == done
        assert client.query_points("docs", query, using=name).points == []
        client.update_vectors("docs", [models.PointVectors(id=n, vector={name: vector}) for n in (1, 3)])
        client.upsert("docs", [models.PointStruct(id=4, vector={"first": [0.0] * 4, name: vector}, payload={"n": 4})])
    with EdgeClient(tmp_path) as client:
        client.optimize("docs")
        assert names(client) == {"first", name}
        found = client.query_points("docs", query, using=name).points
        assert {point.id: point.score for point in found} == pytest.approx(dict.fromkeys((1, 3, 4), score))
        assert client.delete_vector_name("docs", name) == done
        assert client.delete_vector_name("docs", name) == done
        with pytest.raises(SchemaMismatchError, match="is not in the collection"):
            client.upsert("docs", [models.PointStruct(id=4, vector={name: vector})])
        with pytest.raises(SchemaMismatchError):
            client.query_points("docs", query, using=name)
    with EdgeClient(tmp_path) as client:
        assert names(client) == {"first"}
        records = client.scroll("docs", with_vectors=True)[0]
        assert [(record.id, record.payload) for record in records] == [(n, {"n": n}) for n in range(1, 5)]
        assert all(set(record.vector) == {"first"} for record in records)  # type: ignore[arg-type]
        client.create_vector_name("docs", name, dense(5))  # the name is free for another one
        client.update_vectors("docs", [models.PointVectors(id=1, vector={name: [1.0] * 5})])
        assert [point.id for point in client.query_points("docs", [1.0] * 5, using=name).points] == [1]


def test_idf_of_an_added_vector(client: EdgeClient) -> None:
    small(client)
    client.create_vector_name("docs", "words", sparse(modifier=models.Modifier.IDF))
    words = {1: [1], 2: [1, 2], 3: [1]}
    client.update_vectors(
        "docs",
        [
            models.PointVectors(id=n, vector={"words": models.SparseVector(indices=of, values=[1.0] * len(of))})
            for n, of in words.items()
        ],
    )
    query = models.SparseVector(indices=[2], values=[1.0])
    (found,) = client.query_points("docs", query, using="words").points
    assert found.score == pytest.approx(np.log((3 - 1 + 0.5) / (1 + 0.5) + 1))
    assert client.get_collection("docs").config.params.sparse_vectors == {
        "words": models.SparseVectorParams(modifier=models.Modifier.IDF)
    }


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("first", dense(5)),
        (
            "first",
            models.DenseVectorNameConfig(dense=models.DenseVectorConfig(size=4, distance=models.Distance.EUCLID)),
        ),
        ("first", dense(4, datatype=models.VectorStorageDatatype.FLOAT16)),
        (
            "first",
            dense(4, multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)),
        ),
        ("first", sparse()),
        ("words", dense(4)),
        ("words", sparse(modifier=models.Modifier.IDF)),
    ],
)
def test_another_vector_of_that_name_is_refused(client: EdgeClient, name: str, config: Any) -> None:
    small(client)
    client.create_vector_name("docs", "words", sparse())
    before = client.get_collection("docs")
    with pytest.raises(
        SchemaMismatchError, match=rf"collection 'docs' has a different vector '{name}'.*delete_vector_name"
    ):
        client.create_vector_name("docs", name, config)
    assert client.get_collection("docs") == before


def test_a_vector_with_an_index_of_its_own_is_the_same_vector(client: EdgeClient) -> None:
    own = models.VectorParams(size=4, distance=DOT, hnsw_config=models.HnswConfigDiff(m=4), quantization_config=INT8)
    client.create_collection("docs", {"first": own})
    client.create_vector_name("docs", "first", dense(4, datatype=models.VectorStorageDatatype.FLOAT32))
    assert vectors_of(client) == {"first": own}


@pytest.mark.parametrize(
    ("name", "config"),
    [
        *((name, dense(4)) for name in ("x/y", "..", "a\0b", "n" * 201, "end.", "a:b", "\ud800")),
        *(("second", dense(size)) for size in (0, -1, 65537, 2**40)),
        ("second", models.VectorParams(size=4, distance=DOT)),
    ],
)
def test_what_cannot_be_a_vector_harms_nothing(tmp_path: Path, name: str, config: Any) -> None:
    with EdgeClient(tmp_path) as client:
        small(client)
        with pytest.raises(ConfigurationError):
            client.create_vector_name("docs", name, config)
        client.upsert("docs", [models.PointStruct(id=9, vector={"first": [1.0] * 4})])
    with EdgeClient(tmp_path) as client:
        assert client.count("docs").count == 4
        assert names(client) == {"first"}


def test_the_only_vector_stays(client: EdgeClient) -> None:
    small(client)
    with pytest.raises(ConfigurationError, match=r"'first' is its only one: add another vector first"):
        client.delete_vector_name("docs", "first")
    client.create_vector_name("docs", "words", sparse())
    client.delete_vector_name("docs", "first")
    assert names(client) == {"words"}
    with pytest.raises(ConfigurationError, match="'words' is its only one"):
        client.delete_vector_name("docs", "words")
    assert client.count("docs").count == 3


def test_an_unnamed_vector_beside_a_named_one(tmp_path: Path) -> None:
    both = {"": SMALL, "fde": models.VectorParams(size=2, distance=DOT)}
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", both)
        points = [
            models.PointStruct(id=1, vector={"": [1.0, 0.0, 0.0, 0.0], "fde": [0.0, 5.0]}),
            models.PointStruct(id=2, vector={"": [0.0, 1.0, 0.0, 0.0], "fde": [5.0, 0.0]}),
            models.PointStruct(id=3, vector=[3.0, 0.0, 0.0, 0.0]),
        ]
        client.upsert("docs", points)
    with EdgeClient(tmp_path) as client:
        assert vectors_of(client) == both
        found = client.query_points("docs", [2.0, 1.0, 0.0, 0.0]).points
        assert [(point.id, point.score) for point in found] == [(3, 6.0), (1, 2.0), (2, 1.0)]
        found = client.query_points("docs", [2.0, 1.0], using="fde").points
        assert [(point.id, point.score) for point in found] == [(2, 10.0), (1, 5.0)]
        records = client.retrieve("docs", [1, 3], with_vectors=True)
        assert [record.vector for record in records] == [points[0].vector, points[2].vector]
        with pytest.raises(SchemaMismatchError, match="has 2 values, but the collection needs 4"):
            client.upsert("docs", [models.PointStruct(id=4, vector={"": [1.0, 2.0]})])


def test_named_vectors_are_added_to_an_unnamed_one(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        small(client, SMALL)
        client.create_vector_name("docs", "fde", dense(2))
        assert vectors_of(client) == {"": SMALL, "fde": models.VectorParams(size=2, distance=DOT)}
        client.update_vectors("docs", [models.PointVectors(id=2, vector={"fde": [1.0, 1.0]})])
    with EdgeClient(tmp_path) as client:
        assert [point.id for point in client.query_points("docs", [1.0, 1.0], using="fde").points] == [2]
        assert {point.id for point in client.query_points("docs", [1.0] * 4).points} == {1, 2, 3}
        client.delete_vector_name("docs", "fde")
        assert vectors_of(client) == {"": SMALL}


def changed(client: EdgeClient, **values: Any) -> None:
    assert client.update_collection("docs", vectors_config={"v": models.VectorParamsDiff(**values)}) is True
    assert client.count("docs").count == COUNT
    client.optimize("docs")
    assert client.optimize("docs") is False


def test_a_graph_is_built_and_taken_away(tmp_path: Path) -> None:
    """Without one every point is compared; a walk that looks at few of a sparse one misses some of the best."""
    with EdgeClient(tmp_path) as client:
        big(client, hnsw_config=models.HnswConfigDiff(m=0))
        assert recall(client) == 1.0
        changed(client, hnsw_config=models.HnswConfigDiff(m=4))
        sparse_graph = recall(client)
        assert sparse_graph < 0.9
    with EdgeClient(tmp_path) as client:
        assert client.optimize("docs") is False
        assert recall(client) == sparse_graph
        changed(client, hnsw_config=models.HnswConfigDiff(m=32, ef_construct=200))
        assert sparse_graph < recall(client) < 1.0
        assert vectors_of(client)["v"].hnsw_config == models.HnswConfigDiff(m=32, ef_construct=200)
        changed(client, hnsw_config=models.HnswConfigDiff(m=0))
        assert recall(client) == 1.0
        assert vectors_of(client)["v"].hnsw_config == models.HnswConfigDiff(m=0, ef_construct=200)
        changed(client, hnsw_config=models.HnswConfigDiff())
        assert recall(client) < 1.0
        assert vectors_of(client)["v"].hnsw_config is None


def test_quantization_is_switched_on_changed_and_switched_off(tmp_path: Path) -> None:
    turbo = models.TurboQuantization(turbo=models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.BITS2))
    with EdgeClient(tmp_path) as client:
        big(client, hnsw_config=models.HnswConfigDiff(m=0))
        assert distortion(client) < 1e-4
        changed(client, quantization_config=INT8)
        assert 1e-3 < distortion(client) < 1
        changed(client, quantization_config=turbo)
        assert distortion(client) > 1
    with EdgeClient(tmp_path) as client:
        assert distortion(client) > 1
        assert vectors_of(client)["v"].quantization_config == turbo
        changed(client, quantization_config=models.Disabled.DISABLED)
        assert distortion(client) < 1e-4
        assert vectors_of(client)["v"].quantization_config is None


def test_vectors_are_moved(client: EdgeClient) -> None:
    """What is set last counts, by its new name or its old one."""
    big(client)
    before = recall(client)
    changed(client, memory=models.Memory.COLD, hnsw_config=models.HnswConfigDiff(memory=models.Memory.COLD))
    assert vectors_of(client)["v"].memory == models.Memory.COLD
    changed(client, on_disk=False, hnsw_config=models.HnswConfigDiff(on_disk=False))
    params = vectors_of(client)["v"]
    assert (params.memory, params.on_disk, params.hnsw_config) == (None, False, models.HnswConfigDiff(on_disk=False))
    assert recall(client) == pytest.approx(before, abs=0.1)


def test_an_unnamed_vector_and_metadata_are_changed_together(tmp_path: Path) -> None:
    hnsw = models.HnswConfigDiff(m=5)
    with EdgeClient(tmp_path) as client:
        small(client, SMALL)
        client.update_collection(
            "docs", metadata={"a": 1}, vectors_config={"": models.VectorParamsDiff(hnsw_config=hnsw)}
        )
    with EdgeClient(tmp_path) as client:
        config = client.get_collection("docs").config
        assert config.params.vectors == SMALL.model_copy(update={"hnsw_config": hnsw})
        assert config.metadata == {"a": 1}
        assert {record.id for record in client.scroll("docs")[0]} == {1, 2, 3}


@pytest.mark.parametrize("name", ["second", "", "words"])
def test_a_vector_that_is_not_there_cannot_be_changed(client: EdgeClient, name: str) -> None:
    small(client)
    client.create_vector_name("docs", "words", sparse())
    before = client.get_collection("docs")
    diff = models.VectorParamsDiff(hnsw_config=models.HnswConfigDiff(m=5))
    with pytest.raises(SchemaMismatchError, match=rf"collection 'docs' has no dense vector '{name}'.*'first'"):
        client.update_collection("docs", metadata={"a": 1}, vectors_config={"first": diff, name: diff})
    assert client.get_collection("docs") == before


def test_threads_wait_while_a_collection_is_opened_anew(client: EdgeClient) -> None:
    small(client)
    problems: list[Exception] = []
    ended = threading.Event()

    def search() -> None:
        while not ended.is_set():
            try:
                assert len(client.query_points("docs", [1.0] * 4, using="first").points) == 3
            except Exception as error:  # noqa: BLE001 - raised by the test
                problems.append(error)

    thread = threading.Thread(target=search)
    thread.start()
    for m in range(4, 24):
        diff = models.VectorParamsDiff(hnsw_config=models.HnswConfigDiff(m=m))
        client.update_collection("docs", vectors_config={"first": diff})
    ended.set()
    thread.join()
    assert problems == []


def test_a_closed_store_is_not_opened_again(tmp_path: Path) -> None:
    client = EdgeClient(tmp_path)
    small(client)
    client.close()
    with pytest.raises(ClosedError):
        client.update_collection("docs", vectors_config={"first": models.VectorParamsDiff(on_disk=True)})
    with pytest.raises(ClosedError):
        client.create_vector_name("docs", "second", dense(2))


CALLS: Mapping[str, Callable[[EdgeClient], Any]] = {
    "create": lambda client: client.create_vector_name("docs", "second", dense(2)),
    "delete": lambda client: client.delete_vector_name("docs", "filled"),
    "update": lambda client: client.update_collection(
        "docs", vectors_config={"first": models.VectorParamsDiff(hnsw_config=models.HnswConfigDiff(m=5))}
    ),
}
DIES = """
import os, sys
from colbert_qdrant.edge import EdgeClient
from colbert_qdrant.edge.manifest import Manifest
from tests.unit.edge.test_edge_vectors import CALLS
client, call, left = EdgeClient(sys.argv[1]), sys.argv[2], int(sys.argv[3])
client.count("docs")
write = Manifest.write
def die(manifest, folder):
    global left
    left -= 1
    if left >= 0:
        write(manifest, folder)
    if left <= 0:
        os._exit(7 if left == 0 else 8)
Manifest.write = die
CALLS[call](client)
os._exit(0)
"""


def described(client: EdgeClient) -> Any:
    info = client.get_collection("docs")
    return info.config, client.scroll("docs", limit=1000, with_vectors=True)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("writes", [0, 1, 2])
def test_a_process_that_dies_leaves_what_was_or_what_is_to_be(
    tmp_path: Path, run_script: RunScript, call: str, writes: int
) -> None:
    """It dies instead of a write of the manifest, or right after one: between all that is changed on disk."""
    with EdgeClient(tmp_path / "store") as client:
        segmented(client)
        before = described(client)
    shutil.copytree(tmp_path / "store", tmp_path / "other")
    with EdgeClient(tmp_path / "other") as client:
        CALLS[call](client)
        after = described(client)
    result = run_script(DIES, tmp_path / "store", call, writes)
    assert result.returncode in (7, 8, 0 if (call, writes) == ("update", 2) else 7), result.stderr
    with EdgeClient(tmp_path / "store") as client:
        assert described(client) in (before, after)
        CALLS[call](client)
        assert described(client) == after
        client.optimize("docs")
        assert described(client) == after


@pytest.mark.parametrize("call", ["create", "delete"])
@pytest.mark.parametrize("half", [0, 1])
def test_a_process_that_dies_amid_the_segments_leaves_a_store_that_opens(tmp_path: Path, call: str, half: int) -> None:
    """The engine changes one segment after the other, and does not open a shard whose segments differ."""
    name = {"create": "second", "delete": "filled"}[call]
    path, old = tmp_path / "store", tmp_path / "old"
    with EdgeClient(path) as client:
        segmented(client)
    shutil.copytree(path, old)
    with EdgeClient(path) as client:
        CALLS[call](client)
        after = described(client)
    folder = path / "collections" / "docs"
    segments = sorted(found.parent.name for found in (folder / "shard").glob("segments/*/segment.json"))
    assert len(segments) > 1
    shutil.rmtree(folder / "shard" / "segments" / segments[half])
    shutil.copytree(
        old / "collections/docs/shard/segments" / segments[half], folder / "shard/segments" / segments[half]
    )
    with EdgeClient(path) as client, pytest.raises(EngineError, match="incompatible"):
        client.count("docs")  # as it would be, did the manifest not say what was being done
    manifest = json.loads((old / "collections/docs/collection.json").read_text())
    if call == "delete":
        manifest["config"]["vectors"].pop(name)
    (folder / "collection.json").write_text(json.dumps({**manifest, "unfinished": [name]}))
    with EdgeClient(path) as client:
        assert names(client) == {"first", "filled"} - ({name} if call == "delete" else set())
        CALLS[call](client)
        assert described(client) == after


def test_what_the_manifest_cannot_keep_is_not_in_force(client: EdgeClient, tmp_path: Path) -> None:
    small(client)
    before = described(client)
    blocked = tmp_path / "store/collections/docs/collection.json.tmp"
    blocked.mkdir()  # a folder in the way of the temporary file stands for a full disk
    for call in ("create", "update"):
        with pytest.raises(EngineError, match=r"collection\.json cannot be written"):
            CALLS[call](client)
        assert described(client) == before
    blocked.rmdir()
    CALLS["update"](client)
    CALLS["create"](client)
    assert names(client) == {"first", "second"}
    assert vectors_of(client)["first"].hnsw_config == models.HnswConfigDiff(m=5)


def test_vectors_are_added_changed_and_removed_in_an_event_loop(tmp_path: Path) -> None:
    async def main() -> Any:
        async with AsyncEdgeClient(tmp_path) as client:
            await client.create_collection("docs", SMALL)
            await client.create_vector_name("docs", "words", sparse(modifier=models.Modifier.IDF))
            await client.create_vector_name("docs", "fde", dense(2))
            diff = models.VectorParamsDiff(quantization_config=INT8)
            await client.update_collection("docs", vectors_config={"": diff, "fde": diff})
            diff = models.VectorParamsDiff(quantization_config=models.Disabled.DISABLED)
            await client.update_collection("docs", vectors_config={"": diff})
            await client.delete_vector_name("docs", "words")
            return (await client.get_collection("docs")).config.params

    params = asyncio.run(main())
    fde = models.VectorParams(size=2, distance=DOT, quantization_config=INT8)
    assert (params.vectors, params.sparse_vectors or {}) == ({"": SMALL, "fde": fde}, {})
