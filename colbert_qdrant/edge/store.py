"""Manages the collections of one folder, which only this process has open.

The folder contains `.lock`, `aliases.json` and `collections/<name>/{collection.json, shard/}`.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import shutil
import threading
import weakref
from typing import TYPE_CHECKING, Any

import qdrant_edge as edge

from colbert_qdrant.edge.aliases import Aliases
from colbert_qdrant.edge.checkpoints import CHECKPOINT_BYTES
from colbert_qdrant.edge.collection import Collection
from colbert_qdrant.edge.copies import copy_tree
from colbert_qdrant.edge.failures import engine_errors
from colbert_qdrant.edge.files import remove_file, sync_folder, sync_tree
from colbert_qdrant.edge.lock import StoreLock
from colbert_qdrant.edge.manifest import FILE_NAME, Manifest, dump_models, to_json
from colbert_qdrant.edge.names import check_name, fold_name
from colbert_qdrant.edge.params import CreateParams, edge_config, with_segments
from colbert_qdrant.edge.shards import SHARD_NAME, open_shard
from colbert_qdrant.edge.space import OPENING, require_space
from colbert_qdrant.edge.vector_changes import check_new_vectors
from colbert_qdrant.errors import (
    ClosedError,
    CollectionExistsError,
    CollectionNotFoundError,
    EngineError,
    ForkedProcessError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from qdrant_client import models

    from colbert_qdrant.edge.checkpoints import Durability


class Store:
    """The collections of one folder, which only this process has open."""

    def __init__(self, path: Path, durability: Durability) -> None:
        self.path = path
        self._durability = durability
        self._pid = os.getpid()
        self._closed = False
        self._guard = threading.RLock()
        self._loaded: dict[str, Collection] = {}
        try:
            self._collections.mkdir(parents=True, exist_ok=True)
            self._lock = StoreLock(path / ".lock")
        except (OSError, RecursionError) as error:  # mkdir recurses, which fails for a path of very many folders
            raise EngineError(
                f"store {path} cannot be opened ({error}): give the path of a folder that this process may write"
            ) from error
        try:
            if self._lock.was_abandoned:  # its last writes may be in memory only
                sync_tree(path, files=True)
            self._aliases = Aliases(path)
        except Exception:
            self._lock.release()
            raise
        _STORES.add(self)

    @property
    def _collections(self) -> Path:
        return self.path / "collections"

    def close(self) -> None:
        """Close all collections and release the folder; does nothing in a forked child."""
        if os.getpid() != self._pid:
            return
        with self._guard:
            if self._closed:
                return
            self._closed = True
            try:
                self._close_all()
            finally:
                self._lock.release()

    def _close_all(self) -> None:
        problems = []
        while self._loaded:
            try:
                self._loaded.popitem()[1].close()
            except ClosedError:  # Ctrl-C came before its files were open again
                continue
            except EngineError as error:
                problems.append(error)
        if problems:
            raise problems[0]

    def names(self) -> list[str]:
        """Return the names of the collections."""
        self._check()
        return sorted(found.parent.name for found in self._collections.glob(f"*/{FILE_NAME}"))

    def exists(self, name: str) -> bool:
        """Tell whether a collection or alias of that name exists."""
        with self._exclusive_access():
            return self._folder(self._resolve(name)).name in self.names()

    def aliases(self) -> Mapping[str, str]:
        """Return the collection's name of every alias."""
        self._check()
        return self._aliases.targets

    def change_aliases(self, operations: Sequence[models.AliasOperations]) -> None:
        """Apply all alias operations in order, or none."""
        with self._exclusive_access():
            self._checkpoint()
            self._aliases.change(operations, self.names())

    def create(self, name: str, params: CreateParams, metadata: Mapping[str, Any] | None) -> None:
        """Create a collection; raises `CollectionExistsError` if a collection or an alias has the name."""
        folder = self._folder(name)
        check_new_vectors(params, f"collection {name!r}: ")
        params["optimizers_config"] = with_segments(params["optimizers_config"])
        manifest = Manifest({key: dump_models(value) for key, value in params.items() if value})  # type: ignore[arg-type]
        manifest.merge(to_json(metadata or {}))
        with self._exclusive_access():
            self._require_free(folder)
            self._aliases.require_none(name)
            require_space(self._collections, 0, f"collection {name!r}: creating it")
            _remove(folder)  # the remains of a crash
            with engine_errors("create_collection", name):
                config = edge_config(params)
                folder.mkdir()
                shard = edge.EdgeShard.create(str(folder / SHARD_NAME), config)
            collection = Collection(name, folder, manifest, shard, self._durability, self._lock)
            try:
                collection.flush()
                sync_tree(folder, files=False)
                manifest.write(folder)  # last, because the manifest makes it a collection
                sync_folder(self._collections)
            except EngineError:
                collection.close()
                raise
            self._loaded[name] = collection

    def copy(self, name: str, target: Path) -> None:
        """Copy a collection to a new folder, while writes to it wait."""
        with self.collection(name).closed() as folder:
            copy_tree(folder, target)

    def add(self, name: str, source: Path) -> None:
        """Add the collection in a folder that `copy` made; errors are those of `create`."""
        folder, manifest = self._folder(name), Manifest.read(source)
        with self._exclusive_access():
            self._require_free(folder)
            self._aliases.require_none(name)
            _remove(folder)  # the remains of a crash
            copy_tree(source, folder, without=(FILE_NAME,))
            manifest.write(folder)  # last, because the manifest makes it a collection
            sync_folder(self._collections)

    def delete(self, name: str) -> bool:
        """Delete a collection with its aliases; returns False if it does not exist."""
        folder = self._folder(name)
        with self._exclusive_access(), engine_errors("delete_collection", name):
            existed = folder.name in self.names()
            if folder.name not in {entry.name for entry in self._collections.iterdir()}:
                return False  # although a case-insensitive file system may open another collection
            _require_no_link(folder)
            loaded = self._loaded.pop(name, None)
            if loaded is not None:
                loaded.close()
            self._checkpoint()  # its documents may have moved to another collection
            self._aliases.forget(name)
            remove_file(folder / FILE_NAME)  # first, so that a crash leaves no partial collection
            _remove(folder)
        return existed

    def collection(self, name: str) -> Collection:
        """Return the collection for a name or an alias, and load it on first use.

        Raises:
            CollectionNotFoundError: If the collection does not exist.
        """
        with self._exclusive_access():
            name = self._resolve(name)
            if name not in self._loaded:
                self._loaded[name] = self._load(name)
            return self._loaded[name]

    def keep_shards(self) -> None:
        """Prevent this forked process from destroying the shards that its parent has open."""
        for collection in self._loaded.values():
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(collection.shard))

    def _checkpoint(self) -> None:
        for collection in self._loaded.values():
            collection.checkpoint()

    def _load(self, name: str) -> Collection:
        folder = self._folder(name)
        if folder.name not in self.names():
            raise CollectionNotFoundError(
                f"collection {name!r} does not exist in {self.path}: compare the name with get_collections()"
            )
        manifest = Manifest.read(folder)
        again = CHECKPOINT_BYTES if self._lock.was_abandoned else 0
        require_space(folder, again, f"collection {name!r}: opening it", reserve=OPENING)
        with engine_errors("load", name):
            shard = open_shard(folder, manifest)
        return Collection(name, folder, manifest, shard, self._durability, self._lock)

    @contextlib.contextmanager
    def _exclusive_access(self) -> Iterator[None]:
        self._check()  # before the guard, which would never be released in a forked child
        with self._guard:
            self._check()
            yield

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise ForkedProcessError(
                f"store {self.path} was opened by process {self._pid} before fork(), which the engine does not "
                "support: open the EdgeClient after the fork, or start processes with the 'spawn' method"
            )
        if self._closed:
            raise ClosedError(f"store {self.path} is closed: open a new EdgeClient")

    def _resolve(self, name: str) -> str:
        """Return the collection's name for a name or an alias."""
        return self._aliases.targets.get(name, name)

    def _folder(self, name: str) -> Path:
        check_name(name, "a collection")
        return self._collections / name

    def _require_free(self, folder: Path) -> None:
        for other in self.names():
            if fold_name(other) == fold_name(folder.name):
                clash = "" if other == folder.name else f", a name equal to {folder.name!r} on some file systems"
                raise CollectionExistsError(
                    f"collection {other!r} exists already in {self.path}{clash}: choose another name, or delete the "
                    "collection first"
                )
        _require_no_link(folder)


_STORES: weakref.WeakSet[Store] = weakref.WeakSet()


def _at_exit() -> None:
    for store in list(_STORES):
        with contextlib.suppress(Exception):  # no caller could catch it
            store.close()


def _after_fork() -> None:
    for store in _STORES:
        store.keep_shards()


atexit.register(_at_exit)  # while the checkpoint threads still run
# Destroying a shard writes to its files, so a forked child's garbage collector would write to its parent's files.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _require_no_link(folder: Path) -> None:
    if folder.is_symlink():
        raise EngineError(
            f"{folder} is a symbolic link, and nothing outside of the store is deleted: remove the link by hand, and "
            "its target if you do not need it"
        )


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise EngineError(f"{folder} cannot be deleted ({error}): check its permissions") from error
