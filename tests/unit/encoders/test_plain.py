"""Encoders without a projection, against one text at a time, straight through transformers."""

from __future__ import annotations

import os
import shutil
import string
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, T5EncoderModel

from colbert_qdrant import (
    CheckpointError,
    ColbertEncoder,
    ConfigurationError,
    InvalidDocumentError,
    InvalidQueryError,
    LateInteractionEncoder,
)
from tests.checkpoints import tiny_bert, tiny_byt5, tiny_roberta
from tests.unit.encoders.reference import (
    assert_same,
    edit_json,
    edit_weights,
    hidden_states,
    load,
    model_of,
    tokenizer_of,
    unit,
    without_name,
)

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
LENGTHS = {"query_length": QUERY_LENGTH, "document_length": DOCUMENT_LENGTH}
EMPTY = ["", " ", "\n\t"]


def reference(
    path: Path, texts: list[str], *, length: int, without: str = "", model: Any = None
) -> list[NDArray[np.float32]]:
    """Vectors of texts without special tokens, nor tokens of nothing but characters in ``without``."""
    tokenizer, model = tokenizer_of(path), model or model_of(path)
    matrices = []
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=length)["input_ids"]
        pieces = [set(tokenizer.decode([id]).strip().removeprefix("##")) for id in ids]
        kept = [
            id not in tokenizer.all_special_ids and not (piece and piece <= set(without))
            for id, piece in zip(ids, pieces, strict=True)
        ]
        matrices.append(unit(hidden_states(model, ids)[kept]))
    return matrices


@pytest.fixture(scope="module", params=["bert", "roberta"])
def checkpoint(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


@pytest.fixture(scope="module")
def encoder(checkpoint: Path) -> ColbertEncoder:
    return load(checkpoint, **LENGTHS)


@pytest.fixture(scope="module")
def bert_encoder(bert: Path) -> ColbertEncoder:
    return load(bert, **LENGTHS)


@pytest.fixture(scope="module")
def byt5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_byt5(tmp_path_factory.mktemp("byt5"))


def test_is_an_encoder(encoder: ColbertEncoder) -> None:
    assert isinstance(encoder, LateInteractionEncoder)
    assert encoder.dim == 16


def test_documents_are_those_of_the_reference(checkpoint: Path, encoder: ColbertEncoder) -> None:
    expected = reference(checkpoint, TEXTS, length=DOCUMENT_LENGTH, without=string.punctuation)
    assert_same(encoder.encode_documents(TEXTS), expected)


def test_queries_are_those_of_the_reference(checkpoint: Path, encoder: ColbertEncoder) -> None:
    assert_same(encoder.encode_queries(TEXTS), reference(checkpoint, TEXTS, length=QUERY_LENGTH))


@pytest.mark.parametrize("batch_size", [1, 2, 32])
def test_batches_change_nothing(checkpoint: Path, batch_size: int) -> None:
    encoder = load(checkpoint, batch_size=batch_size, **LENGTHS)
    alone = [encoder.encode_documents([text])[0] for text in TEXTS]
    assert_same(encoder.encode_documents(TEXTS), alone)
    assert_same(encoder.encode_documents(TEXTS[::-1]), alone[::-1])
    alone = [encoder.encode_queries([text])[0] for text in TEXTS]
    assert_same(encoder.encode_queries(TEXTS), alone)


def test_vectors_have_unit_length(encoder: ColbertEncoder) -> None:
    for batch in (encoder.encode_documents([*TEXTS, "!!!", ""]), encoder.encode_queries(TEXTS)):
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


def test_truncated_says_which_texts_lost_their_end(bert: Path) -> None:
    encoder = load(bert, query_length=5, document_length=12)
    # with [CLS] and [SEP], 3 words of a query and 10 of a document just fit
    assert encoder.encode_queries(["cat " * 3, "cat " * 4, "cat"]).truncated.tolist() == [False, True, False]
    documents = encoder.encode_documents(["cat " * 11, "cat " * 10, "", "dog " * 500, "cat"])
    assert documents.truncated.tolist() == [True, False, False, True, False]


def test_takes_as_many_tokens_as_the_model(checkpoint: Path) -> None:
    encoder = load(checkpoint, query_length=64, document_length=64)
    text = "cat " * 100
    assert encoder.encode_documents([text]).lengths.tolist() == [62]
    assert encoder.encode_queries([text]).lengths.tolist() == [62]


def test_lengths_have_defaults(tmp_path: Path) -> None:
    encoder = load(tiny_bert(tmp_path, positions=300))
    text = "cat " * 500
    assert encoder.encode_queries([text]).lengths.tolist() == [64 - 2]
    assert encoder.encode_documents([text]).lengths.tolist() == [256 - 2]


def test_default_lengths_are_no_more_than_the_model_takes(tmp_path: Path, bert: Path) -> None:
    # a tokenizer that knows no limit, and positions of which RoBERTa has two less than it says
    path = tiny_roberta(tmp_path)
    edit_json(path / "tokenizer_config.json", model_max_length=10**12)
    for encoder in (load(bert), load(path)):
        assert encoder.encode_queries(["cat " * 500]).lengths.tolist() == [62]
        assert encoder.encode_documents(["cat " * 500]).lengths.tolist() == [62]


def test_default_lengths_are_no_more_than_the_tokenizer_takes(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path)
    edit_json(path / "tokenizer_config.json", model_max_length=20)
    assert load(path).encode_documents(["cat " * 500]).lengths.tolist() == [18]


def test_punctuation_is_dropped_from_documents_only(bert_encoder: ColbertEncoder) -> None:
    text = "good, (cat)!"
    assert bert_encoder.encode_documents([text]).lengths.tolist() == [2]
    assert bert_encoder.encode_queries([text]).lengths.tolist() == [6]


def test_nothing_but_punctuation_is_kept(checkpoint: Path, encoder: ColbertEncoder) -> None:
    text = "!!!"
    expected = reference(checkpoint, [text], length=DOCUMENT_LENGTH)
    assert len(expected[0]) > 0
    assert_same(encoder.encode_documents([text]), expected)
    assert_same(encoder.encode_queries([text]), expected)
    # beside texts that lose theirs
    assert_same(encoder.encode_documents(["cat!", text, "dog"])[1:2], expected)


def test_nothing_but_unknown_characters_keeps_everything(bert_encoder: ColbertEncoder) -> None:
    assert bert_encoder.encode_documents(["日", "cat"]).lengths.tolist() == [3, 1]
    assert bert_encoder.encode_queries(["日", "cat"]).lengths.tolist() == [3, 1]


def test_empty_texts_are_their_special_tokens(bert: Path, bert_encoder: ColbertEncoder) -> None:
    tokenizer = tokenizer_of(bert)
    ids = [tokenizer.cls_token_id, tokenizer.sep_token_id]
    expected = [unit(hidden_states(model_of(bert), ids))] * len(EMPTY)
    assert_same(bert_encoder.encode_documents(EMPTY), expected)
    assert_same(bert_encoder.encode_queries(EMPTY), expected)
    # beside a text that loses them
    assert bert_encoder.encode_documents(["cat", ""]).lengths.tolist() == [1, 2]


@pytest.mark.parametrize("value", [None, 3, b"cat", ["cat"]])
def test_refuses_what_is_no_string(bert_encoder: ColbertEncoder, value: Any) -> None:
    with pytest.raises(InvalidDocumentError, match="text 1 is "):
        bert_encoder.encode_documents(["cat", value])
    with pytest.raises(InvalidQueryError, match="text 1 is "):
        bert_encoder.encode_queries(["cat", value])
    with pytest.raises(InvalidDocumentError, match="text 0 is "):
        bert_encoder.document_tokens([value])


def test_refuses_a_bare_string(bert_encoder: ColbertEncoder) -> None:
    with pytest.raises(ConfigurationError, match="put it into a list"):
        bert_encoder.encode_documents("cat")
    with pytest.raises(ConfigurationError, match="put it into a list"):
        bert_encoder.encode_queries("cat")
    with pytest.raises(ConfigurationError, match="put it into a list"):
        bert_encoder.document_tokens("cat")


def test_refuses_lone_surrogates(bert_encoder: ColbertEncoder) -> None:
    with pytest.raises(InvalidDocumentError, match=r"text 1 .* not valid Unicode"):
        bert_encoder.encode_documents(["cat", "dog \ud800"])
    with pytest.raises(InvalidQueryError, match=r"text 0 .* not valid Unicode"):
        bert_encoder.encode_queries(["\udfff"])


def test_no_texts_give_an_empty_batch(bert_encoder: ColbertEncoder) -> None:
    for batch in (bert_encoder.encode_documents([]), bert_encoder.encode_queries([])):
        assert (len(batch), batch.values.shape) == (0, (0, 16))
    assert bert_encoder.document_tokens([]) == []


def test_fingerprint_says_what_decides_the_vectors(encoder: ColbertEncoder) -> None:
    fingerprint = encoder.fingerprint()
    assert {"type", "name", "weights", "settings", "tokenizer", "dim", "query", "document"} <= set(fingerprint)
    assert fingerprint["query"]["length"] == QUERY_LENGTH
    assert fingerprint["document"]["length"] == DOCUMENT_LENGTH


def test_fingerprint_of_a_copy_differs_in_its_name_only(
    checkpoint: Path, encoder: ColbertEncoder, tmp_path: Path
) -> None:
    copy = load(shutil.copytree(checkpoint, tmp_path / "copy"), **LENGTHS)
    assert copy.fingerprint()["name"] == "copy"
    assert copy.fingerprint() != encoder.fingerprint()
    assert without_name(copy) == without_name(encoder)


def test_name_is_the_folder_however_it_is_written(bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bert)
    spellings: list[str | Path] = [bert, str(bert), f"{bert}{os.sep}", "."]
    assert {load(spelling).fingerprint()["name"] for spelling in spellings} == {bert.name}


def test_fingerprint_depends_on_weights_and_lengths(bert: Path, roberta: Path, tmp_path: Path) -> None:
    fingerprints = [
        without_name(load(bert, **LENGTHS)),
        without_name(load(tiny_bert(tmp_path, seed=1), **LENGTHS)),
        without_name(load(roberta, **LENGTHS)),
        without_name(load(bert, query_length=QUERY_LENGTH + 1, document_length=DOCUMENT_LENGTH)),
        without_name(load(bert, query_length=QUERY_LENGTH, document_length=DOCUMENT_LENGTH - 1)),
        without_name(load(bert, **LENGTHS, long_documents="split")),
        without_name(load(bert, **LENGTHS, prompts={"query": "query "})),
        without_name(load(bert, **LENGTHS, prompts={"document": "query "})),
    ]
    for number, fingerprint in enumerate(fingerprints):
        assert fingerprint not in fingerprints[:number]


def test_fingerprint_is_not_changed_by_use(checkpoint: Path) -> None:
    before, used = load(checkpoint, **LENGTHS), load(checkpoint, **LENGTHS)
    used.encode_documents(TEXTS)
    used.encode_queries(TEXTS)
    assert used.fingerprint() == before.fingerprint()
    before.encode_documents(TEXTS)
    assert used.fingerprint() == before.fingerprint()


def test_batch_size_is_not_in_the_fingerprint(bert: Path) -> None:
    assert load(bert, batch_size=1).fingerprint() == load(bert, batch_size=7).fingerprint()


def test_threads_get_what_one_gets(checkpoint: Path, encoder: ColbertEncoder) -> None:
    documents, queries = list(encoder.encode_documents(TEXTS)), list(encoder.encode_queries(TEXTS))
    fresh = load(checkpoint, **LENGTHS)
    with ThreadPoolExecutor(8) as threads:
        runs = [
            threads.submit(encode, TEXTS)
            for _ in range(20)
            for encode in (fresh.encode_documents, fresh.encode_queries)
        ]
    for run in runs[::2]:
        assert_same(run.result(), documents)
    for run in runs[1::2]:
        assert_same(run.result(), queries)


def test_heads_beside_the_transformer_are_left_out(bert: Path, tmp_path: Path) -> None:
    path = shutil.copytree(bert, tmp_path / "masked")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        BertForMaskedLM(BertConfig.from_pretrained(bert)).save_pretrained(path)
    assert_same(
        load(path, **LENGTHS).encode_documents(TEXTS),
        reference(path, TEXTS, length=DOCUMENT_LENGTH, without=string.punctuation),
    )


@pytest.mark.parametrize("name", ["query_length", "document_length"])
def test_refuses_lengths_beyond_the_model(checkpoint: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{name}=65 exceeds the 64 tokens"):
        load(checkpoint, **{name: 65})


def test_positions_that_begin_after_the_padding_bound_the_length(tmp_path: Path) -> None:
    path = tiny_roberta(tmp_path / "model")
    edit_json(path / "tokenizer_config.json", model_max_length=10**12)
    with pytest.raises(ConfigurationError, match=r"document_length=65 exceeds the 64 tokens"):
        load(path, document_length=65)


@pytest.mark.parametrize("name", ["query_length", "document_length"])
def test_refuses_lengths_without_room_for_text(bert: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"length of 2 tokens .* at least 3"):
        load(bert, **{name: 2})
    load(bert, **{name: 3})


@pytest.mark.parametrize("length", [0, -1, 3.5, "10"])
def test_refuses_lengths_that_are_no_numbers_of_tokens(bert: Path, length: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^document_length must be (at least 1|an integer), got "):
        load(bert, document_length=length)


def test_refuses_a_batch_size_of_zero(bert: Path) -> None:
    with pytest.raises(ConfigurationError, match="batch_size must be at least 1, got 0"):
        load(bert, batch_size=0)


def test_fingerprint_of_a_checkpoint_without_pooler_is_the_same_at_every_load(bert: Path, tmp_path: Path) -> None:
    path = shutil.copytree(bert, tmp_path / bert.name)
    remove_weights(path, "pooler.")
    first, second = load(path), load(path)
    assert first.fingerprint() == second.fingerprint()
    # the pooler changes no vector
    assert first.fingerprint() == load(bert).fingerprint()


def test_weights_that_are_missing_are_refused(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path / "model")
    remove_weights(path, "encoder.layer.1.")
    with pytest.raises(CheckpointError, match=r"lack \d+ of the model's tensors, such as 'encoder\.layer\.1\."):
        load(path)


@pytest.mark.parametrize(
    ("file", "old", "new", "field"),
    [
        ("config.json", '"num_attention_heads": 2', '"num_attention_heads": 1', "settings"),
        ("tokenizer.json", '"lowercase": true', '"lowercase": false', "tokenizer"),
    ],
)
def test_fingerprint_tells_settings_apart(tmp_path: Path, file: str, old: str, new: str, field: str) -> None:
    path = tiny_bert(tmp_path / "model")
    before = load(path).fingerprint()
    text = (path / file).read_text()
    assert old in text
    (path / file).write_text(text.replace(old, new))
    after = load(path).fingerprint()
    assert {key for key in before if before[key] != after[key]} == {field}


def remove_weights(path: Path, prefix: str) -> None:
    def remove(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.startswith(prefix)]:
            del tensors[name]

    edit_weights(path, remove)


# --- A tokenizer that is plain Python ---------------------------------------------------------------------------------


def test_python_tokenizers_give_what_the_reference_gives(byt5: Path) -> None:
    encoder = load(byt5, **LENGTHS)
    texts = ["cat", "Über, 東京!", "the slow dog", "!?"]
    cls: Any = T5EncoderModel  # its methods have no annotations
    model = cls.from_pretrained(byt5).eval()
    expected = reference(byt5, texts[:3], length=DOCUMENT_LENGTH, without=string.punctuation, model=model)
    expected += reference(byt5, texts[3:], length=DOCUMENT_LENGTH, model=model)
    assert_same(encoder.encode_documents(texts), expected)
    assert_same(encoder.encode_queries(texts), reference(byt5, texts, length=QUERY_LENGTH, model=model))


def test_python_tokenizers_say_which_texts_lost_their_end(byt5: Path) -> None:
    encoder = load(byt5, query_length=5, document_length=12)
    # one token for every byte, and one for the end
    assert encoder.encode_queries(["aaaa", "aaaaa", ""]).truncated.tolist() == [False, True, False]
    assert encoder.encode_documents(["a" * 11, "a" * 12, "ä" * 6]).truncated.tolist() == [False, True, True]
    assert encoder.encode_documents(["a" * 11, "a" * 12]).lengths.tolist() == [11, 11]


def test_python_tokenizers_work_in_threads(byt5: Path) -> None:
    encoder = load(byt5, query_length=5, document_length=12)
    texts = ["the cat and the dog", "a", "tree"]
    documents, queries = list(encoder.encode_documents(texts)), list(encoder.encode_queries(texts))
    with ThreadPoolExecutor(8) as threads:
        runs = [
            threads.submit(encode, texts)
            for _ in range(20)
            for encode in (encoder.encode_documents, encoder.encode_queries)
        ]
    for run in runs[::2]:
        assert_same(run.result(), documents)
    for run in runs[1::2]:
        assert_same(run.result(), queries)


def test_python_tokenizers_know_no_positions(byt5: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"ByT5Tokenizer .* use 'truncate'"):
        load(byt5, long_documents="split")
    with pytest.raises(ConfigurationError, match=r"ByT5Tokenizer .* a tokenizer\.json"):
        load(byt5).document_tokens(["cat"])


def test_python_tokenizers_refuse_lone_surrogates(byt5: Path) -> None:
    with pytest.raises(InvalidDocumentError, match=r"text 1 .* not valid Unicode"):
        load(byt5).encode_documents(["cat", "dog \ud800"])
