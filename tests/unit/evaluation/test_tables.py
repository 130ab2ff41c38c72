"""Evaluations as tables, and read again from files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from colbert_qdrant import ConfigurationError, DatasetError, EngineError, EvaluatedRun, Evaluation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

NANO = [f"NanoSetNumber{number}" for number in range(13)]
FIFTEEN = [*(f"{name}@{k}" for name in ("Accuracy", "Precision", "Recall") for k in (1, 3, 5, 10)), "nDCG@10", "A", "B"]


def evaluation(
    datasets: Sequence[str] = ("scifact",),
    metrics: Sequence[str] = ("nDCG@10", "R@100"),
    modes: Sequence[str] = ("exact", "two-stage", "fde"),
    **more: Any,
) -> Evaluation:
    """Each mode is a tenth worse than the one before, each data set a hundredth."""
    runs = [
        EvaluatedRun(
            dataset=dataset,
            mode=mode,
            run=None,
            values={metric: {"q1": 0.8 - m / 10 - d / 100, "q2": 0.4 - m / 10 - d / 100} for metric in metrics},
            milliseconds=1.5 + m,
        )
        for d, dataset in enumerate(datasets)
        for m, mode in enumerate(modes)
    ]
    return Evaluation(target="pico", metrics=tuple(metrics), runs=tuple(runs), **more)


def test_one_data_set_has_a_row_for_each_mode_with_its_interval() -> None:
    lines = str(evaluation(skipped={"bm25": "there is no such vector"})).splitlines()
    assert lines[0] == "pico on scifact, 2 queries"
    assert lines[1].split() == ["nDCG@10", "R@100", "ms"]
    assert lines[2].split()[:4] == ["exact", "0.6000", "[0.400,", "0.800]"]
    assert lines[3].split()[:6] == ["two-stage", "0.5000", "(0.833", "×)", "[0.300,", "0.700]"]
    assert lines[4].endswith("3.50")
    assert lines[6] == "not measured: bm25 (there is no such vector)"


def test_several_data_sets_have_an_average() -> None:
    lines = str(evaluation(["nfcorpus", "scidocs"], ["nDCG@10"])).splitlines()
    assert lines[0] == "nDCG@10 of pico"
    assert lines[1].split() == ["nfcorpus", "scidocs", "Average"]
    assert lines[2].split() == ["exact", "0.6000", "0.5900", "0.5950"]
    assert lines[3].split()[-3:] == ["0.4950", "(0.832", "×)"]


def test_many_metrics_are_rows_of_means_and_of_each_data_set_in_detail() -> None:
    wide = evaluation(NANO, FIFTEEN)
    means, sets = str(wide).split("\n\n")
    assert means.splitlines()[0] == "pico, mean of 13 data sets"
    assert [line.split()[0] for line in means.splitlines()[2:]] == FIFTEEN
    assert means.splitlines()[2].split()[1] == "0.5400"
    assert sets.splitlines()[0] == "nDCG@10 of pico"
    assert [line.split()[0] for line in sets.splitlines()[2:]] == [*NANO, "Average"]
    details = wide.to_markdown(details=True)
    assert all(f"pico on {name}, 2 queries:" in details for name in NANO)


@pytest.mark.parametrize("datasets", [["scifact"], ["nfcorpus", "scidocs", "scifact"], NANO])
@pytest.mark.parametrize("metrics", [["nDCG@10"], ["nDCG@10", "RR@10", "R@100"], FIFTEEN])
def test_tables_fit_on_a_wide_terminal(datasets: list[str], metrics: list[str]) -> None:
    table = str(evaluation(datasets, metrics, ("exact", "two-stage", "fde", "hybrid", "bm25")))
    assert max(map(len, table.splitlines())) <= 120


def test_markdown_has_as_many_cells_in_each_row() -> None:
    table = [line for line in evaluation().to_markdown().splitlines() if line.startswith("|")]
    assert len(table) == 5
    assert {line.count("|") for line in table} == {5}
    assert evaluation()._repr_markdown_() == evaluation().to_markdown()


def test_names_with_pipes_and_line_breaks_stay_in_their_cells() -> None:
    found = evaluation(["a|b", "c\r\nd"], ["nDCG@10"])
    assert str(found).splitlines()[1].split() == ["a|b", "c", "d", "Average"]
    assert found.to_markdown().splitlines()[2] == r"|  | a\|b | c d | Average |"
    assert str(evaluation(["two\nlines"])).splitlines()[0] == "pico on two lines, 2 queries"
    assert evaluation(["two\nlines"]).to_markdown().splitlines()[0] == "pico on two lines, 2 queries:"


def test_intervals_have_the_width_of_the_mean_s_distribution() -> None:
    values = np.random.default_rng(1).uniform(size=400)
    by_query = {str(query): value for query, value in enumerate(values)}
    run = EvaluatedRun(dataset="d", mode="m", run=None, values={"P@1": by_query})
    interval = run.interval("P@1")
    assert interval is not None
    low, high = interval
    deviation = values.std() / 20
    assert low == pytest.approx(values.mean() - 1.96 * deviation, abs=0.2 * deviation)
    assert high == pytest.approx(values.mean() + 1.96 * deviation, abs=0.2 * deviation)
    assert run.interval("P@1") == (low, high)


def test_files_are_plain_json_and_read_again(tmp_path: Path) -> None:
    made = evaluation(["a", "b"], skipped={"bm25": "why"}, candidates=50, depth=20, folder=tmp_path)
    made.to_json(tmp_path / "made.json")
    data = json.loads((tmp_path / "made.json").read_text(), parse_constant=pytest.fail)
    assert data["runs"][0]["means"] == {"nDCG@10": pytest.approx(0.6), "R@100": pytest.approx(0.6)}
    assert data["versions"].keys() >= {"colbert-qdrant", "ir-measures"}
    again = Evaluation.load(tmp_path / "made.json")
    assert str(again) == str(made)
    assert (again.candidates, again.depth, again.folder, again.versions) == (50, 20, tmp_path, made.versions)
    assert again.run("fde", "b").values == made.run("fde", "b").values
    assert again.to_dict() == made.to_dict()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "metrics": []}', "\0"])
def test_other_files_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(DatasetError, match="file"):
        Evaluation.load(tmp_path / "file")
    with pytest.raises(DatasetError, match="missing"):
        Evaluation.load(tmp_path / "missing")


@pytest.mark.parametrize(
    "change",
    [{"runs": []}, {"values": {"nDCG@10": {"q1": float("nan")}}}, {"values": {"nDCG@10": {}}}, {"values": {}}],
)
def test_damaged_values_are_refused(change: dict[str, Any]) -> None:
    data = evaluation(metrics=["nDCG@10"]).to_dict()
    if "values" in change:
        data["runs"][0].update(change)
    else:
        data.update(change)
    with pytest.raises(DatasetError, match="incomplete"):
        Evaluation.from_dict(data)


def test_paths_that_name_no_file_are_refused(tmp_path: Path) -> None:
    for path, error in (("", ConfigurationError), ("/", EngineError), (tmp_path, EngineError), ("a\0", EngineError)):
        with pytest.raises(error, match="path must be" if error is ConfigurationError else "cannot be written"):
            evaluation().to_json(path)


def test_runs_are_found_by_mode_and_data_set() -> None:
    several = evaluation(["a", "b"])
    assert evaluation()["fde"].mode == "fde"
    assert several.run("fde", "b").dataset == "b"
    assert several.mean("nDCG@10", "exact") == pytest.approx(0.595)
    for wrong, message in (
        (lambda: several["fde"], "several data sets"),
        (lambda: evaluation()["hybrid"], "'exact' on 'scifact'"),
        (lambda: several.run("fde", "c"), "on 'c'"),
        (lambda: evaluation()["fde"].mean("P@1"), "'nDCG@10'"),
        (lambda: evaluation()["fde"].interval("P@1"), "'nDCG@10'"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            wrong()
