"""Checks that a disk has room before something is written.

The engine maps its files into memory: on a full disk a write is no exception there, but a signal that ends the process.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Final

from colbert_qdrant.errors import DiskFullError, EngineError

if TYPE_CHECKING:
    from pathlib import Path

RESERVE: Final = 64 * 2**20
"""The bytes that a write leaves free: opening after a crash applies again what was written since a checkpoint."""

OPENING: Final = 8 * 2**20
"""The bytes that have to be free for opening a collection that was closed."""

BYTES_ON_DISK: Final = 3
"""The most bytes that a byte of a write takes: in the log, where numbers are longer, and in blocks of a segment."""

REMEDY: Final = "free some, or move the store to a larger disk; what is stored can be read meanwhile"

_MIB: Final = 2**20


def require_space(folder: Path, size: int, what: str, *, reserve: int = RESERVE) -> None:
    """Raises `DiskFullError` unless a disk has room for so many bytes, and a reserve besides.

    Args:
        folder: A folder on the disk.
        size: The bytes.
        what: What is to be written, for the message.
        reserve: The bytes that have to stay free.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise EngineError(f"{folder} cannot be read: {error}") from error
    if free < size + reserve:
        raise DiskFullError(
            f"{what}: the disk of {folder} has {free // _MIB} MiB left, {-(-(size + reserve) // _MIB)} MiB are needed: "
            f"{REMEDY}"
        )


def used_bytes(folder: Path) -> int:
    """Returns how many bytes the files in a folder take on the disk; large ones of the engine are mostly holes."""
    total = 0
    for file in folder.rglob("*"):
        try:
            status = file.lstat()
        except FileNotFoundError:  # it was just replaced
            continue
        total += getattr(status, "st_blocks", status.st_size // 512) * 512
    return total
