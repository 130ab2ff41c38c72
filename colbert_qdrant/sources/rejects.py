"""Writes rows that could not be stored to a file that can be ingested again."""

from __future__ import annotations

import base64
import json
import os
from collections import namedtuple
from errno import ENOSPC
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Any, Final
from uuid import UUID

from colbert_qdrant._support.values import plain
from colbert_qdrant.documents import Document
from colbert_qdrant.errors import ConfigurationError, DiskFullError
from colbert_qdrant.points.ids import id_from_json, id_to_json
from colbert_qdrant.points.json import to_json
from colbert_qdrant.shown import has, shown
from colbert_qdrant.sources.item import Origin, SourceRow, row_of
from colbert_qdrant.sources.paths import is_among
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

KEY: Final = "_rejected"


class RejectFile:
    """Appends rejected rows as JSON lines; each is the original row with one more key, ``_rejected``.

    Args:
        path: The file. Its folder must exist; the file is created with the first row.
        ids: The columns that hold ids, in which a UUID stays a UUID.

    Raises:
        ConfigurationError: If the path is not a path, or its folder does not exist.
    """

    def __init__(self, path: str | os.PathLike[str], *, ids: Collection[str | int] = ("id", "_id")) -> None:
        try:
            self.path = Path(path)
            found = self.path.parent.is_dir() and not self.path.is_dir() and "\0" not in str(path)
        except Exception as error:
            raise ConfigurationError(f"rejects must be the path of a file, got {shown(path)}") from error
        if not found:
            raise ConfigurationError(f"rejects is {str(path)!r}: pass the path of a file in a folder that exists")
        self._ids = ids
        self._lock = Lock()

    def add(self, rejected: Iterable[tuple[object, str]]) -> None:
        """Append the rows of items, or items that have no rows, with reasons; they are on disk when this returns.

        Raises:
            DiskFullError: If the disk is full; the file has no half line.
            ConfigurationError: If the file cannot be written for another reason.
        """
        rows = {id(row): (row, reason) for row, reason in ((row_of(item), reason) for item, reason in rejected)}
        recorded = [_recorded(row, reason, self._ids) for row, reason in rows.values()]  # passages share a row
        if not recorded:
            return
        lines = "".join(json.dumps(each, ensure_ascii=True) + "\n" for each in recorded).encode()
        try:
            with self._lock, self.path.open("a+b", buffering=0) as file:
                _append(file, lines)
        except OSError as error:
            what = f"rejected rows cannot be written to {str(self.path)!r} ({error})"
            if error.errno == ENOSPC:
                raise DiskFullError(f"{what}: free some space, and ingest again") from error
            raise ConfigurationError(f"{what}: pass another path, and ingest again") from error

    def require_not_among(self, files: Iterable[os.PathLike[str]]) -> None:
        """Check that the file is not read while it is written.

        Raises:
            ConfigurationError: If it is one of the files of the source.
        """
        if is_among(self.path, files):
            raise ConfigurationError(
                f"rejects is {str(self.path)!r}, which is a file of the source: pass another path, and delete the file "
                "when its rows are stored"
            )


def original(value: dict[str, Any], origin: Origin, number: int) -> SourceRow:
    """Return the row that a line of a reject file holds."""
    about = value[KEY]
    if not isinstance(about, dict) or not {"where", "reason"} <= {*about}:
        return SourceRow(value, origin, number)  # a column of the caller
    del value[KEY]
    kind = about.get("kind")
    if kind == "document":
        try:
            made = Document(id_from_json(value["id"]), **{key: value[key] for key in value if key != "id"})
        except (LookupError, TypeError, ValueError) as error:
            return SourceRow(
                None, origin, number, f"the rejected document is incomplete ({error}): mend it", _line(value)
            )
        return SourceRow(made, origin, number)
    if kind == "tuple" and isinstance(value.get("row"), list):
        return SourceRow(_tuple(value["row"], about.get("fields")), origin, number)
    if not value:
        raw = _raw(about)
        problem = "the rejected row could not be read: write the mended row in place of this line, or delete the line"
        return SourceRow(None, origin, number, problem, raw)
    columns = {int(key) if kind == "numbered" and key.isdecimal() else key: each for key, each in value.items()}
    return SourceRow(columns | ({KEY: about["column"]} if "column" in about else {}), origin, number)


def _tuple(values: list[Any], names: Any) -> tuple[Any, ...]:
    """Return a tuple; a named one if it had names."""
    if not isinstance(names, list) or len(names) != len(values):
        return tuple(values)
    return namedtuple("Row", names, rename=True)(*values)  # noqa: PYI024


def _recorded(row: SourceRow, reason: str, ids: Collection[str | int]) -> dict[str, Any]:
    """Return the line for a row."""
    about: dict[str, Any] = {"where": row.where, "reason": reason}
    value = row.value
    if row.problem is not None:
        return {KEY: about | _raw_text(row.raw)}
    if isinstance(value, Document):
        about["kind"] = "document"
        content = {"id": id_to_json(value.id), "text": value.text, "payload": value.payload}
        value = content | _vectors(value)
    elif isinstance(value, tuple | list):
        about["kind"] = "tuple"
        if names := getattr(value, "_fields", None):
            about["fields"] = list(names)
        value = {"row": [id_to_json(each) if isinstance(each, UUID) else each for each in value]}
    try:
        content = {key: id_to_json(each) if key in ids else each for key, each in dict(value).items()}
    except (TypeError, ValueError):
        content = {"row": value}
    if any(isinstance(key, int) for key in content):
        about["kind"] = "numbered"
    if KEY in content:
        about["column"] = _as_json(content.pop(KEY))
    return {**_as_json(content), KEY: about}


def _vectors(document: Document) -> dict[str, Any]:
    """Return the vectors and the token embeddings that a document brings, in lists."""
    found: dict[str, Any] = {"vectors": document.vectors} if document.vectors else {}
    if document.tokens is not None:
        tokens = document.tokens.values if isinstance(document.tokens, TokenEmbeddings) else document.tokens
        found["tokens"] = tokens.tolist() if has(tokens, "tolist") else tokens
    return found


def _as_json(value: Any) -> Any:
    """Return a value in JSON; a value that has no form in JSON becomes a string."""
    try:
        made = to_json(value)
        json.dumps(made, allow_nan=False)
    except Exception:  # noqa: BLE001 - this very value may be the reason why the row is rejected
        value = plain(value)
    else:
        return made
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _as_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in value]
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - NaN
        return None
    if isinstance(value, str | int | float):
        return value  # broken Unicode, infinity, and integers beyond 64 bits have a form in Python's JSON
    return value.hex() if isinstance(value, bytes) else str(value)


def _raw_text(raw: bytes | None) -> dict[str, str]:
    if raw is None:
        return {}
    try:
        return {"raw": raw.decode()}
    except UnicodeDecodeError:
        return {"raw_base64": base64.b64encode(raw).decode()}


def _raw(about: Any) -> bytes | None:
    """Return the bytes that a line of a reject file holds instead of a row."""
    if isinstance(about, dict) and isinstance(about.get("raw"), str):
        return str(about["raw"]).encode(errors="surrogatepass")
    if isinstance(about, dict) and isinstance(about.get("raw_base64"), str):
        return base64.b64decode(about["raw_base64"])
    return None


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode()


def _append(file: IO[bytes], lines: bytes) -> None:
    """Append lines completely, or not at all."""
    before = file.seek(0, os.SEEK_END)
    left = memoryview(b"\n" + lines if _is_torn(file) else lines)
    try:
        while left:
            left = left[file.write(left) :]
        os.fsync(file.fileno())
    except OSError:
        file.truncate(before)
        raise


def _is_torn(file: IO[bytes]) -> bool:
    """Tell whether a file has a last line without an end."""
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read() != b"\n"
