"""Reads the tables of a test collection: JSON lines, tab- or comma-separated files, and TREC's columns."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from colbert_qdrant.errors import DatasetError
from colbert_qdrant.shown import counted, shown
from colbert_qdrant.sources.item import Origin, SourceRow
from colbert_qdrant.sources.jsonl import jsonl_rows, not_utf8
from colbert_qdrant.sources.paths import DAMAGE, open_file, unreadable
from colbert_qdrant.sources.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from colbert_qdrant.sources.paths import File


@dataclass(frozen=True, kw_only=True)
class Table:
    """Describes a kind of table.

    Attributes:
        names: For each column, the names that files give it, in lower case and without separators.
        required: The columns that a header must have.
        bare: The columns of a line in a file without a header; ``None`` for columns that are skipped.
        header: A correct header, for messages.
        spaced: Whether any white space separates the columns of a file without a header, as in TREC's qrels.
    """

    names: Mapping[str, Sequence[str]]
    required: Sequence[str]
    bare: Sequence[str | None]
    header: str
    spaced: bool = False

    def columns(self, fields: Iterable[Any]) -> dict[str, Any]:
        """Return the name that the file gives to each column, as far as it has the column."""
        given = {str(field).lower().replace("-", "").replace("_", "").replace(" ", ""): field for field in fields}
        found = {column: [given[name] for name in names if name in given] for column, names in self.names.items()}
        return {column: names[0] for column, names in found.items() if names}

    def has_header(self, fields: Sequence[str]) -> bool:
        """Tell whether the first line of a file is a header."""
        return {*self.required} <= {*self.columns(fields)}


def table_rows(file: File, table: Table) -> Iterator[SourceRow]:
    """Yield the rows of a file as dicts by column.

    Raises:
        DatasetError: If a line cannot be read; the message names the file and the line.
    """
    if file.kind == "jsonl":
        yield from renamed(jsonl_rows(file, Shard()), table)
        return
    lines = _checked(_lines(file))
    rows = _csv(lines) if file.kind == "csv" else _split(lines, table)
    names: Sequence[Any] = table.bare
    for position, row in enumerate(rows):
        fields = row.value
        if position == 0 and table.has_header(fields):
            columns = {field: column for column, field in table.columns(fields).items()}
            names = [columns.get(field) for field in fields]
            continue
        if len(fields) != len(names):
            raise DatasetError(f"{row.where}: {_bad_length(fields, names, table)}")
        yield replace(row, value={name: field for name, field in zip(names, fields, strict=True) if name})


def renamed(rows: Iterable[SourceRow], table: Table) -> Iterator[SourceRow]:
    """Yield rows of dicts with the names of a table's columns.

    Raises:
        DatasetError: If a row is damaged, or lacks a column.
    """
    for row in _checked(rows):
        columns = table.columns(row.value)
        missing = [column for column in table.required if column not in columns]
        if missing:
            there = ", ".join(shown(name, 60) for name in [*row.value][:30]) or "none"
            raise DatasetError(
                f"{row.where}: there is no {missing[0]}, and the columns are {there}: name the columns as in "
                f"{table.header!r}"
            )
        yield replace(row, value={column: row.value[name] for column, name in columns.items()})


def identifier(value: object, row: SourceRow) -> str:
    """Return an id as a string.

    Raises:
        DatasetError: If it is neither a string nor an integer, or it is empty.
    """
    if (isinstance(value, str) and value) or (isinstance(value, int) and not isinstance(value, bool)):
        return str(value)
    problem = "is missing" if value in {None, ""} else f"is {shown(value, 60)}, not a string or an integer"
    raise DatasetError(f"{row.where}: an id {problem}: give every row an id")


def _checked(rows: Iterable[SourceRow]) -> Iterator[SourceRow]:
    for row in rows:
        if row.problem is not None:
            raise DatasetError(f"{row.where}: {row.problem}")
        yield row


def _lines(file: File) -> Iterator[SourceRow]:
    """Yield the lines of a file as strings, without blank ones."""
    origin, number = Origin(str(file.path), "line"), 0
    try:
        with open_file(file.path) as stream:
            for number, line in enumerate(stream, 1):
                try:
                    text = line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    yield SourceRow(None, origin, number, not_utf8(error))
                    return
                if text.strip():
                    yield SourceRow(text, origin, number)
    except DAMAGE as error:
        yield SourceRow(None, origin, 0, unreadable(error, f"after line {number}"))


def _split(lines: Iterable[SourceRow], table: Table) -> Iterator[SourceRow]:
    """Yield the fields of lines, in which quotes have no meaning."""
    separator: str | None = "\t"
    for position, row in enumerate(lines):
        if position == 0 and table.spaced and not table.has_header(row.value.split("\t")):
            separator = None
        yield replace(row, value=[field.strip() for field in row.value.split(separator)])


def _csv(lines: Iterable[SourceRow]) -> Iterator[SourceRow]:
    row = SourceRow(None, Origin())

    def texts() -> Iterator[str]:
        nonlocal row
        for row in lines:
            yield f"{row.value}\n"

    reader = csv.reader(texts(), strict=True)
    try:
        for fields in reader:
            yield replace(row, value=[field.strip() for field in fields])
    except csv.Error as error:
        raise DatasetError(
            f"{row.where}: the row is not CSV ({error}): close its quotes, and double the quotes within"
        ) from error


def _bad_length(fields: Sequence[str], names: Sequence[Any], table: Table) -> str:
    return (
        f"the line has {counted(len(fields), 'column')}, and {len(names)} are expected: correct it, or start the file "
        f"with the header {table.header!r}"
    )
