"""The values of metrics are those of trec_eval and of sentence-transformers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colbert_qdrant.errors import ConfigurationError, DatasetError
from colbert_qdrant.evaluation import RetrievalDataset, Run, evaluate
from colbert_qdrant.evaluation.metrics.measures import check_metrics, depth_of, measure_run

if TYPE_CHECKING:
    from pathlib import Path

pytrec_eval = pytest.importorskip("pytrec_eval")

Runs = Mapping[str, Mapping[str, float]]
Qrels = Mapping[str, Mapping[str, int]]

OF_TREC_EVAL = {
    "nDCG@1": "ndcg_cut_1",
    "nDCG@10": "ndcg_cut_10",
    "nDCG": "ndcg",
    "R@1": "recall_1",
    "R@100": "recall_100",
    "P@5": "P_5",
    "RR": "recip_rank",
    "AP": "map",
    "AP@3": "map_cut_3",
    "AP@100": "map_cut_100",
    "Success@1": "success_1",
    "Success@5": "success_5",
    "Rprec": "Rprec",
    "Bpref": "bpref",
}

DOCUMENTS = [f"d{number}" for number in range(12)] + ["é", "z", "𝒳", "d 1"]
SCORES = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 1.0 + 1e-9, -2.5, 1e300, 1e200, -1e300, 16777217.0, 16777216.0]),
    st.floats(-1e3, 1e3),
)
HITS = st.dictionaries(st.sampled_from(DOCUMENTS), SCORES, max_size=16)
JUDGED = st.dictionaries(st.sampled_from(DOCUMENTS), st.sampled_from([-1, 0, 1, 1, 2, 3]), max_size=10)
QUERIES = st.sampled_from(["1", "2", "10", "q x"])


def dataset_of(qrels: Qrels, **fields: Any) -> RetrievalDataset:
    return RetrievalDataset(name="small", queries=dict.fromkeys(qrels, "a text"), qrels=qrels, **fields)


def trec_eval(run: Runs, qrels: Qrels, names: Mapping[str, str] = OF_TREC_EVAL) -> dict[str, dict[str, float]]:
    pooled = {query: {each: value for each, value in judged.items() if value >= 0} for query, judged in qrels.items()}
    found = pytrec_eval.RelevanceEvaluator(pooled, set(names.values())).evaluate(run)
    return {
        name: {query: found.get(query, {}).get(measure, 0.0) for query in qrels if qrels[query]}
        for name, measure in names.items()
    }


def has_relevant(qrels: Qrels) -> bool:
    return any(relevance > 0 for judged in qrels.values() for relevance in judged.values())


@given(st.dictionaries(QUERIES, HITS), st.dictionaries(QUERIES, JUDGED).filter(has_relevant))
def test_values_are_those_of_trec_eval(hits: Runs, qrels: Qrels) -> None:
    judged_hits = {query: hits[query] for query in hits if qrels.get(query)}
    if any(hits.values()) and not any(judged_hits.values()):
        return
    values = measure_run(Run(name="random", hits=hits), dataset_of(qrels), list(OF_TREC_EVAL))
    for name, by_query in trec_eval(hits, qrels).items():
        assert values[name] == pytest.approx(by_query, abs=1e-6), name
    for cutoff in (1, 3):  # trec_eval has no cutoff of the reciprocal rank
        reciprocal = trec_eval(hits, qrels, {"RR": "recip_rank"})["RR"]
        of_first = {query: value if value >= 1 / cutoff else 0.0 for query, value in reciprocal.items()}
        assert measure_run(Run(name="random", hits=hits), dataset_of(qrels), f"RR@{cutoff}")[f"RR@{cutoff}"] == (
            pytest.approx(of_first, abs=1e-6)
        )


def test_a_stranger_computes_the_same_means_from_the_written_files(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    ids = [f"{random.choice(['d', 'é', '0'])}{number}" for number in range(300)]
    qrels: dict[str, dict[str, int]] = {}
    hits: dict[str, dict[str, float]] = {}
    for query in map(str, range(40)):
        qrels[query] = {each: int(random.integers(0, 4)) for each in random.choice(ids, random.integers(1, 150))}
        scores = (random.normal(10, 5, 300), random.integers(0, 3, 300), 12 + random.random(300) * 1e-6)
        found = random.permutation(300)[: random.choice([0, 1, 10, 300])]
        hits[query] = {ids[place]: float(scores[int(query) % 3][place]) for place in found}
    dataset, run = dataset_of(qrels), Run(name="random", hits=hits)
    run.write(tmp_path / "random.run")
    dataset.write_qrels(tmp_path / "judged.qrels")
    with (tmp_path / "random.run").open() as file:
        parsed = pytrec_eval.parse_run(file)
    with (tmp_path / "judged.qrels").open() as file:
        judged = pytrec_eval.parse_qrel(file)
    evaluation = evaluate(run, dataset, metrics=[*OF_TREC_EVAL])
    for name, by_query in trec_eval(parsed, judged).items():
        assert evaluation["random"].of(name) == pytest.approx(by_query, abs=1e-6), name
        assert evaluation.mean(name, "random") == pytest.approx(sum(by_query.values()) / 40, abs=1e-6), name


def test_scores_that_are_equal_as_float32_are_ties_that_the_larger_id_wins() -> None:
    run = Run(name="close", hits={"q": {"a": 1.0 + 1e-9, "b": 1.0}})
    assert measure_run(run, dataset_of({"q": {"b": 1}}), "RR")["RR"] == {"q": 1.0}


def test_document_with_the_id_of_the_query_is_left_out_before_the_cutoff() -> None:
    run = Run(name="itself", hits={"q": {"q": 9.0, "a": 2.0, "b": 1.0}})
    qrels = {"q": {"b": 1}}
    assert measure_run(run, dataset_of(qrels), "R@2")["R@2"] == {"q": 0.0}
    assert measure_run(run, dataset_of(qrels, excludes_query_id=True), "R@2")["R@2"] == {"q": 1.0}


def test_map_divides_by_at_most_the_cutoff_and_ap_by_all_relevant_documents() -> None:
    run = Run(name="perfect", hits={"q": {f"d{number}": -float(number) for number in range(2)}})
    qrels = {"q": {f"d{number}": 1 for number in range(4)}}
    values = measure_run(run, dataset_of(qrels), ["MAP@2", "AP@2", "MAP@100", "AP@100"])
    assert {name: by_query["q"] for name, by_query in values.items()} == {
        "MAP@2": 1.0,
        "AP@2": 0.5,
        "MAP@100": 0.5,
        "AP@100": 0.5,
    }


def test_measures_with_different_gains_are_computed_separately() -> None:
    run = Run(name="swapped", hits={"q": {"b": 2.0, "a": 1.0}})
    values = measure_run(
        run, dataset_of({"q": {"a": 2, "b": 1}}), ["nDCG(gains={1:0})@10", "nDCG(rel=1)@10", "nDCG@10"]
    )
    graded = (1 + 2 / np.log2(3)) / (2 + 1 / np.log2(3))
    assert [by_query["q"] for by_query in values.values()] == pytest.approx([1 / np.log2(3), 1.0, graded])


def test_negative_judgments_are_unjudged() -> None:
    run = Run(name="mine", hits={"q": {"a": 1.0}})
    assert measure_run(run, dataset_of({"q": {"a": -1, "b": 1}, "r": {"a": -1}}), "P@1") == {"P@1": {"q": 0, "r": 0}}


def test_run_of_other_queries_is_refused() -> None:
    run = Run(name="other", hits={"1": {"a": 1.0}})
    with pytest.raises(DatasetError, match=r"has the queries \['1'\], and judged are \['q1'\]"):
        measure_run(run, dataset_of({"q1": {"a": 1}}), "RR")
    assert measure_run(Run(name="nothing", hits={}), dataset_of({"q1": {"a": 1}}), "RR") == {"RR": {"q1": 0.0}}


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ("ndcg@10", ["nDCG@10"]),
        ("NDCG@10", ["nDCG@10"]),
        ("MaxSim_ndcg@10", ["nDCG(rel=1)@10"]),
        ("maxsim_MAP@100", ["MAP@100"]),
        ("MAP", ["AP"]),
        ("AP( rel = 2 ) @ 100", ["AP(rel=2)@100"]),
        ("P(rel=2, judged_only=True)@3", ["P(judged_only=True,rel=2)@3"]),
        (("rr@10", "mrr@10", "r@5"), ["RR@10", "R@5"]),
        (["recall@5", "R@100", "Recall@5"], ["Recall@5", "R@100"]),
        ("nDCG(rel=2)", ["nDCG(rel=2)"]),
        ("Bpref", ["Bpref"]),
        ("IPrec@0.1", ["IPrec@0.1"]),
        ("SetF(beta=2)", ["SetF(beta=2.0)"]),
    ],
)
def test_names_of_metrics(given: Any, names: list[str]) -> None:
    assert check_metrics(given) == tuple(names)
    assert check_metrics(check_metrics(given)) == tuple(names)


def test_the_card_has_fifteen_metrics() -> None:
    names = check_metrics("NANO-BEIR")
    assert len(names) == 15
    assert names[:2] == ("Accuracy@1", "Accuracy@3")
    assert names[-3:] == ("nDCG(rel=1)@10", "MRR@10", "MAP@100")
    assert check_metrics(names) == names
    assert depth_of("nano-beir") == 100


def test_depth_of_metrics() -> None:
    assert depth_of(["nDCG@10", "R@1000", "AP"]) == 1000
    assert depth_of(["AP", "IPrec@0.1"]) is None


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("ndgc@10", r"unknown metric 'ndgc@10': did you mean 'nDCG'\? use one of AP, .*MAP@k, or the preset 'nano-b"),
        ("nano-bier", "did you mean 'nano-beir'"),
        ("MaxSim_rr@10", "unknown metric"),
        ("nDCG@0", "the cutoff must be between 1 and"),  # trec_eval ends the process at this cutoff
        ("nDCG@-1", "the cutoff must be between 1 and"),
        ("nDCG@1.5", "cutoff must be an integer, got 1.5"),
        ("nDCG@True", "cutoff must be an integer, got True"),
        ("P", 'needs cutoff: add it, as "P@10"'),
        ("accuracy", 'needs cutoff: add it, as "accuracy@10"'),
        ("AP(rel=0)@10", "rel must be an integer of at least 1, got 0"),
        ("AP(level=2)@10", "has an unknown parameter level: AP takes cutoff, judged_only, rel"),
        ("nDCG(gains={'a': 1})@10", "gains must map integers to integers"),
        ("nDCG(rel=1, gains={1: 2})@10", "has rel and gains: remove rel or gains"),
        ("RBP(rel=1)", r"needs cwl_eval, which is not installed: pip install ir-measures\[cwl"),
        ("alpha_nDCG@10", "only pyndeval computes it, which is not supported: use one of"),
        ("nDCG(dcg='exp-log2')@10", "cannot be measured"),
        ("nDCG@10 R@100", "pass several metrics as a list"),
        ("nDCG@10, R@100", "pass several metrics as a list"),
        ("nDCG@ten", 'cannot be read: write it as "nDCG@10"'),
        ("nDCG(" * 500, "cannot be read"),
        ("\0", "cannot be read"),
        ("", "cannot be read"),
        ([], "pass at least one"),
        ([10], 'must be a string such as "nDCG@10", got int 10'),
        ({"nDCG@10": 1}, "must be a name or a list of names, got dict"),
        (None, "must be a name or a list of names, got NoneType None"),
    ],
)
def test_wrong_metrics_are_refused(metrics: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        check_metrics(metrics)
