"""Reads and writes files of a store: a crash leaves the old one or the new one, nothing in between."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from colbert_qdrant.edge.space import REMEDY
from colbert_qdrant.errors import CapabilityError, DiskFullError, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

TEMPORARY_SUFFIX = ".tmp"
_WALKS = 5
"""Walks through a folder whose files are renamed in the meantime."""

_WRITING = threading.Lock()
"""Two threads would write one temporary file; a store is open in one process only."""


def write_file(path: Path, data: bytes) -> None:
    """Writes a file; raises `EngineError` if it cannot be written, `DiskFullError` if there is no room for it."""
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    try:
        with _WRITING:
            temporary.unlink(missing_ok=True)
            with temporary.open("xb") as file:  # exclusively: a link of that name is not followed
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if error.errno == errno.ENOSPC:
            raise DiskFullError(f"{path} cannot be written, for its disk is full: {REMEDY}") from error
        raise EngineError(f"{path} cannot be written: {error}") from error


def remove_file(path: Path) -> None:
    """Removes a file, if there is one; raises `EngineError` if it cannot be removed."""
    try:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise EngineError(f"{path} cannot be removed: {error}") from error


def write_json(path: Path, version: int, values: Mapping[str, Any]) -> None:
    """Writes JSON values, and the version of their format, as `write_file` does."""
    write_file(path, json.dumps({"format": version, **values}, ensure_ascii=False, indent=2).encode())


def read_json(path: Path, version: int, make: Callable[..., T]) -> T:
    """Reads what `write_json` wrote; `make` takes the values by name.

    Raises:
        EngineError: The file cannot be read, or `make` does not take its values.
        CapabilityError: The file has another version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = values.pop("format")
        if found == version:
            return make(**values)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise EngineError(f"{path} cannot be read: {error}") from error
    raise CapabilityError(f"{path} has format {found}, this version reads {version}; upgrade colbert-qdrant to open it")


def sync_tree(folder: Path, *, files: bool) -> None:
    """Makes sure that what is in a folder, and in those below it, outlives a power cut; raises `EngineError` if not.

    Args:
        folder: The folder.
        files: Whether that is to hold for what is in the files, too.
    """
    try:
        for attempt in range(1, _WALKS + 1):
            try:
                return _sync_once(folder, files=files)
            except FileNotFoundError:  # the engine renames files of its log in a thread
                if attempt == _WALKS or not folder.exists():
                    raise
    except OSError as error:
        raise EngineError(f"{folder} cannot be written to disk: {error}") from error


def _sync_once(folder: Path, *, files: bool) -> None:
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names if files else ():
            if not (path := Path(parent, name)).is_symlink():
                _sync(path, os.O_RDWR)
        sync_folder(parent)


def sync_folder(folder: str | Path) -> None:
    """Makes sure that what was made, renamed or removed in a folder stays so when the power fails."""
    if os.name != "nt":  # where folders cannot be opened
        _sync(folder, os.O_RDONLY)


def _sync(path: str | Path, mode: int) -> None:
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
