"""The report against computations of its own, and on encodings whose numbers are known beforehand."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import pytest
from scipy.stats import spearmanr

from colbert_qdrant import (
    ConfigurationError,
    FdeReport,
    InvalidTokensError,
    MissingExtraError,
    MuveraConfig,
    MuveraEncoder,
    SearchQuality,
    TokenEmbeddings,
    fde_report,
    maxsim,
    plot_recall,
)
from colbert_qdrant.config import CollectionConfig, FdeQuantization, HnswConfig
from colbert_qdrant.evaluation.encodings.graph import encoding_graph
from colbert_qdrant.evaluation.encodings.ranking import ndcg_by_query, rank_by_score, recall, rerank
from tests.encoders import WordEncoder
from tests.unit.fde.test_muvera import clustered

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

DEPTHS = (5, 10, 40)


class OneToken:
    """Texts of one token, encoded as they are: the inner product is MaxSim."""

    dim = 24

    def encode_documents(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        return tokens.values

    encode_queries = encode_documents

    def fingerprint(self) -> Mapping[str, Any]:
        return {}


class Backwards(OneToken):
    """The same with the order of the documents turned round."""

    def encode_queries(self, tokens: TokenEmbeddings) -> NDArray[np.float32]:
        return -tokens.values


def one_token(texts: int, seed: int) -> TokenEmbeddings:
    return TokenEmbeddings(np.random.default_rng(seed).standard_normal((texts, OneToken.dim)), [1] * texts)


@pytest.fixture(scope="module")
def documents() -> TokenEmbeddings:
    return clustered(300, 1, 12, length=(8, 30))


@pytest.fixture(scope="module")
def queries() -> TokenEmbeddings:
    return clustered(12, 2, 3, length=(3, 8))


@pytest.fixture(scope="module")
def muvera() -> MuveraEncoder:
    return MuveraEncoder(MuveraConfig(k_sim=3, dim_proj=8, r_reps=4), token_dim=64)


def order(scores: NDArray[np.float32]) -> list[int]:
    return sorted(range(len(scores)), key=lambda number: (-scores[number], number))


def ndcg_by_hand(found: list[int], judged: Mapping[int, int]) -> float:
    gains = [judged.get(number, 0) for number in found[:10]]
    ideal = sorted(judged.values(), reverse=True)[:10]
    return discounted(gains) / discounted(ideal)


def discounted(gains: list[int]) -> float:
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))


def test_numbers_of_exact_search(muvera: MuveraEncoder, documents: TokenEmbeddings, queries: TokenEmbeddings) -> None:
    truth = maxsim(queries, documents)
    scores = muvera.encode_queries(queries) @ muvera.encode_documents(documents).T
    report = fde_report(muvera, documents, queries, depths=DEPTHS, graph=False)
    for depth in DEPTHS:
        shares = [
            len(set(order(exact)[:10]) & set(order(near)[:depth])) / 10
            for exact, near in zip(truth, scores, strict=True)
        ]
        assert report.exact.recall[depth] == pytest.approx(np.mean(shares))
    correlations = [spearmanr(exact, near).statistic for exact, near in zip(truth, scores, strict=True)]
    assert report.rank_correlation == pytest.approx(np.mean(correlations))
    assert (report.documents, report.queries, report.dim) == (300, 12, muvera.dim)
    assert (report.graph, report.nearest_found, report.graph_ms, report.maxsim_ndcg) == (None,) * 4


def test_ndcg_of_both_stages(muvera: MuveraEncoder, documents: TokenEmbeddings, queries: TokenEmbeddings) -> None:
    pytest.importorskip("ir_measures")
    truth = maxsim(queries, documents)
    scores = muvera.encode_queries(queries) @ muvera.encode_documents(documents).T
    grades: Any = np.array([3, 2, 1])  # whose items are integers of NumPy
    qrels = [{order(exact)[place]: grades[place] for place in range(3)} for exact in truth]
    report = fde_report(muvera, documents, queries, qrels=qrels, depths=DEPTHS, candidates=20, graph=False)
    alone = [ndcg_by_hand(order(near), judged) for near, judged in zip(scores, qrels, strict=True)]
    two_stages = [
        ndcg_by_hand(sorted(order(near)[:20], key=lambda number: -exact[number]), judged)
        for near, exact, judged in zip(scores, truth, qrels, strict=True)
    ]
    assert report.maxsim_ndcg == pytest.approx(1)
    assert report.exact.ndcg == pytest.approx(np.mean(alone))
    assert report.exact.two_stage_ndcg == pytest.approx(np.mean(two_stages))
    assert report.maxsim_ndcg_by_query == pytest.approx([1] * len(qrels))
    assert report.exact.ndcg_by_query == pytest.approx(alone)
    assert report.exact.two_stage_ndcg_by_query == pytest.approx(two_stages)
    assert 0 < np.mean(alone) < np.mean(two_stages)


def test_ndcg_is_graded_and_leaves_out_queries_without_judgments() -> None:
    pytest.importorskip("ir_measures")
    ranking = np.array([[3, 1, 2], [0, 1, -1], [5, 6, 7]])
    qrels: list[dict[int, int]] = [{1: 2, 2: 1}, {4: 1, 1: 1}, {}]
    by_hand = [ndcg_by_hand([3, 1, 2], qrels[0]), ndcg_by_hand([0, 1], qrels[1])]
    assert ndcg_by_query(ranking, qrels) == pytest.approx(by_hand)


def test_an_encoding_that_is_maxsim_finds_everything() -> None:
    report = fde_report(OneToken(), one_token(200, 0), one_token(20, 1), depths=(10, 50))
    assert report.exact.recall == {10: 1, 50: 1}
    assert report.rank_correlation == pytest.approx(1)
    assert report.graph is not None
    assert report.graph.recall[50] > 0.98
    assert report.nearest_found is not None
    assert report.nearest_found > 0.98


def test_an_encoding_that_is_the_opposite_finds_nothing() -> None:
    report = fde_report(Backwards(), one_token(200, 0), one_token(20, 1), depths=(10, 200))
    assert report.rank_correlation == pytest.approx(-1)
    assert report.exact.recall == {10: 0, 200: 1}
    assert report.graph is not None
    assert report.graph.recall[10] == 0


def test_the_graph_is_a_graph() -> None:
    """It misses a little where it has few links, which a scan in its place would not."""
    documents, queries = (
        np.random.default_rng(seed).standard_normal((n, 128)).astype(np.float32) for seed, n in ((0, 3_000), (1, 20))
    )
    config = CollectionConfig(hnsw=HnswConfig(m=8, full_scan_threshold=10), segments=1)
    with encoding_graph(config, dim=128) as graph:
        graph.build(documents)
        found = graph.search(queries, limit=100)
    share = recall(rank_by_score(queries @ documents.T, 100), found.ranking)
    assert 0.5 < share < 0.99
    assert found.milliseconds > 0


SIZES = {None: 512, "int8": 256, "turbo4": 128, "turbo2": 64, "binary": 32}


def test_every_quantization_has_a_size() -> None:
    assert set(SIZES) == {None, *get_args(FdeQuantization)}


@pytest.mark.parametrize(("quantization", "size"), SIZES.items())
def test_quantized_graphs(
    quantization: Any, size: int, muvera: MuveraEncoder, documents: TokenEmbeddings, queries: TokenEmbeddings
) -> None:
    report = fde_report(muvera, documents, queries, depths=(50,), quantization=quantization)
    assert report.bytes_per_document == size
    assert report.graph is not None
    assert report.graph.recall[50] > report.exact.recall[50] - 0.15


def test_more_asked_for_than_there_is() -> None:
    report = fde_report(OneToken(), one_token(6, 0), one_token(3, 1), depths=(4, 500))
    assert report.exact.recall == {4: pytest.approx(4 / 6), 500: 1}
    assert report.graph is not None
    assert report.graph.recall == report.exact.recall


def test_candidates_that_end_early_are_ranked_behind() -> None:
    scores = np.array([[1.0, 3.0, 2.0]], np.float32)
    np.testing.assert_array_equal(rerank(np.array([[2, 1, -1]]), scores), [[1, 2, -1]])


def test_texts_are_encoded() -> None:
    encoder = WordEncoder()
    fde = MuveraEncoder(MuveraConfig(k_sim=2, dim_proj=4, r_reps=2), token_dim=encoder.dim)
    texts = [f"word{number} other{number % 5}" for number in range(30)]
    report = fde_report(fde, texts, texts[:4], encoder=encoder, depths=DEPTHS, graph=False)
    tokens = encoder.encode_documents(texts), encoder.encode_queries(texts[:4])
    assert report.exact == fde_report(fde, *tokens, depths=DEPTHS, graph=False).exact


def test_scores_that_are_given_are_used(
    muvera: MuveraEncoder, documents: TokenEmbeddings, queries: TokenEmbeddings
) -> None:
    scores = muvera.encode_queries(queries) @ muvera.encode_documents(documents).T
    report = fde_report(muvera, documents, queries, depths=(10,), graph=False, maxsim_scores=scores)
    assert report.exact.recall[10] == 1
    assert report.rank_correlation == pytest.approx(1)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"depths": ()}, "depth"),
        ({"depths": (0, 10)}, "depth"),
        ({"candidates": 9}, "candidates=9"),
        ({"quantization": "int4"}, "int4"),
        ({"documents": ["a text"]}, "encoder="),
        ({"queries": TokenEmbeddings.from_matrices([], dim=OneToken.dim)}, "0 queries"),
        ({"maxsim_scores": np.zeros((2, 2), np.float32)}, r"\(3, 20\)"),
        ({"qrels": [{1: 1}]}, "1 qrels for 3 queries"),
        ({"qrels": [{}, {}, {}]}, "judged"),
        ({"qrels": [{20: 1}, {}, {}]}, "20"),
        ({"qrels": [{}, {0: 1.5}, {}]}, r"qrels\[1\]\[0\] must be an integer, got 1\.5"),
        ({"qrels": [{}, {0: "1"}, {}]}, r"qrels\[1\]\[0\] must be an integer, got '1'"),
        ({"qrels": [{}, {0: 10**9}, {}]}, r"qrels\[1\]\[0\] must be at most 10,000, got 1000000000: use smaller"),
    ],
)
def test_refusals(changed: dict[str, Any], message: str) -> None:
    if "qrels" in changed:
        pytest.importorskip("ir_measures")
    arguments: dict[str, Any] = {"documents": one_token(20, 0), "queries": one_token(3, 1), "graph": False} | changed
    with pytest.raises(ConfigurationError, match=message):
        fde_report(OneToken(), **arguments)


def test_token_vectors_of_other_dimensions(muvera: MuveraEncoder, documents: TokenEmbeddings) -> None:
    with pytest.raises(InvalidTokensError):
        fde_report(muvera, documents, one_token(3, 0), graph=False)
    with pytest.raises(InvalidTokensError):
        fde_report(muvera, one_token(20, 0), one_token(3, 0), graph=False)


@pytest.mark.parametrize(
    ("module", "extra", "arguments"),
    [("qdrant_edge", "edge", {}), ("ir_measures", "evaluate", {"graph": False, "qrels": [{0: 1}] * 3})],
)
def test_missing_extras(module: str, extra: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"colbert-qdrant\[{extra}\]"):
        fde_report(OneToken(), one_token(20, 0), one_token(3, 1), **arguments)


def report_of(graph: SearchQuality | None = None) -> FdeReport:
    return FdeReport(
        encoder="OneToken",
        documents=1_000,
        queries=10,
        dim=512,
        quantization=None,
        candidates=100,
        rank_correlation=0.87654,
        maxsim_ndcg=0.5,
        exact=SearchQuality(recall={10: 0.8125, 100: 0.99}, ndcg=0.45, two_stage_ndcg=0.5),
        graph=graph,
        nearest_found=0.97 if graph else None,
        document_ms=1.25,
        query_ms=0.5,
        graph_ms=2.0 if graph else None,
    )


GRAPH = SearchQuality(recall={10: 0.75, 100: 0.98}, ndcg=0.4, two_stage_ndcg=0.49)


def test_table() -> None:
    lines = {line[:26].strip(): line[26:].split("  ") for line in str(report_of(GRAPH)).splitlines()}
    cells = {label: [cell.strip() for cell in row if cell.strip()] for label, row in lines.items()}
    assert cells["OneToken"] == ["512 dimensions, 1,024 bytes per document"]
    assert cells["rank correlation"] == ["0.877"]
    assert cells["recall@100"] == ["0.990", "0.980"]
    assert cells["nearest 100 found"] == ["0.970"]
    assert cells["encodings alone"] == ["0.4500 (0.900 ×)", "0.4000 (0.800 ×)"]
    assert cells["two stages, 100"] == ["0.5000 (1.000 ×)", "0.4900 (0.980 ×)"]
    assert "graph" not in str(report_of())


def test_plot(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    figure = plot_recall({"both": report_of(GRAPH), "exact only": report_of()}, tmp_path / "recall.png")
    lines = {str(line.get_label()): line for line in figure.axes[0].lines}
    assert list(lines) == ["both, exact", "both, graph", "exact only, exact"]
    assert np.asarray(lines["both, graph"].get_ydata()).tolist() == [0.75, 0.98]
    assert lines["both, exact"].get_linestyle() == "-"
    assert lines["both, graph"].get_linestyle() == "--"
    assert (tmp_path / "recall.png").read_bytes().startswith(b"\x89PNG")


def test_plot_of_nothing_and_without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError):
        plot_recall({})
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"colbert-qdrant\[plot\]"):
        plot_recall({"one": report_of()})
