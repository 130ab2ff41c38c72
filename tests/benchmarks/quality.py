"""Ranking quality of all modes, and of exact search over the encodings beside the HNSW graph.

    python tests/benchmarks/quality.py --data path/to/scifact

A collection in BEIR's layout is encoded by MiniLM (or --model) and stored in an embedded store. Printed is the table of
`evaluate`: nDCG@10 of every mode with intervals of 95 %, by resampling queries. The last row is a hybrid
search that fuses ranks. Differences from exact MaxSim and from BM25 are of the same queries.

Then the encodings are searched exactly, and through the graph: an encoding that is good in a table can fail in a graph.
The metric recall@N is the share of the exact top 10 among the first N encodings.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    Run,
    compare,
    evaluate,
)
from tests.benchmarks.common import machine, minilm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant import EvaluatedRun, SearchHits, TokenEmbeddings

METRIC = "nDCG@10"
DEPTHS = (50, 100, 200, 500)
BATCH = 50


def main() -> None:
    options = _options()
    encoder = ColbertEncoder.from_pretrained(options.model or minilm())
    config = CollectionConfig(
        fde=MuveraConfig(r_reps=options.r_reps, fill_empty=options.fill_empty),
        hnsw=HnswConfig(full_scan_threshold=10),
        bm25=Bm25Config(avg_len=options.bm25_words),
    )
    print(f"{machine()}; FDE {config.encoding}, {config.encoding.dim:,} dimensions")
    for folder in options.data:
        dataset = RetrievalDataset.load(folder)
        with tempfile.TemporaryDirectory() as store, EdgeClient(Path(store, "edge")) as client:
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
            modes(docs, dataset, candidates=options.candidates, folder=Path(store, "runs"))
            encodings(docs, dataset, candidates=options.candidates)


def modes(docs: ColbertCollection, dataset: RetrievalDataset, *, candidates: int, folder: Path) -> None:
    """Print nDCG@10 of every mode, and the differences from exact MaxSim and from BM25."""
    found = evaluate(docs, dataset, metrics=METRIC, candidates=candidates, depth=10, folder=folder)
    prefetch = {docs.config.fde_vector: candidates, docs.config.bm25_vector: candidates}
    texts = list(dataset.queries.values())
    hits = docs.search_batch(texts, prefetch=prefetch, fusion="rrf", with_payload=False)
    fused = evaluated(dataset, "hybrid, RRF", hits)
    found = replace(found, runs=(*found.runs, fused))
    print(found)
    for base in ("exact", "bm25"):
        for run in found.runs:
            if run.mode != base:
                (each,) = compare(run, found[base]).differences
                low, high = each.interval or (0.0, 0.0)
                print(f"{run.mode} − {base}: {each.difference:+.4f} [{low:+.4f}, {high:+.4f}]")


def encodings(docs: ColbertCollection, dataset: RetrievalDataset, *, candidates: int) -> None:
    """Print recall@N and nDCG@10 of exact search over the encodings, and of the HNSW graph."""
    tokens = docs.encoder.encode_queries(list(dataset.queries.values()))
    exact, _ = _search(docs, tokens, mode="exact", limit=10)
    best = [{hit.id for hit in hits} for hits in exact]
    for label, params in (("exact search", models.SearchParams(exact=True)), ("HNSW graph", None)):
        how: dict[str, Any] = {"limit": 10, "params": params}
        for mode in ("two-stage", "fde"):
            few = candidates if mode == "two-stage" else 10
            hits, milliseconds = _search(docs, tokens, mode=mode, candidates=few, **how)
            run = evaluated(dataset, mode, hits)
            print(f"{mode}, {label}: {METRIC} {run.mean(METRIC):.4f}, {milliseconds:.1f} ms/query")
        recalls = "  ".join(f"{_recall(docs, tokens, best, depth, params):.3f}" for depth in DEPTHS)
        print(f"fde, {label}: recall@{'/'.join(map(str, DEPTHS))} {recalls}")


def evaluated(dataset: RetrievalDataset, name: str, hits: Sequence[SearchHits]) -> EvaluatedRun:
    """Measure hits, one list for each query in their order."""
    scores = {
        query: {str(hit.id): hit.score for hit in found} for query, found in zip(dataset.queries, hits, strict=True)
    }
    return evaluate(Run(name=name, hits=scores), dataset, metrics=METRIC)[name]


def _search(docs: ColbertCollection, tokens: TokenEmbeddings, **options: Any) -> tuple[list[SearchHits], float]:
    """Hits per query, and milliseconds per query."""
    hits: list[SearchHits] = []
    started = time.perf_counter()
    for start in range(0, len(tokens), BATCH):
        hits += docs.search_batch(tokens[start : start + BATCH], with_payload=False, **options)
    return hits, (time.perf_counter() - started) * 1e3 / len(tokens)


def _recall(
    docs: ColbertCollection,
    tokens: TokenEmbeddings,
    best: Sequence[set[Any]],
    depth: int,
    params: models.SearchParams | None,
) -> float:
    hits, _ = _search(docs, tokens, mode="fde", limit=depth, params=params)
    shares = [len(top & {hit.id for hit in found}) / len(top) for top, found in zip(best, hits, strict=True)]
    return sum(shares) / len(shares)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in BEIR's layout")
    parser.add_argument("--model", help="an encoder model instead of MiniLM")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--r-reps", type=int, default=MuveraConfig().r_reps)
    parser.add_argument("--fill-empty", action="store_true")
    parser.add_argument("--bm25-words", type=float, help="avg_len of BM25; by default, measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
