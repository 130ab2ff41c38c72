"""Reads and writes the artifact of a fitted encoding: a safetensors file with the settings in its header."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from colbert_qdrant.config import FdeConfig
from colbert_qdrant.config.checks import require_file_path, require_instance
from colbert_qdrant.errors import ArtefactError
from colbert_qdrant.fde.protocol import FixedDimensionalEncoder
from colbert_qdrant.shown import shown

_KEY: Final = "colbert_qdrant"
_MAX_HEADER_BYTES: Final = 2**20
"""Much larger than any header of settings and tensor names."""


class Fitted(FixedDimensionalEncoder, ABC):
    """Base class of encoders that can be fitted to a collection; implements their artifact and fingerprint.

    Attributes:
        config: The settings.
        token_dim: Dimensions of the token vectors.
        fitted_documents: The number of documents it was fitted to; ``None`` if unknown, or if nothing was fitted.
        fitted_queries: The number of real queries that it was fitted to; ``None`` if it was fitted to made-up
            ones, or to no queries.
    """

    VERSION: ClassVar[int]
    """Changes whenever the same parameters and tokens produce different encodings."""

    config: FdeConfig
    token_dim: int
    fitted_documents: int | None = None
    fitted_queries: int | None = None

    @property
    @abstractmethod
    def tensors(self) -> Mapping[str, NDArray[np.float32]]:
        """All fitted tensors by name."""

    @classmethod
    @abstractmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an encoder from the bytes that `to_bytes` returned.

        Raises:
            ArtefactError: If the bytes are truncated, altered, or of another version.
        """

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read an encoder from a file that `save` wrote.

        Raises:
            ArtefactError: If the file cannot be read, or is truncated, altered, or of another version.
        """
        require_file_path("path", path)
        try:
            data = Path(path).read_bytes()
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"the fitted encoding cannot be read from {shown(str(path))} ({error}): pass the path that "
                "was given to save()"
            ) from error
        return cls.from_bytes(data)

    def to_bytes(self) -> bytes:
        """Return the artifact: a safetensors file of all fitted tensors. The same tensors give the same bytes."""
        return self._bytes

    def save(self, path: str | Path) -> None:
        """Write the artifact to a file.

        Raises:
            ArtefactError: If the file cannot be written.
        """
        require_file_path("path", path)
        data = self._bytes
        try:
            Path(path).write_bytes(data)
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"the fitted encoding cannot be written to {shown(str(path))} ({error}): pass a path that is writable"
            ) from error

    def fitted_to(self, documents: int | None, *, queries: int | None = None) -> Self:
        """Set the numbers of documents and queries it was fitted to, and return it; call this before `to_bytes`."""
        self.fitted_documents, self.fitted_queries = documents, queries
        return self

    def fingerprint(self) -> dict[str, Any]:
        """Return algorithm, version, settings and token dimensions, and the digest of the artifact if it was fitted."""
        facts = {"config": self.config.to_dict(), "version": self.VERSION, "token_dim": self.token_dim}
        return facts | {"digest": self._digest} if self.config.needs_fit else facts

    @cached_property
    def _bytes(self) -> bytes:
        settings = {"config": self.config.to_dict(), "version": self.VERSION}
        if self.fitted_documents is not None:  # artifacts of earlier versions lack it and keep their digests
            settings["documents"] = self.fitted_documents
        if self.fitted_queries is not None:
            settings["queries"] = self.fitted_queries
        contiguous = {name: np.ascontiguousarray(values) for name, values in self.tensors.items()}
        return save(contiguous, metadata={_KEY: json.dumps(settings, sort_keys=True)})

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self._bytes).hexdigest()


def settings_of(data: bytes) -> dict[str, Any]:
    """Return the settings in an artifact of any algorithm.

    Raises:
        ArtefactError: If the bytes are not an artifact, or are truncated.
    """
    try:
        settings: dict[str, Any] = _header(data)["config"]
        kind = settings["type"]
    except (ValueError, KeyError, TypeError) as error:
        raise unreadable_error(error) from error
    if not isinstance(kind, str):
        raise unreadable_error(TypeError("its type is not a string"))
    return settings


def documents_of(data: bytes) -> int | None:
    """Return the number of documents that an artifact's encoder was fitted to; ``None`` if it is not recorded.

    Raises:
        ArtefactError: If the recorded number is not a positive integer.
    """
    return _number_of(data, "documents")


def queries_of(data: bytes) -> int | None:
    """Return the number of real queries that an artifact's encoder was fitted to; ``None`` if it is not recorded.

    Raises:
        ArtefactError: If the recorded number is not a positive integer.
    """
    return _number_of(data, "queries")


def tensors_of(data: bytes, *, version: int) -> dict[str, NDArray[np.float32]]:
    """Return the tensors in an artifact.

    Raises:
        ArtefactError: If the bytes are not an artifact, are truncated or of another version, or contain values that
            are not finite.
    """
    require_instance("data", data, bytes, "the bytes returned by to_bytes()")
    try:
        stored_version: Any = _header(data).get("version")
        tensors = load(data)
        _require_finite(tensors)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise unreadable_error(error) from error
    if stored_version != version:
        raise ArtefactError(
            f"the fitted encoding has version {stored_version!r}, but this release reads version {version}: install "
            "the release of colbert-qdrant that fitted it, or fit it again"
        )
    return tensors


def unreadable_error(error: Exception) -> ArtefactError:
    """Return the error for a file that is not a valid artifact."""
    return ArtefactError(
        f"the fitted encoding cannot be read ({type(error).__name__}: {error}), because the file is truncated, altered "
        "or not an artifact: restore it from a backup, or fit it again"
    )


def _number_of(data: bytes, fitted_to: str) -> int | None:
    number: Any = _header(data).get(fitted_to)
    if number is not None and (type(number) is not int or number < 1):
        raise unreadable_error(ValueError(f"fitted to {number!r} {fitted_to}"))
    return number


def _require_finite(tensors: Mapping[str, NDArray[Any]]) -> None:
    for name, values in tensors.items():
        if values.dtype != np.float32 or not np.isfinite(values).all():
            raise ValueError(f"{name} has values that are not float32 or not finite")


def _header(data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    if size > _MAX_HEADER_BYTES:
        raise ValueError(f"the header has {size} bytes")
    try:
        header = json.loads(data[8 : 8 + size])
        settings: dict[str, Any] = json.loads(header["__metadata__"][_KEY])
    except RecursionError as error:
        raise ValueError("the header is nested too deeply") from error
    if not isinstance(settings, dict):
        raise TypeError("the settings are not a JSON object")
    return settings
