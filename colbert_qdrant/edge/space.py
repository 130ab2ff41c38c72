"""Checks for free disk space before a write.

The engine maps its files into memory: on a full disk, a write does not raise an exception, but ends the process with a
signal.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from colbert_qdrant.errors import DiskFullError, EngineError

if TYPE_CHECKING:
    from pathlib import Path

RESERVE: Final = 64 * 2**20
"""The bytes that a write must leave free: opening after a crash repeats the writes since the last checkpoint."""

OPENING: Final = 8 * 2**20
"""The free bytes that opening a cleanly closed collection needs."""

BYTES_ON_DISK: Final = 3
"""The maximum bytes on disk per written byte: in the log, where numbers are longer, and in blocks of a segment."""

REMEDY: Final = "free disk space, or move the store to a larger disk; stored data can still be read"

_MIB: Final = 2**20


def require_space(folder: Path, size: int, what: str, *, reserve: int = RESERVE) -> None:
    """Raise `DiskFullError` unless a disk has room for a write and a reserve.

    Args:
        folder: A folder on the disk.
        size: The bytes of the write.
        what: The collection and the operation, for the message.
        reserve: The bytes that must stay free.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise EngineError(f"{folder} cannot be read ({error}): check the folder and its permissions") from error
    if free < size + reserve:
        raise DiskFullError(
            f"{what} needs {-(-(size + reserve) // _MIB)} MiB, but the disk of {folder} has {free // _MIB} MiB left: "
            f"{REMEDY}"
        )


def used_bytes(folder: Path) -> int:
    """Return the bytes that the files in a folder take on disk; the engine's large files are sparse."""
    total = 0
    for file in folder.rglob("*"):
        try:
            status = file.lstat()
        except FileNotFoundError:  # replaced in the meantime
            continue
        total += getattr(status, "st_blocks", status.st_size // 512) * 512
    return total
