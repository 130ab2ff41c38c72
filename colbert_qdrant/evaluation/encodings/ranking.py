"""Computes rankings and their quality.

A ranking is an array of document numbers, best first, of shape ``(queries, depth)``, padded with -1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from colbert_qdrant.evaluation.metrics.measures import measure_rankings
from colbert_qdrant.inspection.fitness import spearman

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

Ranking = np.ndarray[Any, np.dtype[np.int64]]

CUTOFF: Final = 10
"""The k of nDCG@k, and the number of top MaxSim documents that recall is measured against."""


def rank_by_score(scores: NDArray[np.float32], depth: int) -> Ranking:
    """Rank documents by their scores ``(queries, documents)``, ties in the order of their numbers."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :depth].astype(np.int64)


def rerank(candidates: Ranking, scores: NDArray[np.float32]) -> Ranking:
    """Rank candidates by their scores ``(queries, documents)``."""
    of_candidates = np.take_along_axis(scores, np.maximum(candidates, 0), axis=1)
    order = rank_by_score(np.where(candidates < 0, -np.inf, of_candidates), CUTOFF)
    return np.take_along_axis(candidates, order, axis=1)


def recall(wanted: Ranking, found: Ranking) -> float:
    """Return the share of the wanted documents that were found, averaged over queries."""
    return float(np.mean([np.isin(some, others).mean() for some, others in zip(wanted, found, strict=True)]))


def rank_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return Spearman's rank correlation of two score matrices ``(queries, documents)``, for each query."""
    return np.array([spearman(some, others) for some, others in zip(first, second, strict=True)])


def ndcg_by_query(ranking: Ranking, qrels: Sequence[Mapping[int, int]]) -> list[float]:
    """Compute nDCG@10 of a ranking for each query with judgments, in order.

    A query's judgments map document numbers to graded relevance.

    Raises:
        MissingExtraError: If ir-measures is not installed.
    """
    rankings = {
        str(query): [str(document) for document in found if document >= 0] for query, found in enumerate(ranking)
    }
    judgments = {
        str(query): {str(document): relevance for document, relevance in judged.items()}
        for query, judged in enumerate(qrels)
    }
    return list(measure_rankings(rankings, judgments, f"nDCG@{CUTOFF}")[f"nDCG@{CUTOFF}"].values())
