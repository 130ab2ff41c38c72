"""Reads files of a store, and replaces them atomically: a crash leaves the old or the new file."""

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
"""Prevents two threads from writing one temporary file; only one process has a store open."""


def unreadable_error(path: Path, error: Exception) -> EngineError:
    """Return the error for a file or folder that cannot be read."""
    return EngineError(f"{path} cannot be read ({error}): check its permissions, or restore it from a backup")


def read_file(path: Path) -> bytes | None:
    """Read a file; ``None`` if it does not exist."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable_error(path, error) from error


def write_file(path: Path, data: bytes) -> None:
    """Write a file; raises `EngineError` if it cannot be written, and `DiskFullError` if the disk is full."""
    temporary = path.parent / f"{path.name}{TEMPORARY_SUFFIX}"
    try:
        with _WRITING:
            temporary.unlink(missing_ok=True)
            with temporary.open("xb") as file:  # exclusive, so that a link of that name is not followed
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
    except (OSError, ValueError) as error:  # of a path with a null character
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink()
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise DiskFullError(f"{path} cannot be written, because its disk is full: {REMEDY}") from error
        raise EngineError(f"{path} cannot be written ({error}): check the folder and its permissions") from error


def remove_file(path: Path) -> None:
    """Remove a file if it exists; raises `EngineError` if it cannot be removed."""
    try:
        path.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise EngineError(f"{path} cannot be removed ({error}): check the folder and its permissions") from error


def write_json(path: Path, version: int, values: Mapping[str, Any]) -> None:
    """Write JSON values, and the version of their format, as `write_file` does."""
    write_file(path, json.dumps({"format": version, **values}, ensure_ascii=False, indent=2).encode())


def read_json(path: Path, version: int, make: Callable[..., T]) -> T:
    """Read a file that `write_json` wrote, and pass its values to `make` by name.

    Raises:
        EngineError: If the file cannot be read, or `make` rejects its values.
        CapabilityError: If the file has another version.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        found = values.pop("format")
        if found == version:
            return make(**values)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
        raise unreadable_error(path, error) from error
    raise CapabilityError(
        f"{path} has format {found}, but this version of colbert-qdrant reads format {version}: upgrade it"
    )


def sync_tree(folder: Path, *, files: bool) -> None:
    """Sync a folder and all folders below it to disk; raises `EngineError` if that fails.

    Args:
        folder: The folder.
        files: Whether to sync the contents of files, too.
    """
    try:
        for attempt in range(1, _WALKS + 1):
            try:
                return _sync_once(folder, files=files)
            except FileNotFoundError:  # the engine renames files of its log in a thread
                if attempt == _WALKS or not folder.exists():
                    raise
    except OSError as error:
        raise EngineError(f"{folder} cannot be synced to disk ({error}): check the disk") from error


def _sync_once(folder: Path, *, files: bool) -> None:
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names if files else ():
            if not (path := Path(parent, name)).is_symlink():
                _sync(path, os.O_RDWR)
        sync_folder(parent)


def sync_folder(folder: str | Path) -> None:
    """Sync the entries of a folder to disk, so that they survive a power cut."""
    if os.name != "nt":  # Windows cannot open folders
        _sync(folder, os.O_RDONLY)


def _sync(path: str | Path, mode: int) -> None:
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
