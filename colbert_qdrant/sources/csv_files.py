"""Reads files of comma-separated or tab-separated values with a header."""

from __future__ import annotations

import csv
from typing import IO, TYPE_CHECKING

from colbert_qdrant.sources.item import Origin, SourceRow
from colbert_qdrant.sources.jsonl import not_utf8
from colbert_qdrant.sources.paths import DAMAGE, open_file, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colbert_qdrant.sources.paths import File
    from colbert_qdrant.sources.shard import Shard


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
            fields, problem = next(reader), None
        except StopIteration:
            return
        except csv.Error as error:
            fields, problem = [], _broken(error)
        if lines.error is not None:
            problem = not_utf8(lines.error)
        if header is None:
            header = fields
            problem = problem or _bad_header(header)
            if problem:
                yield SourceRow(None, origin, first, f"the header cannot be read: {problem}", b"".join(lines.raw))
                return
        elif (fields or problem) and shard.takes():
            if problem is None and len(fields) != len(header):
                problem = (
                    f"the row has {len(fields)} values, and the header has {len(header)}: add or remove separators, or "
                    "quote values that contain them"
                )
            if problem is None:
                yield SourceRow(dict(zip(header, fields, strict=True)), origin, first)
            else:
                yield SourceRow(None, origin, first, problem, b"".join(lines.raw))


def _broken(error: csv.Error) -> str:
    remedy = "close its quotes, and double the quotes within"
    if "field limit" in str(error):
        remedy += ", or raise the limit with csv.field_size_limit"
    return f"the row is not CSV ({error}): {remedy}"


def _bad_header(header: list[str]) -> str | None:
    if len({*header}) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        return f"column {twice!r} is there twice: rename one"
    return None
