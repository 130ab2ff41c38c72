"""Fuses the candidates of several vectors in this process, by the formulas that engines lack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.documents import id_sort_key
from colbert_qdrant.points.convert import document_id
from colbert_qdrant.search.fusion import Blend, Rrf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from qdrant_client import models
    from qdrant_client.conversions.common_types import PointId

    from colbert_qdrant.config import CollectionConfig

    Points = Sequence[models.ScoredPoint]
    Scores = Mapping[PointId, float]

_STANDS_OUT: Final = 1.0
"""Another vector's score counts from this number of standard deviations above the mean."""
_ROUNDING: Final = 1e-6


@dataclass(frozen=True, kw_only=True)
class FusedHere:
    """A ranking that this process computes from the scores of MaxSim and of each vector.

    Attributes:
        fusion: The formula.
        first: The name of the FDE, in whose place MaxSim ranks.
        limits: The number of documents that each vector finds at most.
        sparse: The names of the sparse vectors, whose scores are at least 0.
        distances: The names of the vectors whose scores are distances: the smaller, the better.
        threshold: Minimum fused score of a hit.
    """

    fusion: Blend | Rrf
    first: str
    limits: Mapping[str, int]
    sparse: frozenset[str]
    distances: frozenset[str] = frozenset()
    threshold: float | None = None

    def rank(
        self, candidates: Points, lists: Mapping[str, Points], config: CollectionConfig
    ) -> list[models.ScoredPoint]:
        """Return the candidates with their fused scores, by descending score; ties by id.

        Args:
            candidates: All candidates, with their MaxSim scores.
            lists: The points that each vector found, with its scores.
            config: The collection's settings.
        """
        points = sorted(candidates, key=lambda point: id_sort_key(document_id(point, config)))
        maxsim = {point.id: point.score for point in points}
        scores = {name: self._scores(name, each) for name, each in lists.items()}
        if self.first in self.limits and self.first not in scores:  # exact MaxSim found candidates instead of the FDE
            best = sorted(points, key=lambda point: -point.score)[: self.limits[self.first]]
            scores[self.first] = {point.id: point.score for point in best}
        fusion = self.fusion
        total = self._blend(fusion, maxsim, scores) if isinstance(fusion, Blend) else self._rrf(fusion, maxsim, scores)
        fused = total.astype(np.float32)
        return [
            points[number].model_copy(update={"score": float(fused[number])})
            for number in np.argsort(-fused, kind="stable").tolist()
            if self.threshold is None or fused[number] >= self.threshold
        ]

    def _scores(self, name: str, found: Points) -> Scores:
        """Return the scores of the points that a vector found; the larger, the better."""
        sign = -1 if name in self.distances else 1
        return {point.id: sign * point.score for point in found}

    def _blend(self, fusion: Blend, maxsim: Scores, lists: Mapping[str, Scores]) -> NDArray[np.float64]:
        own = _standardized(np.array(list(maxsim.values())))
        weights = {name: fusion.weights.get(name, 1.0) for name in lists if name != self.first}
        if not sum(weights.values()):
            return own
        others = np.zeros(len(own))
        for name, weight in weights.items():
            unknown = self._unknown(name, lists[name])
            scores = np.array([lists[name].get(id, unknown) for id in maxsim])
            others += weight * np.maximum(_standardized(scores) - _STANDS_OUT, 0)
        blended: NDArray[np.float64] = fusion.alpha * own + (1 - fusion.alpha) * others / sum(weights.values())
        return blended

    def _unknown(self, name: str, found: Scores) -> float:
        """Estimate the score of a candidate that the vector did not find."""
        lowest = min(found.values(), default=0.0)
        if name not in self.sparse:
            return lowest
        return lowest / 2 if len(found) >= self.limits[name] else 0.0

    def _rrf(self, fusion: Rrf, maxsim: Scores, lists: Mapping[str, Scores]) -> NDArray[np.float64]:
        total, number = np.zeros(len(maxsim)), {id: position for position, id in enumerate(maxsim)}
        for name, found in lists.items():
            scores = maxsim if name == self.first else found
            ranked = sorted((id for id in maxsim if id in found), key=lambda each: -scores[each])
            for rank, id in enumerate(ranked):
                total[number[id]] += fusion.weights.get(name, 1.0) / (rank + fusion.k)
        return total


def _standardized(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Subtract the mean and divide by the standard deviation; scores that are equal up to rounding become 0."""
    if not len(scores) or np.ptp(scores) <= _ROUNDING * np.abs(scores).max():
        return np.zeros_like(scores)
    return np.asarray((scores - scores.mean()) / scores.std())
