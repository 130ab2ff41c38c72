"""Shards partition any source: together they have every item once, in its order."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings

from colbert_qdrant.sources import where
from tests.unit.sources.rows import documents, items

ROWS = st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=5), max_size=40)


def _sources(texts: list[str], folder: Path, group: int, split: int) -> list[Any]:
    rows = [{"id": n, "text": text} for n, text in enumerate(texts)]
    if not rows:
        return [rows, iter(rows)]
    (folder / "lines").mkdir()
    for number, part in enumerate((rows[:split], rows[split:])):
        (folder / "lines" / f"{number}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
        (folder / f"{number}.txt").write_text("a")
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, folder / "docs.parquet", row_group_size=group)
    chunks = pa.Table.from_batches(table.to_batches(max_chunksize=group))
    return [
        rows,
        folder / "lines",
        folder / "docs.parquet",
        f"{folder}/*.txt",
        table,
        chunks,
        pl.DataFrame(rows),
        pd.DataFrame(rows),
    ]


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 9), st.integers(1, 10), st.integers(0, 40))
def test_shards_partition_every_source(texts: list[str], count: int, group: int, split: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for source in _sources(texts, Path(folder), group, split):
            if not hasattr(source, "__next__"):
                whole = documents(source)
                shards = [documents(source, shard=(index, count)) for index in range(count)]
                assert shards == [whole[index::count] for index in range(count)]


def test_numbers_in_errors_are_those_of_the_whole_source() -> None:
    source = [{"id": n} for n in range(7)]
    assert [where(item) for item in items(source, shard=(1, 3))] == ["row 2", "row 5"]
    assert [where(item) for item in items(pl.DataFrame(source), shard=(1, 3))] == ["row 2", "row 5"]
