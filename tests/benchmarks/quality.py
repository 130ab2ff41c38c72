"""Ranking quality of the three modes, by exact search over the encodings and through the HNSW graph.

    python tests/benchmarks/quality.py --data path/to/scifact

A collection in BEIR's layout is encoded by MiniLM (or --model) and stored in an embedded store. Printed are nDCG@10 of
exact MaxSim, of two stages and of the encodings alone, and recall@N: how many of the exact top 10 are among the first
N encodings. Each is measured twice, because an encoding that is good in a table can fail in a graph.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import ir_measures
from qdrant_client import models

sys.path.insert(0, str(Path(__file__).parents[2]))

from colbert_qdrant import (
    ColbertCollection,
    ColbertEncoder,
    CollectionConfig,
    EdgeClient,
    HnswConfig,
    MuveraConfig,
)
from tests.benchmarks.common import Dataset, load_beir, machine, minilm

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colbert_qdrant import DocumentId, SearchHit, SearchMode, TokenEmbeddings

DEPTHS = (50, 100, 200, 500)
BATCH = 50


def main() -> None:
    options = _options()
    encoder = ColbertEncoder.from_pretrained(options.model or minilm())
    config = CollectionConfig(
        fde=MuveraConfig(r_reps=options.r_reps, fill_empty=not options.no_fill_empty),
        hnsw=HnswConfig(full_scan_threshold=10),
    )
    print(f"{machine()}; FDE {config.fde}, {config.fde.dim:,} dimensions")
    for folder in options.data:
        dataset = load_beir(folder)
        with tempfile.TemporaryDirectory() as store, EdgeClient(store) as client:
            docs = ColbertCollection.create(dataset.name, client=client, encoder=encoder, config=config)
            report = docs.ingest(dataset.documents, progress=True)
            started = time.perf_counter()
            docs.optimize()
            print(
                f"\n{dataset.name}: {report.documents:,} documents, "
                f"{report.tokens / report.documents:.0f} tokens each, "
                f"{report.documents_per_second:.0f} documents/s; graph built in {time.perf_counter() - started:.0f} s; "
                f"{len(dataset.queries)} queries"
            )
            measure(docs, dataset, candidates=options.candidates)


def measure(docs: ColbertCollection, dataset: Dataset, *, candidates: int) -> None:
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


def _ndcg(dataset: Dataset, hits: Sequence[Sequence[SearchHit]]) -> float:
    qrels = [
        ir_measures.Qrel(query, document, relevance)
        for query, judged in dataset.qrels.items()
        for document, relevance in judged.items()
    ]
    return float(ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, _run(dataset, hits))[ir_measures.nDCG @ 10])


def _run(dataset: Dataset, hits: Sequence[Sequence[SearchHit]]) -> Iterator[ir_measures.ScoredDoc]:
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
    return parser.parse_args()


if __name__ == "__main__":
    main()
