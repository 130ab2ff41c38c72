"""Disks whose power fails: they give the files that are left when nothing of the page cache is.

`Device` is the real thing, an ext4 file system on a loop device, whose contents are copied beneath it; only root may
make one. `Model` works everywhere: of a shard it keeps what was there when the engine last flushed it, and every other
file of a store as it is, so that it shows whatever is referred to before it is on disk.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import qdrant_edge

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEGABYTES = 192


class Disk(Protocol):
    """One store, and what a power cut leaves of it."""

    path: Path

    def cut(self) -> contextlib.AbstractContextManager[Path]:
        """A copy of the store that a power cut at this moment would leave."""
        ...


class Model:
    """A disk that is a model of one: of a shard it keeps what was flushed.

    Args:
        folder: An empty folder.
        patch: Replaces the engine.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.path = folder / "store"
        self._flushed, self._left = folder / "flushed", folder / "left"
        self._guard = threading.Lock()
        self._engine: Any = qdrant_edge.EdgeShard
        patch.setattr(qdrant_edge, "EdgeShard", self)

    def create(self, path: str, *arguments: Any) -> Any:
        return self._watched(path, self._engine.create(path, *arguments))

    def load(self, path: str, *arguments: Any) -> Any:
        return self._watched(path, self._engine.load(path, *arguments))

    def _watched(self, path: str, shard: Any) -> Any:
        return _Shard(self, Path(path), shard) if Path(path).is_relative_to(self.path) else shard

    def keep(self, shard: Path) -> None:
        """Keep a shard as it is now."""
        kept = self._flushed / shard.relative_to(self.path)
        with self._guard:
            shutil.rmtree(kept, ignore_errors=True)
            _copy(shard, kept)

    @contextlib.contextmanager
    def cut(self) -> Iterator[Path]:
        with self._guard:
            shutil.copytree(self.path, self._left, ignore=lambda _, names: {"shard"} & set(names))
            for collection in self._left.glob("collections/*"):
                _copy(self._flushed / "collections" / collection.name / "shard", collection / "shard")
        yield self._left
        shutil.rmtree(self._left)


class _Shard:
    def __init__(self, disk: Model, path: Path, shard: Any) -> None:
        self._disk, self._path, self._shard = disk, path, shard

    def flush(self) -> None:
        self._shard.flush()
        self._disk.keep(self._path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shard, name)


class Device:
    """A file system on a loop device.

    Args:
        folder: An empty folder, not in memory if possible.
    """

    def __init__(self, folder: Path) -> None:
        self._image, self._copy = folder / "image", folder / "copy"
        self._mounted, self._left = folder / "mounted", folder / "left"
        self.path = self._mounted / "store"

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Device]:
        with self._image.open("wb") as file:
            file.truncate(_MEGABYTES * 2**20)
        try:
            _run("mkfs.ext4", "-q", "-F", self._image)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no file system can be made: {error}")
        with _mount(self._image, self._mounted):
            yield self

    @contextlib.contextmanager
    def cut(self) -> Iterator[Path]:
        while _copy_data(self._image, self._copy) != _digest(self._image):
            pass  # it was written to meanwhile: a power cut is one moment
        with _mount(self._copy, self._left):
            yield self._left / "store"


@contextlib.contextmanager
def _mount(image: Path, folder: Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    try:
        _run("mount", "-o", "loop", image, folder)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"loop devices cannot be mounted: {error}")
    try:
        yield
    finally:
        _run("umount", "--lazy", folder)


def _run(*command: object) -> None:
    subprocess.run([*map(str, command)], check=True, capture_output=True)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder, again if the engine's thread renames a file of its log in the meantime."""
    for _ in range(5):
        with contextlib.suppress(FileNotFoundError):
            return _copy_once(source, target)
        shutil.rmtree(target)
    return _copy_once(source, target)


def _copy_once(source: Path, target: Path) -> None:
    """Copy a folder, without the zeros in its files: the engine makes large files that hold little."""
    for parent, _, names in os.walk(source):
        folder = target / Path(parent).relative_to(source)
        folder.mkdir(parents=True)
        for name in names:
            _copy_data(Path(parent, name), folder / name)


def _copy_data(source: Path, target: Path) -> bytes:
    """Copy a file; a digest of what was read."""
    digest = hashlib.blake2b()
    with target.open("wb") as file:
        file.truncate(source.stat().st_size)
        for start, data in _data(source):
            file.seek(start)
            file.write(data)
            digest.update(data)
    return digest.digest()


def _digest(path: Path) -> bytes:
    digest = hashlib.blake2b()
    for _, data in _data(path):
        digest.update(data)
    return digest.digest()


def _data(path: Path) -> Iterator[tuple[int, bytes]]:
    """What is in a file and where, without its holes."""
    with path.open("rb") as file:
        size, end = os.fstat(file.fileno()).st_size, 0
        while end < size:
            try:
                start = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:  # there is none any more
                return
            end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
            file.seek(start)
            yield start, file.read(end - start)
