"""The encoder against one text at a time, straight through transformers."""

from __future__ import annotations

import shutil
import string
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer, PreTrainedTokenizerFast

from colbert_qdrant import (
    CheckpointError,
    ConfigurationError,
    InvalidDocumentError,
    InvalidQueryError,
    LateInteractionEncoder,
    TokenEmbeddings,
    TransformerTokenEncoder,
)
from tests.checkpoints import tiny_bert, tiny_roberta

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

TEXTS = [
    "the cat",
    "Fast search, good rank: the vector index (of this library) is fast!",
    "dog",
    "a river... and a tree, or -- is it -- a word?",
    "query document token vector search index point score rank text " * 9,
    "unseen zebras; jumping",
    "model",
]
QUERY_LENGTH = 10
DOCUMENT_LENGTH = 64


def load(path: Path, **arguments: Any) -> TransformerTokenEncoder:
    defaults: dict[str, Any] = {
        "query_length": QUERY_LENGTH,
        "document_length": DOCUMENT_LENGTH,
        "device": "cpu",
        "local_files_only": True,
    }
    return TransformerTokenEncoder.from_pretrained(path, **(defaults | arguments))


def reference(path: Path, text: str, *, length: int, without: str = "") -> NDArray[np.float32]:
    """Vectors of one text without special tokens, nor tokens of nothing but characters in ``without``."""
    tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True)
    model: Any = AutoModel.from_pretrained(path, local_files_only=True, dtype=torch.float32).eval()
    inputs = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
    with torch.no_grad():
        hidden = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).last_hidden_state[0]
    rows = []
    for id, vector in zip(inputs["input_ids"][0].tolist(), hidden.numpy(), strict=True):
        characters = set(tokenizer.decode([id]).strip().removeprefix("##"))
        if id not in tokenizer.all_special_ids and not (characters and characters <= set(without)):
            rows.append(vector / np.linalg.norm(vector))
    return np.array(rows, np.float32)


def assert_same(actual: TokenEmbeddings, expected: TokenEmbeddings | list[NDArray[np.float32]]) -> None:
    assert len(actual) == len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_roberta(tmp_path_factory.mktemp("roberta"))


@pytest.fixture(scope="module", params=["bert", "roberta"])
def checkpoint(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> TransformerTokenEncoder:
    return load(checkpoint)


@pytest.fixture(scope="module")
def bert_encoder(bert: Path) -> TransformerTokenEncoder:
    return load(bert)


def test_is_an_encoder(encoder: TransformerTokenEncoder) -> None:
    assert isinstance(encoder, LateInteractionEncoder)
    assert encoder.dim == 16


def test_documents_are_those_of_the_reference(checkpoint: Path, encoder: TransformerTokenEncoder) -> None:
    expected = [reference(checkpoint, text, length=DOCUMENT_LENGTH, without=string.punctuation) for text in TEXTS]
    assert_same(encoder.encode_documents(TEXTS), expected)


def test_queries_are_those_of_the_reference(checkpoint: Path, encoder: TransformerTokenEncoder) -> None:
    expected = [reference(checkpoint, text, length=QUERY_LENGTH) for text in TEXTS]
    assert_same(encoder.encode_queries(TEXTS), expected)


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_batches_change_nothing(checkpoint: Path, batch_size: int) -> None:
    encoder = load(checkpoint, batch_size=batch_size)
    alone = [encoder.encode_documents([text])[0] for text in TEXTS]
    assert_same(encoder.encode_documents(TEXTS), alone)
    assert_same(encoder.encode_documents(TEXTS[::-1]), alone[::-1])
    alone = [encoder.encode_queries([text])[0] for text in TEXTS]
    assert_same(encoder.encode_queries(TEXTS), alone)


def test_vectors_have_unit_length(encoder: TransformerTokenEncoder) -> None:
    for batch in (encoder.encode_documents([*TEXTS, "!!!"]), encoder.encode_queries(TEXTS)):
        assert batch.values.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(batch.values, axis=1), 1, rtol=0, atol=1e-5)


def test_truncates_at_the_lengths(bert: Path) -> None:
    encoder = load(bert, query_length=5, document_length=12)
    words = ["the", "cat", "and", "dog", "in", "tree", "on", "river", "with", "fast", "slow", "good", "bad"]
    text = " ".join(words)
    # [CLS] and [SEP] count
    assert encoder.encode_queries([text]).lengths.tolist() == [3]
    assert encoder.encode_documents([text]).lengths.tolist() == [10]
    assert_same(encoder.encode_queries([text]), encoder.encode_queries([" ".join(words[:3])]))
    assert_same(encoder.encode_documents([text]), encoder.encode_documents([" ".join(words[:10])]))
    assert encoder.encode_documents([" ".join(words[:9])]).lengths.tolist() == [9]


def test_takes_as_many_tokens_as_the_model(checkpoint: Path) -> None:
    encoder = load(checkpoint, query_length=64, document_length=64)
    text = "cat " * 100
    assert encoder.encode_documents([text]).lengths.tolist() == [62]
    assert encoder.encode_queries([text]).lengths.tolist() == [62]


def test_punctuation_is_dropped_from_documents_only(bert_encoder: TransformerTokenEncoder) -> None:
    text = "good, (cat)!"
    assert bert_encoder.encode_documents([text]).lengths.tolist() == [2]
    assert bert_encoder.encode_queries([text]).lengths.tolist() == [6]


def test_nothing_but_punctuation_is_kept(checkpoint: Path, encoder: TransformerTokenEncoder) -> None:
    text = "!!!"
    expected = reference(checkpoint, text, length=DOCUMENT_LENGTH)
    assert len(expected) > 0
    assert_same(encoder.encode_documents([text]), [expected])
    assert_same(encoder.encode_queries([text]), [expected])
    # beside texts that lose theirs
    assert_same(encoder.encode_documents(["cat!", text, "dog"])[1:2], [expected])


def test_nothing_but_unknown_characters_keeps_everything(bert_encoder: TransformerTokenEncoder) -> None:
    assert bert_encoder.encode_documents(["日", "cat"]).lengths.tolist() == [3, 1]
    assert bert_encoder.encode_queries(["日", "cat"]).lengths.tolist() == [3, 1]


@pytest.mark.parametrize("text", ["", " ", "\n\t"])
def test_refuses_empty_texts(bert_encoder: TransformerTokenEncoder, text: str) -> None:
    with pytest.raises(InvalidDocumentError, match="text 1 is empty"):
        bert_encoder.encode_documents(["cat", text])
    with pytest.raises(InvalidQueryError, match="text 1 is empty"):
        bert_encoder.encode_queries(["cat", text])


def test_refuses_a_bare_string(bert_encoder: TransformerTokenEncoder) -> None:
    with pytest.raises(ConfigurationError, match="put it into a list"):
        bert_encoder.encode_documents("cat")
    with pytest.raises(ConfigurationError, match="put it into a list"):
        bert_encoder.encode_queries("cat")


def test_no_texts_give_an_empty_batch(bert_encoder: TransformerTokenEncoder) -> None:
    for batch in (bert_encoder.encode_documents([]), bert_encoder.encode_queries([])):
        assert (len(batch), batch.values.shape) == (0, (0, 16))


def without_name(encoder: TransformerTokenEncoder) -> dict[str, Any]:
    fingerprint = encoder.fingerprint()
    assert fingerprint.pop("name")
    return fingerprint


def test_fingerprint_of_a_copy_differs_in_its_name_only(
    checkpoint: Path, encoder: TransformerTokenEncoder, tmp_path: Path
) -> None:
    copy = load(shutil.copytree(checkpoint, tmp_path / "copy"))
    assert copy.fingerprint()["name"] == "copy"
    assert copy.fingerprint() != encoder.fingerprint()
    assert without_name(copy) == without_name(encoder)


def test_fingerprint_depends_on_weights_and_lengths(bert: Path, roberta: Path, tmp_path: Path) -> None:
    fingerprints = [
        without_name(load(bert)),
        without_name(load(tiny_bert(tmp_path, seed=1))),
        without_name(load(roberta)),
        without_name(load(bert, query_length=QUERY_LENGTH + 1)),
        without_name(load(bert, document_length=DOCUMENT_LENGTH - 1)),
    ]
    for number, fingerprint in enumerate(fingerprints):
        assert fingerprint not in fingerprints[:number]


def test_fingerprint_is_not_changed_by_use(checkpoint: Path) -> None:
    before, used = load(checkpoint), load(checkpoint)
    used.encode_documents(TEXTS)
    used.encode_queries(TEXTS)
    assert used.fingerprint() == before.fingerprint()
    before.encode_documents(TEXTS)
    assert used.fingerprint() == before.fingerprint()


def test_batch_size_is_not_in_the_fingerprint(bert: Path) -> None:
    assert load(bert, batch_size=1).fingerprint() == load(bert, batch_size=7).fingerprint()


def test_two_threads_get_what_one_gets(
    checkpoint: Path, encoder: TransformerTokenEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A tokenizer keeps the length that it truncates to, which differs between documents and queries. Where both
    # threads can set it before either tokenizes, they do; where they cannot, the barrier breaks and they go on.
    documents, queries = encoder.encode_documents(TEXTS), encoder.encode_queries(TEXTS)
    both_have_set = threading.Barrier(2)
    set_length = PreTrainedTokenizerFast.set_truncation_and_padding

    def set_length_and_meet(*arguments: Any, **named: Any) -> None:
        set_length(*arguments, **named)
        with suppress(threading.BrokenBarrierError):
            both_have_set.wait(timeout=0.2)

    fresh = load(checkpoint)
    monkeypatch.setattr(PreTrainedTokenizerFast, "set_truncation_and_padding", set_length_and_meet)
    with ThreadPoolExecutor(2) as threads:
        runs = [
            threads.submit(encode, TEXTS)
            for _ in range(20)
            for encode in (fresh.encode_documents, fresh.encode_queries)
        ]
    for run in runs[::2]:
        assert_same(run.result(), documents)
    for run in runs[1::2]:
        assert_same(run.result(), queries)


def test_refuses_a_missing_folder(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(CheckpointError) as caught:
        load(missing)
    assert str(missing) in str(caught.value)


def test_refuses_truncated_weights(bert: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(bert, tmp_path / "broken")
    weights = broken / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError) as caught:
        load(broken)
    assert str(broken) in str(caught.value)


@pytest.mark.parametrize("name", ["query_length", "document_length"])
def test_refuses_lengths_beyond_the_model(checkpoint: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name}=65: .* from 3 to 64 tokens"):
        load(checkpoint, **{name: 65})


def test_refuses_lengths_without_room_for_text(bert: Path) -> None:
    with pytest.raises(ConfigurationError, match="query_length=2"):
        load(bert, query_length=2)


def test_refuses_a_batch_size_of_zero(bert: Path) -> None:
    with pytest.raises(ConfigurationError, match="batch_size must be at least 1, got 0"):
        load(bert, batch_size=0)


def test_fingerprint_of_a_checkpoint_without_pooler_is_the_same_at_every_load(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path / "model")
    remove_weights(path, "pooler.")
    first, second = (TransformerTokenEncoder.from_pretrained(path, query_length=32, document_length=48) for _ in "ab")
    assert first.fingerprint() == second.fingerprint()


def test_weights_that_are_missing_are_refused(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path / "model")
    remove_weights(path, "encoder.layer.1.")
    with pytest.raises(CheckpointError, match=r"lack \d+ of the model's tensors, such as 'encoder\.layer\.1\."):
        TransformerTokenEncoder.from_pretrained(path, query_length=32, document_length=48)


@pytest.mark.parametrize(
    ("file", "old", "new", "field"),
    [
        ("config.json", '"num_attention_heads": 2', '"num_attention_heads": 1', "settings"),
        ("tokenizer.json", '"lowercase": true', '"lowercase": false', "tokenizer"),
    ],
)
def test_fingerprint_tells_settings_apart(tmp_path: Path, file: str, old: str, new: str, field: str) -> None:
    path = tiny_bert(tmp_path / "model")
    before = TransformerTokenEncoder.from_pretrained(path, query_length=32, document_length=48).fingerprint()
    text = (path / file).read_text()
    assert old in text
    (path / file).write_text(text.replace(old, new))
    after = TransformerTokenEncoder.from_pretrained(path, query_length=32, document_length=48).fingerprint()
    assert {key for key in before if before[key] != after[key]} == {field}


def test_positions_that_begin_after_the_padding_bound_the_length(tmp_path: Path) -> None:
    path = tiny_roberta(tmp_path / "model")
    config = path / "tokenizer_config.json"
    config.write_text(config.read_text().replace('"model_max_length": 64', '"model_max_length": 1000000000000'))
    with pytest.raises(ConfigurationError, match="takes from 3 to 64 tokens"):
        TransformerTokenEncoder.from_pretrained(path, query_length=32, document_length=65)


def remove_weights(path: Path, prefix: str) -> None:
    weights = path / "model.safetensors"
    kept = {name: tensor for name, tensor in load_file(weights).items() if not name.startswith(prefix)}
    save_file(kept, weights, metadata={"format": "pt"})
