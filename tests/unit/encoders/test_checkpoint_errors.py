"""Checkpoints with a piece that is missing, broken or unknown: which file it is, and what to do about it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from colbert_qdrant import CheckpointError, ColbertEncoder, ConfigurationError, inspect
from tests.checkpoints import tiny_bert
from tests.unit.encoders.reference import WEIGHTS, assert_same, edit_json, edit_weights, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXTS = ["the cat and the dog", "a river, a tree", ""]
PICKLED = "pytorch_model.bin"
LAYER = "encoder.layer.1.output.dense.weight"
DENSE = "1_Dense"
SETTINGS = "config_sentence_transformers.json"
TRANSFORMER_SETTINGS = "sentence_bert_config.json"
TRANSFORMER = {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}


def refused(path: Path, *parts: str | Path, **arguments: Any) -> str:
    """Load a checkpoint that must be refused with a message that has these parts and a remedy."""
    with pytest.raises(CheckpointError) as caught:
        load(path, **arguments)
    message = str(caught.value)
    for part in parts:
        assert str(part) in message
    assert re.search(": .*(again|correct |pass |wrap |train |use |check )", message), message
    return message


def write_modules(path: Path, *modules: Any) -> None:
    (path / "modules.json").write_text(json.dumps(list(modules)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("~/models/colbert", r"'~/models/colbert' begins with ~, .* Path\(…\)\.expanduser\(\)"),
        ("~user", r"expanduser\(\)"),
        ("https://huggingface.co/colbert-ir/colbertv2.0", "is a URL: pass only its name on the Hub"),
        ("hf://colbert-ir/colbertv2.0", "such as 'owner/name'"),
    ],
)
def test_names_that_neither_a_disk_nor_the_hub_has(name: str, message: str) -> None:
    for call in (ColbertEncoder.from_pretrained, inspect):
        with pytest.raises(CheckpointError, match=message):
            call(name)


def test_an_empty_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    refused(tmp_path, "has no config.json, or an empty one")


# --- Projections ------------------------------------------------------------------------------------------------------


def test_missing_weights_of_a_projection(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    (path / DENSE / WEIGHTS).unlink()
    refused(path, path / DENSE, "no weights", WEIGHTS)


@pytest.mark.parametrize("name", ["pylate-bert", "mve-fixed"])
def test_missing_settings_of_a_projection(copied: Callable[[str], Path], name: str) -> None:
    path = copied(name)
    (path / DENSE / "config.json").unlink()
    refused(path, path / DENSE / "config.json")


@pytest.mark.parametrize("key", ["in_features", "out_features"])
@pytest.mark.parametrize("name", ["pylate-bert", "mve-fixed"])
def test_settings_of_a_projection_that_lack_a_size(copied: Callable[[str], Path], name: str, key: str) -> None:
    path = copied(name)
    edit_json(path / DENSE / "config.json", **{key: ...})
    refused(path, path / DENSE / "config.json", repr(key))


@pytest.mark.parametrize("size", ["16", -1, 0, None])
def test_settings_of_a_projection_with_a_size_that_is_none(copied: Callable[[str], Path], size: Any) -> None:
    path = copied("pylate-bert")
    edit_json(path / DENSE / "config.json", in_features=size)
    refused(path, path / DENSE / "config.json", "in_features")


@pytest.mark.parametrize(
    "activation",
    [
        *("torch.nn.modules.activation.Nope", "torch.nn.modules.linear.Linear", "torch.nn.Module", "torch.nn."),
        *(
            "torch.nn.modules.activation.MultiheadAttention",
            "os.system",
            "GELU",
            "builtins.exec",
            "torch.nn.modules.activation.torch",
        ),
    ],
)
def test_unknown_activation(copied: Callable[[str], Path], activation: str) -> None:
    path = copied("pylate-bert")
    edit_json(path / DENSE / "config.json", activation_function=activation)
    refused(path, path / DENSE / "config.json", repr(activation), "GELU")


def test_projection_with_a_tensor_too_many(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    edit_weights(path / DENSE, lambda tensors: tensors.update(stray=torch.ones(2)))
    refused(path, path / DENSE, "stray")


def test_projection_with_a_bias_that_its_settings_do_not_know(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    edit_weights(path / DENSE, lambda tensors: tensors.update({"linear.bias": torch.ones(8)}))
    refused(path, path / DENSE, "linear.bias")


def test_projection_without_a_tensor(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-stack")
    tensors = torch.load(path / DENSE / PICKLED)
    del tensors["residual.weight"]
    torch.save(tensors, path / DENSE / PICKLED)
    refused(path, path / DENSE, "residual.weight")


def test_projection_of_a_wrong_shape(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    edit_weights(path / DENSE, lambda tensors: tensors.update({"linear.weight": torch.ones(8, 15)}))
    refused(path, path / DENSE, "linear.weight", "[8, 15]", "[8, 16]")


def test_projection_of_another_transformer(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    edit_json(path / DENSE / "config.json", in_features=15)
    edit_weights(path / DENSE, lambda tensors: tensors.update({"linear.weight": torch.ones(8, 15)}))
    refused(path, path, "projection 1 takes 15 dimensions but gets 16")


def test_pylate_without_a_projection(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    write_modules(path, TRANSFORMER)
    refused(path, path / "modules.json", "no Dense module")


def test_stanford_without_a_projection(copied: Callable[[str], Path]) -> None:
    path = copied("stanford-bert")
    edit_weights(path, lambda tensors: tensors.pop("linear.weight"))
    refused(path, path, "'linear.weight'")


@pytest.mark.parametrize("shape", [(8,), (8, 15)])
def test_stanford_with_a_projection_of_a_wrong_shape(copied: Callable[[str], Path], shape: tuple[int, ...]) -> None:
    path = copied("stanford-bert")
    edit_weights(path, lambda tensors: tensors.update({"linear.weight": torch.ones(shape)}))
    refused(path, path)


def test_stanford_with_a_bias_that_it_cannot_have(copied: Callable[[str], Path]) -> None:
    path = copied("stanford-bert")
    edit_weights(path, lambda tensors: tensors.update({"linear.bias": torch.ones(8)}))
    refused(path, path, "'linear.bias'")


# --- Tensors of the transformer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pylate-bert", "mve-fixed", "stanford-bert"])
@pytest.mark.parametrize("tensor", ["encoder.layer.7.output.dense.weight", "stray.weight"])
def test_transformer_with_a_tensor_too_many(copied: Callable[[str], Path], name: str, tensor: str) -> None:
    path = copied(name)
    edit_weights(path, lambda tensors: tensors.update({tensor: torch.ones(2)}))
    refused(path, path, repr(tensor))


def test_plain_transformer_with_a_layer_too_many(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path)
    edit_weights(path, lambda tensors: tensors.update({"encoder.layer.7.output.dense.weight": torch.ones(2)}))
    refused(path, path, "'encoder.layer.7.output.dense.weight'")


@pytest.mark.parametrize("name", ["pylate-bert", "mve-fixed"])
def test_transformer_without_a_tensor(copied: Callable[[str], Path], name: str) -> None:
    path = copied(name)
    edit_weights(path, lambda tensors: tensors.pop(LAYER))
    refused(path, path, repr(LAYER), "random")


def test_transformer_of_a_wrong_shape(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    edit_weights(path, lambda tensors: tensors.update({LAYER: torch.ones(16, 31)}))
    refused(path, path, repr(LAYER), "(16, 31)", "(16, 32)")


def test_transformer_with_settings_of_another(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    edit_json(path / "config.json", vocab_size=7)
    refused(path, path, "word_embeddings.weight", "(7, 16)")


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.complex64])
@pytest.mark.parametrize("folder", ["", DENSE])
def test_weights_in_a_dtype_that_means_something_else(
    copied: Callable[[str], Path], folder: str, dtype: torch.dtype
) -> None:
    path = copied("pylate-bert")
    tensor = "linear.weight" if folder else LAYER
    edit_weights(path / folder, lambda tensors: tensors.update({tensor: tensors[tensor].to(dtype)}))
    refused(path, path / folder / WEIGHTS, repr(tensor), str(dtype), "original")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_in_another_precision(copied: Callable[[str], Path], dtype: torch.dtype) -> None:
    widened = copied("pylate-bert")
    widened = widened.rename(widened.with_name("widened"))
    stored = copied("pylate-bert")

    def convert(tensors: dict[str, torch.Tensor], *dtypes: torch.dtype) -> None:
        for name, tensor in tensors.items():
            for each in dtypes:
                tensor = tensor.to(each)  # noqa: PLW2901
            tensors[name] = tensor

    for folder in ("", DENSE):
        edit_weights(stored / folder, lambda tensors: convert(tensors, dtype))
        edit_weights(widened / folder, lambda tensors: convert(tensors, dtype, torch.float32))
    encoder, expected = load(stored), load(widened)
    assert encoder.encode_documents(TEXTS).values.dtype == np.float32
    assert_same(encoder.encode_documents(TEXTS), expected.encode_documents(TEXTS), atol=1e-6)
    assert_same(encoder.encode_queries(TEXTS), expected.encode_queries(TEXTS), atol=1e-6)


# --- Files of weights -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["", DENSE])
def test_safetensors_cut_short(copied: Callable[[str], Path], folder: str) -> None:
    path = copied("pylate-bert")
    file = path / folder / WEIGHTS
    file.write_bytes(file.read_bytes()[:-9])
    refused(path, file, "damaged or incomplete")


@pytest.mark.parametrize("content", [b"", b"\xff" * 200, b"version https://git-lfs.github.com/spec/v1\n"])
def test_safetensors_of_something_else(copied: Callable[[str], Path], content: bytes) -> None:
    path = copied("pylate-bert")
    (path / WEIGHTS).write_bytes(content)
    refused(path, path / WEIGHTS, "damaged or incomplete")


def test_pickled_weights_cut_short(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-stack")
    file = path / DENSE / PICKLED
    file.write_bytes(file.read_bytes()[:-100])
    refused(path, file, "damaged or incomplete")


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, proof: Path) -> None:
        self.proof = proof

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, (f"open({str(self.proof)!r}, 'w').close()",))


def test_pickled_code_never_runs(copied: Callable[[str], Path], tmp_path: Path) -> None:
    path, proof = copied("pylate-bert"), tmp_path / "proof"
    tensors: dict[str, Any] = dict(load_file(path / WEIGHTS))
    (path / WEIGHTS).unlink()
    torch.save({**tensors, "evil": Evil(proof)}, path / PICKLED)
    refused(path, path / PICKLED)
    assert not proof.exists()
    torch.load(path / PICKLED, weights_only=False)
    assert proof.exists(), "it would not have run anyway"


@pytest.mark.parametrize("content", [[1, 2], torch.ones(2), {1: torch.ones(2)}, {"model": {"a": torch.ones(2)}}])
def test_pickled_weights_of_something_else(copied: Callable[[str], Path], content: Any) -> None:
    path = copied("pylate-bert")
    (path / WEIGHTS).unlink()
    torch.save(content, path / PICKLED)
    refused(path, path / PICKLED)


def shard(path: Path, *, suffix: str = "safetensors") -> dict[str, str]:
    """Put the weights of a checkpoint into two files and their list into a third."""
    tensors = load_file(path / WEIGHTS)
    (path / WEIGHTS).unlink()
    stem = "model" if suffix == "safetensors" else "pytorch_model"
    names = sorted(tensors)
    weight_map: dict[str, str] = {}
    for number, part in enumerate((names[::2], names[1::2]), 1):
        file = f"{stem}-{number:05}-of-00002.{suffix}"
        content = {name: tensors[name] for name in part}
        if suffix == "safetensors":
            save_file(content, path / file, metadata={"format": "pt"})
        else:
            torch.save(content, path / file)
        weight_map |= dict.fromkeys(part, file)
    index = path / f"{stem}.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))
    return weight_map


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_weights_in_several_files(copied: Callable[[str], Path], built: Callable[[str], Path], suffix: str) -> None:
    path = copied("pylate-bert")
    shard(path, suffix=suffix)
    whole, sharded = load(built("pylate-bert")), load(path)
    assert sharded.fingerprint() == whole.fingerprint()
    assert_same(sharded.encode_documents(TEXTS), whole.encode_documents(TEXTS), atol=0)


def test_weights_in_several_files_of_which_one_is_missing(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    file = path / max(shard(path).values())
    file.unlink()
    refused(path, file)


@pytest.mark.parametrize("weight_map", [["a"], {"a": 3}, "a", {"a": "../other.safetensors"}, {"a": "/x.safetensors"}])
def test_weights_in_several_files_with_a_broken_list(copied: Callable[[str], Path], weight_map: Any) -> None:
    path = copied("pylate-bert")
    shard(path)
    edit_json(path / f"{WEIGHTS}.index.json", weight_map=weight_map)
    refused(path, path)


def test_no_weights(copied: Callable[[str], Path]) -> None:
    path = copied("stanford-bert")
    (path / WEIGHTS).unlink()
    refused(path, path, "no weights", WEIGHTS, PICKLED)


# --- Settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("pylate-bert", "config.json"),
        ("pylate-bert", SETTINGS),
        ("pylate-bert", "modules.json"),
        ("pylate-bert", "1_Dense/config.json"),
        ("pylate-bert", "sentence_bert_config.json"),
        ("stanford-bert", "artifact.metadata"),
        ("mve-fixed", "2_MultiVectorMask/config.json"),
    ],
)
@pytest.mark.parametrize("content", [b"{", b"\xff\xfe{}", b"", b"3"])
def test_settings_that_are_no_json(copied: Callable[[str], Path], name: str, file: str, content: bytes) -> None:
    path = copied(name)
    (path / file).write_bytes(content)
    refused(path, path / file)


@pytest.mark.parametrize(
    ("name", "file", "changes"),
    [
        ("pylate-bert", SETTINGS, {"query_length": "16"}),
        ("pylate-bert", SETTINGS, {"document_length": -5}),
        ("pylate-bert", SETTINGS, {"document_length": 2.5}),
        ("pylate-bert", SETTINGS, {"query_prefix": 3}),
        ("pylate-bert", SETTINGS, {"skiplist_words": 3}),
        ("pylate-bert", SETTINGS, {"prompts": ["a"]}),
        ("pylate-bert", SETTINGS, {"prompts": {"query": 3}}),
        ("stanford-bert", "artifact.metadata", {"doc_maxlen": "24"}),
        ("stanford-bert", "artifact.metadata", {"query_maxlen": [16]}),
        ("mve-fixed", "sentence_bert_config.json", {"query_expansion": {"strategy": "fixed"}}),
        ("mve-fixed", "sentence_bert_config.json", {"query_expansion": {"strategy": "later", "length": 9}}),
        ("mve-fixed", "sentence_bert_config.json", {"query_expansion": {"shade": "red", "length": 9}}),
        ("mve-fixed", "sentence_bert_config.json", {"query_expansion": "yes"}),
        ("mve-fixed", "sentence_bert_config.json", {"document_length": "24"}),
    ],
)
def test_settings_with_a_value_that_cannot_be(
    copied: Callable[[str], Path], name: str, file: str, changes: dict[str, Any]
) -> None:
    path = copied(name)
    edit_json(path / file, **changes)
    refused(path, path / file)


def test_settings_that_are_not_supported(copied: Callable[[str], Path]) -> None:
    path = copied("mve-fixed")
    edit_json(path / "sentence_bert_config.json", model_kwargs={"torch_dtype": "float16"})
    refused(path, path / "sentence_bert_config.json", "model_kwargs")


def test_no_settings_of_the_transformer(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    (path / "config.json").unlink()
    refused(path, path, "config.json")


def test_empty_folder(tmp_path: Path) -> None:
    refused(tmp_path, tmp_path, "config.json")


def test_unknown_model_type(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    edit_json(path / "config.json", model_type="nonesuch")
    refused(path, path / "config.json", "nonesuch", "trust_remote_code=True")


@pytest.mark.parametrize("name", ["pylate-bert", "mve-fixed"])
@pytest.mark.parametrize(
    "content",
    [
        {},
        "modules",
        [3],
        [{"path": ""}],
        [{"type": "a.Transformer"}],
        [{"path": "", "type": 3}],
        [{"path": 3, "type": "a.Transformer"}],
        [{"path": "", "type": "a.Transformer", "idx": "first"}],
    ],
)
def test_modules_that_are_no_list_of_modules(copied: Callable[[str], Path], name: str, content: Any) -> None:
    path = copied(name)
    (path / "modules.json").write_text(json.dumps(content))
    refused(path, path / "modules.json")


@pytest.mark.parametrize("name", ["pylate-bert", "mve-fixed"])
@pytest.mark.parametrize("place", ["../1_Dense", "/1_Dense", "x/../../1_Dense"])
def test_modules_outside_of_the_checkpoint(copied: Callable[[str], Path], name: str, place: str) -> None:
    path = copied(name)
    dense = {"idx": 1, "name": "1", "path": place, "type": "sentence_transformers.models.Dense"}
    write_modules(path, TRANSFORMER, dense)
    refused(path, place, "leads out of the checkpoint")
    write_modules(path, {**TRANSFORMER, "path": place}, dense)
    refused(path, place, "leads out of the checkpoint")


def test_module_of_an_unknown_type(copied: Callable[[str], Path]) -> None:
    path = copied("mve-fixed")
    modules = json.loads((path / "modules.json").read_text())
    modules[2]["type"] = "sentence_transformers.models.LSTM"
    write_modules(path, *modules)
    refused(path, path / "modules.json", "sentence_transformers.models.LSTM", "SentenceTransformersEncoder")


def test_module_on_sentence_embeddings(copied: Callable[[str], Path]) -> None:
    path = copied("mve-fixed")
    edit_json(path / DENSE / "config.json", module_input_name="sentence_embedding")
    refused(path, path / "modules.json", "Dense", "sentence embeddings")


def test_list_of_modules_that_is_missing(copied: Callable[[str], Path]) -> None:
    # without it, vectors would be neither projected nor normalised
    path = copied("mve-fixed")
    (path / "modules.json").unlink()
    refused(path, path / "modules.json")
    write_modules(path)
    refused(path, path / "modules.json")


@pytest.mark.parametrize(
    ("name", "module"), [("mve-fixed", "2_MultiVectorMask"), ("mve-pooling", "4_HierarchicalTokenPooling")]
)
def test_settings_of_a_module_that_are_missing(copied: Callable[[str], Path], name: str, module: str) -> None:
    path = copied(name)
    (path / module / "config.json").unlink()
    refused(path, path / module / "config.json")


# --- Tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["query_prefix", "document_prefix"])
def test_pylate_prefix_that_is_no_token(copied: Callable[[str], Path], key: str) -> None:
    path = copied("pylate-bert")
    edit_json(path / SETTINGS, **{key: "[X] "})
    refused(path, path, "prefix '[X] '", "tokenizer.json")


@pytest.mark.parametrize("key", ["query_token_id", "doc_token_id"])
def test_stanford_prefix_that_is_no_token(copied: Callable[[str], Path], key: str) -> None:
    path = copied("stanford-bert")
    edit_json(path / "artifact.metadata", **{key: "[unused9]"})
    refused(path, path, "prefix '[unused9]'", "tokenizer.json")


def test_expansion_token_that_is_no_token(copied: Callable[[str], Path]) -> None:
    path = copied("mve-min")
    expansion = {"strategy": "min", "attend": True, "token": "<nope>", "length": 12}
    edit_json(path / "sentence_bert_config.json", query_expansion=expansion)
    refused(path, path, "expansion token '<nope>'", "tokenizer.json")


@pytest.mark.parametrize("name", ["pylate-bert", "pylate-modernbert", "pylate-prompts", "stanford-bert", "mve-fixed"])
def test_no_tokenizer(copied: Callable[[str], Path], name: str) -> None:
    path = copied(name)
    for file in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        (path / file).unlink(missing_ok=True)
    refused(path, path, "tokenizer.json")


def test_no_tokenizer_but_its_settings(copied: Callable[[str], Path], tmp_path: Path) -> None:
    plain, path = tiny_bert(tmp_path / "plain"), copied("mve-fixed")
    for each in (plain, path):
        edit_json(each / "tokenizer_config.json", tokenizer_class="BertTokenizer", backend=...)
        (each / "tokenizer.json").unlink()
        refused(each, each, "tokenizer.json")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        *(("tokenizer.json", content) for content in ("{", "[]", "{}", "")),
        *(("tokenizer_config.json", content) for content in ("{", "[]", "")),
    ],
)
def test_broken_tokenizer(copied: Callable[[str], Path], file: str, content: str) -> None:
    path = copied("pylate-bert")
    (path / file).write_text(content)
    refused(path, path, "tokenizer.json")


# --- Lengths, and what is not there -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["query_length", "document_length"])
@pytest.mark.parametrize("checkpoint", ["pylate-bert", "pylate-modernbert", "pylate-prompts", "stanford-bert"])
def test_lengths_beyond_the_positions(built: Callable[[str], Path], checkpoint: str, name: str) -> None:
    load(built(checkpoint), **{name: 64})
    with pytest.raises(
        ConfigurationError, match=f"{name}=65 exceeds the 64 tokens that this model takes: pass a shorter length"
    ):
        load(built(checkpoint), **{name: 65})


def test_a_checkpoint_that_asks_for_more_than_its_positions(copied: Callable[[str], Path]) -> None:
    path = copied("stanford-bert")
    edit_json(path / "artifact.metadata", doc_maxlen=300)
    with pytest.raises(ConfigurationError, match=r"document_length=300 exceeds the 64 tokens"):
        load(path)
    load(path, document_length=64)


def test_no_such_folder(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    refused(missing, repr(str(missing)), "not a folder")


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    file = tiny_bert(tmp_path) / "config.json"
    refused(file, repr(str(file)), "not a folder")


@pytest.mark.parametrize("name", ["nobody/nothing", "nothing", "a/b/c", "bad name!", "../nothing"])
def test_no_such_model_in_reach(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as caught:
        load(name, token="hf_secretsecretsecret")
    text = "".join(str(error) for error in (caught.value, caught.value.__cause__))
    assert "hf_secret" not in text
    assert name in text
    assert list(tmp_path.iterdir()) == []


def test_a_prefix_that_the_weights_have_no_row_for(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    table = "embeddings.word_embeddings.weight"
    weights = load_file(path / WEIGHTS)
    rows = len(weights[table]) - 2  # the prefixes are the last two
    save_file({**weights, table: weights[table][:rows].contiguous()}, path / WEIGHTS, metadata={"format": "pt"})
    edit_json(path / "config.json", vocab_size=rows)
    refused(path, repr("[Q] "), f"only {rows} tokens")


def test_a_token_that_the_weights_have_no_row_for(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    tokenizer = json.loads((path / "tokenizer.json").read_text())
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": True, "special": False}
    rows = json.loads((path / "config.json").read_text())["vocab_size"]
    tokenizer["added_tokens"].append({"id": rows, "content": "zebra", **flags})
    (path / "tokenizer.json").write_text(json.dumps(tokenizer))
    encoder = load(path)
    assert len(encoder.encode_documents(["the cat"])) == 1
    with pytest.raises(CheckpointError, match=f"token id {rows}"):
        encoder.encode_documents(["the cat", "a zebra"])


# --- Checkpoints that lost the file which says what they are ----------------------------------------------------------


def test_pylate_without_its_settings_keeps_its_projection(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    (path / SETTINGS).unlink()
    encoder = load(path, document_length=24)
    assert encoder.spec.layout == "pylate"
    assert encoder.dim == 8


def test_stanford_with_another_architecture_keeps_its_projection(copied: Callable[[str], Path]) -> None:
    path = copied("stanford-bert")
    expected = load(path).encode_documents(TEXTS)
    edit_json(path / "config.json", architectures=["BertModel"])
    assert_same(load(path).encode_documents(TEXTS), expected)


def test_pylate_with_a_module_that_is_not_known(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    modules = json.loads((path / "modules.json").read_text())
    write_modules(path, *modules, {"idx": 2, "path": "2_Norm", "type": "sentence_transformers.models.LayerNorm"})
    refused(path, path / "modules.json", "LayerNorm")


def test_an_expansion_longer_than_the_model_takes(copied: Callable[[str], Path]) -> None:
    path = copied("mve-min")
    settings = json.loads((path / TRANSFORMER_SETTINGS).read_text())
    edit_json(path / TRANSFORMER_SETTINGS, query_expansion={**settings["query_expansion"], "length": 600})
    with pytest.raises(ConfigurationError, match="query_length=600"):
        load(path)
