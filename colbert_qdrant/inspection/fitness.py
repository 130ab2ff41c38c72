"""Measures whether MUVERA suits a model's token vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from colbert_qdrant._support.values import plain
from colbert_qdrant.config.checks import require_int
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.fde import MuveraEncoder
from colbert_qdrant.scoring.maxsim import maxsim
from colbert_qdrant.tokens import TokenEmbeddings, require_tokens

LOW_CORRELATION: Final = 0.6
"""The rank correlation with MaxSim below which MUVERA ranks badly.

It was measured on 80 documents with four seeds each. Token spaces of 2 to 128 dimensions without a common direction
give 0.78 to 0.88. With a common direction, 64 and 128 dimensions give 0.81 to 0.84 at a mean cosine of 0.2. They give
0.69 to 0.76 at 0.5, 0.56 to 0.65 at 0.8, and 0.49 to 0.58 at 0.9. The model all-MiniLM-L6-v2, where MUVERA alone costs
8 % of nDCG, gives 0.72 on docstrings.
"""
CENTRING_GAIN: Final = 0.1
"""The gain in rank correlation from which centering is recommended. On the spaces above, it gains 0.15 to 0.23 at a
mean cosine of 0.8, and about 0.07 at 0.5. Without a common direction, it changes at most 0.01. MiniLM
loses 0.12.
"""
HIGH_ANISOTROPY: Final = 0.5
"""The mean cosine of unrelated tokens from which it is named as the cause; tiny random models of 0.87 reach 0.66."""

_PAIRS, _MIN_DOCUMENTS = 20_000, 10


@dataclass(frozen=True, kw_only=True)
class MuveraFitness:
    """Measurements of how well MUVERA, with default settings, ranks for some token vectors.

    Ranges are tuples of minimum, mean and maximum. "Centered" means with ``MuveraConfig(center=True)``, compared with
    the MaxSim of the original tokens.

    Attributes:
        documents: The number of documents.
        queries: The number of queries.
        document_tokens: The number of token vectors of all documents.
        query_tokens: The number of token vectors of all queries.
        dim: Dimensions of a token vector.
        anisotropy: Mean cosine of random tokens of different documents: 0 if they are spread out, 1 if all have the
            same direction.
        effective_dim: The number of dimensions that the document tokens use (participation ratio).
        norm: Range of the lengths of token vectors.
        score: Range of MaxSim per query token, over all pairs of query and document.
        score_spread: Standard deviation of MaxSim per query token over the documents, averaged over queries. A small
            spread is hard to rank by.
        rank_correlation: Spearman's rank correlation, over the documents, between the encodings' inner product and
            MaxSim, averaged over queries: 1 for the same order, 0 for no relation.
        recall: The share of the top 10 % of documents by MaxSim that are among the top 25 % by the encodings, averaged
            over queries; 0.25 by chance.
        centred_rank_correlation: The rank correlation of centered encodings.
        centred_recall: The recall of centered encodings.
        warnings: Problems with their remedies; empty if MUVERA suits the model.
    """

    documents: int
    queries: int
    document_tokens: int
    query_tokens: int
    dim: int
    norm: tuple[float, float, float]
    anisotropy: float
    effective_dim: float
    score: tuple[float, float, float]
    score_spread: float
    rank_correlation: float
    recall: float
    centred_rank_correlation: float
    centred_recall: float
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        recall = f"{self.recall:.0%} of MaxSim's top 10% in MUVERA's top 25%; {self.centred_recall:.0%} centered"
        lines = [
            ("measured on", f"{self.documents:,} documents, {self.document_tokens:,} token vectors"),
            ("and", f"{self.queries:,} queries, {self.query_tokens:,} token vectors"),
            ("token norm", _range_text(self.norm)),
            ("anisotropy", f"{self.anisotropy:.3f} (mean cosine of unrelated tokens)"),
            ("effective dim", f"{self.effective_dim:.1f} of {self.dim}"),
            ("score per token", f"{_range_text(self.score)}, spread {self.score_spread:.3f}"),
            ("rank correlation", f"{self.rank_correlation:.2f}; {self.centred_rank_correlation:.2f} centered"),
            ("recall", recall),
            *(("warning", text) for text in self.warnings or ["none"]),
        ]
        return align(lines)


def muvera_fitness(queries: TokenEmbeddings, documents: TokenEmbeddings, *, seed: int = 0) -> MuveraFitness:
    """Measure how MUVERA ranks documents, compared with exact MaxSim.

    Args:
        queries: Token vectors of queries.
        documents: Token vectors of the documents, at least 10, with the same ``dim``.
        seed: Seed of the random pairs of tokens for the anisotropy.

    Raises:
        ConfigurationError: If there is no query, or there are fewer than 10 documents.
        InvalidTokensError: If queries and documents differ in ``dim``.
    """
    require_tokens("queries", queries)
    require_tokens("documents", documents)
    seed = plain(seed)
    require_int("seed", seed, minimum=0, maximum=2**32 - 1)
    if not len(queries) or len(documents) < _MIN_DOCUMENTS:
        raise ConfigurationError(
            f"{len(queries)} queries and {len(documents)} documents are too few to measure how MUVERA ranks: pass at "
            f"least one query and {_MIN_DOCUMENTS} documents"
        )
    exact = maxsim(queries, documents)
    per_token = exact / queries.lengths[:, None]
    correlation, recall = _ranking(queries, documents, exact)
    centred_correlation, centred_recall = _ranking(queries, documents, exact, center=True)
    spread, crowding = float(per_token.std(axis=1).mean()), anisotropy(documents, seed=seed)
    return MuveraFitness(
        documents=len(documents),
        queries=len(queries),
        document_tokens=len(documents.values),
        query_tokens=len(queries.values),
        dim=documents.dim,
        norm=_range(np.linalg.norm(np.concatenate([documents.values, queries.values]), axis=1)),
        anisotropy=crowding,
        effective_dim=effective_dim(documents.values),
        score=_range(per_token),
        score_spread=spread,
        rank_correlation=correlation,
        recall=recall,
        centred_rank_correlation=centred_correlation,
        centred_recall=centred_recall,
        warnings=_warnings(correlation, centred_correlation, crowding, spread),
    )


def anisotropy(documents: TokenEmbeddings, *, seed: int = 0) -> float:
    """Return the mean cosine over up to 20,000 random pairs of tokens of different documents; zero vectors count 0."""
    owners = np.repeat(np.arange(len(documents)), documents.lengths)
    first, second = np.random.default_rng(seed).integers(len(owners), size=(2, _PAIRS))
    apart = owners[first] != owners[second]
    norms = np.linalg.norm(documents.values, axis=1, keepdims=True)
    units = documents.values / np.where(norms > 0, norms, 1)
    cosines = np.einsum("ij,ij->i", units[first[apart]], units[second[apart]])
    return float(cosines.mean(dtype=np.float64)) if len(cosines) else 0.0


def effective_dim(values: NDArray[Any]) -> float:
    """Return the participation ratio (Σλ)² / Σλ² of the covariance's eigenvalues λ; 0 if all rows are equal."""
    centred = values - values.mean(axis=0, dtype=np.float64)
    covariance = centred.T @ centred  # the ratio does not depend on its scale
    total = float((covariance**2).sum())
    return float(np.trace(covariance) ** 2 / total) if total else 0.0


def spearman(first: NDArray[Any], second: NDArray[Any]) -> float:
    """Return Spearman's rank correlation of two arrays ``(n,)``, with average ranks for ties; 0 if one is constant."""
    ranks = []
    for values in (first, second):
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts + len(values)) / 2)[inverse])  # around 0
    scale = float(np.sqrt((ranks[0] @ ranks[0]) * (ranks[1] @ ranks[1])))
    return float(ranks[0] @ ranks[1]) / scale if scale else 0.0


def _range(values: NDArray[Any]) -> tuple[float, float, float]:
    return float(values.min()), float(values.mean(dtype=np.float64)), float(values.max())


def _ranking(
    queries: TokenEmbeddings, documents: TokenEmbeddings, exact: NDArray[np.float32], *, center: bool = False
) -> tuple[float, float]:
    encoder = MuveraEncoder.fit(documents, center=center)
    scores = encoder.encode_queries(queries) @ encoder.encode_documents(documents).T
    best = np.argsort(-exact, axis=1, kind="stable")[:, : len(documents) // 10]
    found = np.argsort(-scores, axis=1, kind="stable")[:, : len(documents) // 4]
    correlation = np.mean([spearman(row, other) for row, other in zip(exact, scores, strict=True)])
    recall = np.mean([np.isin(row, other).mean() for row, other in zip(best, found, strict=True)])
    return float(correlation), float(recall)


def _warnings(correlation: float, centred: float, crowding: float, spread: float) -> tuple[str, ...]:
    helps = centred - correlation >= CENTRING_GAIN
    if correlation >= LOW_CORRELATION and not helps:
        return ()
    what = f"MUVERA ranks {'badly' if correlation < LOW_CORRELATION else 'worse than necessary'} for this model"
    numbers = f"rank correlation with MaxSim {correlation:.2f}"
    if crowding >= HIGH_ANISOTROPY:
        numbers += f", mean cosine of unrelated tokens {crowding:.2f}, spread of scores per query token {spread:.3f}"
        what += ", as for models distilled on min-max-normalised scores"
    advice = "use more candidates, or fit a learned encoding such as LEMUR"
    if not helps:
        advice += f"; centering the tokens does not help here ({centred:.2f})"
    else:
        more = f"; also {advice}" if centred < LOW_CORRELATION else ""
        advice = (
            "center the tokens with CollectionConfig(fde=MuveraConfig(center=True)), which raises the correlation to "
            f"{centred:.2f}{more}"
        )
    return (f"{what} ({numbers}): {advice}",)


def _range_text(values: tuple[float, float, float]) -> str:
    return f"{values[0]:.3f} to {values[2]:.3f}, mean {values[1]:.3f}"


def align(lines: list[tuple[str, str]]) -> str:
    """Format pairs of label and value as lines, with the values aligned in one column."""
    return "\n".join(f"{label:<26}{value}" for label, value in lines)
