"""Reads files of comma-separated or tab-separated values with a header."""

from __future__ import annotations

import csv
from threading import Lock
from typing import IO, TYPE_CHECKING, Final

from colbert_qdrant.shown import shown
from colbert_qdrant.sources.item import Origin, SourceRow
from colbert_qdrant.sources.jsonl import not_utf8
from colbert_qdrant.sources.paths import DAMAGE, open_file, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colbert_qdrant.sources.paths import File
    from colbert_qdrant.sources.shard import Shard


_SEPARATORS: Final = ";\t|,"
_FIELD_CHARACTERS: Final = 2**25
_LIMIT: Final = Lock()  # the limit of the csv module holds for the whole process


class _Lines:
    """Decodes lines for `csv.reader`, and remembers those of the current row.

    Attributes:
        number: The number of the last line.
        raw: The lines of the current row.
        error: The error of a line that is not UTF-8.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.number = 0
        self.raw: list[bytes] = []
        self.error: UnicodeDecodeError | None = None

    def start(self) -> None:
        """Forget the lines of the row before."""
        self.raw, self.error = [], None

    def __iter__(self) -> Iterator[str]:
        for line in self._stream:
            self.number += 1
            self.raw.append(line)
            try:
                yield line.decode("utf-8-sig" if self.number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                self.error = self.error or error
                yield line.decode(errors="replace")


def csv_rows(file: File, shard: Shard) -> Iterator[SourceRow]:
    """Yield the rows of a file; all values are strings. A row of another length becomes a row with a problem."""
    origin = Origin(str(file.path), "line")
    lines = None
    try:
        with open_file(file.path) as stream:
            lines = _Lines(stream)
            reader = csv.reader(lines, delimiter="\t" if file.kind == "tsv" else ",", strict=True)
            yield from _rows(reader, lines, origin, shard)
    except DAMAGE as error:
        yield SourceRow(None, origin, 0, unreadable(error, f"after line {lines.number if lines else 0}"))


def _rows(reader: Iterator[list[str]], lines: _Lines, origin: Origin, shard: Shard) -> Iterator[SourceRow]:
    header: list[str] | None = None
    while True:
        first = lines.number + 1
        lines.start()
        try:
            fields, problem = _next(reader), None
        except StopIteration:
            return
        except csv.Error as error:
            fields, problem = [], _broken(error)
        if lines.error is not None:
            problem = not_utf8(lines.error)
        if header is None:
            header = fields or None  # blank lines before the header
            problem = problem or _bad_header(fields)
            if problem:
                yield SourceRow(None, origin, first, f"the header cannot be read: {problem}", b"".join(lines.raw))
                return
        elif (fields or problem) and shard.takes():
            problem = problem or _bad_length(fields, header)
            if problem is None:
                yield SourceRow(dict(zip(header, fields, strict=True)), origin, first)
            else:
                yield SourceRow(None, origin, first, problem, b"".join(lines.raw))


def _broken(error: csv.Error) -> str:
    return f"the row is not CSV ({error}): close its quotes, and double the quotes within"


def _next(reader: Iterator[list[str]]) -> list[str]:
    """Return the next row; a value may be as long as a long document, but an open quote does not fill the memory."""
    with _LIMIT:
        before = csv.field_size_limit()
        csv.field_size_limit(max(before, _FIELD_CHARACTERS))
        try:
            return next(reader)
        finally:
            csv.field_size_limit(before)


def _bad_length(fields: list[str], header: list[str]) -> str | None:
    if len(fields) == len(header):
        return None
    return (
        f"the row has {len(fields)} values, and the header has {len(header)}: add or remove separators, or quote "
        "values that contain them"
    )


def _bad_header(header: list[str]) -> str | None:
    if len(header) == 1:
        found = next((each for each in _SEPARATORS if each in header[0]), None)
        if found is not None:
            return (
                f"its only column is {shown(header[0], 60)}, so the separator seems to be {found!r}: separate values "
                "by commas in .csv files and by tabs in .tsv files, or pass the table that pandas or Polars reads"
            )
    if len({*header}) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        return f"column {twice!r} is there twice: rename one"
    return None
