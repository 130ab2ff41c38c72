"""Writes test collections in BEIR's layout."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from colbert_qdrant import RetrievalDataset

CORPUS = [
    {"_id": "d1", "title": "Ferry", "text": "The ferry leaves at nine."},
    {"_id": "d2", "title": "", "text": "A bridge crosses the river."},
    {"_id": "d3", "title": "Harbor", "text": "Boats wait in the harbor."},
]
QUERIES = [
    {"_id": "q2", "text": "who crossed the river"},
    {"_id": "q9", "text": "a query without judgments"},
    {"_id": "q1", "text": "when does the boat depart"},
]
QRELS = [("q1", "d1", 2), ("q1", "d3", 1), ("q2", "d2", 1), ("q2", "d1", 0)]
HEADER = "query-id\tcorpus-id\tscore\n"


def beir_folder(
    folder: Path,
    *,
    corpus: Iterable[Mapping[str, Any]] = CORPUS,
    queries: Iterable[Mapping[str, Any]] = QUERIES,
    qrels: str | Iterable[tuple[str, str, Any]] = QRELS,
    suffix: str = "",
    split: str = "test",
) -> Path:
    """Write a BEIR folder and return it."""
    (folder / "qrels").mkdir(parents=True)
    for name, rows in (("corpus", corpus), ("queries", queries)):
        write(folder / f"{name}.jsonl{suffix}", "".join(f"{json.dumps(row)}\n" for row in rows))
    text = qrels if isinstance(qrels, str) else HEADER + "".join(f"{q}\t{d}\t{rel}\n" for q, d, rel in qrels)
    write(folder / "qrels" / f"{split}.tsv", text)
    return folder


def texts(dataset: RetrievalDataset) -> dict[object, str]:
    """The texts of all documents by id."""
    assert dataset.documents is not None
    return {each.id: each.text for each in dataset.documents}


def write(path: Path, content: str | bytes) -> Path:
    """Write a file, compressed if its name ends in ``.gz`` or ``.zst``."""
    data = content.encode() if isinstance(content, str) else content
    if path.suffix == ".zst":
        pa = pytest.importorskip("pyarrow")
        data = pa.compress(data, "zstd", asbytes=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_parquet(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([*rows]), path)


def hub_repository(folder: Path, tables: Iterable[tuple[str, str, str]], rows: Mapping[str, Any]) -> Path:
    """Write the Parquet files of a repository of the Hub, and its card.

    Args:
        folder: The repository.
        tables: Configuration, split, and name of the file for each table.
        rows: The rows of each file.
    """
    by_config: dict[str, str] = {}
    for config, split, file in tables:
        write_parquet(folder / file, rows[file])
        entry = f"  - split: {split}\n    path: {file.partition('-0')[0]}-*\n"
        by_config[config] = by_config.get(config, f"- config_name: {config}\n  data_files:\n") + entry
    (folder / "README.md").write_text(f"---\nlicense: mit\nconfigs:\n{''.join(by_config.values())}---\n# A card\n")
    return folder


def hub_beir(root: Path, name: str = "scifact", *, split: str = "test") -> Path:
    """Write the two repositories of a data set of BEIR."""
    files = {"corpus/corpus-00000-of-00001.parquet": CORPUS, "queries/queries-00000-of-00001.parquet": QUERIES}
    tables = [(config, config, file) for config, file in zip(("corpus", "queries"), files, strict=True)]
    hub_repository(root / "BeIR" / name, tables, files)
    qrels = root / "BeIR" / f"{name}-qrels"
    qrels.mkdir()
    write(qrels / f"{split}.tsv", HEADER + "".join(f"{q}\t{d}\t{rel}\n" for q, d, rel in QRELS))
    return root
