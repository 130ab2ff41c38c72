"""Every kind of source, written by the library that people write it with."""

from __future__ import annotations

import csv
import gzip
import json
import sqlite3
from collections import namedtuple
from datetime import datetime
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from colbert_qdrant import Document
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.sources import documents_from
from tests.unit.sources.rows import documents, plain, rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

ROWS = rows(2500)
EXPECTED = [Document(row["id"], row["text"], {"year": row["year"], "tags": row["tags"]}) for row in ROWS]


def as_jsonl(path: Path) -> Any:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS), "utf-8")
    return path


def as_gzip(path: Path) -> Any:
    with gzip.open(path.with_suffix(".jsonl.gz"), "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in ROWS)
    return str(path.with_suffix(".jsonl.gz"))


def as_zstd(path: Path) -> Any:
    name = str(path.with_suffix(".ndjson.zst"))
    with pa.OSFile(name, "wb") as file, pa.CompressedOutputStream(file, "zstd") as stream:
        stream.write("".join(json.dumps(row) + "\n" for row in ROWS).encode())
    return name


def as_parquet(path: Path) -> Any:
    pq.write_table(pa.Table.from_pylist(ROWS), path.with_suffix(".parquet"), row_group_size=700)
    return path.with_suffix(".parquet")


def as_parquet_of_polars(path: Path) -> Any:
    pl.DataFrame(ROWS).write_parquet(path.with_suffix(".parquet"), row_group_size=900)
    return path.with_suffix(".parquet")


def as_lazy_frame(path: Path) -> Any:
    return pl.scan_parquet(as_parquet(path))


def as_saved_dataset(path: Path) -> Any:
    datasets.Dataset.from_list(ROWS).save_to_disk(str(path.with_suffix("")))
    return datasets.load_from_disk(str(path.with_suffix("")))


def as_streamed_dataset(path: Path) -> Any:
    cache = str(path.parent / "cache")
    return datasets.load_dataset("json", data_files=str(as_jsonl(path)), split="train", streaming=True, cache_dir=cache)


class Capsule:
    """Anything with Arrow's stream interface."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.Table.from_pylist(ROWS).__arrow_c_stream__()


def as_cursor(path: Path) -> Any:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    connection.execute("create table docs (id text, text text, year int, tags text)")
    connection.executemany("insert into docs values (?, ?, ?, ?)", [(*list(row.values())[:3], None) for row in ROWS])
    try:
        yield from connection.execute("select * from docs order by year")
    finally:
        connection.close()


Named = namedtuple("Named", ["id", "text", "year", "tags"])  # noqa: PYI024

SOURCES: dict[str, Callable[[Path], Any]] = {
    "jsonl": as_jsonl,
    "gzip": as_gzip,
    "zstd": as_zstd,
    "parquet": as_parquet,
    "parquet of polars": as_parquet_of_polars,
    "documents": lambda _: EXPECTED,
    "dicts": lambda _: ROWS,
    "generator": lambda _: iter(ROWS),
    "tuples": lambda _: ((each.id, each.text, each.payload) for each in EXPECTED),
    "named tuples": lambda _: [Named(**row) for row in ROWS],
    "pandas": lambda _: pd.DataFrame(ROWS),
    "pandas itertuples": lambda _: pd.DataFrame(ROWS).itertuples(index=False),
    "polars": lambda _: pl.DataFrame(ROWS),
    "polars lazy": lambda _: pl.LazyFrame(ROWS),
    "polars scan": as_lazy_frame,
    "arrow table": lambda _: pa.Table.from_pylist(ROWS),
    "arrow batch": lambda _: pa.RecordBatch.from_pylist(ROWS),
    "arrow reader": lambda _: pa.Table.from_pylist(ROWS).to_reader(),
    "arrow capsule": lambda _: Capsule(),
    "dataset": lambda _: datasets.Dataset.from_list(ROWS),
    "dataset on disk": as_saved_dataset,
    "dataset with torch format": lambda _: datasets.Dataset.from_list(ROWS).with_format("numpy"),
    "streamed dataset": as_streamed_dataset,
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_gives_the_same_documents(kind: str, tmp_path: Path) -> None:
    assert documents(SOURCES[kind](tmp_path / "docs.jsonl")) == EXPECTED


@pytest.mark.parametrize(
    "kind", ["jsonl", "zstd", "parquet", "dicts", "pandas", "polars", "polars scan", "arrow table"]
)
@pytest.mark.parametrize("count", [1, 3, 1100])
def test_shards_have_every_item_once(kind: str, count: int, tmp_path: Path) -> None:
    source = SOURCES[kind](tmp_path / "docs.jsonl")
    for index in {0, 1 % count, count - 1}:
        assert documents(source, shard=(index, count)) == EXPECTED[index::count]
    total = documents_from(source, shard=(count - 1, count)).total
    assert total in {None, len(EXPECTED[count - 1 :: count])}


@pytest.mark.parametrize("kind", ["dataset", "streamed dataset", "arrow reader", "arrow capsule", "generator"])
def test_shards_of_sources_that_are_read_once(kind: str, tmp_path: Path) -> None:
    made = SOURCES[kind]
    assert documents(made(tmp_path / "docs.jsonl"), shard=(2, 3)) == EXPECTED[2::3]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".csv.gz"])
def test_a_csv_file_has_strings(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"docs{suffix}"
    content = [["id", "text", "note"], ["1", 'Two\nlines, "quoted"', ""], ["2", "tab\tand comma,", "x"]]
    with gzip.open(path, "wt", newline="") if suffix.endswith("gz") else path.open("w", newline="") as stream:
        csv.writer(stream, delimiter="\t" if suffix == ".tsv" else ",").writerows(content)
    assert documents(path) == [Document(id, text, {"note": note}) for id, text, note in content[1:]]


def test_csv_of_pandas_and_with_a_byte_order_mark(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS)[["id", "text", "year"]]
    frame.to_csv(tmp_path / "docs.csv", index=False, encoding="utf-8-sig")
    found = documents(tmp_path / "docs.csv")
    assert [(each.id, each.text) for each in found] == [(each.id, each.text) for each in EXPECTED]
    assert found[3].payload == {"year": "2003"}
    assert documents(tmp_path / "docs.csv", shard=(1, 7)) == found[1::7]


def test_a_byte_order_mark_and_blank_lines_of_jsonl_are_not_rows(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"id": 1, "text": "a"}\r\n\r\n \n{"id": 2, "text": "b"}')
    assert documents(path) == [Document(1, "a"), Document(2, "b")]
    assert documents(path, shard=(1, 2)) == [Document(2, "b")]


def test_text_and_markdown_files_are_one_document_each(tmp_path: Path) -> None:
    (tmp_path / "notes" / ".git").mkdir(parents=True)
    (tmp_path / "readme.md").write_text("# Title\n")
    (tmp_path / "notes" / "a.txt").write_bytes(b"\xef\xbb\xbfk\xc3\xb6ln")
    (tmp_path / "notes" / ".git" / "b.txt").write_text("hidden")
    (tmp_path / "notes" / "picture.png").write_bytes(b"\x89PNG")
    expected = [
        Document("notes/a.txt", "köln", {"path": "notes/a.txt"}),
        Document("readme.md", "# Title\n", {"path": "readme.md"}),
    ]
    assert documents(tmp_path) == expected
    assert documents(f"{tmp_path}/**/*.txt") == [expected[0]]
    assert documents(tmp_path / "readme.md") == [expected[1]]
    assert documents_from(tmp_path, shard=(0, 2)).total == 1


def test_a_beir_folder_joins_title_and_text(tmp_path: Path) -> None:
    lines = [
        {"_id": "d1", "title": "Rivers", "text": "flow.", "metadata": {"url": "u"}},
        {"_id": "d2", "title": "", "text": "No title."},
    ]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "river"}')
    assert documents(str(tmp_path)) == [
        Document("d1", "Rivers flow.", {"title": "Rivers", "metadata": {"url": "u"}}),
        Document("d2", "No title.", {"title": ""}),
    ]


def test_folders_globs_and_lists_read_their_files_in_order(tmp_path: Path) -> None:
    for name, start in (("b.jsonl", 2), ("a.jsonl", 0), ("sub/c.jsonl", 4)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in ROWS[start : start + 2]))
    assert documents(tmp_path) == EXPECTED[:6]
    assert documents(f"{tmp_path}/*.jsonl") == EXPECTED[:4]
    assert documents([tmp_path / "b.jsonl", str(tmp_path / "a.jsonl")]) == EXPECTED[2:4] + EXPECTED[:2]
    assert documents(tmp_path, shard=(1, 4)) == EXPECTED[1:6:4]


def test_a_name_with_glob_characters_is_a_path_if_it_exists(tmp_path: Path) -> None:
    (tmp_path / "docs[1].jsonl").write_text('{"id": 1, "text": "a"}')
    assert documents(f"{tmp_path}/docs[1].jsonl") == documents(tmp_path / "docs[1].jsonl") == [Document(1, "a")]


async def read(source: Any, **options: Any) -> list[Document]:
    return [plain(item) async for item in documents_from(source, **options).items]  # type: ignore[union-attr]


def test_an_asynchronous_iterable_passes_the_same_mapping() -> None:
    import asyncio

    async def stream() -> AsyncIterator[Any]:
        for row, document in zip(ROWS[:9:3], EXPECTED[:9:3], strict=True):
            yield row
            yield document
            yield document.id, document.text, document.payload

    expected = [each for each in EXPECTED[:9:3] for _ in range(3)]
    assert asyncio.run(read(stream())) == expected
    assert asyncio.run(read(stream(), shard=(1, 2))) == expected[1::2]


def test_missing_values_of_pandas_are_null_and_its_numbers_plain() -> None:
    frame = pd.DataFrame(
        {
            "id": np.array([1, 2], np.int32),
            "text": ["a", "b"],
            "score": [0.5, np.nan],
            "when": [pd.NaT, datetime(2024, 6, 1)],
            "count": pd.array([None, 3], "Int64"),
            "flag": pd.array([True, None], "boolean"),
            "kind": pd.Categorical(["x", None]),
            "list": [[1, 2], None],
        }
    )
    first, second = documents(frame)
    assert first.payload == {
        "score": 0.5, "when": None, "count": None, "flag": True, "kind": "x", "list": [1, 2]
    }  # fmt: skip
    assert second.payload == {
        "score": None, "when": pd.Timestamp(2024, 6, 1), "count": 3, "flag": None, "kind": None, "list": None
    }  # fmt: skip
    assert (type(first.id), type(second.payload["count"])) == (int, int)


def test_a_wide_parquet_file_is_read_by_the_columns_that_the_mapping_names(tmp_path: Path) -> None:
    path = tmp_path / "docs.parquet"
    pq.write_table(pa.Table.from_pylist([row | {"embedding": [0.1] * 8} for row in ROWS]), path)
    found = documents(path, payload=["year"])
    assert found == [Document(row["id"], row["text"], {"year": row["year"]}) for row in ROWS]


def test_a_parquet_file_streams_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "docs.parquet"
    text = "x" * 2000
    with pq.ParquetWriter(path, pa.schema({"id": pa.int64(), "text": pa.string()})) as writer:
        for start in range(0, 40_000, 5000):
            numbers = range(start, start + 5000)
            writer.write_table(pa.table({"id": list(numbers), "text": [f"{n} {text}" for n in numbers]}))
    pool, stream = pa.default_memory_pool(), documents_from(path).items
    before = pool.bytes_allocated()
    most = max(pool.bytes_allocated() - before for _ in stream)  # type: ignore[union-attr]
    assert most < 24 * 2**20  # two row groups; the file has 80 MB of text


@pytest.mark.parametrize(
    ("kind", "total"),
    [("parquet", 2500), ("jsonl", None), ("dicts", 2500), ("generator", None), ("pandas", 2500), ("polars", 2500),
     ("polars lazy", None), ("arrow table", 2500),
     ("arrow reader", None), ("dataset", 2500), ("streamed dataset", None)],
)  # fmt: skip
def test_the_total_is_known_where_it_is_cheap(kind: str, total: int | None, tmp_path: Path) -> None:
    assert documents_from(SOURCES[kind](tmp_path / "docs.jsonl")).total == total


def unknown(folder: Path) -> Iterator[tuple[Any, str]]:
    (folder / "data.json").write_text("[]")
    (folder / "mixed").mkdir()
    (folder / "mixed" / "a.md").write_text("a")
    (folder / "mixed" / "b.parquet").write_text("b")
    (folder / "empty").mkdir()
    split = datasets.Dataset.from_list(ROWS[:2])
    twice = pd.DataFrame([[1, 2, "x"]], columns=["id", "id", "text"])
    yield str(folder / "none.jsonl"), "there is no file '.*none.jsonl': pass a path"
    yield "A text about rivers", "for texts, pass Documents or \\(id, text\\) tuples"
    yield f"{folder}/*.csv", "there is no file"
    yield str(folder / "data.json"), "unknown kind: use .jsonl"
    yield f"{folder}/*.json", "data.json' matches .* unknown kind"
    yield folder / "empty", "has no file of a known kind"
    yield folder / "mixed", "has data \\('b.parquet'\\) and texts \\('a.md'\\): choose .*\\*\\*/\\*.parquet"
    yield ["a.jsonl", "b.jsonl"], "there is no file 'a.jsonl'"
    yield "a\0b", "there is no file"
    yield "x" * 5000, "there is no file"
    yield (
        datasets.DatasetDict(train=split, test=split),
        "has splits \\('train', 'test'\\): pass one, such as dataset\\['train'\\]",
    )
    yield twice, "column 'id' is there twice"
    yield pa.array([1, 2]), "cannot be read as a table"
    yield Document(1, "a"), "source must be a list.*one Document"
    yield {"id": 1, "text": "a"}, "source must be a list.*a dict"
    yield b"docs.jsonl", "source must be a list.*a bytes"
    yield 7, "source must be a list.*an int 7"


def test_other_sources_are_refused_with_the_remedy(tmp_path: Path) -> None:
    for source, message in unknown(tmp_path):
        with pytest.raises(ConfigurationError, match=message):
            documents_from(source)


@pytest.mark.parametrize(
    ("shard", "message"),
    [((3, 3), "number i .* between 0 and 2, got 3"), ((0, 0), "count n .* at least 1"),
     (5, "pair"), ((1, 2, 3), "pair"), ((-1, 2), "number i"), (("a", 2), "integer"), ((0.0, 2), "integer")],
)  # fmt: skip
def test_a_wrong_shard_is_refused(shard: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        documents_from([], shard=shard)
