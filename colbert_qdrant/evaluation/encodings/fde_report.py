"""Measures how well an encoding approximates MaxSim, by exact search and through a graph."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Final

import numpy as np
from numpy.typing import NDArray

from colbert_qdrant._support.progress import ProgressReporter, reporting
from colbert_qdrant._support.values import plain
from colbert_qdrant.config import CollectionConfig, FdeQuantization, HnswConfig
from colbert_qdrant.config.checks import require_bool, require_instance, require_int
from colbert_qdrant.encoders import LateInteractionEncoder
from colbert_qdrant.encoders.base import check_texts, require_encoder
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError
from colbert_qdrant.evaluation.datasets.qrels import checked_grades
from colbert_qdrant.evaluation.encodings.graph import encoding_graph
from colbert_qdrant.evaluation.encodings.ranking import (
    CUTOFF,
    Ranking,
    ndcg_by_query,
    rank_by_score,
    rank_correlation,
    recall,
    rerank,
)
from colbert_qdrant.evaluation.encodings.report import FdeReport, SearchQuality
from colbert_qdrant.evaluation.metrics.measures import require_measures
from colbert_qdrant.fde import FixedDimensionalEncoder
from colbert_qdrant.scoring.maxsim import maxsim
from colbert_qdrant.shown import has, shown
from colbert_qdrant.tokens import TokenEmbeddings

_NEAREST: Final = 100
_BLOCK_TOKENS: Final = 65_536
_BLOCK_QUERIES: Final = 64


def fde_report(
    fde: FixedDimensionalEncoder,
    documents: TokenEmbeddings | Sequence[str],
    queries: TokenEmbeddings | Sequence[str],
    *,
    encoder: LateInteractionEncoder | None = None,
    qrels: Sequence[Mapping[int, int]] | None = None,
    depths: Sequence[int] = (10, 50, 100, 200, 500),
    candidates: int = 100,
    graph: bool = True,
    quantization: FdeQuantization | None = None,
    maxsim_scores: NDArray[np.float32] | None = None,
    progress: bool | ProgressReporter = False,
) -> FdeReport:
    """Measure how well an encoding approximates exact MaxSim.

    Every metric is measured by exact search over the encodings and through an HNSW graph. An encoding with a good exact
    ranking can still fail in a graph. The graph is a temporary embedded store with the layout and the search
    parameters of a collection. The encodings (float32) and the MaxSim score of every pair are held in memory.

    Args:
        fde: The encoding.
        documents: Token embeddings of documents, or their texts with an ``encoder``.
        queries: Token embeddings of queries, or their texts with an ``encoder``.
        encoder: The model that encodes texts.
        qrels: For each query, the relevance of its judged documents by their numbers in ``documents``. With qrels,
            nDCG is measured too, which needs ir-measures.
        depths: Numbers of candidates to measure recall at.
        candidates: Number of encodings that MaxSim ranks in the second stage, at least 10.
        graph: Whether to build the graph, which needs the ``edge`` extra.
        quantization: The quantization that the graph compares instead of the encodings, without rescoring.
        maxsim_scores: The result of ``maxsim(queries, documents)``, to compute it only once for several encodings.
        progress: ``True`` for a progress bar, or log lines if there is no terminal; or your own reporter.

    Raises:
        ConfigurationError: If there are no documents or no queries, texts have no encoder, or a parameter is out of
            range or has the wrong shape.
        InvalidTokensError: If encoding, documents and queries differ in the dimensions of a token vector.
        MissingExtraError: If the embedded engine or ir-measures is needed but not installed.

    Example:
        >>> from colbert_qdrant import MuveraEncoder
        >>> random = np.random.default_rng(0)
        >>> documents = TokenEmbeddings(random.standard_normal((60, 8)), [3] * 20)
        >>> report = fde_report(MuveraEncoder(token_dim=8), documents, documents[:5], depths=(10, 20), graph=False)
        >>> report.dim, report.exact.recall[20]
        (10240, 1.0)
    """
    if not all(has(fde, name) for name in ("dim", "encode_documents", "encode_queries")) or isinstance(fde, type):
        raise ConfigurationError(
            f"fde must be a MuveraEncoder or a LemurEncoder, got {type(fde).__name__} {shown(fde)}"
        )
    if encoder is not None:
        require_encoder(encoder, "encode_queries", "encode_documents")
    graph, candidates, depths = plain(graph), plain(candidates), _depths(depths)
    require_bool("graph", graph)
    limits = _search_limits(depths, candidates)
    if qrels is not None:
        require_measures()
    config = CollectionConfig(hnsw=HnswConfig(full_scan_threshold=10), fde_quantization=quantization)
    # opened first, so that a missing engine raises before the work and not after it
    with encoding_graph(config, dim=fde.dim) if graph else nullcontext() as index:
        documents = _to_tokens(documents, None if encoder is None else encoder.encode_documents)
        queries = _to_tokens(queries, None if encoder is None else encoder.encode_queries)
        if not len(documents) or not len(queries):
            raise ConfigurationError(
                f"there are {len(documents)} documents and {len(queries)} queries: pass at least one of each"
            )
        judged = None if qrels is None else _checked_qrels(qrels, queries=len(queries), documents=len(documents))
        truth = _maxsim(maxsim_scores, queries, documents)
        encoded_documents, document_ms = _time_encoding(fde.encode_documents, documents, fde.dim, progress)
        encoded_queries, query_ms = _time_encoding(fde.encode_queries, queries, fde.dim)
        nearest, correlation = _scan(encoded_queries, encoded_documents, truth, depth=limits[-1])
        if index is not None:
            index.build(encoded_documents)
            found = {limit: index.search(encoded_queries, limit=limit) for limit in limits}

    best = rank_by_score(truth, CUTOFF)

    def ndcg_of(ranking: Ranking) -> list[float]:
        return [] if judged is None else ndcg_by_query(ranking, judged)

    def quality(rankings: Mapping[int, Ranking]) -> SearchQuality:
        alone, two_stage = ndcg_of(rankings[CUTOFF]), ndcg_of(rerank(rankings[candidates], truth))
        return SearchQuality(
            recall={depth: recall(best, rankings[depth]) for depth in depths},
            ndcg=_mean(alone),
            two_stage_ndcg=_mean(two_stage),
            ndcg_by_query=alone,
            two_stage_ndcg_by_query=two_stage,
        )

    of_maxsim = ndcg_of(best)

    return FdeReport(
        encoder=type(fde).__name__,
        documents=len(documents),
        queries=len(queries),
        dim=fde.dim,
        quantization=quantization,
        candidates=candidates,
        rank_correlation=correlation,
        maxsim_ndcg=_mean(of_maxsim),
        maxsim_ndcg_by_query=of_maxsim,
        exact=quality({limit: nearest[:, :limit] for limit in limits}),
        graph=quality({limit: each.ranking for limit, each in found.items()}) if graph else None,
        nearest_found=recall(nearest[:, :_NEAREST], found[_NEAREST].ranking) if graph else None,
        document_ms=document_ms,
        query_ms=query_ms,
        graph_ms=found[candidates].milliseconds if graph else None,
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _to_tokens(
    texts: TokenEmbeddings | Sequence[str], encode: Callable[[Sequence[str]], TokenEmbeddings] | None
) -> TokenEmbeddings:
    if isinstance(texts, TokenEmbeddings):
        return texts
    if encode is None:
        raise ConfigurationError("texts need an encoder: pass encoder=…, or pass TokenEmbeddings instead of texts")
    return encode(check_texts(texts, InvalidDocumentError))


def _depths(depths: Sequence[int]) -> list[int]:
    depths = plain(depths)
    if not isinstance(depths, list | tuple | range) or not depths:
        raise ConfigurationError(f"depths={shown(depths)}: pass a list of at least one depth")
    found = [plain(depth) for depth in depths]
    for depth in found:
        require_int("each of the depths", depth, minimum=1)
    return found


def _search_limits(depths: Sequence[int], candidates: int) -> list[int]:
    """Return the limits to search with, one search for each: a larger limit makes a graph search more thorough."""
    require_int("candidates", candidates, minimum=1)
    if candidates < CUTOFF:
        raise ConfigurationError(f"candidates={candidates}: pass at least {CUTOFF}, which nDCG@{CUTOFF} needs")
    return sorted({CUTOFF, _NEAREST, candidates, *depths})


def _checked_qrels(qrels: Sequence[Mapping[int, int]], *, queries: int, documents: int) -> list[dict[int, int]]:
    require_instance("qrels", qrels, (list, tuple), "a list of one dict for each query")
    checked = []
    for number, each in enumerate(qrels):
        require_instance(f"qrels[{number}]", each, Mapping, "a dict of relevance by document")
        checked.append(checked_grades(f"qrels[{number}]", each))
    if len(qrels) != queries:
        raise ConfigurationError(
            f"there are {len(qrels)} qrels for {queries} queries: pass one dict per query, empty if it has no judgments"
        )
    judged = {document for each in checked for document in each}
    if not judged:
        raise ConfigurationError("qrels have no judged document: omit qrels to measure without nDCG")
    if outside := judged.difference(range(documents)):
        raise ConfigurationError(
            f"qrels name the documents {sorted(outside, key=str)[:5]}, but there are {documents} documents: use their "
            "positions, which start at 0"
        )
    return checked


def _maxsim(
    scores: NDArray[np.float32] | None, queries: TokenEmbeddings, documents: TokenEmbeddings
) -> NDArray[np.float32]:
    if scores is None:
        return maxsim(queries, documents)
    require_instance("maxsim_scores", scores, np.ndarray, "an array, as maxsim(queries, documents)")
    if scores.shape != (len(queries), len(documents)):
        raise ConfigurationError(
            f"maxsim_scores have shape {scores.shape}, but {len(queries)} queries and {len(documents)} documents need "
            f"{(len(queries), len(documents))}: pass maxsim(queries, documents), or omit it"
        )
    return scores


def _time_encoding(
    encode: Callable[[TokenEmbeddings], NDArray[np.float32]],
    tokens: TokenEmbeddings,
    dim: int,
    progress: bool | ProgressReporter = False,  # noqa: FBT001, FBT002
) -> tuple[NDArray[np.float32], float]:
    """Return encodings and the milliseconds per encoding, without the one-time work of an encoder's first call."""
    encode(tokens[:1])
    encoded = np.empty((len(tokens), dim), np.float32)
    started = time.perf_counter()
    with reporting(progress, label="encode", total=len(tokens)) as report:
        for start, stop in tokens.blocks(_BLOCK_TOKENS):
            encoded[start:stop] = encode(tokens[start:stop])
            report.advance(stop - start)
    return encoded, (time.perf_counter() - started) * 1e3 / len(tokens)


def _scan(
    queries: NDArray[np.float32], documents: NDArray[np.float32], truth: NDArray[np.float32], *, depth: int
) -> tuple[Ranking, float]:
    """Return the nearest encodings by exact search, and the rank correlation with MaxSim, averaged over queries."""
    nearest, correlations = [], []
    for start in range(0, len(queries), _BLOCK_QUERIES):
        some = slice(start, start + _BLOCK_QUERIES)
        scores = queries[some] @ documents.T
        nearest.append(rank_by_score(scores, depth))
        correlations.append(rank_correlation(scores, truth[some]))
    return np.concatenate(nearest), float(np.concatenate(correlations).mean())
