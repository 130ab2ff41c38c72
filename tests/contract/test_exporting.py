"""Exports, and collections that are rebuilt from them without a model, on every engine."""

from __future__ import annotations

import asyncio
import gzip
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import AsyncQdrantClient

from colbert_qdrant import (
    AsyncColbertCollection,
    Bm25Config,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    DenseConfig,
    Document,
    FingerprintMismatchError,
    InvalidDocumentError,
    LemurConfig,
    MuveraConfig,
    SchemaMismatchError,
    SparseConfig,
    export_info,
)
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from pathlib import Path

    from colbert_qdrant import ExportReport
    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

SUFFIXES = ["jsonl", "jsonl.gz", "parquet"]
FDE = MuveraConfig(k_sim=2, dim_proj=4, r_reps=4)
LEMUR = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=40)
TEXTS = random_texts(60)
QUERIES = random_texts(4, seed=1, words=(2, 5))
IDS: list[Any] = [*range(-20, 20), *(f"ä {number}" for number in range(10)), *(UUID(int=n) for n in range(10))]
PAYLOAD: dict[str, Any] = {
    "null": None,
    "numbers": [0, -1, 2**63 - 1, 0.1, -1e-300, True],
    "deep": {"ü": [{"x": []}, {}], "a.b": '"\n\u2028'},
    "when": "2024-06-01T12:00:00+02:00",
}
OPTIONS: list[dict[str, Any]] = [
    {"mode": "exact"},
    {"candidates": 60},
    {"mode": "fde"},
    {"prefetch": {"bm25": 60}},
    {"where": {"n": {"lt": 9}}},
]
RANDOM = np.random.default_rng(3)
DOCUMENTS = [
    Document(
        id,
        text,
        {"n": number, **(PAYLOAD if number % 2 else {})},
        vectors={
            "meaning": RANDOM.normal(size=3).astype(np.float32),
            **({"words": {number: 1.5, 7 + number: -0.25}} if number % 3 else {}),
        },
    )
    for number, (id, text) in enumerate(zip(IDS, TEXTS, strict=True))
]


def config(fde: FdeConfig = FDE, **settings: Any) -> CollectionConfig:
    return CollectionConfig(
        fde=fde,
        bm25=Bm25Config(),
        dense={"meaning": DenseConfig(dim=3, distance="dot")},
        sparse={"words": SparseConfig()},
        payload_indexes={"n": "integer"},
        **settings,
    )


@pytest.fixture
def docs(engine: Engine, client: Client) -> ColbertCollection:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=config())
    docs.upsert(DOCUMENTS)
    return docs


def rebuilt(docs: ColbertCollection, client: Client, path: Path) -> ColbertCollection:
    """A collection that only the file and no model made."""
    info = export_info(path)
    copy = ColbertCollection.create(f"{docs.name}-copy", client=client, encoder=info.encoder, config=info.config)
    assert copy.ingest(path).documents == docs.count()
    copy.close()
    return ColbertCollection.open(f"{docs.name}-copy", client=client, encoder=docs.encoder)


def assert_equal(one: ColbertCollection, other: ColbertCollection) -> None:
    """Both have the same documents, and answer every search with the same scores."""
    contents = [
        {
            (type(each.id), each.id): (each.text, each.payload, each.tokens.tolist(), vectors_of(each))
            for each in docs.iterate(with_tokens=True)
        }
        for docs in (one, other)
    ]
    assert contents[0] == contents[1]
    for query in QUERIES:
        for options in (
            {"mode": "exact"},
            {"candidates": 60},
            {},
            {"mode": "fde"},
            {"prefetch": {"bm25": 60}},
            {"where": {"n": {"lt": 9}}},
        ):
            expected = [(hit.score, hit.text) for hit in one.search(query, limit=60, **options)]
            assert expected
            found = [(hit.score, hit.text) for hit in other.search(query, limit=60, **options)]
            assert sorted(found) == sorted(expected)


def vectors_of(document: Document) -> dict[str, Any]:
    return {
        name: dict(zip(vector.indices, vector.values, strict=True)) if hasattr(vector, "indices") else list(vector)
        for name, vector in document.vectors.items()
    }


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_collection_is_rebuilt_without_a_model(
    docs: ColbertCollection, client: Client, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"docs.{suffix}"
    report = docs.export(path)
    assert (report.documents, report.bytes) == (60, path.stat().st_size)
    assert report.tokens == sum(len(text.split()) for text in TEXTS)
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == [path.name]
    assert_equal(docs, rebuilt(docs, client, path))


def test_a_fitted_collection_is_rebuilt(engine: Engine, client: Client, tmp_path: Path) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=config(LEMUR))
    docs.ingest(DOCUMENTS)
    docs.export(tmp_path / "docs.jsonl")
    copy = rebuilt(docs, client, tmp_path / "docs.jsonl")
    assert copy.fde is not None
    for query in QUERIES:
        one, other = [each.search(query, limit=10, mode="exact") for each in (docs, copy)]
        assert [(hit.id, hit.score) for hit in one] == [(hit.id, hit.score) for hit in other]


@pytest.mark.parametrize("datatype", ["float16", "float32"])
def test_native_payloads_without_texts_and_points_without_tokens(
    engine: Engine, client: Client, tmp_path: Path, datatype: Any
) -> None:
    native = CollectionConfig(fde=FDE, id_scheme="native", text_key="meta.text", token_datatype=datatype)
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=native)
    docs.upsert([Document(1, "copper", {"meta": {"page": 1}}), Document(str(UUID(int=5)), "kelp ember", {"_id": 3})])
    docs.upsert([Document(7, "", {"meta": {}}, tokens=np.full((2, 32), 0.1, np.float32))])
    docs.export(tmp_path / "docs.parquet")
    info = export_info(tmp_path / "docs.parquet")
    copy = ColbertCollection.create(f"{engine.name}-copy", client=client, encoder=info.encoder, config=info.config)
    copy.ingest(tmp_path / "docs.parquet")
    one, other = [
        {each.id: (each.text, each.payload, each.tokens.tolist()) for each in some.iterate(with_tokens=True)}
        for some in (docs, copy)
    ]
    assert one == other
    assert one.keys() == {1, str(UUID(int=5)), 7}


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_only_documents_that_match_and_without_tokens(
    docs: ColbertCollection, client: Client, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"docs.{suffix}"
    report = docs.export(path, where={"n": {"lt": 10}}, with_tokens=False)
    assert (report.documents, report.tokens) == (10, 0)
    encoder = WordEncoder()
    copy = ColbertCollection.create(f"{docs.name}-copy", client=client, encoder=encoder, config=config())
    copy.ingest(path)
    assert encoder.encoded == 10
    assert {(type(each.id), each.id) for each in copy.iterate()} == {(type(id), id) for id in IDS[:10]}


def test_an_empty_collection_is_exported(engine: Engine, client: Client, tmp_path: Path) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=config())
    for suffix in SUFFIXES:
        path = tmp_path / f"docs.{suffix}"
        assert docs.export(path).documents == 0
        assert docs.ingest(path).documents == 0
        assert export_info(path).config == docs.config


@pytest.fixture
def local(tmp_path: Path) -> ColbertCollection:
    from qdrant_client import QdrantClient

    docs = ColbertCollection.create(
        "docs", client=QdrantClient(":memory:"), encoder=WordEncoder(), config=CollectionConfig(fde=FDE)
    )
    docs.upsert([Document(number, text, {"n": number}) for number, text in enumerate(TEXTS)])
    (tmp_path / "out").mkdir()
    return docs


def test_progress_that_is_no_reporter_is_refused(local: ColbertCollection, tmp_path: Path) -> None:
    odd: Any = np.array([])  # neither true nor false
    with pytest.raises(ConfigurationError, match="progress must be True, False or an object"):
        local.export(tmp_path / "out" / "docs.jsonl", progress=odd)
    with pytest.raises(ConfigurationError, match="progress must be True, False or an object"):
        local.ingest([Document(1, "a text")], progress=odd, resume=tmp_path / "out" / "docs.journal")
    assert list((tmp_path / "out").iterdir()) == []


def test_paths_that_cannot_be_written(local: ColbertCollection, tmp_path: Path) -> None:
    (tmp_path / "there.jsonl").write_text("precious")
    for path, message in (
        (tmp_path / "there.jsonl", "export replaces no file"),
        (tmp_path / "docs.csv", "ends with .jsonl, .jsonl.gz or .parquet"),
        (tmp_path / "missing" / "docs.jsonl", "there is no folder"),
        (5, "pass a string"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            local.export(path)  # type: ignore[arg-type]
    assert (tmp_path / "there.jsonl").read_text() == "precious"


@dataclass
class Interrupting:
    """Presses Ctrl-C after the first page."""

    error: BaseException

    def start(self, total: int | None) -> None:
        assert total == 60

    def advance(self, documents: int) -> None:
        raise self.error

    def stop(self) -> None: ...


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_interrupted_export_leaves_no_file(local: ColbertCollection, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        local.export(out / f"docs.{suffix}", progress=Interrupting(KeyboardInterrupt()))
    assert list(out.iterdir()) == []
    local.export(out / f"docs.{suffix}")


def test_tokens_of_another_encoder_are_refused(local: ColbertCollection, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "docs.parquet"
    local.export(path)
    other = ColbertCollection.create(
        "others", client=client, encoder=WordEncoder(salt="x"), config=CollectionConfig(fde=FDE)
    )
    with pytest.raises(
        FingerprintMismatchError, match=r"(?s)token vectors of another encoder.*'' in the export, 'x' here"
    ):
        other.ingest(path)
    small = ColbertCollection.create(
        "small", client=client, encoder=WordEncoder(dim=16), config=CollectionConfig(fde=FDE)
    )
    with pytest.raises(FingerprintMismatchError, match=r"token_dim: 32 in the export, 16 here"):
        small.ingest(path)
    assert other.count() == small.count() == 0
    for each in ("others", "small"):
        client.delete_collection(each)


def test_damage_is_reported_with_the_line(local: ColbertCollection, tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    local.export(path)
    lines = path.read_bytes().splitlines(keepends=True)
    for damaged in (lines[2].replace(b'"data":"', b'"data":"?'), lines[2][:50] + b"\n", b"{}\n"):
        path.write_bytes(b"".join([*lines[:2], damaged, *lines[3:]]))
        with pytest.raises(InvalidDocumentError, match="line 3: the exported document is damaged"):
            local.ingest(path)
    torn = tmp_path / "docs.jsonl.gz"
    torn.write_bytes(gzip.compress(b"".join(lines))[:-200])
    with pytest.raises(InvalidDocumentError, match="cannot be read further"):
        local.ingest(torn)
    header = json.loads(lines[0])
    header["colbert_qdrant_export"]["format"] = 99
    path.write_bytes(json.dumps(header).encode() + b"\n" + b"".join(lines[1:]))
    with pytest.raises(SchemaMismatchError, match="of another version of colbert-qdrant: upgrade"):
        local.ingest(path)
    (tmp_path / "other.jsonl").write_text('{"id": 1, "text": "x"}\n')
    with pytest.raises(ConfigurationError, match="is no export"):
        export_info(tmp_path / "other.jsonl")
    with pytest.raises(
        ConfigurationError, match=r"there is no file .*missing\.jsonl.*pass the path of a file that export"
    ):
        export_info(tmp_path / "missing.jsonl")
    assert local.count() == 60


def test_an_export_in_an_event_loop(tmp_path: Path) -> None:
    async def main() -> ExportReport:
        client = AsyncQdrantClient(":memory:")
        docs = await AsyncColbertCollection.create(
            "docs", client=client, encoder=WordEncoder(), config=CollectionConfig(fde=FDE)
        )
        await docs.upsert([Document(1, "copper kelp")])
        report = await docs.export(tmp_path / "docs.parquet")
        await client.close()
        return report

    report = asyncio.run(main())
    assert (report.documents, report.tokens) == (1, 2)
