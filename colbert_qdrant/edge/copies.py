"""Copies the files of a collection out of a store, and into one."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Final

from colbert_qdrant.edge.files import sync_folder
from colbert_qdrant.edge.space import REMEDY, require_space, used_bytes
from colbert_qdrant.errors import DiskFullError, EngineError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

_PIECE: Final = 2**20


def copy_tree(source: Path, target: Path, *, without: Collection[str] = ()) -> None:
    """Copy a folder with all files in it to a new folder, and sync the copy to disk.

    Args:
        source: The folder.
        target: The new folder; its parent must exist.
        without: The names of files of the folder itself that are left out.

    Raises:
        DiskFullError: If the disk has no room for the copy.
        EngineError: If a file cannot be read or written, or is a link.
    """
    require_space(target.parent, used_bytes(source), f"a copy of {source}", reserve=0)
    try:
        target.mkdir()
        for entry in sorted(source.iterdir()):
            if entry.is_symlink():
                raise EngineError(f"{entry} is a link, which is not copied: replace it by its target")
            if entry.is_dir():
                copy_tree(entry, target / entry.name)
            elif entry.name not in without:
                _copy_file(entry, target / entry.name)
        sync_folder(target)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFullError(f"{target} cannot be written, because its disk is full: {REMEDY}") from error
        raise EngineError(
            f"{source} cannot be copied to {target} ({error}): check both and their permissions"
        ) from error


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file; zeros become holes, because the engine's large files are sparse."""
    with source.open("rb") as reader, target.open("xb") as writer:
        while piece := reader.read(_PIECE):
            if piece.count(0) == len(piece):
                writer.seek(len(piece), os.SEEK_CUR)
            else:
                writer.write(piece)
        writer.truncate()
        writer.flush()
        os.fsync(writer.fileno())
