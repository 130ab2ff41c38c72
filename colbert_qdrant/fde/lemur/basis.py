"""Computes the basis of LEMUR's encodings: white on the learn tokens, and in order of the scores' energy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.fde.lemur.features import Features


def rotation(
    features: Features, learn: NDArray[np.float32], targets: NDArray[np.float32], *, dim: int, ridge: float
) -> NDArray[np.float32]:
    """Compute A with φ(x) = ψ(x) A, white on the learn tokens, with coordinates in order of their energy in the scores.

    With ZᵀZ/n (+ ridge) = LLᵀ and P = ZᵀY/n, the energy of the scores is W Wᵀ for W = L⁻¹P. Its leading eigenvectors U
    give A = L⁻ᵀU.

    Args:
        features: ψ.
        learn: The learn tokens, shape ``(n, token_dim)``.
        targets: Yᵀ, shape ``(documents, n)``.
        dim: The number of coordinates to keep.
        ridge: Added to the diagonal, relative to its mean.

    Returns:
        float32, shape ``(hidden, dim)``.
    """
    n, z = len(learn), features(learn)
    second = (z.T @ z).astype(np.float64) / n
    second[np.diag_indices(len(second))] += ridge * np.trace(second) / len(second)
    lower = np.linalg.cholesky(second)
    weights = np.linalg.solve(lower, (z.T @ targets.T).astype(np.float64) / n).astype(np.float32)
    _, directions = np.linalg.eigh(weights @ weights.T)
    leading = directions[:, ::-1][:, :dim]
    return np.ascontiguousarray(np.linalg.solve(lower.T, leading), np.float32)
