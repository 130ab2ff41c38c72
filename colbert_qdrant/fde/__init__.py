"""Encodes the token embeddings of a text as one vector, whose inner product ranks like MaxSim.

This package depends on neither Qdrant nor a model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colbert_qdrant.config import LemurConfig, MuveraConfig
from colbert_qdrant.fde.artefact import Fitted
from colbert_qdrant.fde.lemur import LemurEncoder
from colbert_qdrant.fde.muvera import MuveraEncoder
from colbert_qdrant.fde.protocol import FixedDimensionalEncoder
from colbert_qdrant.fde.registry import (
    FdeKind,
    encoder_from_bytes,
    fit_encoder,
    learns_from_queries,
    make_encoder,
    register_fde,
    version_of,
)

if TYPE_CHECKING:
    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.tokens import TokenEmbeddings

__all__ = [
    "FdeKind",
    "Fitted",
    "FixedDimensionalEncoder",
    "LemurEncoder",
    "MuveraEncoder",
    "encoder_from_bytes",
    "fit_encoder",
    "learns_from_queries",
    "make_encoder",
    "register_fde",
    "version_of",
]


def _fit_muvera(
    documents: TokenEmbeddings, *, config: MuveraConfig, progress: bool | ProgressReporter, **_: Any
) -> MuveraEncoder:
    return MuveraEncoder.fit(documents, config=config, progress=progress)


register_fde(
    FdeKind(
        config=MuveraConfig,
        version=MuveraEncoder.VERSION,
        make=MuveraEncoder,
        fit=_fit_muvera,
        from_bytes=MuveraEncoder.from_bytes,
    )
)
register_fde(
    FdeKind(
        config=LemurConfig,
        version=LemurEncoder.VERSION,
        fit=LemurEncoder.fit,
        from_bytes=LemurEncoder.from_bytes,
        learns_from_queries=True,
    )
)
