"""MUVERA by its definition: token by token and cell by cell, in double precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from colbert_qdrant import MuveraConfig


def reference(
    config: MuveraConfig,
    tokens: np.ndarray,
    *,
    document: bool,
    mean: np.ndarray | None = None,
    centroids: np.ndarray | None = None,
) -> np.ndarray:
    random = np.random.RandomState(config.seed)
    tokens = tokens.astype(np.float64)
    if mean is not None:
        tokens = tokens - mean
    encoded: list[np.ndarray] = []
    for repetition in range(config.r_reps):
        normals = random.standard_normal((tokens.shape[1], config.k_sim))
        projection = (random.randint(0, 2, (tokens.shape[1], config.dim_proj)) * 2 - 1) / np.sqrt(
            config.dim_proj * config.r_reps
        )
        codes = [sum(1 << bit for bit in range(config.k_sim) if token @ normals[:, bit] > 0) for token in tokens]
        if centroids is not None:
            codes = [int(np.linalg.norm(centroids[repetition] - token, axis=1).argmin()) for token in tokens]
        for cell in range(config.cells):
            members = [index for index, code in enumerate(codes) if code == cell]
            if not members and document and config.fill_empty:
                distances = [(code ^ cell).bit_count() for code in codes]
                members = [index for index, distance in enumerate(distances) if distance == min(distances)]
            total = sum((tokens[index] @ projection for index in members), np.zeros(config.dim_proj))
            encoded.append(total / max(len(members), 1) if document else total)
    raw = np.concatenate(encoded)
    if config.final_projection is None:
        return raw
    targets = random.randint(0, config.final_projection, len(raw))
    signs = random.randint(0, 2, len(raw)) * 2 - 1
    sketch = np.zeros(config.final_projection)
    for value, target, sign in zip(raw, targets, signs, strict=True):
        sketch[target] += sign * value
    return sketch


def margin(config: MuveraConfig, tokens: np.ndarray) -> float:
    """How far the tokens stay away from every hyperplane: nearer ones change cells with the last bit of a product."""
    random = np.random.RandomState(config.seed)
    found = [np.inf]
    for _ in range(config.r_reps):
        found.extend(np.abs(tokens @ random.standard_normal((tokens.shape[1], config.k_sim))).ravel())
        random.randint(0, 2, (tokens.shape[1], config.dim_proj))
    return float(min(found))
