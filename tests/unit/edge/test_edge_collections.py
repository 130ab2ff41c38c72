"""Collections: created, described, reopened, deleted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import models

from colbert_qdrant.edge import EdgeClient
from colbert_qdrant.errors import (
    CapabilityError,
    CollectionExistsError,
    CollectionNotFoundError,
    ConfigurationError,
    EngineError,
)

if TYPE_CHECKING:
    from pathlib import Path

DENSE = models.VectorParams(size=4, distance=models.Distance.DOT)
MULTI = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
VECTORS = {
    "dense": models.VectorParams(
        size=4,
        distance=models.Distance.DOT,
        datatype=models.Datatype.FLOAT16,
        hnsw_config=models.HnswConfigDiff(ef_construct=200),
    ),
    "tokens": models.VectorParams(
        size=2,
        distance=models.Distance.COSINE,
        multivector_config=MULTI,
        hnsw_config=models.HnswConfigDiff(m=0, payload_m=0),
        memory=models.Memory.COLD,
    ),
}
SPARSE = {"sparse": models.SparseVectorParams(modifier=models.Modifier.IDF)}


def test_collection_survives_reopening(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", VECTORS, sparse_vectors_config=SPARSE, metadata={"model": "colbert"})
        client.upsert(
            "docs",
            [
                models.PointStruct(
                    id=7,
                    vector={
                        "dense": [1.0, 2.0, 3.0, 4.0],
                        "tokens": [[1.0, 0.0], [0.0, 1.0]],
                        "sparse": models.SparseVector(indices=[3, 9], values=[0.5, 2.0]),
                    },
                    payload={"text": "hello"},
                )
            ],
        )
        before = client.get_collection("docs")
    with EdgeClient(tmp_path) as client:
        (record,) = client.retrieve("docs", [7], with_vectors=True)
        assert client.get_collection("docs") == before
    assert record.payload == {"text": "hello"}
    assert record.vector == {
        "dense": [1.0, 2.0, 3.0, 4.0],
        "tokens": [[1.0, 0.0], [0.0, 1.0]],
        "sparse": models.SparseVector(indices=[3, 9], values=[0.5, 2.0]),
    }


def test_get_collection_tells_what_was_created(client: EdgeClient) -> None:
    client.create_collection(
        "docs",
        VECTORS,
        sparse_vectors_config=SPARSE,
        hnsw_config=models.HnswConfigDiff(m=24),
        optimizers_config=models.OptimizersConfigDiff(default_segment_number=3, indexing_threshold=77),
        metadata={"a": {"b": 1}},
    )
    client.upsert("docs", [models.PointStruct(id=n, vector={"dense": [1.0] * 4}) for n in range(5)])
    info = client.get_collection("docs")
    assert info.status == models.CollectionStatus.GREEN
    assert info.points_count == 5
    assert info.segments_count >= 1
    assert info.config.params.vectors == VECTORS
    assert info.config.params.sparse_vectors == SPARSE
    assert info.config.metadata == {"a": {"b": 1}}
    assert (info.config.hnsw_config.m, info.config.hnsw_config.ef_construct) == (24, 100)
    assert info.config.optimizer_config.default_segment_number == 3
    assert info.config.optimizer_config.indexing_threshold == 77


def test_unnamed_vector_and_no_metadata(client: EdgeClient) -> None:
    client.create_collection("docs", DENSE)
    info = client.get_collection("docs")
    assert info.config.params.vectors == DENSE
    assert info.config.metadata is None
    assert 1 <= info.config.optimizer_config.default_segment_number <= 8


def test_metadata_is_merged_by_top_level_key(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", DENSE, metadata={"keep": 1, "change": {"x": 1, "y": 2}, "drop": 3})
        client.update_collection("docs", metadata={"change": {"x": 5}, "drop": None, "new": [1]})
    with EdgeClient(tmp_path) as client:
        assert client.get_collection("docs").config.metadata == {"keep": 1, "change": {"x": 5}, "new": [1]}


def test_metadata_has_to_be_json(client: EdgeClient) -> None:
    with pytest.raises(ConfigurationError, match="JSON"):
        client.create_collection("docs", DENSE, metadata={"a": object()})
    assert not client.collection_exists("docs")


def test_metadata_that_cannot_be_written_change_nothing(client: EdgeClient) -> None:
    client.create_collection("docs", DENSE, metadata={"a": 1})
    with pytest.raises(ConfigurationError, match="JSON"):
        client.update_collection("docs", metadata={"a": "\ud800"})
    assert client.get_collection("docs").config.metadata == {"a": 1}
    client.update_collection("docs", metadata={"b": 2})


def test_collections_are_listed_and_deleted(client: EdgeClient, tmp_path: Path) -> None:
    client.create_collection("b", DENSE)
    client.create_collection("a", DENSE)
    assert [found.name for found in client.get_collections().collections] == ["a", "b"]
    assert client.delete_collection("a") is True
    assert client.delete_collection("a") is False
    assert not client.collection_exists("a")
    assert client.collection_exists("b")
    assert not (tmp_path / "store" / "collections" / "a").exists()


def test_a_deleted_collection_can_be_created_again_and_is_empty(client: EdgeClient) -> None:
    client.create_collection("docs", DENSE)
    client.upsert("docs", [models.PointStruct(id=1, vector=[1.0] * 4)])
    client.delete_collection("docs")
    client.create_collection("docs", models.VectorParams(size=2, distance=models.Distance.DOT))
    assert client.count("docs").count == 0
    client.upsert("docs", [models.PointStruct(id=1, vector=[1.0, 2.0])])


def test_existing_and_missing_collections(client: EdgeClient) -> None:
    client.create_collection("docs", DENSE)
    with pytest.raises(CollectionExistsError, match="'docs'"):
        client.create_collection("docs", DENSE)
    with pytest.raises(CollectionNotFoundError, match="'nope'"):
        client.count("nope")
    with pytest.raises(CollectionNotFoundError):
        client.update_collection("nope", metadata={"a": 1})


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "../up", "a\0b", "x" * 256, "é" * 128])
def test_names_that_are_no_folder_names_are_refused(client: EdgeClient, name: str) -> None:
    with pytest.raises(ConfigurationError):
        client.create_collection(name, DENSE)
    with pytest.raises(ConfigurationError):
        client.delete_collection(name)


def test_a_crashed_create_leaves_no_collection(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", DENSE)
        client.upsert("docs", [models.PointStruct(id=1, vector=[1.0] * 4)])
    (tmp_path / "collections" / "docs" / "collection.json").unlink()
    with EdgeClient(tmp_path) as client:
        assert not client.collection_exists("docs")
        assert client.get_collections().collections == []
        with pytest.raises(CollectionNotFoundError):
            client.count("docs")
        client.create_collection("docs", models.VectorParams(size=2, distance=models.Distance.DOT))
        assert client.count("docs").count == 0


def test_a_create_that_fails_leaves_no_collection(client: EdgeClient) -> None:
    with pytest.raises(EngineError):
        client.create_collection("docs", DENSE, hnsw_config=models.HnswConfigDiff(m=2**70))
    assert not client.collection_exists("docs")
    client.create_collection("docs", DENSE)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [({"format": 99}, CapabilityError, "upgrade"), ({"format": None}, CapabilityError, "format")],
)
def test_a_newer_format_is_not_opened(
    tmp_path: Path, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", DENSE)
    manifest = tmp_path / "collections" / "docs" / "collection.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **change}))
    with EdgeClient(tmp_path) as client, pytest.raises(error, match=message):
        client.count("docs")


def test_a_damaged_manifest_is_named(tmp_path: Path) -> None:
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", DENSE)
    (tmp_path / "collections" / "docs" / "collection.json").write_text("{")
    with EdgeClient(tmp_path) as client, pytest.raises(EngineError, match=r"collection\.json"):
        client.count("docs")


@pytest.mark.parametrize(
    "config",
    [
        {"optimizers_config": models.OptimizersConfigDiff(flush_interval_sec=1)},
        {"optimizers_config": models.OptimizersConfigDiff(memmap_threshold=1)},
    ],
)
def test_parameters_that_edge_lacks_are_refused(client: EdgeClient, config: dict[str, Any]) -> None:
    with pytest.raises(CapabilityError, match="server"):
        client.create_collection("docs", DENSE, **config)
    assert not client.collection_exists("docs")


QUANTIZATIONS: list[models.QuantizationConfig] = [
    models.ScalarQuantization(
        scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99, memory=models.Memory.PINNED)
    ),
    models.ProductQuantization(
        product=models.ProductQuantizationConfig(compression=models.CompressionRatio.X4, always_ram=True)
    ),
    models.BinaryQuantization(
        binary=models.BinaryQuantizationConfig(
            encoding=models.BinaryQuantizationEncoding.TWO_BITS,
            query_encoding=models.BinaryQuantizationQueryEncoding.SCALAR8BITS,
        )
    ),
    models.TurboQuantization(turbo=models.TurboQuantQuantizationConfig(bits=models.TurboQuantBitSize.BITS1_5)),
]


@pytest.mark.parametrize("quantization", QUANTIZATIONS, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("per_vector", [True, False])
def test_quantizations(client: EdgeClient, quantization: models.QuantizationConfig, per_vector: bool) -> None:
    vector = models.VectorParams(size=8, distance=models.Distance.DOT)
    if per_vector:
        vector.quantization_config = quantization
    client.create_collection("docs", {"v": vector}, quantization_config=None if per_vector else quantization)
    client.upsert("docs", [models.PointStruct(id=n, vector={"v": [float(n)] * 8}) for n in range(1, 6)])
    exact = models.SearchParams(
        exact=True, quantization=models.QuantizationSearchParams(ignore=True, rescore=True, oversampling=2.0)
    )
    found = client.query_points("docs", [1.0] * 8, using="v", limit=2, search_params=exact).points
    assert [(point.id, point.score) for point in found] == [(5, 40.0), (4, 32.0)]
    config = client.get_collection("docs").config
    assert config.quantization_config == (None if per_vector else quantization)


@pytest.mark.parametrize("datatype", list(models.Datatype))
def test_datatypes_of_multivectors(client: EdgeClient, datatype: models.Datatype) -> None:
    params = models.VectorParams(size=8, distance=models.Distance.DOT, datatype=datatype, multivector_config=MULTI)
    client.create_collection("docs", {"tokens": params})
    client.upsert("docs", [models.PointStruct(id=1, vector={"tokens": [[1.0] * 8, [2.0] * 8]})])
    (found,) = client.query_points("docs", [[1.0] * 8, [1.0] * 8], using="tokens").points
    assert found.score == pytest.approx(32.0, rel=0.02)


def test_payload_indexes_are_described(tmp_path: Path) -> None:
    text = models.TextIndexParams(
        type=models.TextIndexType.TEXT,
        tokenizer=models.TokenizerType.WORD,
        lowercase=True,
        stopwords=models.StopwordsSet(languages=[models.Language.ENGLISH], custom=["foo"]),
        stemmer=models.SnowballParams(type=models.Snowball.SNOWBALL, language=models.SnowballLanguage.ENGLISH),
    )
    with EdgeClient(tmp_path) as client:
        client.create_collection("docs", DENSE)
        client.upsert("docs", [models.PointStruct(id=1, vector=[1.0] * 4, payload={"n": 3, "t": "running dogs"})])
        client.create_payload_index("docs", "n", models.PayloadSchemaType.INTEGER)
        client.create_payload_index("docs", "k", "keyword")
        client.create_payload_index("docs", "t", text)
        client.delete_payload_index("docs", "k")
    with EdgeClient(tmp_path) as client:
        schema = client.get_collection("docs").payload_schema
        stemmed = models.FieldCondition(key="t", match=models.MatchText(text="run dog"))
        assert client.count("docs", models.Filter(must=[stemmed])).count == 1
    assert set(schema) == {"n", "t"}
    assert (schema["n"].data_type, schema["n"].points) == (models.PayloadSchemaType.INTEGER, 1)
    assert (schema["t"].data_type, schema["t"].params) == (models.PayloadSchemaType.TEXT, text)


@pytest.mark.parametrize("schema", [None, "strange"])
def test_a_payload_index_needs_a_known_type(client: EdgeClient, schema: str | None) -> None:
    client.create_collection("docs", DENSE)
    with pytest.raises(ConfigurationError, match="keyword"):
        client.create_payload_index("docs", "k", schema)


def test_optimize_builds_the_graph_and_keeps_the_points(client: EdgeClient) -> None:
    client.create_collection(
        "docs",
        models.VectorParams(size=32, distance=models.Distance.EUCLID),
        hnsw_config=models.HnswConfigDiff(m=8, full_scan_threshold=10),
        optimizers_config=models.OptimizersConfigDiff(indexing_threshold=1, default_segment_number=1),
    )
    client.upsert("docs", [models.PointStruct(id=n, vector=[float(n)] * 32) for n in range(500)])
    assert client.optimize("docs") is True
    assert client.optimize("docs") is False
    client.flush("docs")
    assert client.get_collection("docs").indexed_vectors_count == 500
    assert client.count("docs").count == 500
    found = client.query_points("docs", [250.2] * 32, limit=3).points
    assert [point.id for point in found] == [250, 251, 249]
