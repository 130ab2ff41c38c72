"""Snapshots of the model's collections: an archive of the engine's files, and of what is kept beside them."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

from tests.server.collection import Collection

if TYPE_CHECKING:
    from pathlib import Path

_STATE = "state.json"


def packed(collection: Collection) -> bytes:
    """Return the snapshot of a collection."""
    state = {"config": collection.config, "indexes": collection.indexes, "limits": collection.limits.config}
    raw, archive = json.dumps(state).encode(), io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        about = tarfile.TarInfo(_STATE)
        about.size = len(raw)
        tar.addfile(about, io.BytesIO(raw))
        with collection.stopped():
            tar.add(collection.folder, "shard")
    return archive.getvalue()


def unpacked(data: bytes, folder: Path) -> Collection:
    """Return the collection of a snapshot, in a folder that does not exist yet."""
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        state: dict[str, Any] = json.load(tar.extractfile(_STATE))  # type: ignore[arg-type]
        made = Collection(folder, {**state["config"], "strict_mode_config": state["limits"]})
        with made.stopped():
            shutil.rmtree(folder)
            tar.extractall(folder.parent / f"{folder.name}-unpacked", filter="data")
            (folder.parent / f"{folder.name}-unpacked" / "shard").rename(folder)
    made.config, made.indexes = state["config"], state["indexes"]
    return made


def described(name: str, data: bytes) -> dict[str, Any]:
    return {
        "name": name,
        "creation_time": "2026-11-30T05:43:22",
        "size": len(data),
        "checksum": hashlib.sha256(data).hexdigest(),
    }


def from_form(raw: bytes, kind: str) -> bytes:
    """Return the file in a form with one part."""
    boundary = kind.partition("boundary=")[2].encode()
    data = raw.partition(b"\r\n\r\n")[2]
    return data[: data.rindex(b"\r\n--" + boundary)]
