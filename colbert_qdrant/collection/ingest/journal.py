"""The file in which an ingest records its progress, so that the same call continues after an interruption.

The file has one record per line, each with a checksum. Records are only appended. After a crash, the last record may be
torn: it is removed when the file is opened again.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from threading import Lock
from typing import Any, Final, Self

import portalocker

from colbert_qdrant.documents import MOST_REJECTED
from colbert_qdrant.edge.files import sync_folder
from colbert_qdrant.errors import JournalError

_MAGIC: Final = b"colbert-qdrant journal 1\n"
"""The first line of every journal, with the version of its format."""

_NO_JOURNAL: Final = "choose another path for resume, or delete the file if you do not need it"


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The progress of an ingest: the outcome of the first items of its source.

    Attributes:
        items: The number of items whose outcome is final, which are the first ones of the source.
        digest: The SHA-256 of their contents.
        documents: The number of documents that were written.
        sample: The ids of some points that were written last.
    """

    items: int = 0
    digest: str = ""
    documents: int = 0
    sample: tuple[str | int, ...] = ()

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the checkpoint of a record."""
        made = {each.name: values[each.name] for each in fields(cls)}
        return cls(**made | {"sample": tuple(made["sample"])})


class Journal:
    """A journal that is open, and locked for this ingest.

    Args:
        path: The file; it is created if it does not exist.

    Attributes:
        path: The file.
        header: The first record; ``None`` if the journal is new.
        last: The last checkpoint.
        begun: The number of items at the end of the last chunk that was announced with `begin`.
        rejected: The ids and reasons of the first documents that earlier calls rejected, as many as a report names.
        rejections: The number of documents that earlier calls rejected.

    Raises:
        JournalError: If the file is no journal, is damaged, is in use, or cannot be read or written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.header: Mapping[str, Any] | None = None
        self.last = Checkpoint()
        self.begun = 0
        self.rejected: list[tuple[Any, str]] = []
        self.rejections = 0
        self._writing = Lock()  # chunks are announced in another thread than acknowledged
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        except (OSError, ValueError) as error:
            raise self._unusable(error) from error
        self._file = os.fdopen(descriptor, "rb")
        try:
            self._lock()
            self._size = self._read()
        except BaseException as error:
            self._file.close()
            if isinstance(error, OSError):
                raise self._unusable(error) from error
            raise

    def start(self, header: Mapping[str, Any]) -> None:
        """Begin a new journal, or this part of an existing one; the file can be written afterwards.

        Raises:
            JournalError: If the file cannot be written.
        """
        if self.header is None:
            self._append({"kind": "header", **header}, first=True)
            self.header = header
        else:
            self._append({"kind": "resumed", "items": self.last.items})

    def begin(self, items: int) -> None:
        """Announce that the documents up to an item will be written next."""
        self._append({"kind": "begun", "items": items})
        self.begun = items

    def checkpoint(self, checkpoint: Checkpoint, rejected: Sequence[tuple[Any, str]]) -> None:
        """Record progress; the data that it refers to must be durable.

        Args:
            checkpoint: The progress.
            rejected: The documents that were rejected since the last checkpoint, as ids in JSON, and reasons.

        Raises:
            JournalError: If the file cannot be written.
        """
        self._append({"kind": "checkpoint", **asdict(checkpoint), "rejected": list(rejected)})
        self.last = checkpoint

    def close(self) -> None:
        """Close and unlock the file."""
        self._file.close()

    def _lock(self) -> None:
        if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
            raise JournalError(f"{self.path} is not a file: {_NO_JOURNAL}")
        try:
            portalocker.lock(self._file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.AlreadyLocked as error:
            raise JournalError(
                f"journal {self.path} is used by another ingest that is running: wait until it ends, or pass another "
                "path as resume"
            ) from error
        except portalocker.LockException as error:
            raise JournalError(
                f"journal {self.path} cannot be locked ({error}): keep it on a file system with file locks"
            ) from error

    def _read(self) -> int:
        """Read all records, remove a torn one at the end, and return the size of the file."""
        found, end, damaged = self._file.readline(len(_MAGIC)), len(_MAGIC), 0
        if found != _MAGIC and not _MAGIC.startswith(found):
            raise self._wrong_format(found)
        for number, line in enumerate(self._file, 2):
            if damaged:
                raise JournalError(
                    f"journal {self.path} is damaged in line {damaged}: delete it, and ingest again with "
                    "on_conflict='skip', which encodes only documents that are missing or differ"
                )
            record = _parsed(line)
            if record is None:
                damaged = number
            else:
                self._take(record)
                end += len(line)
        return self._truncate(0 if self.header is None else end)

    def _take(self, record: Mapping[str, Any]) -> None:
        kind = record["kind"]
        if kind == "header":
            self.header = record
        elif kind == "begun":
            self.begun = record["items"]
        elif kind == "checkpoint":
            self.last = Checkpoint.of(record)
            self.rejections += len(record["rejected"])
            self.rejected += [(id, reason) for id, reason in record["rejected"][: MOST_REJECTED - len(self.rejected)]]

    def _wrong_format(self, found: bytes) -> JournalError:
        known, _, _ = _MAGIC.rpartition(b" ")
        if found.startswith(known):
            return JournalError(
                f"journal {self.path} has another format, since another version of colbert-qdrant wrote it: upgrade "
                "colbert-qdrant, or delete the journal and ingest again with on_conflict='skip'"
            )
        return JournalError(f"{self.path} is not a journal of an ingest: {_NO_JOURNAL}")

    def _append(self, record: Mapping[str, Any], *, first: bool = False) -> None:
        """Append a record durably, or leave the file unchanged."""
        data = (_MAGIC if first else b"") + _line(record)
        with self._writing:
            self._write(data, first=first)

    def _write(self, data: bytes, *, first: bool) -> None:
        try:
            left = memoryview(data)
            while left:  # if the disk is almost full, the next attempt tells the reason
                left = left[os.write(self._file.fileno(), left) :]
            os.fsync(self._file.fileno())
            if first:
                sync_folder(self.path.absolute().parent)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._truncate(self._size)
            raise self._unusable(error) from error
        self._size += len(data)

    def _truncate(self, size: int) -> int:
        os.ftruncate(self._file.fileno(), size)
        os.fsync(self._file.fileno())
        return size

    def _unusable(self, error: Exception) -> JournalError:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return JournalError(
                f"journal {self.path} cannot be written, because its disk is full: free some space, and run the same "
                "call again"
            )
        return JournalError(
            f"journal {self.path} cannot be opened or written ({error}): pass the path of a file in a folder that this "
            "process may write"
        )


def _line(record: Mapping[str, Any]) -> bytes:
    data = json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode()
    return b"%08x %s\n" % (zlib.crc32(data), data)


def _parsed(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line; ``None`` if it is torn or damaged."""
    checksum, _, data = line[:-1].partition(b" ")
    if line[-1:] != b"\n" or checksum != b"%08x" % zlib.crc32(data):
        return None
    record: dict[str, Any] = json.loads(data)
    return record
