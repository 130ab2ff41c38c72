"""Opens a collection's shard in the state that its manifest describes, also after a crash."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Final

import qdrant_edge as edge

from colbert_qdrant.edge.files import unreadable_error, write_file
from colbert_qdrant.edge.log import load_without_what_fails
from colbert_qdrant.edge.names import check_name
from colbert_qdrant.edge.params import edge_config, stored_params
from colbert_qdrant.errors import ConfigurationError, EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from colbert_qdrant.edge.manifest import Manifest

SHARD_NAME: Final = "shard"
_VECTORS: Final = ("vectors", "sparse_vectors", "vector_data", "sparse_vector_data")
"""The keys for vectors in the engine's parameter files: the first two in a shard's file, the others in a segment's."""


def open_shard(folder: Path, manifest: Manifest) -> edge.EdgeShard:
    """Open the shard in a collection's folder, with the vectors and parameters of the manifest.

    Vectors that were being added or removed when the process died are removed.
    """
    path = folder / SHARD_NAME
    _refuse_links(path)
    if manifest.unfinished:
        for name in manifest.unfinished:
            _check_vector_name(folder, name)
        for name in manifest.unfinished:
            _strip(path, name)
        shard = load_without_what_fails(path, lambda: edge.EdgeShard.load(str(path)))
        for name in manifest.unfinished:  # the engine's log may have restored it
            shard.update(edge.UpdateOperation.delete_vector_name(name))
        shard.flush()
        shard.close()
        manifest.unfinished = []
        manifest.write(folder)
    config = edge_config(stored_params(manifest.config))
    return load_without_what_fails(path, lambda: edge.EdgeShard.load(str(path), config))


def _refuse_links(shard: Path) -> None:
    """Raise if a shard contains a link: a store only reads, writes and deletes its own files."""
    link = next((each for each in (shard, *shard.rglob("*")) if each.is_symlink()), None)
    if link is not None:
        raise EngineError(
            f"{link} is a link, which another program added to the store: remove it, or restore the store from a backup"
        )


def _check_vector_name(folder: Path, name: str) -> None:
    """Raise unless a vector's name in a manifest is valid; it becomes a part of folder names."""
    try:
        check_name(name or "unnamed", "a vector")
    except ConfigurationError as error:
        raise EngineError(f"another program changed {folder} ({error}): restore it from a backup") from error


def _strip(shard: Path, name: str) -> None:
    """Remove a vector from the engine's files: the engine cannot open a shard if only some segments have it."""
    _forget(shard / "edge_config.json", name)
    for parameters in sorted(shard.glob("segments/*/segment.json")):
        _forget(parameters, name)
        for kind in ("vector_storage", "vector_index"):
            shutil.rmtree(parameters.parent / (f"{kind}-{name}" if name else kind), ignore_errors=True)


def _forget(path: Path, name: str) -> None:
    try:
        values = json.loads(path.read_bytes())
        config = values.get("config", values)
        kinds = [config[kind] for kind in _VECTORS if name in config.get(kind, ())]
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise unreadable_error(path, error) from error
    for vectors in kinds:
        del vectors[name]
    if kinds:
        write_file(path, json.dumps(values).encode())
