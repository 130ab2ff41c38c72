"""Computes rankings and their quality.

A ranking is an array of document numbers, best first, of shape ``(queries, depth)``, padded with -1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from colbert_qdrant.errors import MissingExtraError
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


def ndcg(ranking: Ranking, qrels: Sequence[Mapping[int, int]]) -> float:
    """Compute nDCG@10 of a ranking, averaged over the queries with judgments.

    A query's judgments map document numbers to graded relevance.

    Raises:
        MissingExtraError: If ir-measures is not installed.
    """
    measures = require_measures()
    judgments = [
        measures.Qrel(str(query), str(document), relevance)
        for query, judged in enumerate(qrels)
        for document, relevance in judged.items()
    ]
    run = [
        measures.ScoredDoc(str(query), str(document), -float(rank))
        for query in range(len(qrels))
        for rank, document in enumerate(ranking[query])
        if document >= 0
    ]
    measure = measures.nDCG @ CUTOFF
    return float(measures.calc_aggregate([measure], judgments, run)[measure])


def require_measures() -> Any:
    """Return the module ``ir_measures``.

    Raises:
        MissingExtraError: If it is not installed.
    """
    try:
        import ir_measures  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            "qrels need ir-measures, which computes nDCG: pip install 'colbert-qdrant[bench]', or omit qrels"
        ) from error
    return ir_measures
