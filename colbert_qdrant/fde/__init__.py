"""Token embeddings → one vector per text whose inner product ranks like MaxSim. Knows no Qdrant, no models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.config import LemurConfig, MuveraConfig
from colbert_qdrant.errors import ArtefactError
from colbert_qdrant.fde.artefact import settings_of
from colbert_qdrant.fde.base import FixedDimensionalEncoder
from colbert_qdrant.fde.lemur import LemurEncoder
from colbert_qdrant.fde.muvera import MuveraEncoder

if TYPE_CHECKING:
    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.tokens import TokenEmbeddings

__all__ = [
    "FixedDimensionalEncoder",
    "LemurEncoder",
    "MuveraEncoder",
    "encoder_from_bytes",
    "fit_encoder",
    "make_encoder",
    "version_of",
]

_TAGS: Final[dict[str, type[LemurEncoder | MuveraEncoder]]] = {"lemur": LemurEncoder, "muvera": MuveraEncoder}


def make_encoder(config: FdeConfig, *, token_dim: int) -> FixedDimensionalEncoder | None:
    """The encoder of a configuration; ``None`` if it has to be fitted first."""
    if isinstance(config, LemurConfig) or config.needs_fit:
        return None
    return MuveraEncoder(config, token_dim=token_dim)


def fit_encoder(
    config: FdeConfig,
    documents: TokenEmbeddings,
    *,
    query_tokens: TokenEmbeddings | None,
    device: str,
    progress: bool | ProgressReporter,
) -> LemurEncoder | MuveraEncoder:
    """Fit the encoder of a configuration, see `LemurEncoder.fit` and `MuveraEncoder.fit`."""
    if isinstance(config, MuveraConfig):
        return MuveraEncoder.fit(documents, config=config, progress=progress)
    return LemurEncoder.fit(documents, query_tokens=query_tokens, config=config, device=device, progress=progress)


def encoder_from_bytes(data: bytes) -> LemurEncoder | MuveraEncoder:
    """The encoder in an artefact, of whatever algorithm.

    Raises:
        ArtefactError: The bytes are cut off, altered, or of another version.
    """
    tag = settings_of(data)["type"]
    if tag not in _TAGS:
        raise ArtefactError(
            f"the fitted encoding is of type {tag!r}, this version knows {', '.join(_TAGS)}: install the version of "
            "colbert-qdrant that fitted it, or fit anew"
        )
    return _TAGS[tag].from_bytes(data)


def version_of(config: FdeConfig) -> int:
    """The version of a configuration's algorithm."""
    return LemurEncoder.VERSION if isinstance(config, LemurConfig) else MuveraEncoder.VERSION
