"""Fits MUVERA's parameters to a collection: the mean of its tokens and the centroids of its cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant._support.progress import reporting
from colbert_qdrant.fde.muvera.products import multiply, sum_runs
from colbert_qdrant.fde.sample import sample_documents

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.config import MuveraConfig
    from colbert_qdrant.tokens import TokenEmbeddings

_SAMPLE_TOKENS: Final = 65_536
_ROUNDS: Final = 10
_BLOCK_TOKENS: Final = 4_096


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedPartition:
    """The parameters of an encoding that its settings require to be fitted.

    Args:
        mean: The mean of a collection's tokens, float32, shape ``(token_dim,)``.
        centroids: The centroids of its tokens, with ``mean`` subtracted if it is fitted: float32, shape
            ``(r_reps, cells, token_dim)``.
    """

    mean: NDArray[np.float32] | None
    centroids: NDArray[np.float32] | None

    @classmethod
    def fit(
        cls, documents: TokenEmbeddings, config: MuveraConfig, *, progress: bool | ProgressReporter
    ) -> FittedPartition:
        """Fit to the tokens of documents.

        Raises:
            InvalidTokensError: If there are no documents.
        """
        random = np.random.RandomState(config.seed)
        values = sample_documents(documents, config.fit_documents, random).values
        mean = centroids = None
        if config.center:
            mean = values.mean(axis=0, dtype=np.float64).astype(np.float32)
            values = values - mean
        if config.partition == "kmeans":
            sample = values[random.permutation(len(values))[:_SAMPLE_TOKENS]]
            centroids = np.empty((config.r_reps, config.cells, documents.dim), np.float32)
            with reporting(progress, label="fit", total=config.r_reps) as report:
                for repetition in centroids:
                    repetition[:] = _kmeans(sample, config.cells, random)
                    report.advance(1)
        return cls(mean=mean, centroids=centroids)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.float32]], config: MuveraConfig) -> FittedPartition:
        """Make the fitted parameters from ``tensors``.

        Raises:
            ValueError: If the tensors are not exactly those that the settings require.
        """
        fitted = cls(mean=tensors.get("mean"), centroids=tensors.get("centroids"))
        dim = next((values.shape[-1] for values in tensors.values() if values.ndim), 0)
        expected: dict[str, tuple[int, ...]] = {"mean": (dim,)} if config.center else {}
        if config.partition == "kmeans":
            expected["centroids"] = (config.r_reps, config.cells, dim)
        shapes = {name: values.shape for name, values in tensors.items()}
        if shapes != expected:
            raise ValueError(f"it has the tensors {shapes}, expected {expected}")
        return fitted

    @property
    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """All fitted tensors by name."""
        both = {"mean": self.mean, "centroids": self.centroids}
        return {name: values for name, values in both.items() if values is not None}

    @property
    def token_dim(self) -> int:
        """Dimensions of the token vectors it was fitted to."""
        return int(next(iter(self.tensors.values())).shape[-1])


def _kmeans(sample: NDArray[np.float32], cells: int, random: np.random.RandomState) -> NDArray[np.float32]:
    """Run Lloyd's algorithm from a random start: float32, shape ``(cells, dim)``; empty cells keep their centroid."""
    centroids = sample[random.choice(len(sample), cells, replace=len(sample) < cells)]
    for _ in range(_ROUNDS):
        halves = (centroids**2).sum(axis=1) / 2
        nearest = np.concatenate(
            [
                (multiply(sample[start : start + _BLOCK_TOKENS], centroids.T) - halves).argmax(axis=1)
                for start in range(0, len(sample), _BLOCK_TOKENS)
            ]
        )
        counts = np.bincount(nearest, minlength=cells)
        sums = sum_runs(sample, np.argsort(nearest, kind="stable"), np.cumsum(counts) - counts)
        centroids = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centroids).astype(np.float32)
    return centroids
