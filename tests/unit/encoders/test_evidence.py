"""A checkpoint with a projection that nothing says how to use is refused, and never loaded without it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
import torch

from colbert_qdrant import CheckpointError
from tests.unit.encoders.reference import assert_same, edit_json, edit_weights, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def write_modules(path: Path, kinds: list[str]) -> None:
    modules = [
        {"idx": number, "name": str(number), "path": f"{number}_{kind}" if number else "", "type": f"a.models.{kind}"}
        for number, kind in enumerate(kinds)
    ]
    (path / "modules.json").write_text(json.dumps(modules))


@pytest.fixture
def plain(bert: Path, tmp_path: Path) -> Path:
    return shutil.copytree(bert, tmp_path / "plain")


@pytest.mark.parametrize(
    "file",
    [
        *("colbert_linear.pt", "colbert_head.safetensors", "my_colbert.bin", "ColBERT_linear.pt", "linear.pt"),
        *("token_projection.pth", "custom_text_proj.safetensors", "dense.npz", "head.safetensors", "colbert/w.pt"),
        *("1_Dense/model.safetensors", "2_Dense/pytorch_model.bin", "1_Anything/model.safetensors"),
    ],
)
@pytest.mark.parametrize("kinds", [None, ["Transformer"], ["Transformer", "Pooling"]], ids=str)
def test_a_projection_in_a_file_of_its_own(plain: Path, file: str, kinds: list[str] | None) -> None:
    if kinds is not None:
        write_modules(plain, kinds)
    (plain / file).parent.mkdir(exist_ok=True)
    torch.save(torch.nn.Linear(16, 8).state_dict(), plain / file)
    with pytest.raises(CheckpointError, match=rf"{file} has a projection"):
        load(plain)


@pytest.mark.parametrize("name", ["mve-fixed", "mve-min", "mve-pooling"])
def test_modules_on_token_vectors_whose_settings_are_missing(copied: Callable[[str], Path], name: str) -> None:
    path = copied(name)
    (path / "config_sentence_transformers.json").unlink()
    with pytest.raises(CheckpointError, match=r"config_sentence_transformers\.json does not describe it"):
        load(path)


@pytest.mark.parametrize(
    "file", ["optimizer.pt", "training_args.bin", "rng_state_0.pth", "checkpoint-1/model.safetensors", "tf_model.h5"]
)
def test_what_a_training_leaves_behind_is_none(plain: Path, file: str) -> None:
    (plain / file).parent.mkdir(exist_ok=True)
    torch.save(torch.nn.Linear(16, 8).state_dict(), plain / file)
    assert load(plain).dim == 16


@pytest.mark.parametrize("architecture", ["ColBERT", "JinaColBERTModel", "BertForColbert", "ColPali", "ColQwen2"])
def test_an_architecture_with_a_projection(plain: Path, architecture: str) -> None:
    edit_json(plain / "config.json", architectures=[architecture])
    with pytest.raises(
        CheckpointError, match=f"names the architecture '{architecture}', but no file describes the proj"
    ):
        load(plain)


def test_scores_of_several_vectors(plain: Path) -> None:
    (plain / "config_sentence_transformers.json").write_text(json.dumps({"similarity_fn_name": "MaxSim"}))
    with pytest.raises(CheckpointError, match=r"json names MaxSim, but no file describes the projection"):
        load(plain)


def test_prompts_are_put_before_texts(plain: Path) -> None:
    expected, settings = load(plain), {"prompts": {"query": "the query ", "passage": "a document "}}
    (plain / "config_sentence_transformers.json").write_text(json.dumps(settings))
    encoder = load(plain)
    assert_same(encoder.encode_queries(["cat"]), expected.encode_queries(["the query cat"]))
    assert_same(encoder.encode_documents(["cat"]), expected.encode_documents(["a document cat"]))


@pytest.mark.parametrize("name", ["pylate-bert", "stanford-bert", "mve-fixed"])
def test_an_adapter_of_the_transformer(copied: Callable[[str], Path], name: str) -> None:
    path = copied(name)
    (path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    with pytest.raises(CheckpointError, match=r"belongs to an adapter of the transformer.* merge it into the weights"):
        load(path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"similarity": "l2"}, "similarity='l2' is not supported"),
        ({"interaction": "flipr"}, "interaction='flipr' is not supported"),
        ({"dim": 128}, "makes vectors of 8 dimensions, but the settings name 128"),
    ],
)
def test_settings_of_stanfords_colbert_for_another_model(
    copied: Callable[[str], Path], settings: dict[str, Any], message: str
) -> None:
    path = copied("stanford-bert")
    edit_json(path / "artifact.metadata", **settings)
    with pytest.raises(CheckpointError, match=message):
        load(path)


def test_stanfords_colbert_on_another_transformer(copied: Callable[[str], Path]) -> None:
    path = copied("stanford-bert")
    (path / "artifact.metadata").unlink()
    edit_json(path / "config.json", architectures=["HF_ColBERT_Roberta"])
    assert load(path, document_length=24, query_length=16).dim == 8


@pytest.mark.parametrize("name", ["linear.weight", "colbert_linear.weight", "token_projection.weight", "head.weight"])
def test_a_projection_among_the_weights(plain: Path, name: str) -> None:
    edit_weights(plain, lambda tensors: tensors.update({name: torch.zeros(8, 16)}))
    with pytest.raises(CheckpointError, match=f"'{name}' of shape .8, 16., which looks like a projection"):
        load(plain)


def test_settings_of_stanfords_colbert_that_are_missing(copied: Callable[[str], Path]) -> None:
    path = copied("stanford-bert")
    (path / "artifact.metadata").unlink()
    edit_json(path / "config.json", architectures=["BertModel"])
    with pytest.raises(CheckpointError, match="download the checkpoint's settings again"):
        load(path)


@pytest.mark.parametrize(
    "name", ["cls.predictions.transform.dense.weight", "classifier.weight", "lm_head.dense.weight"]
)
def test_heads_of_other_tasks_are_still_left_out(plain: Path, name: str) -> None:
    edit_weights(plain, lambda tensors: tensors.update({name: torch.zeros(16, 16)}))
    assert load(plain).dim == 16


def test_modules_on_sentence_embeddings_are_still_left_out(plain: Path) -> None:
    write_modules(plain, ["Transformer", "Pooling", "Dense", "Normalize"])
    (plain / "2_Dense").mkdir()
    torch.save(torch.nn.Linear(16, 8).state_dict(), plain / "2_Dense" / "pytorch_model.bin")
    assert load(plain).dim == 16
