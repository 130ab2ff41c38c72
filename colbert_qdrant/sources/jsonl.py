"""Reads files of JSON lines, one object in each."""

from __future__ import annotations

import json
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from typing import TYPE_CHECKING

from colbert_qdrant.shown import shown
from colbert_qdrant.sources.export_records import is_exported
from colbert_qdrant.sources.item import Origin, SourceRow
from colbert_qdrant.sources.paths import DAMAGE, open_file, unreadable
from colbert_qdrant.sources.rejects import original

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colbert_qdrant.sources.paths import File
    from colbert_qdrant.sources.shard import Shard

_BOM = b"\xef\xbb\xbf"


def jsonl_rows(file: File, shard: Shard) -> Iterator[SourceRow]:
    """Yield the rows of a file; a line that is not an object becomes a row with a problem."""
    origin, number = Origin(str(file.path), "line"), 0
    try:
        with open_file(file.path) as stream:
            for number, line in enumerate(stream, 1):
                if not line.isspace() and shard.takes():
                    yield _row(line.removeprefix(_BOM) if number == 1 else line, origin, number)
    except DAMAGE as error:
        yield SourceRow(None, origin, 0, unreadable(error, f"after line {number}"))


def _row(line: bytes, origin: Origin, number: int) -> SourceRow:
    try:
        value = json.loads(line.decode().rstrip("\r\n"))
    except UnicodeDecodeError as error:
        return SourceRow(None, origin, number, not_utf8(error), line)
    except (ValueError, RecursionError) as error:
        return SourceRow(
            None,
            origin,
            number,
            f"the line is not JSON ({error}): write one complete object per line, as json.dumps does",
            line,
        )
    if not isinstance(value, dict):
        problem = f"the line is {shown(value, 60)}, not an object: write one object per line, such as " + _EXAMPLE
        return SourceRow(None, origin, number, problem, line)
    if is_exported(value):
        problem = "the line is of an export, and the export's first line is missing: put it in front of all others"
        return SourceRow(None, origin, number, problem, line)
    return original(value, origin, number) if "_rejected" in value else SourceRow(value, origin, number)


def not_utf8(error: UnicodeDecodeError) -> str:
    """Describe bytes that are not UTF-8."""
    encoding = "utf-16" if error.object.startswith((BOM_UTF16_LE, BOM_UTF16_BE)) else "latin1"
    return (
        f"byte 0x{error.object[error.start]:02x} at position {error.start + 1} is not UTF-8: convert the file, for "
        f"example with iconv -f {encoding} -t utf-8"
    )


_EXAMPLE = '{"id": 1, "text": "…"}'
