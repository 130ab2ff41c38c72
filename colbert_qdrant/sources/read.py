"""Reads any source as a stream of documents."""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from colbert_qdrant.documents import Document
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import has, holds, kind_of, shown
from colbert_qdrant.sources.beir import beir_corpus, beir_rows
from colbert_qdrant.sources.csv_files import csv_rows
from colbert_qdrant.sources.exported import Export, exported_rows, exports_among, read_header
from colbert_qdrant.sources.hub_datasets import dataset_rows, is_dataset
from colbert_qdrant.sources.item import Item, Origin, SourceRow
from colbert_qdrant.sources.jsonl import jsonl_rows
from colbert_qdrant.sources.mapping import RowMapping
from colbert_qdrant.sources.parquet import count_rows, parquet_rows
from colbert_qdrant.sources.paths import File, find_files, pyarrow
from colbert_qdrant.sources.shard import Shard
from colbert_qdrant.sources.tables import is_table, require_ids, table_length, table_rows
from colbert_qdrant.sources.text import text_rows

if TYPE_CHECKING:
    from collections.abc import Sequence


class ArrowStream(Protocol):
    """A table that any Arrow library can read."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return a capsule of Arrow's C interface."""


class LazyTable(Protocol):
    """A query of Polars that is not computed yet."""

    def collect_schema(self) -> Any:
        """Return the columns."""


DocumentSource: TypeAlias = Iterable[Any] | AsyncIterable[Any] | str | os.PathLike[str] | ArrowStream | LazyTable
"""Documents, dicts or tuples, a path, folder or glob, a list of paths, a table, or a dataset."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """The items of a source, which are read while they are iterated over, once.

    Attributes:
        items: Iterates over documents, and a `BadRow` for each row of which none can be made; no document is checked
            yet. The iterator is asynchronous if the source is.
        total: The number of items, if it is known without reading them.
        listed: Whether the source is a list in memory, which can be read twice.
        files: The paths that are read.
        exports: The files among them that `export` wrote.
    """

    items: Iterator[Any] | AsyncIterator[Any]
    total: int | None = None
    listed: bool = False
    files: tuple[os.PathLike[str], ...] = ()
    exports: tuple[Export, ...] = ()


def documents_from(
    source: DocumentSource, *, mapping: RowMapping | None = None, shard: tuple[int, int] | None = None
) -> Source:
    """Return the items of any source; see `ColbertCollection.ingest`.

    An item of a bad row has an error instead of a document.

    Args:
        source: Documents, dicts or tuples, a path, folder or glob, a list of paths, a table, or a dataset.
        mapping: The columns of ids, texts and payloads.
        shard: ``(i, n)`` for the items with a number that is i modulo n, from 0.

    Raises:
        ConfigurationError: If the source is of another kind, or has no such file.
        MissingExtraError: If a library that reads it is not installed.
    """
    mapping, part = mapping or RowMapping(), Shard.of(shard)
    if isinstance(source, AsyncIterable):
        return Source(items=_asynchronous(source, mapping, part))
    if is_table(source):
        require_ids(source, mapping.id)
    rows, total, files = _rows(source, mapping.columns, part)
    exports = exports_among(files)
    if files and len(exports) == len(files) and mapping != RowMapping():
        raise ConfigurationError(
            f"{str(exports[0].path)!r} is an export, whose documents are complete: leave out id=…, text=… and payload=…"
        )
    return Source(
        items=map(mapping.item, rows),
        total=None if total is None else part.size(total),
        listed=isinstance(source, list | tuple) and not files,
        files=tuple(file.path for file in files),
        exports=exports,
    )


def _rows(
    source: Any, columns: Sequence[str | int] | None, shard: Shard
) -> tuple[Iterator[SourceRow], int | None, list[File]]:
    """Return the rows of a source, their number, and the source's files."""
    corpus = beir_corpus(source)
    if corpus is not None:
        return beir_rows(corpus, shard), None, [corpus]
    if _is_path(source) or (isinstance(source, list | tuple) and source and all(map(_is_path, source))):
        files = find_files(source)
        _require_pyarrow(files)
        return _file_rows(files, columns, shard), _file_total(files), files
    if is_dataset(source):
        return dataset_rows(source, shard, columns), table_length(source), []
    if is_table(source):
        return table_rows(source, shard, columns), table_length(source), []
    _require_rows(source)
    length = len(source) if has(source, "__len__") else None
    return _object_rows(source, shard), length, []


def _file_rows(files: Sequence[File], columns: Sequence[str | int] | None, shard: Shard) -> Iterator[SourceRow]:
    for file in files:
        if read_header(file) is not None:
            yield from exported_rows(file, shard)
        elif file.kind == "parquet":
            yield from parquet_rows(file, shard, columns)
        elif file.kind == "jsonl":
            yield from jsonl_rows(file, shard)
        elif file.kind == "text":
            yield from text_rows(file, shard)
        else:
            yield from csv_rows(file, shard)


def _file_total(files: Sequence[File]) -> int | None:
    """Return the number of rows where the files tell it: Parquet and text."""
    counts = [1 if file.kind == "text" else None if file.kind != "parquet" else count_rows(file) for file in files]
    return None if None in counts else sum(filter(None, counts))


def _require_pyarrow(files: Sequence[File]) -> None:
    """Raise `MissingExtraError` before anything is read."""
    for file in files:
        if file.kind == "parquet" or file.path.suffix.lower() == ".zst":
            pyarrow(f"{file.path.name} is read by pyarrow")


def _object_rows(source: Iterable[Any], shard: Shard) -> Iterator[SourceRow]:
    origin = Origin()
    for number, value in enumerate(source, 1):
        if shard.takes():
            yield SourceRow(value, origin, number)


async def _asynchronous(source: AsyncIterable[Any], mapping: RowMapping, shard: Shard) -> AsyncIterator[Item]:
    origin, number = Origin(), 0
    async for value in source:
        number += 1
        if shard.takes():
            yield mapping.item(SourceRow(value, origin, number))


def _is_path(value: object) -> bool:
    return isinstance(value, str | os.PathLike)


def _require_rows(source: object) -> None:
    """Raise unless a source is an iterable of documents, dicts or tuples."""
    single = isinstance(source, Document | Mapping)
    if single or isinstance(source, bytes) or not holds(lambda: (iter(source), True)):  # type: ignore[call-overload]
        kind = "one Document" if isinstance(source, Document) else f"{kind_of(source)} {shown(source, 60)}"
        raise ConfigurationError(
            f"source must be a list or another iterable of Documents, dicts or tuples, a path, a table or a dataset, "
            f"got {kind}: pass [Document(id=…, text=…)]"
        )
