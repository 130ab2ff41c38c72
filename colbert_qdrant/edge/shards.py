"""Opens a collection's shard as its manifest says, whatever a crash left."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Final

import qdrant_edge as edge

from colbert_qdrant.edge.files import write_file
from colbert_qdrant.edge.log import load_without_what_fails
from colbert_qdrant.edge.names import check_name
from colbert_qdrant.edge.params import edge_config, stored_params
from colbert_qdrant.errors import ConfigurationError, EngineError

if TYPE_CHECKING:
    from pathlib import Path

    from colbert_qdrant.edge.manifest import Manifest

SHARD_NAME: Final = "shard"
_VECTORS: Final = ("vectors", "sparse_vectors", "vector_data", "sparse_vector_data")
"""The keys at which the engine's files of parameters list vectors: a shard's the first two, a segment's the others."""


def open_shard(folder: Path, manifest: Manifest) -> edge.EdgeShard:
    """Opens the shard of a collection's folder; it is then as the manifest says, in its parameters too.

    Vectors that were being added or removed when the process died are gone afterwards.
    """
    path = folder / SHARD_NAME
    _refuse_links(path)
    if manifest.unfinished:
        for name in manifest.unfinished:
            _check_vector_name(folder, name)
        for name in manifest.unfinished:
            _strip(path, name)
        shard = load_without_what_fails(path, lambda: edge.EdgeShard.load(str(path)))
        for name in manifest.unfinished:  # the engine's log may have brought it back
            shard.update(edge.UpdateOperation.delete_vector_name(name))
        shard.flush()
        shard.close()
        manifest.unfinished = []
        manifest.write(folder)
    config = edge_config(stored_params(manifest.config))
    return load_without_what_fails(path, lambda: edge.EdgeShard.load(str(path), config))


def _refuse_links(shard: Path) -> None:
    """Raises if a link leads out of a shard: what is read, written and deleted there has to be the store's own."""
    link = next((each for each in (shard, *shard.rglob("*")) if each.is_symlink()), None)
    if link is not None:
        raise EngineError(f"{link} is a link, and a store has none: it was changed by something else; restore it")


def _check_vector_name(folder: Path, name: str) -> None:
    """Raises unless a name in a manifest can be a vector's, which is part of the names of folders."""
    try:
        check_name(name or "unnamed", "a vector")
    except ConfigurationError as error:
        raise EngineError(f"{folder} was changed by something else, restore it: {error}") from error


def _strip(shard: Path, name: str) -> None:
    """Takes a vector out of the engine's own files: it opens no shard where only some of the segments have it."""
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
        raise EngineError(f"{path} cannot be read: {error}") from error
    for vectors in kinds:
        del vectors[name]
    if kinds:
        write_file(path, json.dumps(values).encode())
