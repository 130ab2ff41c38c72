"""Reads and writes the file that a fitted encoding is kept in: safetensors, with its settings in the header."""

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
"""Far more than the settings and the names of the tensors take."""


class Fitted(FixedDimensionalEncoder, ABC):
    """Base of encoders that can be fitted to a collection: their artefact, and their fingerprint.

    Attributes:
        config: The settings.
        token_dim: Dimensions of the token vectors.
        fitted_documents: How many documents it was fitted to; ``None`` if that is not known, or nothing was fitted.
    """

    VERSION: ClassVar[int]
    """Changes whenever the same numbers and tokens give other encodings."""

    config: FdeConfig
    token_dim: int
    fitted_documents: int | None = None

    @property
    @abstractmethod
    def tensors(self) -> Mapping[str, NDArray[np.float32]]:
        """All numbers that were fitted."""

    @classmethod
    @abstractmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read an encoder from what `to_bytes` returned.

        Raises:
            ArtefactError: The bytes are cut off, altered, or of another version.
        """

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read an encoder from what `save` wrote.

        Raises:
            ArtefactError: The file cannot be read, or it is cut off, altered, or of another version.
        """
        require_file_path("path", path)
        try:
            data = Path(path).read_bytes()
        except (OSError, ValueError) as error:
            raise ArtefactError(
                f"the fitted encoding cannot be read from {shown(str(path))} ({error}): give the path that save() had"
            ) from error
        return cls.from_bytes(data)

    def to_bytes(self) -> bytes:
        """Return the artefact, a safetensors file of all that was fitted; the same numbers give the same bytes."""
        return self._bytes

    def save(self, path: str | Path) -> None:
        """Write `to_bytes` to a file.

        Raises:
            ArtefactError: The file cannot be written.
        """
        require_file_path("path", path)
        data = self._bytes
        try:
            Path(path).write_bytes(data)
        except (OSError, ValueError) as error:
            raise ArtefactError(f"the fitted encoding cannot be written to {shown(str(path))}: {error}") from error

    def fitted_to(self, documents: int | None) -> Self:
        """Note how many documents it was fitted to, before anything is made of it, and return it."""
        self.fitted_documents = documents
        return self

    def fingerprint(self) -> dict[str, Any]:
        """Return algorithm, version, settings, token dimensions, and the digest of what was fitted, if anything was."""
        facts = {"config": self.config.to_dict(), "version": self.VERSION, "token_dim": self.token_dim}
        return facts | {"digest": self._digest} if self.config.needs_fit else facts

    @cached_property
    def _bytes(self) -> bytes:
        settings = {"config": self.config.to_dict(), "version": self.VERSION}
        if self.fitted_documents is not None:  # an artefact of an earlier version does not say, and keeps its digest
            settings["documents"] = self.fitted_documents
        contiguous = {name: np.ascontiguousarray(values) for name, values in self.tensors.items()}
        return save(contiguous, metadata={_KEY: json.dumps(settings, sort_keys=True)})

    @cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self._bytes).hexdigest()


def settings_of(data: bytes) -> dict[str, Any]:
    """Return the settings in an artefact, of whatever algorithm; raise `ArtefactError` if it is none, or cut off."""
    try:
        settings: dict[str, Any] = _header(data)["config"]
        kind = settings["type"]
    except (ValueError, KeyError, TypeError) as error:
        raise unreadable_error(error) from error
    if not isinstance(kind, str):
        raise unreadable_error(TypeError("its type is no name"))
    return settings


def documents_of(data: bytes) -> int | None:
    """Return how many documents the encoder in an artefact was fitted to; ``None`` if the artefact does not say.

    Raises:
        ArtefactError: The number is none.
    """
    documents: Any = _header(data).get("documents")
    if documents is not None and (type(documents) is not int or documents < 1):
        raise unreadable_error(ValueError(f"fitted to {documents!r} documents"))
    return documents


def tensors_of(data: bytes, *, version: int) -> dict[str, NDArray[np.float32]]:
    """Return the numbers in an artefact.

    Raises:
        ArtefactError: The bytes are no artefact, only part of one, of another version, or hold a number
            that is not finite.
    """
    require_instance("data", data, bytes, "the bytes that to_bytes() returned")
    try:
        stored_version: Any = _header(data).get("version")
        tensors = load(data)
        _require_finite(tensors)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise unreadable_error(error) from error
    if stored_version != version:
        raise ArtefactError(
            f"the fitted encoding is of version {stored_version!r}, this one reads {version}: install the version of "
            "colbert-qdrant that fitted it, or fit anew"
        )
    return tensors


def unreadable_error(error: Exception) -> ArtefactError:
    """Return the error for a file that is not what it should be."""
    return ArtefactError(
        f"the fitted encoding cannot be read ({type(error).__name__}: {error}): it was cut off or altered, or is "
        "another kind of file; restore it from a backup, or fit anew"
    )


def _require_finite(tensors: Mapping[str, NDArray[Any]]) -> None:
    for name, values in tensors.items():
        if values.dtype != np.float32 or not np.isfinite(values).all():
            raise ValueError(f"{name} is not float32, or not finite")


def _header(data: bytes) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    if size > _MAX_HEADER_BYTES:
        raise ValueError(f"a header of {size} bytes")
    try:
        header = json.loads(data[8 : 8 + size])
        settings: dict[str, Any] = json.loads(header["__metadata__"][_KEY])
    except RecursionError as error:
        raise ValueError("a header that is nested too deeply") from error
    if not isinstance(settings, dict):
        raise TypeError("settings that are none")
    return settings
