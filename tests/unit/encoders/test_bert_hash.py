"""Models of type ``bert_hash``, against a second reading of their description.

In these models the table of word embeddings is narrow, and a linear layer takes its rows to the width of the model;
everything behind is a BERT. The reference here computes that itself, and feeds transformers' BERT with the result.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from colbert_qdrant import CheckpointError, ColbertEncoder
from tests.checkpoints import tiny_bert
from tests.unit.encoders.reference import (
    WEIGHTS,
    assert_same,
    edit_json,
    edit_weights,
    load,
    tokenizer_of,
    unit,
    without_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    Tensors = dict[str, torch.Tensor]

HIDDEN: Final = 16
WIDTH: Final = 5
WORDS: Final = "embeddings.word_embeddings.weight"
TEXTS: Final = ["the cat", "a slow river and the tree and the dog", "", "unseen words"]
SPELLINGS: Final = {
    # table, projection, bias
    "nested": tuple(f"embeddings.word_embeddings.{name}" for name in ("embeddings.weight", "projection.weight", "b")),
    "flat": ("embeddings.table", "embeddings.narrow_to_wide", "embeddings.wide_bias"),
    "strange": ("zz.W", "aa.W", "mm.b"),
}


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.from_numpy(0.3 * np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def hash_bert(
    path: Path, *, prefix: str = "", spelling: str = "nested", bias: bool = True, pooler: bool = True
) -> tuple[Tensors, Tensors]:
    """Turn a plain BERT into a model of this type; returns the standard tensors of the BERT, and the others."""
    standard = load_file(path / WEIGHTS)
    size = len(standard.pop(WORDS))
    if not pooler:
        standard = {name: tensor for name, tensor in standard.items() if not name.startswith("pooler.")}
    names = SPELLINGS[spelling]
    extra = {names[0]: normal(0, size, WIDTH), names[1]: normal(1, HIDDEN, WIDTH)}
    if bias:
        extra[names[2]] = normal(2, HIDDEN)
    stored = {f"{prefix}{name}": tensor for name, tensor in (standard | extra).items()}
    save_file(stored, path / WEIGHTS, metadata={"format": "pt"})
    edit_json(
        path / "config.json",
        model_type="bert_hash",
        projections=WIDTH,
        architectures=["BertHashModel"],
        auto_map={
            "AutoConfig": "configuration_bert_hash.BertHashConfig",
            "AutoModel": "modeling_bert_hash.BertHashModel",
        },
    )
    return standard, {
        role: extra[name] for role, name in zip(("table", "projection", "bias"), names, strict=False) if name in extra
    }


def reference(path: Path, standard: Tensors, extra: Tensors, ids: list[int]) -> NDArray[np.float32]:
    settings = json.loads((path / "config.json").read_text())
    config = BertConfig(**{key: value for key, value in settings.items() if key not in {"model_type", "auto_map"}})
    model: Any = BertModel(config)
    result = model.load_state_dict(standard, strict=False)
    assert set(result.missing_keys) <= {WORDS, "pooler.dense.weight", "pooler.dense.bias"}
    assert not result.unexpected_keys
    embedded = extra["table"][ids] @ extra["projection"].T + extra.get("bias", torch.zeros(HIDDEN))
    with torch.no_grad():
        output = model.eval()(inputs_embeds=embedded[None])
    return np.asarray(output.last_hidden_state[0].numpy())


@pytest.mark.parametrize("pooler", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("prefix", ["", "bert."])
def test_plain(tmp_path: Path, prefix: str, spelling: str, bias: bool, pooler: bool) -> None:
    path = tiny_bert(tmp_path)
    standard, extra = hash_bert(path, prefix=prefix, spelling=spelling, bias=bias, pooler=pooler)
    tokenizer = tokenizer_of(path)
    expected = []
    for text in TEXTS:
        rows = unit(reference(path, standard, extra, tokenizer(text)["input_ids"]))
        expected.append(rows[1:-1] if text else rows)  # without [CLS] and [SEP], unless they are all there is
    assert_same(load(path).encode_queries(TEXTS), expected, atol=1e-6)


def test_pylate(tmp_path: Path, copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    standard, extra = hash_bert(path)
    tokenizer = tokenizer_of(path)
    projection = load_file(path / "1_Dense" / WEIGHTS)["linear.weight"].numpy()
    marker = tokenizer.convert_tokens_to_ids("[D] ")
    expected = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        rows = reference(path, standard, extra, [ids[0], marker, *ids[1:]])
        expected.append(unit(rows @ projection.T))
    encoder = load(path)
    assert (encoder.spec.layout, encoder.dim) == ("pylate", 8)
    assert_same(encoder.encode_documents(TEXTS), expected, atol=1e-6)


def test_half_precision(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path)
    hash_bert(path)
    whole = load(path).encode_documents(TEXTS)
    edit_weights(path, lambda tensors: tensors.update({name: each.half() for name, each in tensors.items()}))
    half = load(path).encode_documents(TEXTS)
    assert_same(half, whole, atol=0.02)
    assert np.abs(half.values - whole.values).max() > 0


def test_heads_beside_a_plain_transformer_are_left_out(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path)
    hash_bert(path, prefix="bert.")
    expected = load(path)
    heads = {
        "cls.predictions.bias": torch.ones(7),
        "cls.predictions.transform.dense.weight": torch.ones(HIDDEN, HIDDEN),
        "cls.predictions.decoder.weight": torch.ones(len(tokenizer_of(path)), WIDTH),
    }
    edit_weights(path, lambda tensors: tensors.update(heads))
    assert load(path).fingerprint() == expected.fingerprint()


def test_fingerprint_is_of_the_weights(tmp_path: Path) -> None:
    first, second = tiny_bert(tmp_path / "first"), tiny_bert(tmp_path / "second")
    hash_bert(first, prefix="bert.", spelling="flat")
    hash_bert(second, pooler=False)
    assert without_name(load(first)) == without_name(load(second))
    edit_weights(second, lambda tensors: tensors[SPELLINGS["nested"][1]].mul_(2))
    assert without_name(load(first))["weights"] != without_name(load(second))["weights"]


@pytest.mark.parametrize("kind", ["PreTrainedTokenizerFast", "TokenizersBackend", "BertTokenizer", None])
@pytest.mark.parametrize("has_code", [True, False])
def test_tokenizer_loads_whatever_its_class(tmp_path: Path, kind: str | None, has_code: bool) -> None:
    path, twin = tiny_bert(tmp_path / "hash"), tiny_bert(tmp_path / "bert")
    hash_bert(path)
    edit_json(path / "tokenizer_config.json", tokenizer_class=kind or ..., backend=...)
    if not has_code:
        edit_json(path / "config.json", auto_map=...)
    text = "The CAT, unseen"
    tokens = [span.token for span in load(path).document_tokens([text])[0]]
    assert tokens == [span.token for span in load(twin).document_tokens([text])[0]]
    assert tokens[:2] == ["the", "cat"]


def test_loading_says_nothing_of_an_unknown_model_type(tmp_path: Path, capfd: Any) -> None:
    path = tiny_bert(tmp_path)
    hash_bert(path)
    capfd.readouterr()
    load(path)
    assert capfd.readouterr() == ("", "")


# --- Errors -----------------------------------------------------------------------------------------------------------


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load(path)
    for part in (str(path), *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 2, 2)])
def test_a_tensor_too_many(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tiny_bert(tmp_path)
    hash_bert(path, bias=len(shape) > 1)
    edit_weights(path, lambda tensors: tensors.update(stray=torch.ones(shape)))
    refused(path, "'stray'")


def test_a_second_bias(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path)
    hash_bert(path)
    edit_weights(path, lambda tensors: tensors.update(stray=torch.ones(HIDDEN)))
    refused(path, "exactly one", "'stray'", "trust_remote_code=True")


def test_no_projection(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path)
    hash_bert(path)
    edit_weights(path, lambda tensors: tensors.pop(SPELLINGS["nested"][1]))
    refused(path, "exactly one", "(hidden, projections)", "trust_remote_code=True")


def test_no_table(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path)
    hash_bert(path)
    edit_weights(path, lambda tensors: tensors.pop(SPELLINGS["nested"][0]))
    refused(path, "exactly one", "(vocabulary, projections)")


@pytest.mark.parametrize("rows", ["table", "projection"])
def test_two_candidates(tmp_path: Path, rows: str) -> None:
    path = tiny_bert(tmp_path)
    _, extra = hash_bert(path)
    edit_weights(path, lambda tensors: tensors.update(other=torch.ones(extra[rows].shape)))
    refused(path, "exactly one", "'other'", "trust_remote_code=True")


def test_a_projection_of_another_width(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path)
    hash_bert(path)
    edit_weights(path, lambda tensors: tensors.update({SPELLINGS["nested"][1]: torch.ones(HIDDEN, WIDTH + 1)}))
    refused(path, "(hidden, projections)")


def test_a_standard_tensor_that_is_missing(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path)
    hash_bert(path, prefix="bert.")
    edit_weights(path, lambda tensors: tensors.pop("bert.encoder.layer.1.output.dense.weight"))
    refused(path, "'encoder.layer.1.output.dense.weight'", "random")


def test_a_standard_tensor_of_a_wrong_shape(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path)
    hash_bert(path)
    edit_weights(path, lambda tensors: tensors.update({"encoder.layer.1.output.dense.weight": torch.ones(3, 3)}))
    refused(path, "encoder.layer.1.output.dense.weight")


# --- Sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hidden", "width", "millions"), [(50, 5, 0.243), (80, 8, 0.448), (128, 16, 0.969)])
def test_parameters_are_as_many_as_are_published(tmp_path: Path, hidden: int, width: int, millions: float) -> None:
    """Vocabulary of BERT, two layers four times as wide inside, 512 positions; a pooler counts."""
    path = tiny_bert(tmp_path, positions=512)
    config = BertConfig(
        vocab_size=30_522,
        hidden_size=hidden,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=4 * hidden,
        max_position_embeddings=512,
    )
    tensors: Tensors = dict(BertModel(config).state_dict())
    del tensors[WORDS]
    pooler = sum(tensors.pop(f"pooler.dense.{part}").numel() for part in ("weight", "bias"))
    tensors |= {"table": normal(0, 30_522, width), "projection": normal(1, hidden, width), "bias": normal(2, hidden)}
    save_file(tensors, path / WEIGHTS, metadata={"format": "pt"})
    edit_json(path / "config.json", **{**config.to_dict(), "model_type": "bert_hash", "projections": width})
    # published with three digits, some rounded and some cut off
    assert abs((parameters(load(path)) + pooler) / 1e6 - millions) < 0.001


def parameters(encoder: ColbertEncoder) -> int:
    return sum(parameter.numel() for parameter in encoder.checkpoint.backbone.parameters())
