"""Token embeddings → one vector per text whose inner product ranks like MaxSim. Knows no Qdrant, no models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colbert_qdrant.config import LemurConfig
from colbert_qdrant.fde.base import FixedDimensionalEncoder
from colbert_qdrant.fde.lemur import LemurEncoder
from colbert_qdrant.fde.muvera import MuveraEncoder

if TYPE_CHECKING:
    from colbert_qdrant.config import FdeConfig

__all__ = ["FixedDimensionalEncoder", "LemurEncoder", "MuveraEncoder", "make_encoder"]


def make_encoder(config: FdeConfig, *, token_dim: int) -> FixedDimensionalEncoder | None:
    """The encoder of a configuration; ``None`` if it has to be fitted first."""
    return None if isinstance(config, LemurConfig) else MuveraEncoder(config, token_dim=token_dim)
