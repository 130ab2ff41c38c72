"""Malformed files: every readable row is a document, and every other row an error that names file and line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from colbert_qdrant import Document
from colbert_qdrant.sources import BadRow, Item, Shard
from tests.unit.sources.rows import documents, errors, good, items, rows

if TYPE_CHECKING:
    from collections.abc import Callable

GOOD = b'{"id": 1, "text": "a"}\n'


def row_of(item: Item) -> Any:
    assert isinstance(item, BadRow)
    return item.row


def failed(item: Item) -> str:
    assert isinstance(item, BadRow)
    return str(item.error)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b'{"id": 2, "text": "b"', "the line is not JSON (Expecting ',' delimiter"),
        (b'{"id": 2, "te', "the line is not JSON (Unterminated string"),
        (b"[1, 2]", "the line is [1, 2], not an object"),
        (b'"text"', "the line is 'text', not an object"),
        (b"7" * 5000, "the line is not JSON (Exceeds the limit"),
        (b"[" * 100_000, "the line is not JSON"),
        (b'{"id": 2, "text": "k\xf6ln"}', "byte 0xf6 at position 21 is not UTF-8: convert the file"),
        (b'{"id": 2}', "there is no column 'text', and the columns are 'id'"),
        (b'{"id": NaN, "text": "b"}', "the id is missing (nan)"),
    ],
)
def test_a_bad_line_of_jsonl(line: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(GOOD + b"\n" + line + b"\n" + GOOD)
    found = items(path)
    assert good(found) == [True, False, True]
    assert failed(found[1]).startswith(f"{path}, line 3: {message}")


def test_utf_16_is_no_utf_8(tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text('{"id": 1, "text": "a"}', "utf-16")
    assert "line 1: byte 0xff at position 1 is not UTF-8" in errors(tmp_path / "docs.jsonl")[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"2", "the row has 1 values, and the header has 2"),
        (b"2,b,c", "the row has 3 values, and the header has 2"),
        (b'2,"b"x', "the row is not CSV (',' expected after '\"'): close its quotes"),
        (b"2,k\xf6ln", "byte 0xf6 at position 4 is not UTF-8"),
    ],
)
def test_a_bad_line_of_csv(line: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "docs.csv"
    path.write_bytes(b'id,text\n0,"two\nlines"\n' + line + b"\n3,c\n")
    found = items(path)
    assert good(found) == [True, False, True]
    assert failed(found[1]).startswith(f"{path}, line 4: {message}")
    assert row_of(found[1]).raw == line + b"\n"


def test_an_open_quote_at_the_end_of_csv(tmp_path: Path) -> None:
    path = tmp_path / "docs.csv"
    path.write_bytes(b'id,text\n1,a\n2,"b\n3,c\n')
    first, second = items(path)
    assert isinstance(first, Document)
    assert failed(second).startswith(f"{path}, line 3: the row is not CSV (unexpected end of data)")
    assert row_of(second).raw == b'2,"b\n3,c\n'


def test_a_header_of_csv_with_a_column_twice(tmp_path: Path) -> None:
    (tmp_path / "docs.csv").write_text("id,text,id\n1,a,2\n")
    assert "line 1: the header cannot be read: column 'id' is there twice" in errors(tmp_path / "docs.csv")[0]
    (tmp_path / "docs.csv").write_text("")
    assert items(tmp_path / "docs.csv") == []


def gzipped(content: bytes) -> bytes:
    return gzip.compress(content)


def zstandard(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(("suffix", "compress"), [(".jsonl.gz", gzipped), (".jsonl.zst", zstandard)])
@pytest.mark.parametrize("cut", [0, 3, 0.5, -1])
def test_a_torn_archive_gives_all_rows_before_the_damage(
    suffix: str, compress: Callable[[bytes], bytes], cut: float, tmp_path: Path
) -> None:
    path, expected = tmp_path / f"docs{suffix}", rows(20_000)
    whole = compress("".join(json.dumps(row) + "\n" for row in expected).encode())
    path.write_bytes(whole[: int(len(whole) * cut) if isinstance(cut, float) else cut])
    (tmp_path / "later.jsonl").write_bytes(GOOD)
    found = items(tmp_path)
    *before, damage, later = found
    assert [item.id for item in before if isinstance(item, Document)] == [row["id"] for row in expected[: len(before)]]
    assert len(before) > 5000 or isinstance(cut, int)
    assert f"{path}: the file cannot be read further (" in failed(damage)
    assert f"after line {len(before)}: write or copy it again" in failed(damage)
    assert isinstance(later, Document)
    assert later.id == 1


def test_a_gzip_file_with_flipped_bits(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl.gz"
    whole = bytearray(gzip.compress("".join(json.dumps(row) + "\n" for row in rows(5000)).encode()))
    whole[-6] ^= 1  # the checksum
    path.write_bytes(whole)
    *before, damage = items(path)
    assert len(before) == 5000
    assert "CRC check failed" in failed(damage)


def written_parquet(path: Path) -> bytes:
    pq.write_table(pa.Table.from_pylist(rows(3000)), path, row_group_size=1000, compression="zstd")
    return path.read_bytes()


def test_a_truncated_parquet_file_has_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "docs.parquet"
    path.write_bytes(written_parquet(path)[:-20])
    (found,) = errors(path)
    assert found.startswith(f"{path}: the file cannot be read further (ArrowInvalid")
    assert "at its metadata" in found


def test_a_damaged_row_group_of_parquet_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "docs.parquet"
    whole = bytearray(written_parquet(path))
    with pq.ParquetFile(path) as file:
        column = file.metadata.row_group(1).column(1)
        start = column.dictionary_page_offset or column.data_page_offset
    whole[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(whole)
    found = items(path)
    assert [item.id for item in found if isinstance(item, Document)] == [
        row["id"] for row in rows(3000) if not 1000 <= row["year"] - 2000 < 2000
    ]
    (message,) = (str(item.error) for item in found if isinstance(item, BadRow))
    assert "after row 1000 of 2000: write or copy it again" in message


@pytest.mark.parametrize("missing", ["id", "text"])
def test_a_missing_column_of_tables_names_the_others(missing: str, tmp_path: Path) -> None:
    table = [{key: value for key, value in row.items() if key != missing} for row in rows(2)]
    path = tmp_path / "docs.parquet"
    pq.write_table(pa.Table.from_pylist(table), path)
    there = ", ".join(map(repr, table[0]))
    for source, name in (
        (path, f"{path}, row 1: "),
        (pl.DataFrame(table), "row 1: "),
        (pa.Table.from_pylist(table), "row 1: "),
    ):
        for mapping in ({}, {"payload": ["year"]}):
            found: list[str] = errors(source, **mapping)
            assert len(found) == 2
            assert found[0].startswith(f"{name}there is no column '{missing}'")
            assert f"and the columns are {there}: pass the name of one as {missing}=" in found[0]


def test_a_text_file_that_is_not_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"k\xf6ln")
    (tmp_path / "b.txt").write_bytes(b"good")
    (message,) = errors(tmp_path)
    assert message.startswith(f"{tmp_path / 'a.txt'}: byte 0xf6 at position 2 is not UTF-8: convert the file")


def test_a_file_that_vanishes_is_damage(tmp_path: Path) -> None:
    from colbert_qdrant.sources.jsonl import jsonl_rows
    from colbert_qdrant.sources.paths import find_files

    (tmp_path / "docs.jsonl").write_bytes(GOOD)
    (file,) = find_files(str(tmp_path / "docs.jsonl"))
    Path(file.path).unlink()
    (row,) = jsonl_rows(file, Shard())
    assert row.problem is not None
    assert "FileNotFoundError" in row.problem


def test_bad_rows_count_for_shards(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    path.write_bytes(b'{"id": 0, "text": "a"}\n{bad\n{"id": 2, "text": "a"}\n{"id": 3, "text": "a"}\n')
    assert [each.id for each in documents(path, shard=(0, 2))] == [0, 2]
    odd: Any = items(path, shard=(1, 2))
    assert good(odd) == [False, True]
