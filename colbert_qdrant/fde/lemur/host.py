"""Computes LEMUR's encodings in numpy, equal to those of a torch device up to rounding."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.fde.lemur.matches import best_matches
from colbert_qdrant.fde.lemur.own_tokens import OwnTokens

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.config import LemurConfig
    from colbert_qdrant.fde.lemur.parameters import LemurParameters
    from colbert_qdrant.tokens import TokenEmbeddings

_REFINE_DOCUMENTS: Final = 32
"""Documents that are refined in one batch, padded to the longest."""


class HostLemur:
    """Computes encodings, one tile at a time."""

    TILE_TOKENS: Final = 4_096
    """Tokens encoded at a time, which bounds the working memory for batches of any size."""

    def __init__(self, parameters: LemurParameters, config: LemurConfig) -> None:
        self._parameters = parameters
        self._config = config

    def queries(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode a tile of queries: float32, shape ``(len(tokens), dim)``."""
        features = self._parameters.features(tokens.values)
        bounds = pairwise(tokens.offsets.tolist())
        # takes a tenth of the time of np.add.reduceat, which is slow along the first axis
        sums = np.stack([features[begin:end].sum(axis=0) for begin, end in bounds])
        encoded: NDArray[np.float32] = sums @ self._query_rotation
        return encoded

    def documents(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        """Encode a tile of documents: float32, shape ``(len(tokens), dim)``."""
        targets = best_matches(tokens, self._parameters.learn)
        targets -= self._parameters.means
        return self.from_targets(tokens, targets)

    def from_targets(self, tokens: TokenEmbeddings, targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """Encode a tile of documents whose targets at the learn tokens are known: float32, shape ``(len, dim)``."""
        weights: NDArray[np.float32] = targets @ self._solution
        if self._config.own_weight:
            for start in range(0, len(tokens), _REFINE_DOCUMENTS):
                some = slice(start, start + _REFINE_DOCUMENTS)
                weights[some] = self._refine(tokens[some], weights[some])
        weights /= np.sqrt(self._parameters.scale)
        return weights

    def _refine(self, tokens: TokenEmbeddings, plain: NDArray[np.float32]) -> NDArray[np.float32]:
        """Apply the closed form of `LemurEncoder` to all documents at once; padding rows are 0."""
        own = self._own_tokens(tokens, plain)
        n = len(self._parameters.learn)
        features = self._parameters.features.rotate(tokens.values[own.rows[own.present]], self._parameters.rotation)
        rows = np.zeros((*own.rows.shape, self._config.dim), np.float32)
        rows[own.present] = features
        residual = np.zeros((*own.rows.shape, 1), np.float32)
        residual[own.present, 0] = own.matches - features @ self._mean_weights - self._parameters.means.mean()
        residual -= rows @ plain[:, :, None]
        system = rows @ rows.transpose(0, 2, 1)
        system /= n
        diagonal = np.arange(own.rows.shape[1])
        system[:, diagonal, diagonal] += own.inverse_weights(self._config)[:, None]
        pull = np.linalg.solve(system, residual).astype(np.float32, copy=False)
        pull /= np.float32(n)
        refined: NDArray[np.float32] = plain + (rows.transpose(0, 2, 1) @ pull)[:, :, 0]
        return refined

    def _own_tokens(self, tokens: TokenEmbeddings, plain: NDArray[np.float32]) -> OwnTokens:
        most = self._config.own_tokens
        if self._config.refinement == "spaced":
            return OwnTokens.spaced(tokens, most=most)
        found, estimates = self._parameters, np.zeros(len(tokens.values), np.float32)
        for number, (begin, end) in enumerate(pairwise(tokens.offsets.tolist())):
            if end - begin > most:
                weights = found.rotation @ (plain[number] + self._mean_weights)
                estimates[begin:end] = found.features.rotate(tokens.values[begin:end], weights[:, None])[:, 0]
        return OwnTokens.worst(tokens, estimates, most=most)

    @cached_property
    def _query_rotation(self) -> NDArray[np.float32]:
        balanced: NDArray[np.float32] = self._parameters.rotation * np.sqrt(self._parameters.scale)
        return balanced

    @cached_property
    def _solution(self) -> NDArray[np.float32]:
        """Φ/n, shape ``(n, dim)``: targets @ Φ/n is the plain least squares solution."""
        learn = self._parameters.learn
        solution = self._parameters.features.rotate(learn, self._parameters.rotation)
        solution /= np.float32(len(learn))
        return solution

    @cached_property
    def _mean_weights(self) -> NDArray[np.float32]:
        """Weights that predict the mean best match over documents of any token, as μ holds it for learn tokens."""
        means = self._parameters.means
        weights: NDArray[np.float32] = (means - means.mean()) @ self._solution
        return weights
