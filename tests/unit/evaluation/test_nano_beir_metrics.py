"""The fifteen metrics of ``"nano-beir"`` are those of sentence-transformers' evaluators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import pytest
import torch

from colbert_qdrant import RetrievalDataset, Run, evaluate
from colbert_qdrant.evaluation.metrics.measures import check_metrics, measure_run

if TYPE_CHECKING:
    from collections.abc import Mapping

evaluation = pytest.importorskip("sentence_transformers.sentence_transformer.evaluation")

Hits = dict[str, dict[str, float]]

NAMES = {
    **{f"{name}@{k}": f"{name.lower()}@{k}" for name in ("Accuracy", "Precision", "Recall") for k in (1, 3, 5, 10)},
    "nDCG(rel=1)@10": "ndcg@10",
    "MRR@10": "mrr@10",
    "MAP@100": "map@100",
}


def collection(seed: int, *, documents: int = 400, queries: int = 12) -> tuple[Hits, dict[str, dict[str, int]]]:
    """Return random hits, and grades of which many are above 1; some queries have more than 100 relevant documents."""
    random = np.random.default_rng(seed)
    ids = [f"d{number:03}" for number in range(documents)]
    hits, qrels = {}, {}
    for number in range(queries):
        relevant = int(random.choice([1, 2, 8, 150, 250]))
        chosen = random.permutation(ids)[:relevant].tolist()
        grades = {document: int(random.integers(1, 4)) for document in chosen}
        scores = random.normal(0, 1, documents) + np.array([each in grades for each in ids]) * random.uniform(0, 2)
        best = np.argsort(-scores)[: int(random.integers(1, 101))]
        hits[f"q{number}"] = {ids[place]: float(scores[place]) for place in best}
        qrels[f"q{number}"] = grades
    return hits, qrels


def theirs(hits: Hits, qrels: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    evaluator = evaluation.InformationRetrievalEvaluator(
        queries=dict.fromkeys(qrels, "a text"),
        corpus={document: "a text" for scores in hits.values() for document in scores},
        relevant_docs={query: {each for each, grade in judged.items() if grade > 0} for query, judged in qrels.items()},
        map_at_k=[100],
    )
    found = evaluator.compute_metrics(
        [
            [{"corpus_id": document, "score": score} for document, score in hits.get(query, {}).items()]
            for query in evaluator.queries_ids
        ]
    )
    return {f"{name.removesuffix('@k')}@{k}": value for name, values in found.items() for k, value in values.items()}


@pytest.mark.parametrize("seed", range(8))
def test_values_are_those_of_sentence_transformers_on_graded_judgments(seed: int) -> None:
    hits, qrels = collection(seed)
    del hits["q3"]
    dataset = RetrievalDataset(name="random", queries=dict.fromkeys(qrels, "a text"), qrels=qrels)
    values = measure_run(Run(name="random", hits=hits), dataset, "nano-beir")
    expected = theirs(hits, qrels)
    assert tuple(values) == check_metrics("nano-beir") == tuple(NAMES)
    assert {name: np.mean([*of.values()]) for name, of in values.items()} == pytest.approx(
        {name: expected[other] for name, other in NAMES.items()}, abs=1e-9
    )
    assert any(sum(grade > 0 for grade in judged.values()) > 100 for judged in qrels.values())


class OneHot:
    """Stands in for a model: the embedding of a text is drawn by its hash, and the score is the inner product."""

    similarity_fn_name = "dot"

    def encode(self, texts: list[str], **_: Any) -> torch.Tensor:
        return torch.stack([self._of(text) for text in texts])

    encode_query = encode_document = encode

    def similarity(self, queries: torch.Tensor, documents: torch.Tensor) -> torch.Tensor:
        return queries @ documents.T

    def _of(self, text: str) -> torch.Tensor:
        return torch.randn(16, generator=torch.Generator().manual_seed(crc32(text.encode())))


def test_the_mean_is_that_of_their_nano_beir_evaluator(monkeypatch: pytest.MonkeyPatch) -> None:
    parts: dict[str, dict[str, list[dict[str, str]]]] = {}
    for seed, name in enumerate(["NanoSciFact", "NanoNQ"]):
        _, qrels = collection(seed, documents=160, queries=5 + 4 * seed)
        parts[name] = {
            "corpus": [{"_id": f"d{number:03}", "text": f"document {number} of {name}"} for number in range(160)],
            "queries": [{"_id": query, "text": f"query {query} of {name}"} for query in qrels],
            "qrels": [{"query-id": q, "corpus-id": document} for q, judged in qrels.items() for document in judged],
        }
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(
        datasets, "load_dataset", lambda _, subset, split, **__: datasets.Dataset.from_list(parts[split][subset])
    )
    model: Any = OneHot()
    evaluator = evaluation.NanoBEIREvaluator(dataset_names=["scifact", "nq"], write_csv=False)
    monkeypatch.setattr(evaluator, "store_metrics_in_model_card_data", lambda *_, **__: None)
    for each in evaluator.evaluators:
        monkeypatch.setattr(each, "store_metrics_in_model_card_data", lambda *_, **__: None)
    expected = evaluator(model)

    loaded, hits = [], {}
    for name, part in parts.items():
        qrels = {}
        for row in part["qrels"]:
            qrels.setdefault(f"{name} {row['query-id']}", {})[row["corpus-id"]] = 1
        queries = {f"{name} {row['_id']}": row["text"] for row in part["queries"]}
        loaded.append(RetrievalDataset(name=name, queries=queries, qrels=qrels))
        scores = model.encode(list(queries.values())) @ model.encode([row["text"] for row in part["corpus"]]).T
        for query, of_query in zip(queries, scores, strict=True):
            top = of_query.topk(100)
            hits[query] = {f"d{number:03}": score for score, number in zip(*map(torch.Tensor.tolist, top), strict=True)}
    measured = evaluate(Run(name="random", hits=hits), loaded, metrics="nano-beir")
    for ours, other in NAMES.items():
        assert measured.mean(ours, "random") == pytest.approx(expected[f"NanoBEIR_mean_dot_{other}"], abs=1e-6), ours
