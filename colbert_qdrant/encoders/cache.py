"""Caches token embeddings on disk, keyed by a digest of the encoder and the text."""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import holds
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

_LOG: Final = logging.getLogger(__name__)
_NO_FOLDER: Final = re.compile(r"^~|^\$|^%\w+%|://|[\x00-\x1f]")
_Entry = tuple["NDArray[np.float32]", bool]


class EmbeddingCache:
    """Caches token embeddings in one file per text, named by the digest of the encoder, the side and the text.

    Files are written atomically, so several processes can share a cache. A damaged file is replaced. You can delete
    files, or the entire folder, at any time. The folder is created if it does not exist. If it cannot be read or
    written, texts are encoded without the cache, and one warning is logged.

    Raises:
        ConfigurationError: If the folder is a file, or the path is empty, a URL, or begins with ``~``.
    """

    def __init__(self, folder: str | Path, *, encoder: str) -> None:
        if not str(folder).strip() or _NO_FOLDER.search(str(folder)):
            raise ConfigurationError(
                f"cache={str(folder)!r} does not name a folder: pass its path, such as '.' for the current folder. "
                "Expand ~ with Path(…).expanduser(), and variables with os.path.expandvars(…)"
            )
        self._folder = Path(folder)
        if holds(self._folder.exists) and not self._folder.is_dir():
            raise ConfigurationError(
                f"cache={str(folder)!r} is a file: pass the path of a folder, which is created if it does not exist"
            )
        self._encoder = encoder
        self._has_warned = False

    def encode(
        self, side: str, texts: Sequence[str], encode: Callable[[Sequence[str]], TokenEmbeddings]
    ) -> TokenEmbeddings:
        """Return the embeddings of one or more texts, encoding and caching those that the cache lacks."""
        paths = [self._path(side, text) for text in texts]
        entries = [self._read(path) for path in paths]
        missing = list(dict.fromkeys(path for path, entry in zip(paths, entries, strict=True) if entry is None))
        if missing:
            by_path = dict(zip(paths, texts, strict=True))
            encoded = encode([by_path[path] for path in missing])
            made = {
                path: (matrix, bool(truncated))
                for path, matrix, truncated in zip(missing, encoded, encoded.truncated, strict=True)
            }
            self._keep(made)
            entries = [entry or made[path] for path, entry in zip(paths, entries, strict=True)]
        matrices, truncated = zip(*(entry for entry in entries if entry is not None), strict=True)
        return TokenEmbeddings(
            np.concatenate(matrices), [len(matrix) for matrix in matrices], truncated=np.array(truncated)
        )

    def _keep(self, made: Mapping[Path, _Entry]) -> None:
        try:
            for path, entry in made.items():
                _write(path, entry)
        except OSError as error:  # read-only, full or deleted: encoding works without it
            self._warn("written", error)

    def _read(self, path: Path) -> _Entry | None:
        try:
            return _read(path)
        except OSError as error:
            self._warn("read", error)
            return None

    def _warn(self, done: str, error: OSError) -> None:
        if not self._has_warned:
            self._has_warned = True
            _LOG.warning(
                "the cache in %s cannot be %s (%s), so texts are encoded without it: make the folder writable, or "
                "leave out cache=. This is logged once.",
                self._folder,
                done,
                error.strerror or error,
            )

    def _path(self, side: str, text: str) -> Path:
        name = hashlib.sha256(f"{self._encoder}\n{side}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()
        return self._folder / name[:2] / f"{name[2:]}.emb"


def _read(path: Path) -> _Entry | None:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, flag, body = content[:32], content[32:33], content[33:]
    if hashlib.sha256(flag + body).digest() != digest:
        _LOG.warning("cache entry %s is damaged, so its text is encoded again", path)
        return None
    try:
        matrix: NDArray[np.float32] = np.load(io.BytesIO(body), allow_pickle=False)
    except (ValueError, EOFError, MemoryError) as error:  # another program or user wrote it
        _LOG.warning("cache entry %s is not an array (%s), so its text is encoded again", path, error)
        return None
    return matrix, flag == b"\1"


def _write(path: Path, entry: _Entry) -> None:
    matrix, truncated = entry
    buffer = io.BytesIO()
    np.save(buffer, matrix, allow_pickle=False)
    body = (b"\1" if truncated else b"\0") + buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(body).digest() + body)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
