"""Ingests files, tables and datasets, some with bad rows."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient

from colbert_qdrant import (
    AsyncColbertCollection,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    DocumentId,
    InvalidDocumentError,
    InvalidTokensError,
    MuveraConfig,
    RejectedDocument,
)
from tests.encoders import WordEncoder
from tests.faults.server import FaultyServer, failing, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from colbert_qdrant import TokenEmbeddings
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
ROWS = [{"id": n, "text": f"river {n}", "year": 2000 + n} for n in range(20)]
EXPECTED = [Document(n, f"river {n}", {"year": 2000 + n}) for n in range(20)]


class FailingEncoder(WordEncoder):
    """Fails for some texts, as an encoder of your own might."""

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        if any("crash" in text for text in texts):
            raise ValueError("this text crashes the tokenizer")
        return super().encode_documents(texts)


def create(client: Client, name: str = "docs") -> ColbertCollection:
    return ColbertCollection.create(name, client=client, encoder=FailingEncoder(), config=CONFIG)


@pytest.fixture
def docs() -> Any:
    client = QdrantClient(":memory:")
    with create(client) as collection:
        yield collection
    client.close()


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_jsonl_file_lands_on_every_engine(engine: Engine, client: Client, tmp_path: Path) -> None:
    with create(client, engine.name) as docs:
        report = docs.ingest(str(write(tmp_path / "docs.jsonl", ROWS)))
        assert (report.documents, report.rejected, report.rejections) == (20, (), 0)
        assert docs.get(range(20)) == EXPECTED


@pytest.mark.parametrize("kind", ["glob", "parquet", "polars", "lazy", "dicts", "tuples"])
def test_other_kinds_land_with_a_mapping(docs: ColbertCollection, kind: str, tmp_path: Path) -> None:
    renamed = [{"key": row["id"], "body": row["text"], "year": row["year"], "noise": "x"} for row in ROWS]
    mapping: dict[str, Any] = {"id": "key", "text": "body", "payload": ["year"]}
    source: Any = renamed
    if kind == "glob":
        write(tmp_path / "a.jsonl", renamed[:9])
        write(tmp_path / "b.jsonl", renamed[9:])
        source = f"{tmp_path}/*.jsonl"
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(renamed), tmp_path / "docs.parquet")
        source = tmp_path / "docs.parquet"
    elif kind in {"polars", "lazy"}:
        source = pl.DataFrame(renamed) if kind == "polars" else pl.LazyFrame(renamed)
    elif kind == "tuples":
        source = ((None, *row.values()) for row in renamed)
        mapping = {"id": 1, "text": 2, "payload": lambda row: {"year": row[3]}}
    assert docs.ingest(source, **mapping).documents == 20
    assert docs.get(range(20)) == EXPECTED


def test_shards_of_two_processes_complete_each_other(docs: ColbertCollection) -> None:
    assert docs.ingest(iter(ROWS), shard=(0, 3)).documents == 7
    assert sorted(document.id for document in docs.get(range(20))) == [*range(0, 20, 3)]
    assert [docs.ingest(ROWS, shard=(index, 3)).documents for index in (1, 2)] == [7, 6]
    assert docs.get(range(20)) == EXPECTED


BAD: list[tuple[Any, str]] = [
    ('{"id": 1, "te', "line 3: the line is not JSON"),
    ({"id": 1}, "line 3: there is no column 'text', and the columns are 'id'"),
    ({"id": 1, "text": " "}, "line 3: document 1 has no text: leave it out"),
    ({"id": 1, "text": 5}, "line 3: document 1: text must be a string, got int 5"),
    ({"id": [1], "text": "a"}, "line 3: id [1] has type list: use a string, an integer or a uuid.UUID"),
    ({"id": 1, "text": "a", "_id": 2}, "line 3: document 1: colbert-qdrant uses the payload keys ['_id']"),
    ({"id": 1, "text": "crash"}, "line 3: document 1 cannot be encoded (ValueError: this text crashes the tokenizer)"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_a_bad_row_is_named_in_every_mode(docs: ColbertCollection, row: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "docs.jsonl", [ROWS[18], "", row, ROWS[19]])
    with pytest.raises(InvalidDocumentError) as caught:
        docs.ingest(path)
    assert str(caught.value).startswith(f"{path}, {message}")
    report = docs.ingest(path, on_error="skip")
    assert (report.documents, report.rejections) == (2, 1)
    assert report.rejected[0].reason == str(caught.value)
    report = docs.ingest(path, on_error="reject", rejects=tmp_path / "rejected.jsonl")
    assert (report.documents, report.rejections) == (2, 1)
    (line,) = lines(tmp_path / "rejected.jsonl")
    about = line.pop("_rejected")
    assert (about["where"], about["reason"]) == (f"{path}, line 3", report.rejected[0].reason)
    assert line == row if isinstance(row, dict) else about["raw"] == f"{row}\n"


def test_a_reject_file_is_mended_and_ingested_with_the_same_mapping(docs: ColbertCollection, tmp_path: Path) -> None:
    source = [{"key": n, "body": "crash" if n % 5 == 0 else f"river {n}", "year": 2000 + n} for n in range(20)]
    options: dict[str, Any] = {"id": "key", "text": "body", "on_error": "reject"}
    path = tmp_path / "rejected.jsonl"
    report = docs.ingest(iter(source), rejects=str(path), **options)
    assert (report.documents, [each.id for each in report.rejected]) == (16, [0, 5, 10, 15])
    path.write_text(path.read_text().replace('"crash"', '"river"'))
    with pytest.raises(ConfigurationError, match=r"rejects is '.*rejected.jsonl', which is a file of the source"):
        docs.ingest(path, rejects=path, **options)
    report = docs.ingest(path, rejects=tmp_path / "again.jsonl", **options)
    assert (report.documents, report.rejected) == (4, ())
    assert docs.count() == 20
    assert docs.get(10) == [Document(10, "river", {"year": 2010})]


def test_rejected_documents_keep_the_type_of_their_id(docs: ColbertCollection, tmp_path: Path) -> None:
    path, ids = tmp_path / "rejected.jsonl", list[DocumentId]([7, "7", UUID(int=7)])
    documents = [Document("good", "river"), *(Document(id, "crash", {"n": 1}) for id in ids)]
    docs.ingest(documents, on_error="reject", rejects=path)
    path.write_text(path.read_text().replace('"crash"', '"river"'))
    assert docs.ingest(path).documents == 3
    assert docs.get(ids) == [Document(id, "river", {"n": 1}) for id in ids]


def test_a_row_that_the_server_refuses_goes_to_the_reject_file(tmp_path: Path) -> None:
    source, path = write(tmp_path / "docs.jsonl", ROWS), tmp_path / "rejected.jsonl"
    with serving(FaultyServer()) as server:
        client = QdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False, timeout=5)
        docs = create(client)
        server.judge = lambda body, _: failing(400, "no") if '"river 7"' in json.dumps(body) else None
        report = docs.ingest(source, on_error="reject", rejects=path)
        client.close()
    assert (report.documents, report.rejections, report.rejected[0].id) == (19, 1, 7)
    (line,) = lines(path)
    assert (line["id"], line["text"], line["year"]) == (7, "river 7", 2007)
    assert line["_rejected"]["where"] == f"{source}, line 8"
    assert line["_rejected"]["reason"] == report.rejected[0].reason
    assert report.rejected[0].reason.startswith(f"{source}, line 8: ")


def test_token_embeddings_of_a_row_that_cannot_be_stored(tmp_path: Path) -> None:
    class Odd(WordEncoder):
        def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
            made = super().encode_documents(texts)
            values = np.array(made.values)
            values[[text == "nan" for text in texts for _ in text.split()]] = np.nan
            return type(made)(values=values, lengths=made.lengths)

    path = write(tmp_path / "docs.jsonl", [ROWS[0], {"id": 5, "text": "nan"}])
    client = QdrantClient(":memory:")
    docs = ColbertCollection.create("docs", client=client, encoder=Odd(), config=CONFIG)
    with pytest.raises((InvalidTokensError, InvalidDocumentError), match=r"docs.jsonl, line 2: document 5"):
        docs.ingest(path)
    client.close()


def test_a_torn_archive_stores_everything_before_the_damage(docs: ColbertCollection, tmp_path: Path) -> None:
    path, count = tmp_path / "docs.jsonl.gz", 3000
    text = "".join(json.dumps({"id": n, "text": f"river {n}"}) + "\n" for n in range(count))
    path.write_bytes(gzip.compress(text.encode())[:-8])
    report = docs.ingest(path, on_error="reject", rejects=tmp_path / "rejected.jsonl")
    (damage,) = report.rejected
    assert report.documents > 2900
    assert damage.id is None
    assert f"after line {report.documents}: write or copy it again" in damage.reason
    with pytest.raises(InvalidDocumentError, match=r"docs.jsonl.gz: the file cannot be read further"):
        docs.ingest(path)
    assert docs.count() == report.documents


def test_a_list_of_rows_is_checked_before_anything_is_written(docs: ColbertCollection) -> None:
    with pytest.raises(InvalidDocumentError, match="row 1001: there is no column 'text'"):
        docs.ingest([*({"id": n, "text": "river"} for n in range(1000)), {"id": 1000}])
    assert docs.count() == 0


def test_a_report_names_a_thousand_rejections_and_counts_all(docs: ColbertCollection, tmp_path: Path) -> None:
    path = tmp_path / "rejected.jsonl"
    report = docs.ingest(({"id": n} for n in range(1500)), on_error="reject", rejects=path)
    assert (len(report.rejected), report.rejections, report.documents) == (1000, 1500, 0)
    assert len(lines(path)) == 1500
    assert report.rejected[0] == RejectedDocument(id=None, reason=lines(path)[0]["_rejected"]["reason"])


def test_duplicate_ids_of_a_file_are_replaced(docs: ColbertCollection, tmp_path: Path) -> None:
    path = write(tmp_path / "docs.jsonl", [*ROWS, {"id": 3, "text": "last"}])
    report = docs.ingest(path)
    assert (report.documents, report.replaced) == (20, 1)
    assert docs.get(3) == [Document(3, "last")]


def test_progress_knows_the_total_of_a_parquet_file(docs: ColbertCollection, tmp_path: Path) -> None:
    class Reporter:
        total, done = None, 0

        def start(self, total: int | None) -> None:
            self.total = total

        def advance(self, documents: int) -> None:
            self.done += documents

        def stop(self) -> None: ...

    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "docs.parquet")
    reporter: Any = Reporter()
    docs.ingest(tmp_path / "docs.parquet", progress=reporter, shard=(1, 3))
    assert (reporter.total, reporter.done) == (7, 7)


def test_asynchronous_rows_pass_the_same_mapping(tmp_path: Path) -> None:
    async def rows() -> AsyncIterator[Any]:
        for row in ROWS[:10]:
            yield row
        yield {"id": "bad"}
        for document in EXPECTED[10:]:
            yield document.id, document.text, document.payload

    async def run() -> list[Document]:
        client = AsyncQdrantClient(":memory:")
        async with await AsyncColbertCollection.create(
            "docs", client=client, encoder=WordEncoder(), config=CONFIG
        ) as docs:
            report = await docs.ingest(rows(), on_error="reject", rejects=tmp_path / "rejected.jsonl")
            assert (report.documents, report.rejections) == (20, 1)
            found = await docs.get(range(20))
        await client.close()
        return found

    assert asyncio.run(run()) == EXPECTED
    assert lines(tmp_path / "rejected.jsonl")[0]["_rejected"]["where"] == "row 11"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_error": "reject"}, "on_error='reject' needs a file for the rejected rows: pass rejects='rejected.jsonl'"),
        ({"rejects": "a.jsonl"}, "rejects is a file for on_error='reject', not for 'raise': pass both"),
        (
            {"rejects": "no/folder/a.jsonl", "on_error": "reject"},
            "rejects is 'no/folder/a.jsonl': pass the path",
        ),
        ({"shard": (2, 2)}, "number i of shard"),
        ({"id": 1.5}, "id must be the name of a column"),
    ],
)
def test_wrong_options_are_refused_first(docs: ColbertCollection, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        docs.ingest(ROWS, **options)
    assert docs.count() == 0
