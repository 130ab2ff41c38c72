"""The published figures agree with each other, as they would not with a digit that is mistyped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from colbert_qdrant.evaluation.cards.published import (
    BEIR,
    BEIR_SETS,
    BEIR_TITLES,
    MODELS,
    NANO,
    NANO_MEAN,
    NANO_METRICS,
    published_model,
)
from colbert_qdrant.evaluation.datasets.catalog import NANO_BEIR

if TYPE_CHECKING:
    from pathlib import Path

ROWS = {name: dict(zip(NANO_METRICS, values, strict=True)) for name, values in NANO.items()}
CUTOFFS = (1, 3, 5, 10)


def test_every_table_has_every_model_and_the_mean_of_its_columns() -> None:
    assert set(BEIR) == set(BEIR_TITLES) == {"exact", "two-stage", "fde"}
    for table in BEIR.values():
        assert list(table) == [model.label for model in MODELS]
        for *columns, average in table.values():
            assert len(columns) == len(BEIR_SETS)
            assert sum(columns) / 3 == pytest.approx(average, abs=0.5e-4 + 1e-9)


def test_encodings_alone_rank_worse_than_with_maxsim() -> None:
    for model in MODELS:
        two_stage, alone = BEIR["two-stage"][model.label], BEIR["fde"][model.label]
        assert all(better > worse for better, worse in zip(two_stage, alone, strict=True))


def test_the_mean_is_that_of_the_13_data_sets() -> None:
    assert tuple(ROWS) == NANO_BEIR
    for number, mean in enumerate(NANO_MEAN):
        assert sum(values[number] for values in NANO.values()) / 13 == pytest.approx(mean, abs=1e-9)


@pytest.mark.parametrize("name", ROWS)
def test_the_metrics_of_a_data_set_agree(name: str) -> None:
    values, queries = ROWS[name], 49 if name == "NanoTouche2020" else 50
    accuracy, precision, recall = (
        [values[f"{kind}@{cutoff}"] for cutoff in CUTOFFS] for kind in ("accuracy", "precision", "recall")
    )
    assert accuracy[0] == precision[0]
    found = [share * cutoff * queries for share, cutoff in zip(precision, CUTOFFS, strict=True)]
    for counts in (found, [share * queries for share in accuracy], [values["mrr@10"] * 2520 * queries]):
        assert counts == pytest.approx([round(count) for count in counts], abs=1e-8)
    for growing in (found, accuracy, recall):
        assert growing == sorted(growing)
    assert all(found <= any_found + 1e-12 for found, any_found in zip(recall, accuracy, strict=True))
    assert accuracy[0] <= values["mrr@10"] <= accuracy[3]
    assert 0 < values["map@100"] < values["ndcg@10"] + 0.05


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("NeuML/colbert-muvera-pico", "ColBERT MUVERA Pico"),
        ("neuml/ColBERT-MUVERA-Nano", "ColBERT MUVERA Nano"),
        ("/models/colbert-muvera-femto/", "ColBERT MUVERA Femto"),
        ("/cache/models--NeuML--colbert-muvera-micro/snapshots/0a1b2c", "ColBERT MUVERA Micro"),
        ("colbert-ir/colbertv2.0", "ColBERT v2"),
        ("NeuML/colbert-muvera-small", None),
        ("colbert-muvera-pico/checkpoint-100", None),
    ],
)
def test_a_model_is_recognized_by_the_last_part_of_its_name(name: str, label: str | None) -> None:
    found = published_model(name)
    assert (found and found.label) == label


def test_the_working_folder_is_recognized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = tmp_path / "models--NeuML--colbert-muvera-nano" / "snapshots" / "0a1b2c"
    snapshot.mkdir(parents=True)
    monkeypatch.chdir(snapshot)
    found = published_model(".")
    assert found
    assert found.label == "ColBERT MUVERA Nano"
