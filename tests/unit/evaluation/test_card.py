"""A model measured as in a model card, on local copies in the Hub's layout, against a few lines of numpy."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from colbert_qdrant import (
    CardReport,
    ColbertEncoder,
    CollectionConfig,
    ConfigurationError,
    Document,
    MuveraConfig,
    MuveraEncoder,
    RetrievalDataset,
    TokenEmbeddings,
    evaluate,
)
from colbert_qdrant.evaluation.cards.published import BEIR as PUBLISHED
from colbert_qdrant.evaluation.cards.published import NANO as PUBLISHED_NANO
from colbert_qdrant.evaluation.cards.published import NANO_METRICS
from tests.encoders import WordEncoder
from tests.unit.evaluation.card_world import BEIR, MODEL, NANO, SmallCollection, fill_hub

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

datasets = pytest.importorskip("datasets")

MODES = ("exact", "two-stage", "fde")
MUVERA = MuveraConfig(k_sim=5, dim_proj=16, r_reps=20)
SMALL = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
PICO = 2
"""The row of the model in the card's tables."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_hub(tmp_path_factory.mktemp("hub"))


@pytest.fixture(scope="module")
def report(root: Path, tmp_path_factory: pytest.TempPathFactory) -> CardReport:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path_factory.mktemp("datasets")))
        return evaluate.card(
            MODEL, [*BEIR, *NANO], root=root, folder=tmp_path_factory.mktemp("runs"), candidates=20, progress=False
        )


@pytest.fixture(scope="module")
def encoder(root: Path) -> ColbertEncoder:
    return ColbertEncoder.from_pretrained(root / MODEL)


def stored(tokens: TokenEmbeddings) -> TokenEmbeddings:
    """As the collection keeps and compares them."""
    return TokenEmbeddings(tokens.values.astype(np.float16).astype(np.float32), tokens.lengths)


def rankings(encoder: ColbertEncoder, collection: SmallCollection, mode: str, *, joined: bool) -> dict[str, list[str]]:
    """The ids of all documents for each query, best first."""
    ids = np.array([*collection.corpus])
    texts = [f"{title}. {text}" if title and joined else text for title, text in collection.corpus.values()]
    queries = encoder.encode_queries([*collection.queries.values()])
    documents = encoder.encode_documents(texts)
    fde = MuveraEncoder(MUVERA, token_dim=encoder.dim)
    of_documents, of_queries = (
        encoded.astype(np.float16).astype(np.float64)
        for encoded in (fde.encode_documents(documents), fde.encode_queries(queries))
    )
    found = {}
    for number, query in enumerate(collection.queries):
        alone = of_documents @ of_queries[number]
        exact = np.array([float((stored(queries)[number] @ each.T).max(axis=1).sum()) for each in stored(documents)])
        if mode == "two-stage":
            nearest = np.argsort(-alone, kind="stable")
            left = nearest[20 + 1 :] if joined else nearest[20:]  # one more, for the document of the query
            exact[left] = -np.inf
        order = np.argsort(-(alone if mode == "fde" else exact), kind="stable")
        found[query] = [id for id in ids[order].tolist() if not (joined and id == query)]
    return found


def ndcg(ranking: Sequence[str], relevant: dict[str, int]) -> float:
    gain = sum(1 / math.log2(rank + 2) for rank, id in enumerate(ranking[:10]) if id in relevant)
    return gain / sum(1 / math.log2(rank + 2) for rank in range(min(10, len(relevant))))


def nano_metric(name: str, ranking: Sequence[str], relevant: dict[str, int]) -> float:
    kind, _, at = name.partition("@")
    cutoff = int(at)
    hits = [id in relevant for id in ranking[:cutoff]]
    precisions = [sum(hits[: rank + 1]) / (rank + 1) for rank, hit in enumerate(hits) if hit]
    return {
        "accuracy": float(any(hits)),
        "precision": sum(hits) / cutoff,
        "recall": sum(hits) / len(relevant),
        "ndcg": ndcg(ranking, relevant),
        "mrr": max((1 / (rank + 1) for rank, hit in enumerate(hits) if hit), default=0.0),
        "map": sum(precisions) / min(cutoff, len(relevant)),
    }[kind]


@pytest.mark.parametrize("mode", MODES)
def test_figures_of_beir_are_measured_as_the_script_measures(
    report: CardReport, encoder: ColbertEncoder, mode: Any
) -> None:
    means = []
    for number, (name, collection) in enumerate(BEIR.items()):
        found = rankings(encoder, collection, mode, joined=True)
        means.append(np.mean([ndcg(found[query], collection.qrels[query]) for query in collection.queries]))
        figure = report.figure(name, mode=mode)
        assert figure.measured == pytest.approx(means[-1], abs=1e-6)
        assert figure.published == PUBLISHED[mode]["ColBERT MUVERA Pico"][(0, 2)[number]]
        assert figure.difference == pytest.approx(means[-1] - figure.published, abs=1e-6)
        low, high = figure.interval or (0.0, 0.0)
        assert low < figure.measured < high
        assert figure.within == (low <= figure.published <= high)
    average = report.figure("average", mode=mode)
    nfcorpus, _, scifact, _ = PUBLISHED[mode]["ColBERT MUVERA Pico"]
    assert average.measured == pytest.approx(np.mean(means), abs=1e-6)
    assert average.published == pytest.approx((nfcorpus + scifact) / 2)


def test_figures_of_nanobeir_are_measured_as_pylate_measures(report: CardReport, encoder: ColbertEncoder) -> None:
    found = {name: rankings(encoder, each, "exact", joined=False) for name, each in NANO.items()}
    assert found["NanoNQ"]["q0"][0] == "q0"  # the document of the query is a hit
    for position, metric in enumerate(NANO_METRICS):
        means = []
        for name, collection in NANO.items():
            values = [nano_metric(metric, found[name][query], collection.qrels[query]) for query in collection.queries]
            means.append(float(np.mean(values)))
            figure = report.figure(name, metric=metric)
            assert figure.measured == pytest.approx(means[-1], abs=1e-6)
            assert figure.published == PUBLISHED_NANO[name][position]
        published = [PUBLISHED_NANO[name][position] for name in NANO]
        (average,) = [
            each
            for each in report.figures
            if (each.table, each.dataset, each.metric) == ("NanoBEIR", "average", metric)
        ]
        assert average.measured == pytest.approx(np.mean(means), abs=1e-6)
        assert average.published == pytest.approx(np.mean(published))


def test_the_measured_row_is_below_the_published_one(report: CardReport) -> None:
    lines = str(report).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("MUVERA encoding only: nDCG@10"))
    assert lines[start + 1].split() == ["model", "parameters", "nfcorpus", "scifact", "average"]
    rows = lines[start + 2 : start + 11]
    assert rows[0].split() == ["ColBERT", "v2", "110M", "0.2356", "0.5002", "0.3679"]
    assert rows[PICO].split() == ["ColBERT", "MUVERA", "Pico", "0.4M", "0.1926", "0.4424", "0.3175"]
    measured = [report.figure(name, mode="fde").measured for name in (*BEIR, "average")]
    assert re.findall(r"\d\.\d{4}", rows[PICO + 1]) == [f"{value:.4f}" for value in measured]
    differences = [value - published for value, published in zip(measured, (0.1926, 0.4424, 0.3175), strict=True)]
    assert rows[PICO + 2].split() == ["difference", *(f"{value:+.4f}" for value in differences)]
    assert rows[PICO + 3].startswith("  95 % interval")
    within = [report.figure(name, mode="fde").within for name in (*BEIR, "average")]
    assert re.findall(r"yes|no", rows[PICO + 4]) == ["yes" if each else "no" for each in within]
    assert rows[-2].startswith("ColBERT MUVERA Nano")
    assert "Published: model card of NeuML/colbert-muvera-pico" in str(report)
    assert "MaxSim ranks 20 candidates, instead of the card's 100. The encoding is muvera (k_sim=5, " in str(report)
    assert "with other parameters" not in str(report)
    assert "Queries have at most 16 tokens and are filled up with mask tokens, documents at most 24." in lines


def test_a_single_query_has_no_interval(root: Path, tmp_path: Path) -> None:
    dataset = RetrievalDataset(
        name="scifact", queries={"q": "tree"}, qrels={"q": {"a": 1}}, documents=[Document("a", "tree")]
    )
    found = evaluate.card(MODEL, dataset, encoder=WordEncoder(), root=root, folder=tmp_path, progress=False)
    figure = found.figure("scifact")
    assert (figure.measured, figure.interval, figure.within) == (1.0, None, None)
    assert "published is within" not in str(found)


def test_a_report_is_markdown_and_json(report: CardReport) -> None:
    markdown = report.to_markdown()
    assert "| ColBERT MUVERA Micro | 4M | 0.3235 | 0.6676 | 0.4955 |" in markdown
    assert "Mean of 2 data sets of NanoBEIR" in markdown
    data = json.loads(json.dumps(report.to_dict()))
    assert (data["model"], data["label"], data["source"][:10]) == (MODEL, "ColBERT MUVERA Pico", "model card")
    assert len(data["figures"]) == 3 * 3 + 3 * 15
    assert all(f"- {each}\n" in markdown for each in data["conditions"])
    assert report._repr_markdown_() == markdown  # as notebooks show it
    first = data["figures"][0]
    assert (first["dataset"], first["published"]) == ("nfcorpus", 0.3005)
    assert first["difference"] == pytest.approx(first["measured"] - 0.3005)


def test_a_model_without_figures_is_measured_among_the_others(root: Path, tmp_path: Path) -> None:
    found = evaluate.card(
        "me/mine", "scifact", encoder=WordEncoder(), root=root, config=SMALL, folder=tmp_path, progress=False
    )
    assert found.label is None
    assert {each.published for each in found.figures} == {None}
    table = str(found).split("\n\n")[0].splitlines()
    assert [line.split("  ")[0] for line in table[2:8]] == [
        *("ColBERT v2", "ColBERT MUVERA Femto", "ColBERT MUVERA Pico", "ColBERT MUVERA Nano", "ColBERT MUVERA Micro"),
        "mine",
    ]
    assert "difference" not in "".join(table)
    assert "MaxSim ranks 100 candidates. The encoding is muvera (k_sim=2, dim_proj=4, r_reps=2" in str(found)
    assert "fill_empty=False), with other parameters than txtai's." in str(found)
    with pytest.raises(ConfigurationError, match="no figure 'nDCG@10' of 'bm25' on 'scifact': use one of nDCG@10 of"):
        found.figure("scifact", mode="bm25")


def test_tables_have_only_rows_and_columns_with_figures(root: Path, tmp_path: Path) -> None:
    own = RetrievalDataset(
        name="legal", queries={"q": "tree"}, qrels={"q": {"a": 1}}, documents=[Document("a", "tree")]
    )
    how: dict[str, Any] = {"encoder": WordEncoder(), "root": root, "folder": tmp_path, "progress": False}
    tables = str(evaluate.card("me/mine", [own, "NanoNQ"], config=SMALL, **how)).split("\n\n")
    assert [line.split()[0] for line in tables[0].splitlines()[1:]] == ["model", "mine", "95"]
    assert "–" not in "".join(tables)
    assert "Published" not in "".join(tables)
    assert tables[3].splitlines()[1].split() == ["metric", "measured", "95", "%", "interval"]


def test_a_model_that_was_trained_again_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLBERT_QDRANT_CACHE", str(tmp_path))
    own = RetrievalDataset(
        name="legal", queries={"q": "tree"}, qrels={"q": {"a": 1}}, documents=[Document("a", "tree")]
    )
    for weights in (0, 1):
        encoder = WordEncoder(dim=8 + weights)
        assert evaluate.card("output/final", own, encoder=encoder, progress=False).figure("legal").measured == 1.0
        assert encoder.calls > 0


def test_names_of_local_copies_are_found_in_any_case(root: Path, tmp_path: Path) -> None:
    for name in ("neuml/colbert-muvera-pico", "NeuML/ColBERT-MUVERA-Pico"):
        found = evaluate.card(name, "SciFact", root=root, config=SMALL, folder=tmp_path / "runs", progress=False)
        assert found.label == "ColBERT MUVERA Pico"
        assert found.figure("scifact").published == 0.6452
    own = RetrievalDataset(
        name="SciFact", queries={"q": "tree"}, qrels={"q": {"a": 1}}, documents=[Document("a", "tree")]
    )
    how: dict[str, Any] = {"config": SMALL, "folder": tmp_path / "own", "progress": False}
    found = evaluate.card(MODEL, own, encoder=WordEncoder(), **how)
    assert found.figure("scifact").published == 0.6452


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": " "}, "model is empty: pass the name or the folder"),
        ({"model": 3}, "model must be the name or the folder of a model"),
        ({"datasets": 3}, "must be a RetrievalDataset, a path, a name"),
        ({"candidates": 9}, "candidates must be at least 10"),
        ({"encoder": MODEL}, "encoder is the name .*, not an encoder"),
        ({"config": 3}, "config must be a CollectionConfig"),
        ({"root": 3}, "root must be the path of a folder"),
    ],
)
def test_wrong_arguments_are_refused_before_a_model_is_loaded(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        evaluate.card(**{"model": "nobody/nothing", "datasets": "scifact", "progress": False, **arguments})
