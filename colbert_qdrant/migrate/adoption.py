"""Encodings that FastEmbed made: adopted where computing some of them again proves how."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.config import MuveraConfig
from colbert_qdrant.fde import make_encoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.tokens import TokenEmbeddings

_SIMILAR: Final = 0.999
_MOST: Final = 0.9
"""Of the sample: a token that lies on a hyperplane may come to its other side when it was rounded."""


def proven(
    stored: NDArray[np.float32], tokens: TokenEmbeddings, *, cosine: bool, wanted: FdeConfig | None
) -> FdeConfig | None:
    """The parameters with which encodings were made; ``None``: they are none, or were made in another way.

    Args:
        stored: Vectors of a sample of points, shape ``(n, dim)``.
        tokens: Their token vectors.
        cosine: Whether the engine took their norms away.
        wanted: The only parameters that will do; ``None``: any.
    """
    for config in _candidates(stored.shape[1], tokens.dim, wanted):
        for part in (slice(0, 1), slice(None)):  # one point tells most of the wrong ones
            encoder = make_encoder(config, token_dim=tokens.dim)
            if encoder is None or not _same(stored[part], encoder.encode_documents(tokens[part]), cosine=cosine):
                break
        else:
            return config
    return None


def _same(stored: NDArray[np.float32], computed: NDArray[np.float32], *, cosine: bool) -> bool:
    norms = np.linalg.norm(stored, axis=1), np.linalg.norm(computed, axis=1)
    similarity = (stored * computed).sum(axis=1) / np.maximum(norms[0] * norms[1], 1e-12)
    alike = similarity >= _SIMILAR
    if not cosine:
        alike &= np.abs(norms[0] - norms[1]) <= 0.01 * norms[1]
    return bool(alike.mean() >= _MOST)


def _candidates(dim: int, token_dim: int, wanted: FdeConfig | None) -> Iterator[FdeConfig]:
    if wanted is not None:
        yield from [wanted] if wanted.dim == dim else []
        return
    for k_sim in (5, 4, 6, 3, 7, 2, 8, 1):
        for dim_proj in sorted({16, 8, 32, 4, 64, 2, 128, token_dim} & set(range(1, token_dim + 1))):
            r_reps, rest = divmod(dim, dim_proj << k_sim)
            if not rest and r_reps:
                yield MuveraConfig(k_sim=k_sim, dim_proj=dim_proj, r_reps=r_reps, variant="fastembed")
