"""Ranking quality of all modes and fusions, and of exact search over the encodings beside the HNSW graph.

    python tests/benchmarks/quality.py --data path/to/scifact corpora/* [--cache FOLDER] [--fde lemur]

Collections in BEIR's layout are encoded by MiniLM (or --model) and stored in an embedded store, one after the other.
Printed is the table of `evaluate`: nDCG@10 of every mode and of hybrid search with every fusion, with intervals of 95 %
by resampling queries. The row of bm25s is an independent BM25, if `pip install bm25s PyStemmer` has installed it.
Differences from exact MaxSim and from BM25 are of the same queries. The last table has means over collections.

Then the encodings are searched exactly, and through the graph: an encoding that is good in a table can fail in a graph.
The metric recall@N is the share of the exact top 10 among the first N encodings.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

sys.path.insert(0, str(Path(__file__).parents[2]))

from colbert_qdrant import (
    Bm25Config,
    ColbertCollection,
    ColbertEncoder,
    CollectionConfig,
    EdgeClient,
    Evaluation,
    HnswConfig,
    LemurConfig,
    MuveraConfig,
    RetrievalDataset,
    Run,
    compare,
    evaluate,
)
from tests.benchmarks.common import machine, minilm
from tests.benchmarks.shares import share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant import EvaluatedRun, SearchHits, TokenEmbeddings

METRIC: Final = "nDCG@10"
MODES: Final = ("exact", "two-stage", "fde", "bm25")
FUSIONS: Final[tuple[Any, ...]] = ("blend", "maxsim", "rrf", "dbsf")
DEPTHS: Final = (50, 100, 200, 500)
BATCH: Final = 50


def main() -> None:
    """Measure and print."""
    options = _options()
    encoder = ColbertEncoder.from_pretrained(options.model or minilm(), cache=options.cache)
    muvera = MuveraConfig(r_reps=options.r_reps, fill_empty=options.fill_empty)
    config = CollectionConfig(
        fde=LemurConfig() if options.fde == "lemur" else muvera,
        hnsw=HnswConfig(full_scan_threshold=10),
        bm25=Bm25Config(avg_len=options.bm25_words),
    )
    print(f"{machine()}; FDE {config.encoding}, {config.encoding.dim:,} dimensions")
    evaluations = []
    for folder in options.data:
        dataset = RetrievalDataset.load(folder, missing="ignore")
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
            found = modes(docs, dataset, candidates=options.candidates, folder=Path(store, "runs"))
            print(found)
            print(differences(found), flush=True)
            evaluations.append(found)
            if not options.no_graph:
                encodings(docs, dataset, found["exact"], candidates=options.candidates)
    if len(evaluations) > 1:
        print(f"\nmean of {len(evaluations)} collections")
        print(means(evaluations))


def modes(docs: ColbertCollection, dataset: RetrievalDataset, *, candidates: int, folder: Path) -> Evaluation:
    """nDCG@10 of every mode, of hybrid search with every fusion, and of bm25s."""
    found = evaluate(docs, dataset, modes=MODES, metrics=METRIC, candidates=candidates, depth=10, folder=folder)
    texts = list(dataset.queries.values())
    runs = [*found.runs]
    for fusion in FUSIONS:
        hits = docs.search_batch(texts, mode="hybrid", fusion=fusion, candidates=candidates, with_payload=False)
        runs.append(evaluated(dataset, f"hybrid, {fusion}", hits))
    if find_spec("bm25s") and find_spec("Stemmer"):
        runs.append(bm25s(dataset))
    return replace(found, runs=tuple(runs))


def bm25s(dataset: RetrievalDataset) -> EvaluatedRun:
    """An independent BM25, with its own English stop words and the Snowball stemmer."""
    library = importlib.import_module("bm25s")
    stemmer = importlib.import_module("Stemmer").Stemmer("english")
    documents = list(dataset.documents or ())

    def tokens(texts: list[str]) -> Any:
        return library.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)

    index = library.BM25(k1=Bm25Config().k, b=Bm25Config().b)
    index.index(tokens([document.text for document in documents]), show_progress=False)
    best, scores = index.retrieve(tokens(list(dataset.queries.values())), k=10, show_progress=False)
    hits = {
        query: {str(documents[number].id): float(score) for number, score in zip(*found, strict=True) if score > 0}
        for query, *found in zip(dataset.queries, best, scores, strict=True)
    }
    return evaluate(Run(name="bm25s", hits=hits), dataset, metrics=METRIC)["bm25s"]


def differences(found: Evaluation) -> str:
    """The difference of every run from exact MaxSim and from BM25, with intervals."""
    lines = []
    for run in found.runs:
        others = [base for base in ("exact", "bm25") if base != run.mode]
        each = [f"− {base} {_difference(run, found[base])}" for base in others]
        lines.append(f"{run.mode:16}  {'   '.join(each)}")
    return "\n".join(lines)


def _difference(run: EvaluatedRun, base: EvaluatedRun) -> str:
    (found,) = compare(run, base).differences
    low, high = found.interval or (0.0, 0.0)
    return f"{found.difference:+.3f} [{low:+.3f}, {high:+.3f}]"


def means(evaluations: Sequence[Evaluation]) -> str:
    """For each mode, means over collections, and the lowest share of the better of exact MaxSim and BM25."""
    every = replace(evaluations[0], runs=tuple(run for each in evaluations for run in each.runs))
    lines = [f"{'':16}{METRIC:>23}{'of exact MaxSim':>23}   lowest of the better of exact and bm25"]
    for mode in every.modes:
        pairs = [(each[mode], each["exact"]) for each in evaluations]
        low, high = every.interval(METRIC, mode) or (0.0, 0.0)
        of_exact, *around = share([(list(a.of(METRIC).values()), list(b.of(METRIC).values())) for a, b in pairs])
        lowest, where = min(
            (run.mean(METRIC) / max(each["exact"].mean(METRIC), each["bm25"].mean(METRIC)), run.dataset)
            for each, (run, _) in zip(evaluations, pairs, strict=True)
        )
        lines.append(
            f"{mode:16}{every.mean(METRIC, mode):>9.3f} [{low:.3f}, {high:.3f}]"
            f"{of_exact:>9.3f} [{around[0]:.3f}, {around[1]:.3f}]   {lowest:.3f} ({where})"
        )
    return "\n".join(lines)


def encodings(docs: ColbertCollection, dataset: RetrievalDataset, exact: EvaluatedRun, *, candidates: int) -> None:
    """Print recall@N and nDCG@10 of exact search over the encodings, and of the HNSW graph."""
    assert exact.run
    tokens = docs.encoder.encode_queries(list(dataset.queries.values()))
    best = [set(list(exact.run.hits[query])[:10]) for query in dataset.queries]
    for label, params in (("exact search", models.SearchParams(exact=True)), ("HNSW graph", None)):
        how: dict[str, Any] = {"limit": 10, "params": params}
        for mode in ("two-stage", "fde"):
            few = candidates if mode == "two-stage" else 10
            hits, milliseconds = _search(docs, tokens, mode=mode, candidates=few, **how)
            run = evaluated(dataset, mode, hits)
            print(f"{mode}, {label}: {METRIC} {run.mean(METRIC):.4f}, {milliseconds:.1f} ms/query")
        recalls = "  ".join(f"{_recall(docs, tokens, best, depth, params):.3f}" for depth in DEPTHS)
        print(f"fde, {label}: recall@{'/'.join(map(str, DEPTHS))} {recalls}", flush=True)


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
    best: Sequence[set[str]],
    depth: int,
    params: models.SearchParams | None,
) -> float:
    hits, _ = _search(docs, tokens, mode="fde", limit=depth, params=params)
    shares = [
        len(top & {str(hit.id) for hit in found}) / max(1, len(top)) for top, found in zip(best, hits, strict=True)
    ]
    return sum(shares) / len(shares)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in BEIR's layout")
    parser.add_argument("--model", help="an encoder model instead of MiniLM")
    parser.add_argument("--cache", type=Path, help="keep token embeddings here for the next run")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--fde", choices=("muvera", "lemur"), default="muvera")
    parser.add_argument("--no-graph", action="store_true", help="leave out exact search over the encodings")
    parser.add_argument("--r-reps", type=int, default=MuveraConfig().r_reps)
    parser.add_argument("--fill-empty", action="store_true")
    parser.add_argument("--bm25-words", type=float, help="avg_len of BM25; by default, measured")
    return parser.parse_args()


if __name__ == "__main__":
    main()
