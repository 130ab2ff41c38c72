"""Values, formats and layouts of real files and tables that are easily read wrongly."""

from __future__ import annotations

import json
import os
from collections import namedtuple
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
from colbert_qdrant.points.json import to_json
from colbert_qdrant.sources import RejectFile, documents_from
from tests.unit.sources.rows import documents, errors, good, items

if TYPE_CHECKING:
    from pathlib import Path

FAR = 9_000_000  # days after 1970, in the year 26611


def bad_text() -> pa.Array:
    """Texts of which the second is not UTF-8; writers in C++ make such columns."""
    bounds = pa.array([0, 1, 2, 3], pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.string(), 3, [None, bounds, pa.py_buffer(b"a\xffc")])


@pytest.mark.parametrize(
    ("column", "message"),
    [(bad_text(), "column 'text' cannot be read (UnicodeDecodeError"),
     (pa.array([0, FAR, 1], pa.date32()), "column 'text' cannot be read (OverflowError")],
)  # fmt: skip
def test_a_value_of_arrow_without_a_form_in_python_costs_its_row_only(
    column: pa.Array, message: str, tmp_path: Path
) -> None:
    table = pa.table({"id": [1, 2, 3], "text": column, "year": [2001, 2002, 2003]})
    pq.write_table(table, tmp_path / "docs.parquet")
    for source, name in ((table, ""), (tmp_path / "docs.parquet", f"{tmp_path}/docs.parquet, ")):
        found: Any = items(source)
        assert good(found) == [True, False, True]
        assert str(found[1].error).startswith(f"{name}row 2: the value of {message}")
        assert json.loads(found[1].row.raw) == {"id": 2, "year": 2002}
        assert errors(source, payload=["year"]) == errors(source)
        assert [each.id for each in documents(source, text=lambda row: "x", shard=(0, 2))] == [1, 3]


def test_a_date_of_polars_that_python_lacks_costs_its_row_only() -> None:
    frame = pl.DataFrame({"id": [1, 2, 3], "text": ["a", "b", "c"], "day": pl.Series([0, FAR, 1], dtype=pl.Int32)})
    for source in (far := frame.with_columns(pl.col("day").cast(pl.Date)), far.lazy()):
        assert good(items(source)) == [True, False, True]
        assert errors(source)[0].startswith("row 2: the value of column 'day' cannot be read (ValueError: year 26611")
        assert len(documents(source, payload=[])) == 3


def test_a_year_of_pandas_that_python_lacks_is_an_error_with_the_remedy() -> None:
    frame = pd.DataFrame({"id": [1], "text": ["a"], "day": np.array(["50000-01-01"], "datetime64[s]")})
    (document,) = documents(frame)
    with pytest.raises(ValueError, match=r"payload key 'day', the time .* does not exist in UTC: use another time"):
        to_json(document.payload)


def test_a_transformed_dataset_is_read_with_its_transform() -> None:
    plain = datasets.Dataset.from_dict({"id": [1, 2, 3], "text": ["a", "b", "c"]})
    upper = plain.with_transform(lambda batch: {**batch, "text": [text.upper() for text in batch["text"]]})
    assert documents(upper) == [Document(1, "A"), Document(2, "B"), Document(3, "C")]
    assert documents(upper, shard=(1, 2)) == [Document(2, "B")]
    assert documents(upper, payload=[]) == documents(upper)
    named = datasets.Dataset.from_dict({"key": [1], "body": ["a"]}).with_transform(
        lambda batch: {"id": batch["key"], "text": batch["body"]}
    )
    assert documents(named, payload=[]) == [Document(1, "a")]


def test_a_dataset_has_the_columns_of_its_format() -> None:
    plain = datasets.Dataset.from_dict({"id": [1], "text": ["a"], "secret": ["x"], "year": [2001]})
    chosen = plain.with_format("numpy", columns=["id", "text", "year"])
    assert documents(chosen) == [Document(1, "a", {"year": 2001})]
    everything = plain.with_format("numpy", columns=["id"], output_all_columns=True)
    assert documents(everything) == documents(plain)


def test_blank_lines_before_the_header_of_csv(tmp_path: Path) -> None:
    (tmp_path / "docs.csv").write_text("\n\r\nid,text\n1,a\n")
    assert documents(tmp_path / "docs.csv") == [Document("1", "a")]
    (tmp_path / "docs.csv").write_text("\n\nid,text\n1\n")
    assert "docs.csv, line 4: the row has 1 values, and the header has 2" in errors(tmp_path / "docs.csv")[0]


@pytest.mark.parametrize(
    ("name", "separator"), [("docs.csv", ";"), ("docs.csv", "\t"), ("docs.csv", "|"), ("docs.tsv", ",")]
)
def test_another_separator_of_csv_is_named(name: str, separator: str, tmp_path: Path) -> None:
    pd.DataFrame({"id": [1], "text": ["a"]}).to_csv(tmp_path / name, sep=separator, index=False)
    (message,) = errors(tmp_path / name)
    assert f"line 1: the header cannot be read: its only column is {f'id{separator}text'!r}" in message
    assert f"the separator seems to be {separator!r}" in message


def test_a_long_document_of_csv_is_read_completely(tmp_path: Path) -> None:
    text = "\n".join(["Hello, world " + "x" * 2000] * 200)
    pd.DataFrame({"id": ["a"], "text": [text]}).to_csv(tmp_path / "docs.csv", index=False)
    assert documents(tmp_path / "docs.csv") == [Document("a", text)]


def test_utf_16_is_named(tmp_path: Path) -> None:
    pd.DataFrame({"id": [1], "text": ["a"]}).to_csv(tmp_path / "docs.csv", index=False, encoding="utf-16")
    assert "is not UTF-8: convert the file, for example with iconv -f utf-16 -t utf-8" in errors(tmp_path)[0]


def test_an_empty_id_is_a_missing_id(tmp_path: Path) -> None:
    (tmp_path / "docs.csv").write_text("id,text\n,a\n2,b\n")
    assert good(items(tmp_path)) == [False, True]
    assert "line 2: the id is missing (''): give every row an id" in errors(tmp_path)[0]


def test_ids_in_the_index_of_pandas() -> None:
    unnamed = pd.DataFrame({"text": ["a"]}, index=["x"])
    with pytest.raises(
        ConfigurationError, match=r"no column 'id', but an index .* 'x': pass .*reset_index\(names='id'"
    ):
        documents_from(unnamed)
    assert documents(unnamed.reset_index(names="id")) == [Document("x", "a")]
    named = pd.DataFrame({"url": ["x"], "text": ["a"]}).set_index("url")
    with pytest.raises(ConfigurationError, match=r"no column 'url', but an index .* 'x': pass table.reset_index\(\)"):
        items(named, id="url")
    assert documents(named.reset_index(), id="url") == [Document("x", "a")]
    filtered = pd.DataFrame({"id": [1, 2], "text": ["a", "b"]}).iloc[1:]
    assert documents(filtered) == [Document(2, "b")]
    assert documents(named, id=lambda row: 5) == [Document(5, "a")]


def test_several_tables_are_no_rows() -> None:
    frame = pd.DataFrame({"id": [1], "text": ["a"]})
    for source in ([frame, frame], [pl.from_pandas(frame)], iter(pa.Table.from_pandas(frame).to_batches())):
        message = errors(source)[0]
        assert "row 1: the row is a whole table, a " in message
        assert "pass one table, or a generator of the rows of all" in message


def test_linked_folders_are_read_and_circles_end(tmp_path: Path) -> None:
    (tmp_path / "outer").mkdir()
    (tmp_path / "data" / "sub").mkdir(parents=True)
    for path in ("outer/a.md", "data/b.md", "data/sub/c.md"):
        (tmp_path / path).write_text(path)
    (tmp_path / "data" / "link").symlink_to(tmp_path / "outer")
    (tmp_path / "data" / "sub" / "circle").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "z.md").symlink_to(tmp_path / "outer" / "a.md")
    assert [each.id for each in documents(tmp_path / "data")] == ["b.md", "link/a.md", "sub/c.md", "z.md"]


def test_a_link_without_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "a"}')
    (tmp_path / "b.jsonl").symlink_to(tmp_path / "annexed")
    with pytest.raises(ConfigurationError, match=r"b.jsonl' is a link to a file that does not exist: create it"):
        documents_from(tmp_path)


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.md").write_text("a")
    (tmp_path / "locked").mkdir()
    scan = os.scandir

    def denied(path: Any) -> Any:  # root may read everything
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(ConfigurationError, match=r"cannot be read completely .*Permission denied"):
        documents_from(tmp_path)


def test_an_error_about_a_path_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text("[]")
    with pytest.raises(ConfigurationError) as caught:
        documents_from(tmp_path / "data.json")
    assert str(caught.value).startswith(f"'{tmp_path}/data.json' has an unknown kind: use .jsonl")


def rejected(source: Any, path: Path, **mapping: Any) -> list[Document]:
    """Reject all rows of a source, and read the reject file."""
    file = RejectFile(path)
    file.add((item, "correct it") for item in items(source, **mapping))
    return documents(path, **mapping)


def test_named_tuples_and_numbered_columns_survive_a_reject_file(tmp_path: Path) -> None:
    record: Any = namedtuple("record", ["url", "body", "year"])  # noqa: PYI024 - as database drivers do
    row = record("a", "A text.", 2001)
    mapping: dict[str, Any] = {"id": "url", "text": "body"}
    assert rejected([row], tmp_path / "1.jsonl", **mapping) == [Document("a", "A text.", {"year": 2001})]
    frame = pd.DataFrame([["a", "A text.", 2001]])
    mapping = {"id": 0, "text": 1, "payload": [2]}
    assert rejected(frame, tmp_path / "2.jsonl", **mapping) == [Document("a", "A text.", {"2": 2001})]


@pytest.mark.parametrize("value", [False, "mine", {"by": "me"}])
def test_a_column_with_the_key_of_reject_files_stays(value: Any, tmp_path: Path) -> None:
    (tmp_path / "docs.jsonl").write_text(json.dumps({"id": 1, "text": "a", "_rejected": value}))
    expected = [Document(1, "a", {"_rejected": value})]
    assert documents(tmp_path / "docs.jsonl") == expected
    assert rejected(tmp_path / "docs.jsonl", tmp_path / "rejected.jsonl") == expected
