"""Reads and writes files of test collections and runs: JSON lines, tab- or comma-separated, or in TREC's columns."""

from __future__ import annotations

import csv
import gzip
import re
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from colbert_qdrant.edge.files import write_file
from colbert_qdrant.errors import ConfigurationError, DatasetError
from colbert_qdrant.shown import counted, holds, shown
from colbert_qdrant.sources.item import Origin, SourceRow
from colbert_qdrant.sources.jsonl import jsonl_rows, not_utf8
from colbert_qdrant.sources.paths import DAMAGE, open_file
from colbert_qdrant.sources.shard import Shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from colbert_qdrant.sources.paths import File, Kind

_KINDS: Final[dict[str, Kind]] = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv", ".tsv": "tsv"}
_OTHERS: Final = frozenset({".json", ".parquet"})
_GZIP: Final = b"\x1f\x8b"
_SPACE: Final = " \t\n\v\f\r"
_SPACES: Final = re.compile(f"[{_SPACE}]+")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Describes a kind of table.

    Attributes:
        names: For each column, the names that files give it, in lower case and without separators.
        required: The columns that a header must have.
        bare: The columns of a line in a file without a header; ``None`` for columns that are skipped.
        header: The columns of a correct header.
        spaced: Whether any white space separates the columns of a file without a header, as in TREC's qrels.
    """

    names: Mapping[str, Sequence[str]]
    required: Sequence[str]
    bare: Sequence[str | None]
    header: tuple[str, ...]
    spaced: bool = False

    def columns(self, fields: Iterable[Any]) -> dict[str, Any]:
        """Return the name that the file gives to each column, as far as it has the column."""
        given: dict[str, Any] = {
            str(field).lower().replace("-", "").replace("_", "").replace(" ", ""): field for field in fields
        }
        found = {column: [given[name] for name in names if name in given] for column, names in self.names.items()}
        return {column: names[0] for column, names in found.items() if names}

    @property
    def remedy(self) -> str:
        """Says how to name the columns, for messages."""
        return f"start the file with the header {', '.join(self.header)}"

    def has_header(self, fields: Sequence[str]) -> bool:
        """Tell whether the first line of a file is a header."""
        return {*self.required} <= {*self.columns(fields)}


def uncompressed_name(path: Path) -> str:
    """Return the name of a file in lower case, without the suffix of its compression."""
    return path.name.lower().removesuffix(".gz").removesuffix(".zst")


def kind_of_table(path: Path) -> Kind:
    """Return the format that the name of a file tells; names without a known suffix are those of TREC's files.

    Raises:
        ConfigurationError: If the suffix is that of a format without such tables.
    """
    suffix = Path(uncompressed_name(path)).suffix
    if suffix in _OTHERS:
        raise ConfigurationError(f"{str(path)!r} has the suffix {suffix}: use .jsonl, .tsv, .csv, or .qrels for TREC")
    return _KINDS.get(suffix, "text")


def table_rows(file: File, table: Table) -> Iterator[SourceRow]:
    """Yield the rows of a file as dicts by column.

    Raises:
        DatasetError: If a line cannot be read; the message names the file and the line.
    """
    if file.kind == "jsonl":
        yield from renamed(jsonl_rows(file, Shard()), table)
        return
    rows = _csv(text_rows(file.path)) if file.kind == "csv" else _split(text_rows(file.path), table)
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
                f"{row.where}: there is no {missing[0]}, and the columns are {there}: name the columns "
                f"{', '.join(table.header)}"
            )
        yield replace(row, value={column: row.value[name] for column, name in columns.items()})


def identifier(value: object, row: SourceRow) -> str:
    """Return an id as a string.

    Raises:
        DatasetError: If it is neither a string nor an integer, or it is empty or no valid Unicode.
    """
    if isinstance(value, str):
        if value and is_unicode(value):
            return str(value)
        problem = f"is {shown(value, 60)}, which is not valid Unicode" if value else "is missing"
    elif isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    else:
        problem = "is missing" if value is None else f"is {shown(value, 60)}, not a string or an integer"
    raise DatasetError(f"{row.where}: an id {problem}: give every row a valid id")


def is_unicode(text: str) -> bool:
    """Tell whether a text has no lone surrogates, which no encoder and no file takes."""
    return text.isascii() or holds(text.encode)


def text_rows(path: Path) -> Iterator[SourceRow]:
    """Yield the lines of a file as strings, without their ends.

    Raises:
        DatasetError: If the file cannot be read, or a line is not UTF-8.
    """
    origin, number = Origin(str(path), "line"), 0
    try:
        with opened(path) as stream:
            for number, line in enumerate(stream, 1):
                yield SourceRow(line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n"), origin, number)
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}, line {number}: {not_utf8(error)}") from error
    except DAMAGE as error:
        raise unreadable(path, error, f" after line {number}" if number else "") from error


def unreadable(path: Path, error: Exception, after: str = "") -> DatasetError:
    """Return the error for a file that is torn, altered or not there."""
    exists = not isinstance(error, FileNotFoundError | IsADirectoryError)
    remedy = "download or copy it again" if exists else "pass the path of a file"
    return DatasetError(f"{path} cannot be read{after} ({type(error).__name__}: {error}): {remedy}")


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, and decompress it; its name may lack ``.gz``."""
    with open_file(path) as stream:
        if stream.peek(len(_GZIP)).startswith(_GZIP):  # type: ignore[attr-defined]
            with gzip.GzipFile(fileobj=stream) as decompressed:
                yield decompressed  # type: ignore[misc]
        else:
            yield stream


def write_text(path: Path, text: str) -> None:
    """Write a file, and compress it if its name ends in ``.gz``; a file that exists is replaced at the end.

    Raises:
        ConfigurationError: If its name ends in ``.zst``.
        DatasetError: If the text is no valid Unicode.
        DiskFullError: If the disk is full.
        EngineError: If the file cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix == ".zst":
        raise ConfigurationError(f"{str(path)!r} cannot be compressed with Zstandard: use .gz")
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise DatasetError(f"{path} would not be valid Unicode ({error}): correct the ids and the name") from error
    write_file(path, gzip.compress(data, mtime=0) if suffix == ".gz" else data)


def trec_columns(line: str) -> list[str]:
    """Split a line at ASCII white space only, as trec_eval does."""
    return _SPACES.split(line.strip(_SPACE))


def is_trec_id(id: str) -> bool:
    """Tell whether TREC's formats have a place for an id: it is not empty, and has no white space."""
    return id.split() == [id]


def _checked(rows: Iterable[SourceRow]) -> Iterator[SourceRow]:
    for row in rows:
        if row.problem is not None:
            raise DatasetError(f"{row.where}: {row.problem}")
        yield row


def _split(lines: Iterable[SourceRow], table: Table) -> Iterator[SourceRow]:
    """Yield the fields of lines, in which quotes have no meaning."""
    spaced: bool | None = None
    for row in lines:
        if not row.value.strip():
            continue
        if spaced is None:
            spaced = table.spaced and not table.has_header(row.value.split("\t"))
        yield replace(row, value=trec_columns(row.value) if spaced else row.value.split("\t"))


def _csv(lines: Iterable[SourceRow]) -> Iterator[SourceRow]:
    row = SourceRow(None, Origin())

    def texts() -> Iterator[str]:
        nonlocal row
        for row in lines:
            yield f"{row.value}\n"

    reader = csv.reader(texts(), strict=True)
    try:
        for fields in reader:
            if any(map(str.strip, fields)):
                yield replace(row, value=fields)
    except csv.Error as error:
        raise DatasetError(
            f"{row.where}: the row is not CSV ({error}): close its quotes, and double the quotes within"
        ) from error


def _bad_length(fields: Sequence[str], names: Sequence[Any], table: Table) -> str:
    wrong = f"the line has {counted(len(fields), 'column')}, and {len(names)} are expected"
    return f"{wrong}: correct it, or {table.remedy}"
