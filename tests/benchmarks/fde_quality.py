"""Ranking quality of the encodings, by exact search over them and through the HNSW graph.

    python tests/benchmarks/fde_quality.py --data path/to/scifact corpora/* [--cache FOLDER] [--documents 1000]
    python tests/benchmarks/fde_quality.py --data path/to/scifact corpora/* --only MUVERA "MUVERA, filled" "LEMUR 512"
    python tests/benchmarks/fde_quality.py --data path/to/scifact path/to/cranfield --mixed
    python tests/benchmarks/fde_quality.py --data path/to/scifact --peer txtai=path/to/its/python
    python tests/benchmarks/fde_quality.py --data path/to/cranfield --learn-queries 0 20 100

Collections in BEIR's layout are encoded by MiniLM (or --model); token vectors are reduced to 128 dimensions, as ColBERT
has them, by the principal directions of the documents' tokens, and normalised again. LEMUR is fitted to documents and
to queries made up from them, never to the test queries. With --learn-queries it also learns from some of the
collection's queries, and only the other queries are measured. With --mixed all collections are one: one
reduction, one fit, everybody's queries; there the graph is measured with every quantization. With --common all tokens
get a direction in common, as those of some models have, for MUVERA with and without what can be fitted.

Printed for each encoding: nDCG@10 alone and of two stages, as parts of exact MaxSim's; recall of MaxSim's top 10 among
the first N encodings; each by exact search and through the graph ("→"). Intervals are of the parts through the graph:
95 %, by resampling queries. The last table has means over collections. A peer is another implementation in an
environment of its own; `txtai_lemur.py` says how to make it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from colbert_qdrant import (
    ColbertEncoder,
    FdeReport,
    FixedDimensionalEncoder,
    LemurConfig,
    LemurEncoder,
    MuveraConfig,
    MuveraEncoder,
    RetrievalDataset,
    TokenEmbeddings,
    fde_report,
    maxsim,
)
from colbert_qdrant.collection.learn_queries import filled_up
from colbert_qdrant.config import FdeQuantization
from colbert_qdrant.fde.spans import made_up_queries
from tests.benchmarks.common import machine, minilm
from tests.benchmarks.shares import share
from tests.benchmarks.txtai_lemur import TxtaiLemur

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

TOKEN_DIM: Final = 128
DEPTHS: Final = (50, 100, 200)
BATCH: Final = 256


@dataclass(frozen=True, kw_only=True)
class Collection:
    """Texts and token embeddings of a collection; qrels name documents by their numbers."""

    name: str
    texts: Sequence[str]
    documents: TokenEmbeddings
    queries: TokenEmbeddings
    qrels: Sequence[Mapping[int, int]]
    encoder: ReducedEncoder

    def spans(self, texts: Sequence[str]) -> TokenEmbeddings:
        """What LEMUR is fitted to besides documents."""
        return self.encoder.encode_queries(made_up_queries(texts, seed=LemurConfig().seed))


@dataclass(frozen=True, kw_only=True)
class ReducedEncoder:
    """An encoder with fewer token dimensions."""

    encoder: ColbertEncoder
    directions: NDArray[np.float32]

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        parts = [self.encoder.encode_documents(texts[at : at + BATCH]) for at in range(0, len(texts), BATCH)]
        return TokenEmbeddings.concatenate([self._reduced(part) for part in parts])

    def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
        return self._reduced(self.encoder.encode_queries(texts))

    def _reduced(self, tokens: TokenEmbeddings) -> TokenEmbeddings:
        values = tokens.values @ self.directions
        return TokenEmbeddings(values / np.linalg.norm(values, axis=1, keepdims=True), tokens.lengths)


MUVERA_FITTED: Final = {
    "MUVERA, centred": MuveraConfig(center=True),
    "MUVERA, k-means": MuveraConfig(partition="kmeans"),
    "MUVERA, k-means, centred": MuveraConfig(partition="kmeans", center=True),
    "MUVERA 2560": MuveraConfig.preset("small"),
    "MUVERA 2560, k-means, centred": MuveraConfig(r_reps=5, partition="kmeans", center=True),
}
"""Fitted, and what to compare the short one with."""

OWN_TOKENS: Final[dict[str, dict[str, Any]]] = {
    "spaced own tokens": {"refinement": "spaced"},
    "256 own tokens": {"own_tokens": 256},
    "no own tokens": {"own_weight": 0},
}
"""Other choices of a document's own tokens; they share the fit."""


def main() -> None:
    """Measure and print."""
    options = _options()
    datasets = [_limited(RetrievalDataset.load(folder), options.documents) for folder in options.data]
    if options.mixed:
        datasets = [_joined(datasets)]
    print(f"{machine()}; MaxSim over tokens of {TOKEN_DIM} dimensions; exact → graph")
    rows: dict[str, list[FdeReport]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        encoder = ColbertEncoder.from_pretrained(options.model or minilm(), cache=options.cache or temporary)
        for dataset in datasets:
            collection = _crowded(_encoded(dataset, encoder), options.common)
            print(f"\n{collection.name}: {len(collection.documents):,} documents, {len(collection.queries)} queries")
            print(_line("", HEADER))
            for name, report in _measured(collection, options):
                print(_line(name, _cells([report])), flush=True)
                rows.setdefault(name, []).append(report)
    if len(datasets) > 1:
        print("\nmean over collections")
        print(_line("", HEADER))
        for name, reports in rows.items():
            print(_line(name, _cells(reports)))


def _measured(collection: Collection, options: argparse.Namespace) -> Iterator[tuple[str, FdeReport]]:
    if options.common:
        return _centred(collection)
    if options.learn_queries:
        return _learned(collection, options.learn_queries)
    return _quantized(collection) if options.mixed else _compared(collection, options)


def _compared(collection: Collection, options: argparse.Namespace) -> Iterator[tuple[str, FdeReport]]:
    """Every encoding, through a graph that is not quantized."""
    scores = maxsim(collection.queries, collection.documents)
    for name, fde in _encodings(collection, options):
        yield name, _report(collection, fde, scores)


def _centred(collection: Collection) -> Iterator[tuple[str, FdeReport]]:
    """MUVERA as it is, and fitted."""
    scores = maxsim(collection.queries, collection.documents)
    for name, config in {"MUVERA": MuveraConfig(), **MUVERA_FITTED}.items():
        yield name, _report(collection, MuveraEncoder.fit(collection.documents, config=config), scores)


def _learned(collection: Collection, counts: Sequence[int]) -> Iterator[tuple[str, FdeReport]]:
    """Untrained LEMUR after fits to some real queries, measured with the queries that no fit learns from."""
    order = np.random.default_rng(0).permutation(len(collection.queries)).tolist()
    learn, rest = order[: max(counts)], order[max(counts) :]
    qrels = [collection.qrels[number] for number in rest]
    measured = replace(collection, queries=_chosen(collection.queries, rest), qrels=qrels)
    scores = maxsim(measured.queries, measured.documents)
    made_up, config = collection.spans(collection.texts), LemurConfig(dim=1_024, epochs=0)
    for count in counts:
        real = _chosen(collection.queries, learn[:count])
        queries = filled_up(real, made_up, config.learn_tokens // 2) if count else made_up
        fitted = LemurEncoder.fit(collection.documents, query_tokens=queries, config=config)
        yield f"LEMUR 1024, {count} queries", _report(measured, fitted, scores)


def _chosen(tokens: TokenEmbeddings, numbers: Sequence[int]) -> TokenEmbeddings:
    return TokenEmbeddings.from_matrices([tokens[number] for number in numbers], dim=tokens.dim)


def _crowded(collection: Collection, strength: float) -> Collection:
    """With a direction that all tokens share, as those of some models do."""
    direction = strength * np.eye(TOKEN_DIM, dtype=np.float32)[0]

    def crowded(tokens: TokenEmbeddings) -> TokenEmbeddings:
        values = tokens.values + direction
        return TokenEmbeddings(values / np.linalg.norm(values, axis=1, keepdims=True), tokens.lengths)

    documents, queries = crowded(collection.documents), crowded(collection.queries)
    return replace(collection, documents=documents, queries=queries) if strength else collection


def _quantized(collection: Collection) -> Iterator[tuple[str, FdeReport]]:
    """The defaults with every quantization, and the other presets."""
    scores = maxsim(collection.queries, collection.documents)
    encodings: dict[str, FixedDimensionalEncoder] = {
        "LEMUR 512": _fitted(collection, LemurConfig(dim=512)),
        "MUVERA": MuveraEncoder(token_dim=TOKEN_DIM),
    }
    kinds: tuple[FdeQuantization | None, ...] = (None, *get_args(FdeQuantization))
    for name, fde in encodings.items():
        for kind in kinds:
            yield f"{name}, {kind or 'float16'}", _report(collection, fde, scores, kind)
    accurate = _fitted(collection, LemurConfig.preset("accurate"))
    others: dict[str, FixedDimensionalEncoder] = {
        "LEMUR 1024": accurate,
        "LEMUR 256": accurate.cut(256),
        "MUVERA 5120": MuveraEncoder(MuveraConfig.preset("balanced"), token_dim=TOKEN_DIM),
        "MUVERA 2560": MuveraEncoder(MuveraConfig.preset("small"), token_dim=TOKEN_DIM),
    }
    for name, fde in others.items():
        yield f"{name}, turbo4", _report(collection, fde, scores, "turbo4")


def _encodings(collection: Collection, options: argparse.Namespace) -> Iterator[tuple[str, FixedDimensionalEncoder]]:
    config = LemurConfig(dim=1_024)

    @cache
    def lemur() -> LemurEncoder:
        return _fitted(collection, config)

    def refined(settings: dict[str, Any]) -> LemurEncoder:
        return LemurEncoder(replace(config, **settings), lemur().parameters).cut(512)

    @cache
    def half() -> LemurEncoder:
        return _fitted(_half(collection), config)

    rows: dict[str, Callable[[], FixedDimensionalEncoder]] = {
        "MUVERA": lambda: MuveraEncoder(token_dim=TOKEN_DIM),
        "MUVERA, filled": lambda: MuveraEncoder(MuveraConfig(fill_empty=True), token_dim=TOKEN_DIM),
        **{
            name: partial(MuveraEncoder.fit, collection.documents, config=fitted)
            for name, fitted in MUVERA_FITTED.items()
        },
        "LEMUR 1024": lemur,
        "LEMUR 512": lambda: lemur().cut(512),
        **{f"LEMUR 512, {name}": partial(refined, settings) for name, settings in OWN_TOKENS.items()},
        "LEMUR 1024, untrained": lambda: _fitted(collection, replace(config, epochs=0)),
        "LEMUR 1024, half fit": half,
        "LEMUR 512, half fit": lambda: half().cut(512),
    }
    if unknown := sorted({*options.only} - {*rows}):
        raise SystemExit(f"there is no row {unknown[0]!r}: --only takes {', '.join(map(repr, rows))}")
    for name in options.only or rows:
        yield name, rows[name]()
    if options.peer:
        spans = collection.spans(collection.texts)
        with TxtaiLemur(options.peer, collection.documents, spans, epochs=options.peer_epochs) as peer:
            yield "txtai LEMUR", peer


def _fitted(collection: Collection, config: LemurConfig) -> LemurEncoder:
    started = time.perf_counter()
    spans = collection.spans(collection.texts)
    fitted = LemurEncoder.fit(collection.documents, query_tokens=spans, config=config)
    count = min(len(collection.documents), config.fit_documents)
    print(f"  fitted to {count:,} documents in {time.perf_counter() - started:.0f} s", flush=True)
    return fitted


def _half(collection: Collection) -> Collection:
    chosen = np.random.default_rng(0).permutation(len(collection.documents))[: len(collection.documents) // 2]
    documents = TokenEmbeddings.from_matrices([collection.documents[number] for number in chosen.tolist()])
    return replace(collection, texts=[collection.texts[number] for number in chosen], documents=documents)


def _report(
    collection: Collection,
    fde: FixedDimensionalEncoder,
    scores: NDArray[np.float32],
    quantization: FdeQuantization | None = None,
) -> FdeReport:
    return fde_report(
        fde,
        collection.documents,
        collection.queries,
        qrels=collection.qrels,
        depths=DEPTHS,
        quantization=quantization,
        maxsim_scores=scores,
        progress=True,
    )


def _limited(dataset: RetrievalDataset, most: int | None) -> RetrievalDataset:
    """Judged documents, and others until there are enough."""
    if most is None:
        return dataset
    judged = {document for each in dataset.qrels.values() for document in each}
    ordered = sorted(dataset.documents or (), key=lambda document: document.id not in judged)
    return replace(dataset, documents=ordered[:most])


def _joined(datasets: Sequence[RetrievalDataset]) -> RetrievalDataset:
    """One collection; ids are told apart by the name in front."""
    return RetrievalDataset(
        name=" + ".join(each.name for each in datasets),
        documents=[replace(doc, id=f"{each.name}/{doc.id}") for each in datasets for doc in each.documents or ()],
        queries={f"{each.name}/{key}": text for each in datasets for key, text in each.queries.items()},
        qrels={
            f"{each.name}/{key}": {f"{each.name}/{document}": grade for document, grade in judged.items()}
            for each in datasets
            for key, judged in each.qrels.items()
        },
    )


def _encoded(dataset: RetrievalDataset, encoder: ColbertEncoder) -> Collection:
    texts = [document.text for document in dataset.documents or ()]
    reduced = ReducedEncoder(encoder=encoder, directions=_principal_directions(encoder, texts))
    numbers = {document.id: number for number, document in enumerate(dataset.documents or ())}
    return Collection(
        name=dataset.name,
        texts=texts,
        documents=reduced.encode_documents(texts),
        queries=reduced.encode_queries(list(dataset.queries.values())),
        qrels=[
            {numbers[document]: grade for document, grade in dataset.qrels[query].items() if document in numbers}
            for query in dataset.queries
        ],
        encoder=reduced,
    )


def _principal_directions(encoder: ColbertEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Eigenvectors of the covariance of all documents' tokens. Tokens are not centred: MaxSim is to stay what it is."""
    count, total, products = 0, np.zeros(encoder.dim), np.zeros((encoder.dim, encoder.dim))
    for start in range(0, len(texts), BATCH):
        values = encoder.encode_documents(texts[start : start + BATCH]).values
        count, total, products = count + len(values), total + values.sum(axis=0), products + values.T @ values
    mean = total / count
    _, vectors = np.linalg.eigh(products / count - np.outer(mean, mean))
    return vectors[:, ::-1][:, :TOKEN_DIM].astype(np.float32)


HEADER: Final = (
    *("bytes", "alone / MaxSim", "two-stage / MaxSim", *(f"recall@{depth}" for depth in DEPTHS)),
    *("nearest", "rank corr.", "ms/document", "ms/query", "ms/search"),
)


def _cells(reports: Sequence[FdeReport]) -> tuple[str, ...]:
    """A row's cells, as means over reports."""

    def mean(values: Iterator[float | None], digits: int) -> str:
        return f"{np.mean([value for value in values if value is not None]):.{digits}f}"

    def both(name: str, key: int | None = None) -> str:
        shares = [mean((_share(report, side, name, key) for report in reports), 3) for side in ("exact", "graph")]
        return " → ".join(shares)

    return (
        f"{reports[0].bytes_per_document:,}",
        f"{both('ndcg')} {_interval(reports, 'ndcg')}",
        f"{both('two_stage_ndcg')} {_interval(reports, 'two_stage_ndcg')}",
        *(both("recall", depth) for depth in DEPTHS),
        mean((report.nearest_found for report in reports), 3),
        mean((report.rank_correlation for report in reports), 3),
        mean((report.document_ms for report in reports), 2),
        mean((report.query_ms for report in reports), 2),
        mean((report.graph_ms for report in reports), 2),
    )


def _interval(reports: Sequence[FdeReport], name: str) -> str:
    """The interval of a share of MaxSim through the graph."""
    pairs = [(getattr(report.graph, f"{name}_by_query"), report.maxsim_ndcg_by_query) for report in reports]
    _, low, high = share(pairs)
    return f"[{low:.3f}, {high:.3f}]"


def _share(report: FdeReport, side: str, name: str, key: int | None) -> float:
    value = getattr(getattr(report, side), name)
    return float(value[key] if key is not None else value / report.maxsim_ndcg)


def _line(name: str, cells: Sequence[str]) -> str:
    widths = [31 if "MaxSim" in title else max(len(title), 13) for title in HEADER]
    return f"{name:30}" + "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders in BEIR's layout")
    parser.add_argument("--model", help="an encoder model instead of MiniLM")
    parser.add_argument("--cache", type=Path, help="keep token embeddings here for the next run")
    parser.add_argument("--documents", type=int, help="at most so many documents of each collection, judged ones first")
    parser.add_argument("--only", nargs="+", default=(), metavar="ROW", help="these encodings instead of all")
    parser.add_argument("--mixed", action="store_true", help="all collections in one: presets, and every quantization")
    parser.add_argument(
        "--common", type=float, default=0, help="MUVERA on tokens with a common direction of this length"
    )
    parser.add_argument(
        "--learn-queries", type=int, nargs="+", metavar="N", help="untrained LEMUR after fits to N real queries"
    )
    parser.add_argument("--peer", type=_peer, metavar="txtai=PYTHON", help="txtai's LEMUR, and its interpreter")
    parser.add_argument("--peer-epochs", type=int, default=0, help="its training; 100 are its own advice, and hours")
    return parser.parse_args()


def _peer(text: str) -> str:
    name, _, python = text.partition("=")
    if name != "txtai" or not python:
        raise argparse.ArgumentTypeError(f"{text!r}: write txtai=path/to/python")
    return python


if __name__ == "__main__":
    main()
