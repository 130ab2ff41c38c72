"""Locates the files that are attached to a collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.edge.files import TEMPORARY_SUFFIX
from colbert_qdrant.edge.log import SET_ASIDE
from colbert_qdrant.edge.manifest import FILE_NAME
from colbert_qdrant.edge.names import check_name, fold_name
from colbert_qdrant.edge.shards import SHARD_NAME
from colbert_qdrant.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

_OWN_NAMES: Final = frozenset({FILE_NAME, SHARD_NAME})
_MAX_NAME_BYTES: Final = 255 - len(TEMPORARY_SUFFIX)


def attachment_path(folder: Path, file_name: str) -> Path:
    """Return the path of a file that is attached to the collection in a folder.

    Raises:
        ConfigurationError: If the name is not a valid name of a file, or is reserved.
    """
    check_name(file_name, "an attached file", max_bytes=_MAX_NAME_BYTES)
    name = fold_name(file_name)
    if name in _OWN_NAMES or name.startswith(SET_ASIDE) or name.endswith(TEMPORARY_SUFFIX):
        raise ConfigurationError(
            f"{file_name!r} is a reserved name in a collection: attach the file under another name"
        )
    return folder / file_name
