"""How long a search takes, in each mode and collection size, on the embedded engine.

    python tests/benchmarks/search.py                        # MUVERA, 5,120 dimensions
    python tests/benchmarks/search.py --fde lemur            # LEMUR, 2,048 dimensions
    python tests/benchmarks/search.py --documents 2000 20000 --queries 100

Documents are 60 tokens of 128 dimensions, noisy copies of words of one of 500 topics; queries are 32 tokens of a
document. Encodings have a turbo4 copy that the graph is searched with. A time is that of one ``search`` with ready
token vectors: making the encoding, the request, and the hits. Modes take turns, query by query. Recall of MaxSim's
best 10 only says that the searches do their work: the data are made up. Beside them stands MaxSim over everything by
numpy, on all cores and in float32, which needs all token vectors in memory.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from colbert_qdrant import (
    ColbertCollection,
    CollectionConfig,
    Document,
    EdgeClient,
    LemurConfig,
    MuveraConfig,
    TokenEmbeddings,
    maxsim,
)
from tests.benchmarks.common import machine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from colbert_qdrant.config import FdeConfig

TOKENS, QUERY_TOKENS, DIM = 60, 32, 128
TOPICS, WORDS, NOISE = 500, 40, 0.35
FDES: dict[str, FdeConfig] = {"muvera": MuveraConfig(k_sim=5, dim_proj=16, r_reps=10), "lemur": LemurConfig(dim=2_048)}
MODES: dict[str, dict[str, Any]] = {
    "exact": {"mode": "exact"},
    "two-stage, 500 candidates": {"candidates": 500},
    "two-stage, 100 candidates": {"candidates": 100},
    "encodings alone": {"mode": "fde"},
}
EXACT_QUERIES = 30


class MadeUp:
    """Token embeddings of made-up texts, which are numbers."""

    dim = DIM

    def __init__(self, documents: int) -> None:
        random = np.random.default_rng(0)
        vocabulary = random.standard_normal((4_000, DIM), np.float32)
        words = random.integers(0, 4_000, (TOPICS, WORDS))[random.integers(0, TOPICS, documents)]
        self._vocabulary, self._words = vocabulary, words

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        matrices = [self._matrix(int(text), TOKENS, seed=0) for text in texts]
        return TokenEmbeddings(np.concatenate(matrices), [TOKENS] * len(texts))

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        """Queries about documents; a fit makes up its own from texts, which are numbers here, too."""
        matrices = [self._matrix(int(text.split()[0]), QUERY_TOKENS, seed=1) for text in texts]
        return TokenEmbeddings(np.concatenate(matrices), [QUERY_TOKENS] * len(texts))

    def fingerprint(self) -> dict[str, Any]:
        return {"type": "made up", "documents": len(self._words)}

    def _matrix(self, document: int, tokens: int, *, seed: int) -> Any:
        random = np.random.default_rng([seed, document])
        rows = self._vocabulary[random.choice(self._words[document], tokens)]
        rows = rows + NOISE * random.standard_normal((tokens, DIM), np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def timed(function: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds, and the result."""
    started = time.perf_counter()
    result = function()
    return (time.perf_counter() - started) * 1e3, result


def measure(name: str, documents: int, queries: int, folder: Path) -> dict[str, tuple[float, float]]:
    """Fill a collection, search it, print a table, and return the median and the 95th percentile of each mode."""
    encoder = MadeUp(documents)
    random = np.random.default_rng(7)
    asked = encoder.encode_queries([str(number) for number in random.choice(documents, queries)])
    config = CollectionConfig(fde=FDES[name], fde_quantization="turbo4")
    with EdgeClient(folder) as client:
        docs = ColbertCollection.create("docs", client=client, encoder=encoder, config=config)
        filling, _ = timed(lambda: docs.ingest(Document(number, str(number)) for number in range(documents)))
        building, _ = timed(docs.optimize)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(
            f"\n{documents:,} documents, {name} of {config.encoding.dim:,} dimensions: "
            f"filled in {filling / 1e3:.1f} s, graph built in {building / 1e3:.1f} s, {size / 2**20:,.0f} MiB on disk"
        )
        times, found = search(docs, asked)
    tokens = encoder.encode_documents([str(number) for number in range(documents)])
    times["MaxSim by numpy"] = [timed(lambda: maxsim(asked[:1], tokens))[0] for _ in range(3)]
    report(times, found)
    return {mode: (float(np.median(each)), float(np.quantile(each, 0.95))) for mode, each in times.items()}


def search(
    docs: ColbertCollection, queries: TokenEmbeddings
) -> tuple[dict[str, list[float]], dict[str, list[set[Any]]]]:
    """Times and results of each mode; the first query warms up, and exact searches take part in the first ones only."""
    times: dict[str, list[float]] = {mode: [] for mode in MODES}
    found: dict[str, list[set[Any]]] = {mode: [] for mode in MODES}
    for number in range(-1, len(queries)):
        query = queries[max(number, 0) : max(number, 0) + 1]
        for mode, arguments in MODES.items():
            if mode == "exact" and number >= EXACT_QUERIES:
                continue
            taken, hits = timed(lambda: docs.search(query, limit=10, **arguments))  # noqa: B023
            if number >= 0:
                times[mode].append(taken)
                found[mode].append({hit.id for hit in hits})
    return times, found


def report(times: dict[str, list[float]], found: dict[str, list[set[Any]]]) -> None:
    """Print a row for each mode."""
    exact = float(np.median(times["exact"]))
    for mode, each in times.items():
        p50, p95 = float(np.median(each)), float(np.quantile(each, 0.95))
        recall = "" if mode not in found else f"recall@10 {overlap(found[mode], found['exact']):.3f}"
        print(f"  {mode:<26} p50 {p50:8.2f} ms   p95 {p95:8.2f} ms   {exact / p50:6.1f} × as fast   {recall}")


def overlap(found: list[set[Any]], best: list[set[Any]]) -> float:
    """Share of the best that was found."""
    return float(np.mean([len(some & all) / len(all) for some, all in zip(found, best, strict=False)]))


def main() -> None:
    """Measure every size, and print how times grow."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--documents", type=int, nargs="+", default=[2_000, 20_000], help="sizes of collections")
    parser.add_argument("--queries", type=int, default=200, help="how many are searched for")
    parser.add_argument("--fde", choices=sorted(FDES), default="muvera", help="the encoding")
    arguments = parser.parse_args()
    print(machine())
    results = {}
    for documents in arguments.documents:
        with tempfile.TemporaryDirectory() as folder:
            results[documents] = measure(arguments.fde, documents, arguments.queries, Path(folder))
    first, last = min(results), max(results)
    if first != last:
        print(f"\nfrom {first:,} to {last:,} documents, {last / first:.0f} × as many, the median grows by")
        for mode in MODES:
            print(f"  {mode:<26} {results[last][mode][0] / results[first][mode][0]:5.1f} ×")


if __name__ == "__main__":
    main()
