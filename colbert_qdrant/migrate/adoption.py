"""Finds FDEs that FastEmbed computed, and proves their parameters by recomputing a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from qdrant_client import models

from colbert_qdrant.config import MuveraConfig
from colbert_qdrant.errors import InvalidTokensError
from colbert_qdrant.fde import make_encoder
from colbert_qdrant.migrate.source import DISTANCES
from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.points.schema import datatype_of
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.migrate.source import Source

_DATATYPES: Final = ("float32", "float16")
_COMPARED: Final = 16
_SIMILAR: Final = 0.999
_MOST: Final = 0.9
"""The share of the sample that must match; rounding may move a token near a hyperplane to its other side."""


class Adoption(NamedTuple):
    """FDEs that the source already has.

    Attributes:
        vector: The name of their vector.
        config: The parameters that they were computed with.
        cosine: Whether their distance is cosine, so that the engine discarded their norms.
    """

    vector: str
    config: FdeConfig
    cosine: bool


def find_encodings(
    source: Source, sample: Sequence[models.Record], token_vector: str, wanted: FdeConfig | None
) -> Adoption | None:
    """Find FDEs by FastEmbed among the dense vectors of a source, with the wanted parameters or with any."""
    if wanted is not None and getattr(wanted, "variant", None) != "fastembed":
        return None
    for name, params in source.dense.items():
        rows = [vectors_of(record) for record in sample]
        rows = [each for each in rows if each.get(token_vector) and each.get(name)][:_COMPARED]
        if not rows or params.distance not in DISTANCES or datatype_of(params) not in _DATATYPES:
            continue
        try:
            tokens = TokenEmbeddings.from_matrices([each[token_vector] for each in rows])
        except InvalidTokensError:
            return None
        cosine = params.distance == models.Distance.COSINE
        stored = np.asarray([each[name] for each in rows], np.float32)
        config = _find_parameters(stored, tokens, cosine=cosine, wanted=wanted)
        if config is not None:
            return Adoption(name, config, cosine)
    return None


def _find_parameters(
    stored: NDArray[np.float32], tokens: TokenEmbeddings, *, cosine: bool, wanted: FdeConfig | None
) -> FdeConfig | None:
    """Return the parameters that reproduce the vectors; ``None`` if the vectors are not FDEs of known parameters."""
    for config in _candidates(stored.shape[1], tokens.dim, wanted):
        for part in (slice(0, 1), slice(None)):  # one point rules out most of the wrong parameters
            encoder = make_encoder(config, token_dim=tokens.dim)
            if encoder is None or not _are_same(stored[part], encoder.encode_documents(tokens[part]), cosine=cosine):
                break
        else:
            return config
    return None


def _are_same(stored: NDArray[np.float32], computed: NDArray[np.float32], *, cosine: bool) -> bool:
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
