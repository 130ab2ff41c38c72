"""Fits LEMUR: draws samples, computes targets, trains features, and computes the basis of the encodings."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant._support.progress import reporting
from colbert_qdrant.errors import InvalidTokensError
from colbert_qdrant.fde.lemur.basis import rotation
from colbert_qdrant.fde.lemur.device import DeviceLemur, device_matches, device_rotation
from colbert_qdrant.fde.lemur.features import Features
from colbert_qdrant.fde.lemur.host import HostLemur
from colbert_qdrant.fde.lemur.matches import best_matches
from colbert_qdrant.fde.lemur.parameters import LemurParameters
from colbert_qdrant.fde.lemur.training import train
from colbert_qdrant.fde.sample import sample_documents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.config import LemurConfig
    from colbert_qdrant.tokens import TokenEmbeddings

_BALANCED_BY: Final = 512
"""The number of documents that determine the scale, enough for a mean of squares."""

_BLOCK_DOCUMENTS: Final = 128
"""Documents per step of the progress; an epoch counts as one step."""

_ROTATION_STEPS: Final = 4
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
    scored = documents[: config.training_documents]
    balanced_by = min(len(scored), _BALANCED_BY)
    total = len(scored) + (config.epochs + _ROTATION_STEPS) * _BLOCK_DOCUMENTS + balanced_by
    with reporting(progress, label="fit", total=total) as report:
        matches = np.empty((len(scored), len(learn)), np.float32)
        for start, block in _blocks(scored, report):
            matches[start : start + len(block)] = _best_matches(block, learn, device)
        means = matches.mean(axis=0)
        matches -= means  # the targets from here on
        features = _features(learn, matches, config=config, device=device, report=report)
        basis = rotation if device == "cpu" else partial(device_rotation, device=device)
        unbalanced = LemurParameters(
            features=features,
            rotation=basis(features, learn, matches, dim=config.dim, ridge=config.ridge),
            learn=learn,
            means=means,
            scale=np.ones(config.dim, np.float32),
        )
        report.advance(_ROTATION_STEPS * _BLOCK_DOCUMENTS)
        lemur = HostLemur(unbalanced, config) if device == "cpu" else DeviceLemur(unbalanced, config, device=device)
        energy = np.zeros(config.dim)
        for start, block in _blocks(scored[:balanced_by], report):
            energy += np.square(lemur.from_targets(block, matches[start : start + len(block)])).sum(axis=0)
    scale = np.sqrt(energy / balanced_by)
    smallest = max(_SMALLEST_SCALE * scale.max(), _SMALLEST_ANY)
    return replace(unbalanced, scale=np.maximum(scale, smallest).astype(np.float32))


def _blocks(documents: TokenEmbeddings, report: ProgressReporter) -> Iterator[tuple[int, TokenEmbeddings]]:
    """Yield blocks of documents with the number of their first, and report each when it is done."""
    for start in range(0, len(documents), _BLOCK_DOCUMENTS):
        block = documents[start : start + _BLOCK_DOCUMENTS]
        yield start, block
        report.advance(len(block))


def _best_matches(documents: TokenEmbeddings, learn: NDArray[np.float32], device: str) -> NDArray[np.float32]:
    return best_matches(documents, learn) if device == "cpu" else device_matches(documents, learn, device=device)


def _features(
    learn: NDArray[np.float32],
    targets: NDArray[np.float32],
    *,
    config: LemurConfig,
    device: str,
    report: ProgressReporter,
) -> Features:
    """Draw the features, and train them if there is anything to learn: the targets of a single document are all 0."""
    features, left = Features.random(learn.shape[1], config.hidden, seed=config.seed), config.epochs
    if left and len(learn) > 1 and targets.any():
        for trained in train(features, learn, targets, epochs=config.epochs, seed=config.seed, device=device):
            features, left = trained, left - 1
            report.advance(_BLOCK_DOCUMENTS)
    report.advance(left * _BLOCK_DOCUMENTS)
    return features


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
