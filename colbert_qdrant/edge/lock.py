"""Lets one client have a store: an exclusive lock on a file that says who holds it."""

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
    """An exclusive lock on a store's folder, released by `release()` or by the end of the process.

    Attributes:
        was_abandoned: Whether the one that last had it ended without a release.

    Raises:
        StoreLockedError: Another client or process holds the lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # no link, for what that leads to would be emptied
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
        """Returns the open file: a process that inherits it has the lock, too."""
        return self._file.fileno()

    def release(self) -> None:
        """Gives the lock back."""
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
            return f"store {store} is locked: {who}, reuse that EdgeClient or close it"
        who = "another process"
        if holder:
            who = f"process {holder.get('pid')} ({holder.get('program')}) on {holder.get('host')}"
            who += f" since {holder.get('since')}"
        return (
            f"store {store} is locked: {who} has it open. Stop that process or close its EdgeClient, "
            "use another path, or use a Qdrant server, which many processes can share"
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
    except (OSError, ValueError):  # just being written, or a system where a locked file cannot be read
        return {}
    return holder if isinstance(holder, dict) else {}
