"""Locks a store for one client, with an exclusive lock on a file that names its holder."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import portalocker

from colbert_qdrant.errors import StoreLockedError


class StoreLock:
    """An exclusive lock on a store's folder, until `release()` or the end of the process.

    Attributes:
        was_abandoned: Whether the previous holder ended without a release.

    Raises:
        StoreLockedError: If another client or process holds the lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # does not follow a link, because its target would be truncated
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        self._file = os.fdopen(os.open(path, flags, 0o666), "a+", encoding="utf-8")
        try:
            portalocker.lock(self._file, portalocker.LockFlags.EXCLUSIVE | portalocker.LockFlags.NON_BLOCKING)
        except portalocker.LockException as error:
            self._file.close()
            raise StoreLockedError(self._message()) from error
        self.was_abandoned = os.fstat(self._file.fileno()).st_size > 0
        self._write(json.dumps(_this_process()))

    def fileno(self) -> int:
        """Return the file descriptor; a process that inherits it also holds the lock."""
        return self._file.fileno()

    def release(self) -> None:
        """Release the lock."""
        if not self._file.closed:
            self._write("")
            portalocker.unlock(self._file)
            self._file.close()

    def _write(self, text: str) -> None:
        self._file.truncate(0)
        self._file.write(text)
        self._file.flush()

    def _message(self) -> str:
        store = self._path.parent
        holder = _holder(self._path)
        if (holder.get("pid"), holder.get("host")) == (os.getpid(), socket.gethostname()):
            who = "this process already has it open"
            return f"store {store} is locked, because {who}: reuse that EdgeClient, or close it"
        who = "another process"
        if holder:
            who = f"process {holder.get('pid')} ({holder.get('program')}) on {holder.get('host')}"
            who += f" since {holder.get('since')}"
        return (
            f"store {store} is locked, because {who} has it open: stop that process or close its EdgeClient, use "
            "another path, or use a Qdrant server, which many processes can share"
        )


def _this_process() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "program": Path(sys.argv[0]).name or Path(sys.executable).name,
        "since": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }


def _holder(path: Path) -> dict[str, Any]:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # the file is being written, or the system forbids reading a locked file
        return {}
    return holder if isinstance(holder, dict) else {}
