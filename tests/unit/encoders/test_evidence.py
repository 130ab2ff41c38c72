"""A checkpoint with a projection that nothing says how to use is refused, and never loaded without it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
import torch

from colbert_qdrant import CheckpointError, ColbertEncoder
from tests.unit.encoders.reference import edit_json, edit_weights

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def load(path: Path) -> ColbertEncoder:
    return ColbertEncoder.from_pretrained(path, device="cpu")


@pytest.fixture
def plain(bert: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bert, tmp_path / "plain")


@pytest.mark.parametrize("file", ["colbert_linear.pt", "colbert_head.safetensors", "my_colbert.bin"])
def test_a_projection_in_a_file_of_its_own(plain: Path, file: str) -> None:
    torch.save(torch.nn.Linear(16, 8).state_dict(), plain / file)
    with pytest.raises(CheckpointError, match=rf"{file} holds a projection"):
        load(plain)


@pytest.mark.parametrize("name", ["mve-fixed", "mve-min", "mve-pooling"])
def test_modules_on_token_vectors_whose_settings_are_missing(copied: Callable[[str], Path], name: str) -> None:
    path = copied(name)
    (path / "config_sentence_transformers.json").unlink()
    with pytest.raises(CheckpointError, match=r"config_sentence_transformers\.json does not say how to use it"):
        load(path)


@pytest.mark.parametrize("name", ["linear.weight", "colbert_linear.weight", "token_projection.weight"])
def test_a_projection_among_the_weights(plain: Path, name: str) -> None:
    edit_weights(plain, lambda tensors: tensors.update({name: torch.zeros(8, 16)}))
    with pytest.raises(CheckpointError, match=f"'{name}' of shape .8, 16., which looks like a projection"):
        load(plain)


def test_settings_of_stanfords_colbert_that_are_missing(copied: Callable[[str], Path]) -> None:
    path = copied("stanford-bert")
    (path / "artifact.metadata").unlink()
    edit_json(path / "config.json", architectures=["BertModel"])
    with pytest.raises(CheckpointError, match="get the checkpoint's settings again"):
        load(path)


@pytest.mark.parametrize(
    "name", ["cls.predictions.transform.dense.weight", "classifier.weight", "lm_head.dense.weight"]
)
def test_heads_of_other_tasks_are_still_left_out(plain: Path, name: str) -> None:
    edit_weights(plain, lambda tensors: tensors.update({name: torch.zeros(16, 16)}))
    assert load(plain).dim == 16


def test_modules_on_sentence_embeddings_are_still_left_out(plain: Path) -> None:
    kinds = ["Transformer", "Pooling", "Dense", "Normalize"]
    modules = [
        {"idx": number, "name": str(number), "path": f"{number}_{kind}" if number else "", "type": f"a.models.{kind}"}
        for number, kind in enumerate(kinds)
    ]
    (plain / "modules.json").write_text(json.dumps(modules))
    assert load(plain).dim == 16
