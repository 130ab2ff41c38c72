"""Fits LEMUR: draws samples, computes targets, trains features, and computes the basis of the encodings."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant._support.progress import reporting
from colbert_qdrant.errors import InvalidTokensError
from colbert_qdrant.fde.lemur.features import Features
from colbert_qdrant.fde.lemur.host import HostLemur
from colbert_qdrant.fde.lemur.matches import best_matches
from colbert_qdrant.fde.lemur.parameters import LemurParameters
from colbert_qdrant.fde.lemur.training import train
from colbert_qdrant.fde.sample import sample_documents

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.config import LemurConfig
    from colbert_qdrant.tokens import TokenEmbeddings

_BALANCED_BY: Final = 1_000
"""The number of documents that determine the scale, enough for a mean of squares."""

_BLOCK_DOCUMENTS: Final = 128
_SMALLEST_SCALE: Final = 1e-3
"""A lower bound relative to the largest scale, so that coordinates near zero are not blown up."""

_SMALLEST_ANY: Final = 1e-4
"""An absolute lower bound, so that encodings stay within float16 even if all fitted documents are alike."""


def fit_parameters(
    documents: TokenEmbeddings,
    *,
    query_tokens: TokenEmbeddings | None,
    config: LemurConfig,
    device: str,
    progress: bool | ProgressReporter,
) -> LemurParameters:
    """Compute all parameters for `LemurEncoder.fit`, with the same arguments and errors.

    The same documents, queries and settings give the same parameters, up to rounding in the machine's matmul.
    """
    if query_tokens is not None and query_tokens.dim != documents.dim:
        raise InvalidTokensError(
            f"query tokens have {query_tokens.dim} dimensions, but document tokens have {documents.dim}: encode both "
            "with the same encoder"
        )
    random = np.random.RandomState(config.seed)
    documents = sample_documents(documents, config.fit_documents, random)
    learn = _learn_tokens(documents, query_tokens, config.learn_tokens, random)
    with reporting(progress, label="fit", total=len(documents) + config.epochs * _BLOCK_DOCUMENTS) as report:
        matches = np.empty((len(documents), len(learn)), np.float32)
        for start in range(0, len(documents), _BLOCK_DOCUMENTS):
            block = documents[start : start + _BLOCK_DOCUMENTS]
            matches[start : start + len(block)] = best_matches(block, learn)
            report.advance(len(block))
        means = matches.mean(axis=0)
        matches -= means
        features = Features.random(documents.dim, config.hidden, seed=config.seed)
        targets = matches[: config.training_documents]
        if config.epochs and len(learn) > 1 and targets.any():  # the targets of a single document are all 0
            features = train(
                features,
                learn,
                targets,
                epochs=config.epochs,
                seed=config.seed,
                device=device,
                on_epoch=lambda: report.advance(_BLOCK_DOCUMENTS),
            )
    rotation = _rotation(features(learn), matches, dim=config.dim, ridge=config.ridge)
    unbalanced = LemurParameters(
        features=features, rotation=rotation, learn=learn, means=means, scale=np.ones(config.dim, np.float32)
    )
    sample, lemur = documents[:_BALANCED_BY], HostLemur(unbalanced, config)
    encoded = np.concatenate([lemur.documents(sample[a:b]) for a, b in sample.blocks(lemur.TILE_TOKENS)])
    scale = np.sqrt(np.mean(np.square(encoded), axis=0))
    smallest = max(_SMALLEST_SCALE * scale.max(), _SMALLEST_ANY)
    return replace(unbalanced, scale=np.maximum(scale, smallest, dtype=np.float32))


def _learn_tokens(
    documents: TokenEmbeddings, queries: TokenEmbeddings | None, most: int, random: np.random.RandomState
) -> NDArray[np.float32]:
    """Choose the learn tokens: up to half from queries, and the rest from documents."""
    halves = [] if queries is None else [_choose(queries.values, most // 2, random)]
    halves.append(_choose(documents.values, most - sum(map(len, halves)), random))
    learn = np.concatenate(halves)
    return learn[random.permutation(len(learn))]


def _choose(values: NDArray[np.float32], most: int, random: np.random.RandomState) -> NDArray[np.float32]:
    return values[random.permutation(len(values))[:most]]


def _rotation(
    features: NDArray[np.float32], targets: NDArray[np.float32], *, dim: int, ridge: float
) -> NDArray[np.float32]:
    """Compute A with φ(x) = ψ(x) A, white on the learn tokens, with coordinates in order of their energy in the scores.

    Args:
        features: Z, shape ``(n, hidden)``.
        targets: Yᵀ, shape ``(documents, n)``.
        dim: The number of coordinates to keep.
        ridge: Added to the diagonal, relative to its mean.

    Returns:
        float32, shape ``(hidden, dim)``.
    """
    n = len(features)
    second = (features.T @ features).astype(np.float64) / n
    second[np.diag_indices(len(second))] += ridge * np.trace(second) / len(second)
    lower = np.linalg.cholesky(second)
    weights = np.linalg.solve(lower, (features.T @ targets.T).astype(np.float64) / n)
    _, directions = np.linalg.eigh(weights @ weights.T)
    leading = directions[:, ::-1][:, :dim]
    return np.ascontiguousarray(np.linalg.solve(lower.T, leading), np.float32)
