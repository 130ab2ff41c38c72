"""Draws MUVERA's random parameters: hyperplanes, projections and the final count sketch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from colbert_qdrant.fde.muvera.partitions import Centroids, Hyperplanes
from colbert_qdrant.fde.muvera.products import sum_runs

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from colbert_qdrant.config import MuveraConfig
    from colbert_qdrant.fde.muvera.fit import FittedPartition
    from colbert_qdrant.fde.muvera.partitions import Partition


@dataclass(frozen=True, kw_only=True, eq=False)
class Draws:
    """The random or fitted parameters of an encoding.

    Attributes:
        partition: The cells.
        projections: ±1/√(``dim_proj`` · ``r_reps``), float32, shape ``(r_reps, token_dim, dim_proj)``.
        sketch: The final projection, if there is one.
    """

    partition: Partition
    projections: NDArray[np.float32]
    sketch: CountSketch | None

    @classmethod
    def of(cls, config: MuveraConfig, token_dim: int, fitted: FittedPartition | None = None) -> Draws:
        """Draw the parameters of a configuration.

        They come from numpy's legacy generator, because numpy guarantees that its stream never changes.
        """
        random = np.random.RandomState(config.seed)
        scale = 1 / np.sqrt(config.dim_proj * config.r_reps)
        normals, projections = [], []
        for _ in range(config.r_reps):
            normals.append(random.standard_normal((token_dim, config.k_sim)).T)
            projections.append((random.randint(0, 2, (token_dim, config.dim_proj)) * 2 - 1) * scale)
        sketch = None
        if config.final_projection is not None:
            sketch = CountSketch(
                targets=random.randint(0, config.final_projection, config.raw_dim),
                signs=(random.randint(0, 2, config.raw_dim) * 2 - 1).astype(np.float32),
                dim=config.final_projection,
            )
        partition: Partition = Hyperplanes(normals=np.array(normals, np.float32, order="C"))
        if fitted is not None and fitted.centroids is not None:
            partition = Centroids(centroids=fitted.centroids)
        return cls(partition=partition, projections=np.array(projections, np.float32, order="C"), sketch=sketch)


@dataclass(frozen=True, kw_only=True, eq=False)
class CountSketch:
    """MUVERA's final projection.

    It adds coordinate i, with the random sign sᵢ, to the random coordinate hᵢ:

        (Sx)ⱼ = Σ sᵢ xᵢ over all i with hᵢ = j, so that E ⟨Sx, Sy⟩ = ⟨x, y⟩

    Attributes:
        targets: The target coordinate of each coordinate, shape ``(raw_dim,)``.
        signs: ±1, float32, shape ``(raw_dim,)``.
        dim: Dimensions of the result.
    """

    targets: NDArray[np.int64]
    signs: NDArray[np.float32]
    dim: int

    def __call__(self, encoded: NDArray[np.float32]) -> NDArray[np.float32]:
        """Sketch encodings: float32 ``(n, raw_dim)`` to float32 ``(n, dim)``."""
        order, starts = self._runs
        return sum_runs(np.ascontiguousarray(encoded.T), order, starts, self.signs[order]).T

    @cached_property
    def _runs(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The coordinates sorted by target, and the index at which each target begins."""
        order = np.argsort(self.targets, kind="stable")
        return order, np.searchsorted(self.targets[order], np.arange(self.dim))
