"""What an encoder does beside encoding a list of texts: streams, overrides, precisions, threads and fingerprints."""

from __future__ import annotations

import json
import shutil
import string
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from qdrant_client import QdrantClient
from safetensors.torch import load_file, save_file

from colbert_qdrant import (
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    FingerprintMismatchError,
    InvalidDocumentError,
    MuveraConfig,
)
from tests.parity.checkpoints import NAMES
from tests.unit.encoders.reference import (
    WEIGHTS,
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
    from collections.abc import Callable, Iterator
    from pathlib import Path

TEXTS = ["the cat", "a river, and a tree!", "", "the slow dog " * 20, "fast search", "日本"]


# --- Streams ----------------------------------------------------------------------------------------------------------


class Reader:
    """An iterator that knows how far it was read."""

    def __init__(self, texts: Iterator[str]) -> None:
        self.texts = texts
        self.read = 0

    def __iter__(self) -> Reader:
        return self

    def __next__(self) -> str:
        text = next(self.texts)
        self.read += 1
        return text


def numbered() -> Iterator[str]:
    return (f"cat {number % 10} " * (1 + number % 3) for number in count())


def test_a_stream_gives_what_a_list_gives(built: Callable[[str], Path]) -> None:
    encoder = load(built("pylate-bert"))
    texts = list(islice(numbered(), 2_500))
    assert_same(encoder.encode_documents(iter(texts)), encoder.encode_documents(texts))


def test_a_stream_is_read_as_its_results_are_taken(built: Callable[[str], Path]) -> None:
    encoder = load(built("pylate-bert"))
    reader = Reader(islice(numbered(), 5_000))
    stream = encoder.encode_documents(reader)
    assert reader.read == 0
    for taken in range(1, 2_200):
        next(stream)
        assert taken <= reader.read <= taken + 1_024


def test_an_empty_stream(built: Callable[[str], Path]) -> None:
    assert list(load(built("pylate-bert")).encode_documents(iter([]))) == []


def test_a_stream_refuses_what_is_no_string(built: Callable[[str], Path]) -> None:
    texts: list[Any] = ["cat", 3]
    with pytest.raises(InvalidDocumentError, match="text 1 is 3"):
        list(load(built("pylate-bert")).encode_documents(iter(texts)))


@pytest.mark.parametrize("kind", [tuple, np.array, lambda texts: dict.fromkeys(texts).keys()])
def test_texts_may_be_in_any_collection(built: Callable[[str], Path], kind: Callable[[list[str]], Any]) -> None:
    encoder, texts = load(built("pylate-bert")), ["cat", "dog", "a tree"]
    assert_same(encoder.encode_documents(kind(texts)), encoder.encode_documents(texts))
    assert_same(encoder.encode_queries(kind(texts)), encoder.encode_queries(texts))


def test_an_iterator_of_queries_is_not_lost(built: Callable[[str], Path]) -> None:
    encoder, texts = load(built("pylate-bert")), ["cat", "dog"]
    iterator: Any = iter(texts)
    try:
        queries = encoder.encode_queries(iterator)
    except ConfigurationError:
        return
    assert_same(queries, encoder.encode_queries(texts))


# --- Overrides --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pylate-bert", "stanford-bert", "mve-fixed"])
@pytest.mark.parametrize("length", [8, 40])
def test_query_length_moves_the_expansion_too(built: Callable[[str], Path], name: str, length: int) -> None:
    encoder = load(built(name), query_length=length)
    queries = encoder.encode_queries(TEXTS)
    assert queries.lengths.tolist() == [length] * len(TEXTS)
    assert encoder.fingerprint()["query"]["length"] == length


def test_an_expansion_with_a_floor_keeps_it(built: Callable[[str], Path]) -> None:
    # fills up to 12 tokens, and cuts off at the length
    lengths = load(built("mve-min"), query_length=30).encode_queries(["cat", " cat" * 20, " cat" * 99]).lengths
    assert lengths.tolist() == [12, 22, 30]


def test_expansion_is_of_mask_tokens_that_nobody_attends_to(built: Callable[[str], Path]) -> None:
    path = built("pylate-bert")
    tokenizer, model = tokenizer_of(path), model_of(path)
    projection = load_file(path / "1_Dense" / WEIGHTS)["linear.weight"].numpy()
    ids = tokenizer("the cat")["input_ids"]
    ids = [ids[0], tokenizer.convert_tokens_to_ids("[Q] "), *ids[1:]]
    attended = len(ids)
    ids += [tokenizer.convert_tokens_to_ids("[MASK]")] * (20 - attended)
    expected = unit(hidden_states(model, ids, attended=attended) @ projection.T)
    assert_same(load(path, query_length=20).encode_queries(["the cat"]), [expected], atol=1e-6)


@pytest.mark.parametrize("name", ["pylate-bert", "pylate-prompts", "stanford-bert", "mve-fixed", "mve-pooling"])
def test_prompts_are_put_in_front(built: Callable[[str], Path], name: str) -> None:
    texts = ["the cat", "dog"]
    prompted = load(built(name), prompts={"query": "fast word: ", "document": "slow text "})
    bare = load(built(name), prompts={"query": "", "document": ""})
    assert_same(prompted.encode_queries(texts), bare.encode_queries([f"fast word: {text}" for text in texts]))
    assert_same(prompted.encode_documents(texts), bare.encode_documents([f"slow text {text}" for text in texts]))


def test_prompts_that_are_not_given_stay(built: Callable[[str], Path]) -> None:
    path = built("pylate-prompts")
    encoder, changed = load(path), load(path, prompts={"query": "fast "})
    assert changed.fingerprint()["query"]["prompt"] == "fast "
    assert_same(changed.encode_documents(TEXTS), encoder.encode_documents(TEXTS))
    assert np.abs(changed.encode_queries(["cat"]).values - encoder.encode_queries(["cat"]).values).max() > 1e-3


def test_pool_factor_pools_documents(built: Callable[[str], Path]) -> None:
    path = built("pylate-bert")
    encoder, pooled = load(path), load(path, pool_factor=2)
    text = "the cat and the dog in a tree by the river"
    assert encoder.encode_documents([text]).lengths.tolist() == [14]
    assert pooled.encode_documents([text]).lengths.tolist() == [1 + 13 // 2]
    # the first token is protected
    assert_same([pooled.encode_documents([text])[0][:1]], [encoder.encode_documents([text])[0][:1]])
    assert_same(pooled.encode_queries([text]), encoder.encode_queries([text]))


def test_pool_factor_is_in_the_fingerprint(built: Callable[[str], Path]) -> None:
    path = built("pylate-bert")
    prints = [load(path, **arguments).fingerprint() for arguments in ({}, {"pool_factor": 2}, {"pool_factor": 2.5})]
    assert len({json.dumps(each, sort_keys=True) for each in prints}) == 3
    assert load(path, pool_factor=1).fingerprint() == prints[0]


def test_pool_factor_of_one_undoes_the_checkpoints(built: Callable[[str], Path]) -> None:
    path, texts = built("mve-pooling"), ["the cat and the dog in a tree"]
    assert load(path, pool_factor=1).encode_documents(texts).lengths[0] > load(path).encode_documents(texts).lengths[0]


def test_truncation_shows_where_vectors_are_pooled(built: Callable[[str], Path]) -> None:
    encoder = load(built("pylate-bert"), pool_factor=2)
    assert encoder.encode_documents(["cat " * 99, "cat"]).truncated.tolist() == [True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "int8"}, r"dtype='int8'.*'float32'"),
        ({"device": "nonesuch"}, r"torch cannot use device 'nonesuch'"),
        ({"device": ""}, r"torch cannot use device ''"),
        ({"long_documents": "drop"}, r"long_documents='drop'.*'truncate', 'split'"),
        ({"prompts": {"passage": "x"}}, r"prompts has the keys \['passage'\]: use only"),
        ({"prompts": {"query": 3}}, r"prompts.* 3"),
        ({"pool_factor": 0.5}, r"pool_factor.*0\.5"),
        ({"pool_factor": float("nan")}, r"pool_factor.*nan"),
        ({"batch_size": 0}, r"batch_size.*0"),
        ({"query_length": 0}, r"length.*0"),
        ({"document_length": True}, r"length.*True"),
        ({"query_length": 3}, r"length of 3 tokens .* at least 4"),
    ],
)
def test_parameters_out_of_range(built: Callable[[str], Path], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load(built("pylate-bert"), **arguments)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device here")
def test_a_device_that_is_not_there(built: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigurationError, match=r"torch cannot use device 'cuda:0' .*use 'cpu' or 'auto'"):
        load(built("pylate-bert"), device="cuda:0")


# --- Precisions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["pylate-bert", "pylate-modernbert", "stanford-modules", "mve-fixed"])
def test_half_precision_is_close(built: Callable[[str], Path], name: str, dtype: str) -> None:
    full, half = load(built(name)), load(built(name), dtype=dtype)
    for encode in ("encode_queries", "encode_documents"):
        expected, actual = getattr(full, encode)(TEXTS), getattr(half, encode)(TEXTS)
        assert actual.values.dtype == np.float32
        assert actual.lengths.tolist() == expected.lengths.tolist()
        assert np.einsum("ij,ij->i", actual.values, expected.values).min() > 0.99
        assert np.abs(actual.values - expected.values).max() > 0, "it was not computed in half precision"
        np.testing.assert_allclose(np.linalg.norm(actual.values, axis=1), 1, rtol=0, atol=1e-5)
    assert half.fingerprint() == full.fingerprint()


def test_precision_may_be_torchs(built: Callable[[str], Path]) -> None:
    path = built("pylate-bert")
    theirs = load(path, dtype=str(torch.bfloat16)).encode_documents(TEXTS)
    assert_same(theirs, load(path, dtype="bfloat16").encode_documents(TEXTS), atol=0)


# --- Fingerprints -----------------------------------------------------------------------------------------------------


def test_repr_says_what_it_is(built: Callable[[str], Path]) -> None:
    text = repr(load(built("pylate-bert")))
    for part in ("ColbertEncoder", "'pylate-bert'", "pylate", "8"):
        assert part in text


@pytest.mark.parametrize("name", NAMES)
def test_fingerprints_are_json_and_lasting(built: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    encoder = load(built(name))
    fingerprint = encoder.fingerprint()
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    encoder.encode_documents(TEXTS)
    assert encoder.fingerprint() == fingerprint
    assert str(built(name)) not in json.dumps(fingerprint)
    assert without_name(load(shutil.copytree(built(name), tmp_path / "copy"))) == without_name(encoder)


def test_fingerprints_of_checkpoints_differ(built: Callable[[str], Path]) -> None:
    prints = [json.dumps(without_name(load(built(name))), sort_keys=True) for name in NAMES]
    assert len(set(prints)) == len(NAMES)


def to_pylate(stanford: Path, target: Path) -> Path:
    """The same model in the layout of PyLate."""
    shutil.copytree(stanford, target)
    (target / "artifact.metadata").unlink()
    edit_json(target / "config.json", architectures=["BertModel"])
    tensors = load_file(target / WEIGHTS)
    projection = tensors.pop("linear.weight")
    backbone = {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}
    save_file(backbone, target / WEIGHTS, metadata={"format": "pt"})
    dense = target / "1_Dense"
    dense.mkdir()
    save_file({"linear.weight": projection}, dense / WEIGHTS, metadata={"format": "pt"})
    settings = {"in_features": 16, "out_features": len(projection), "bias": False}
    identity = "torch.nn.modules.linear.Identity"
    (dense / "config.json").write_text(json.dumps({**settings, "activation_function": identity}))
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
    ]
    (target / "modules.json").write_text(json.dumps(modules))
    (target / "config_sentence_transformers.json").write_text(
        json.dumps(
            {
                "model_type": "ColBERT",
                "query_prefix": "[unused0]",
                "document_prefix": "[unused1]",
                "query_length": 16,
                "document_length": 24,
                "attend_to_expansion_tokens": False,
                "skiplist_words": list(string.punctuation),
                "do_query_expansion": True,
            }
        )
    )
    return target


def test_the_same_model_in_another_layout_has_the_same_fingerprint(
    built: Callable[[str], Path], tmp_path: Path
) -> None:
    stanford, pylate = load(built("stanford-bert")), load(to_pylate(built("stanford-bert"), tmp_path / "pylate"))
    assert (stanford.spec.layout, pylate.spec.layout) == ("stanford", "pylate")
    assert without_name(pylate) == without_name(stanford)
    assert_same(pylate.encode_documents(TEXTS), stanford.encode_documents(TEXTS))
    assert_same(pylate.encode_queries(TEXTS), stanford.encode_queries(TEXTS))


@pytest.mark.parametrize("changes", [{"activation_function": "torch.nn.modules.activation.GELU"}])
def test_fingerprint_tells_projections_apart(copied: Callable[[str], Path], changes: dict[str, Any]) -> None:
    path = copied("pylate-bert")
    before = load(path)
    edit_json(path / "1_Dense" / "config.json", **changes)
    after = load(path)
    assert np.abs(before.encode_documents(["cat"]).values - after.encode_documents(["cat"]).values).max() > 1e-3
    assert before.fingerprint() != after.fingerprint()


def test_fingerprint_tells_the_mask_token_apart(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    before = load(path)
    edit_json(path / "tokenizer_config.json", mask_token="[UNK]")
    after = load(path)
    assert np.abs(before.encode_queries(["cat"]).values - after.encode_queries(["cat"]).values).max() > 1e-3
    assert before.fingerprint() != after.fingerprint()


# --- Threads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pylate-bert", "pylate-modernbert", "mve-min"])
def test_threads_get_what_one_gets(built: Callable[[str], Path], name: str) -> None:
    encoder = load(built(name))
    documents, queries = list(encoder.encode_documents(TEXTS)), list(encoder.encode_queries(TEXTS))
    spans = encoder.document_tokens(TEXTS)
    fresh = load(built(name))

    def encode(number: int) -> None:
        turn = number % len(TEXTS)
        texts = TEXTS[turn:] + TEXTS[:turn]
        assert_same(fresh.encode_documents(texts), documents[turn:] + documents[:turn])
        assert_same(fresh.encode_queries(texts), queries[turn:] + queries[:turn])
        assert fresh.document_tokens(texts) == spans[turn:] + spans[:turn]

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(encode, range(48)))


def test_other_prefixes(built: Callable[[str], Path]) -> None:
    path = built("pylate-bert")
    tokenizer = tokenizer_of(path)
    projection = load_file(path / "1_Dense" / WEIGHTS)["linear.weight"].numpy()
    for prefix, inserted in (("[UNK]", ["[UNK]"]), ("", [])):
        ids = tokenizer.convert_tokens_to_ids(["[CLS]", *inserted, "the", "cat", "[SEP]"])
        encoder = load(path, query_prefix=prefix, document_prefix=prefix)
        assert_same(encoder.encode_documents(["the cat"]), [unit(hidden_states(model_of(path), ids) @ projection.T)])
        assert encoder.fingerprint()["query"] != load(path).fingerprint()["query"]


def test_several_batches_at_once_leave_torchs_threads_alone(built: Callable[[str], Path]) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        path = built("pylate-bert")
        texts = [f"the cat {number} and dog" for number in range(50)]
        encoder, alone = load(path, batch_size=1), load(path)
        expected = [alone.encode_documents([text])[0] for text in texts]
        with ThreadPoolExecutor(4) as threads:
            for batch in threads.map(encoder.encode_documents, [texts] * 8):
                assert_same(batch, expected)
            encoder.encode_documents(texts)
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as other:
            assert other.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)


# --- Compiled ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore")  # those of the compiler
def test_compiled_models_give_the_same(copied: Callable[[str], Path]) -> None:
    path = copied("pylate-bert")
    edit_json(path / "config.json", num_hidden_layers=1)  # half the time

    def keep_one_layer(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.startswith("encoder.layer.1.")]:
            del tensors[name]

    edit_weights(path, keep_one_layer)
    texts = ["the cat", "a river, and a tree", "dog"]
    plain, compiled = load(path), load(path, compile=True)
    assert_same(compiled.encode_documents(texts), plain.encode_documents(texts))
    assert compiled.fingerprint() == plain.fingerprint()


def test_several_batches_at_once_give_the_same_and_leave_torch_as_it_was(built: Callable[[str], Path]) -> None:
    before = torch.get_num_threads()
    expected = load(built("pylate-bert")).encode_documents(TEXTS * 20)
    torch.set_num_threads(4)
    try:
        found = load(built("pylate-bert"), batch_size=1).encode_documents(TEXTS * 20)
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
    assert_same(found, expected)


# --- Collections ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pylate-bert", "stanford-bert", "mve-min", "mve-pooling"])
def test_a_collection_opens_with_a_copy_of_the_model_and_with_no_other(
    built: Callable[[str], Path], copied: Callable[[str], Path], name: str
) -> None:
    client = QdrantClient(":memory:")
    config = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
    docs = ColbertCollection.create("docs", client=client, encoder=load(built(name)), config=config)
    docs.upsert([Document("a", "the cat"), Document("b", "a river, and a tree!")])
    encoder = load(copied(name), dtype="bfloat16")
    again = ColbertCollection.open("docs", client=client, encoder=encoder)
    assert {hit.id for hit in again.search("the cat")} == {"a", "b"}
    with pytest.raises(FingerprintMismatchError, match=r"document\.length"):
        ColbertCollection.open("docs", client=client, encoder=load(built(name), document_length=12))
