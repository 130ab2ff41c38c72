"""Writes the folder of a backup atomically, and checks every file of one."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant.config.checks import require_file_path
from colbert_qdrant.edge.files import sync_folder, sync_tree, write_json
from colbert_qdrant.errors import BackupError, ConfigurationError, EngineError
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import PathLike

MANIFEST: Final = "manifest.json"
_FORMAT: Final = 1
_PIECE: Final = 2**20


@dataclass(frozen=True, kw_only=True)
class BackupManifest:
    """The contents of a backup.

    Attributes:
        name: The collection's name.
        aliases: Its aliases.
        engine: The kind of engine: ``"edge"`` or ``"server"``.
        fingerprint: The fingerprint of the collection.
        engine_version: The version of the server; ``None`` for an embedded store.
        files: The size and the SHA-256 of each file, by its path in the folder.
    """

    name: str
    aliases: tuple[str, ...]
    engine: str
    fingerprint: dict[str, Any]
    engine_version: str | None
    files: dict[str, tuple[int, str]]

    def write(self, folder: Path) -> None:
        """Write the manifest into the folder of a backup."""
        write_json(folder / MANIFEST, _FORMAT, asdict(self))

    @classmethod
    def read(cls, folder: Path) -> BackupManifest:
        """Read the manifest of a backup.

        Raises:
            BackupError: If the folder lacks it, or it cannot be read.
        """
        path = folder / MANIFEST
        try:
            values: dict[str, Any] = json.loads(path.read_bytes())
            if (found := values.pop("format")) != _FORMAT:
                raise BackupError(
                    f"the backup {folder} has format {shown(found)}, but this version reads {_FORMAT}: upgrade "
                    "colbert-qdrant"
                )
            files = {name: (int(size), str(digest)) for name, (size, digest) in values.pop("files").items()}
            return cls(**values | {"aliases": tuple(values["aliases"]), "files": files})
        except FileNotFoundError as error:
            raise BackupError(
                f"{folder} is no complete backup, because it has no {MANIFEST}: pass the folder that backup(path) wrote"
            ) from error
        except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
            raise BackupError(f"{path} cannot be read ({error}): use another backup") from error


def checked_path(path: str | PathLike[str]) -> Path:
    """Return the absolute path of a backup's folder.

    Raises:
        ConfigurationError: If it is not a path.
    """
    require_file_path("path", path, "the path of a folder")
    text = str(path)
    if not text.strip() or "\0" in text:
        raise ConfigurationError(f"path is {shown(text)}: pass the path of a folder")
    return Path(text).absolute()


def begin(path: Path) -> Path:
    """Make the folder that becomes the backup in `finish`, beside it.

    Raises:
        BackupError: If something has the name of the backup.
        EngineError: If the folder cannot be written.
    """
    _require_free(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    with _written(path):
        temporary.mkdir(parents=True)
    return temporary


def finish(temporary: Path, path: Path, manifest: BackupManifest) -> None:
    """Give a complete folder its name, when it is on disk."""
    with _written(path):
        manifest.write(temporary)
        sync_tree(temporary, files=True)
        _require_free(path)
        temporary.rename(path)
        sync_folder(path.parent)


def discard(temporary: Path) -> None:
    """Remove the folder of a backup that was not finished."""
    shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EngineError(f"{path} cannot be written ({error}): check the folder and its permissions") from error


def measure(folder: Path) -> dict[str, tuple[int, str]]:
    """Return the size and the SHA-256 of every file in a folder but the manifest, by path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    found = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: _measured(path) for name, path in found.items() if name != MANIFEST}


def require_complete(folder: Path, manifest: BackupManifest) -> None:
    """Check that a backup has all of its files unchanged, and no others.

    Raises:
        BackupError: If not; the message names a file.
    """
    try:
        found = measure(folder)
    except OSError as error:
        raise BackupError(f"the backup {folder} cannot be read ({error}): check its permissions") from error
    for name, (size, digest) in manifest.files.items():
        if name not in found:
            raise BackupError(f"the backup {folder} is incomplete, since {name} is missing: use another backup")
        if found[name] != (size, digest):
            raise BackupError(
                f"the backup {folder} was altered: {name} has {found[name][0]:,} bytes with another SHA-256 than the "
                f"{size:,} bytes that were written: use another backup"
            )
    if others := sorted(found.keys() - manifest.files.keys()):
        raise BackupError(f"the backup {folder} was altered: {others[0]} was added: remove it, or use another backup")


def _measured(path: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()


def _require_free(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise BackupError(f"{path} exists already, and a backup never replaces anything: pass a new path")
