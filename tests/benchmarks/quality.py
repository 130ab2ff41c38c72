"""Ranking quality of all modes, by exact search over the encodings and through the HNSW graph.

    python tests/benchmarks/quality.py --data path/to/scifact

A collection in BEIR's layout is encoded by MiniLM (or --model) and stored in an embedded store. Printed are nDCG@10 of
exact MaxSim, of two stages and of the encodings alone, and recall@N: how many of the exact top 10 are among the first
N encodings. Each is measured twice, because an encoding that is good in a table can fail in a graph.

Then hybrid searches: BM25 alone, its candidates and those of the encodings ranked together by MaxSim, and
both rankings fused by their ranks. An interval is of 95 %, by resampling queries; a difference is of the same queries.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import ir_measures
import numpy as np
from qdrant_client import models

sys.path.insert(0, str(Path(__file__).parents[2]))

from colbert_qdrant import (
    Bm25Config,
    ColbertCollection,
    ColbertEncoder,
    CollectionConfig,
    EdgeClient,
    HnswConfig,
    MuveraConfig,
    RetrievalDataset,
)
from colbert_qdrant.encoders.bm25 import LocalBm25
from colbert_qdrant.search.hits import to_hits
from tests.benchmarks.common import machine, minilm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from colbert_qdrant import DocumentId, SearchHit, SearchMode, TokenEmbeddings

DEPTHS = (50, 100, 200, 500)
BATCH = 50


def main() -> None:
    options = _options()
    encoder = ColbertEncoder.from_pretrained(options.model or minilm())
    config = CollectionConfig(
        fde=MuveraConfig(r_reps=options.r_reps, fill_empty=not options.no_fill_empty),
        hnsw=HnswConfig(full_scan_threshold=10),
        bm25=Bm25Config(avg_len=options.bm25_words),
    )
    print(f"{machine()}; FDE {config.fde}, {config.fde.dim:,} dimensions")
    for folder in options.data:
        dataset = RetrievalDataset.load(folder)
        with tempfile.TemporaryDirectory() as store, EdgeClient(store) as client:
            docs = ColbertCollection.create(dataset.name, client=client, encoder=encoder, config=config)
            report = docs.ingest(dataset.documents or (), progress=True)
            started = time.perf_counter()
            docs.optimize()
            print(
                f"\n{dataset.name}: {report.documents:,} documents, "
                f"{report.tokens / report.documents:.0f} tokens each, "
                f"{report.documents_per_second:.0f} documents/s; graph built in {time.perf_counter() - started:.0f} s; "
                f"{len(dataset.queries)} queries"
            )
            measure(docs, dataset, candidates=options.candidates)
            hybrid(docs, client, dataset, candidates=options.candidates)


def measure(docs: ColbertCollection, dataset: RetrievalDataset, *, candidates: int) -> None:
    """Print the table of one collection."""
    tokens = docs.encoder.encode_queries(list(dataset.queries.values()))
    exact, seconds = _search(docs, tokens, "exact", limit=10, candidates=10, params=None)
    best = [{hit.id for hit in hits} for hits in exact]
    exact_ndcg = _ndcg(dataset, exact)
    print(f"{'exact MaxSim':34} nDCG@10 {exact_ndcg:.4f}  {seconds:6.1f} ms/query")
    for label, params in (("exact search", models.SearchParams(exact=True)), ("HNSW graph", None)):
        hits, seconds = _search(docs, tokens, "two-stage", limit=10, candidates=candidates, params=params)
        ndcg = _ndcg(dataset, hits)
        print(
            f"{f'two-stage, {candidates} candidates, {label}':34} nDCG@10 {ndcg:.4f}  {seconds:6.1f} ms/query  "
            f"{ndcg / exact_ndcg:.3f} × exact"
        )
        hits, seconds = _search(docs, tokens, "fde", limit=10, candidates=10, params=params)
        ndcg = _ndcg(dataset, hits)
        recalls = "  ".join(f"{_recall(docs, tokens, best, depth, params):.3f}" for depth in DEPTHS)
        print(
            f"{f'fde, {label}':34} nDCG@10 {ndcg:.4f}  {seconds:6.1f} ms/query  {ndcg / exact_ndcg:.3f} × exact  "
            f"recall@{'/'.join(map(str, DEPTHS))} {recalls}"
        )


def hybrid(docs: ColbertCollection, client: EdgeClient, dataset: RetrievalDataset, *, candidates: int) -> None:
    """Print the rows of hybrid searches, each against exact MaxSim and BM25."""
    texts = list(dataset.queries.values())
    prefetch = {docs.config.fde_vector: candidates, docs.config.bm25_vector: candidates}
    runs: dict[str, Sequence[Sequence[SearchHit]]] = {
        "exact MaxSim": docs.search_batch(texts, mode="exact", with_payload=False),
        "bm25": [_bm25(docs, client, text) for text in texts],
        "two-stage": docs.search_batch(texts, candidates=candidates, with_payload=False),
        "hybrid, MaxSim of the union": docs.search_batch(texts, prefetch=prefetch, with_payload=False),
        "hybrid, RRF": docs.search_batch(texts, prefetch=prefetch, fusion="rrf", with_payload=False),
    }
    values = {name: _ndcgs(dataset, hits) for name, hits in runs.items()}
    for name, each in values.items():
        against = "".join(
            f"   against {other} {_interval(each - values[other])}"
            for other in ("exact MaxSim", "bm25")
            if other != name
        )
        print(f"{name:34} nDCG@10 {_interval(each)}{against}")


def _bm25(docs: ColbertCollection, client: EdgeClient, text: str) -> list[SearchHit]:
    """The ranking by BM25 itself, which no mode of a collection is."""
    assert docs.config.bm25 is not None
    (query,) = LocalBm25(docs.config.bm25).queries([text])
    if query is None:
        return []
    found = client.query_points(docs.name, query, using=docs.config.bm25_vector, limit=10)
    return to_hits(found.points, docs.config, with_payload=False)


def _interval(values: NDArray[np.float64]) -> str:
    """The mean, and between what 95 % of the means of resampled queries are."""
    random = np.random.default_rng(0)
    means = values[random.integers(0, len(values), (10_000, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{values.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def _ndcgs(dataset: RetrievalDataset, hits: Sequence[Sequence[SearchHit]]) -> NDArray[np.float64]:
    """nDCG@10 of every query, in their order."""
    found = {
        each.query_id: each.value
        for each in ir_measures.iter_calc([ir_measures.nDCG @ 10], list(_qrels(dataset)), _run(dataset, hits))
    }
    return np.array([found.get(query, 0.0) for query in dataset.queries])


def _search(
    docs: ColbertCollection,
    tokens: TokenEmbeddings,
    mode: SearchMode,
    *,
    limit: int,
    candidates: int,
    params: models.SearchParams | None,
) -> tuple[list[list[SearchHit]], float]:
    """Hits per query, and milliseconds per query."""
    hits: list[list[SearchHit]] = []
    started = time.perf_counter()
    for start in range(0, len(tokens), BATCH):
        hits += docs.search_batch(
            tokens[start : start + BATCH],
            limit=limit,
            candidates=candidates,
            mode=mode,
            params=params,
            with_payload=False,
        )
    return hits, (time.perf_counter() - started) * 1e3 / len(tokens)


def _recall(
    docs: ColbertCollection,
    tokens: TokenEmbeddings,
    best: Sequence[set[DocumentId]],
    depth: int,
    params: models.SearchParams | None,
) -> float:
    hits, _ = _search(docs, tokens, "fde", limit=depth, candidates=depth, params=params)
    shares = [len(top & {hit.id for hit in found}) / len(top) for top, found in zip(best, hits, strict=True)]
    return sum(shares) / len(shares)


def _ndcg(dataset: RetrievalDataset, hits: Sequence[Sequence[SearchHit]]) -> float:
    measure = ir_measures.nDCG @ 10
    return float(ir_measures.calc_aggregate([measure], list(_qrels(dataset)), _run(dataset, hits))[measure])


def _qrels(dataset: RetrievalDataset) -> Iterator[ir_measures.Qrel]:
    for query, judged in dataset.qrels.items():
        for document, relevance in judged.items():
            yield ir_measures.Qrel(query, document, relevance)


def _run(dataset: RetrievalDataset, hits: Sequence[Sequence[SearchHit]]) -> Iterator[ir_measures.ScoredDoc]:
    for query, found in zip(dataset.queries, hits, strict=True):
        for hit in found:
            yield ir_measures.ScoredDoc(query, str(hit.id), hit.score)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in BEIR's layout")
    parser.add_argument("--model", help="an encoder model instead of MiniLM")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--r-reps", type=int, default=MuveraConfig().r_reps)
    parser.add_argument("--no-fill-empty", action="store_true")
    parser.add_argument("--bm25-words", type=float, default=256, help="avg_len of BM25")
    return parser.parse_args()


if __name__ == "__main__":
    main()
