"""Token embeddings on disk: encoded once, never those of another text or encoder, whatever becomes of the files."""

from __future__ import annotations

import hashlib
import io
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from torch.nn.modules.module import register_module_forward_hook
from transformers import BertModel

from colbert_qdrant import ColbertQdrantWarning, ConfigurationError, InvalidDocumentError, InvalidQueryError
from tests.checkpoints import tiny_bert
from tests.processes import Script
from tests.unit.encoders.reference import assert_same, edit_json, edit_weights, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import torch

    from colbert_qdrant import ColbertEncoder

TEXTS = ["the cat", "a river, and a tree", "", "query " * 100, "日本 \U0001f600", "the cat"]
DISTINCT = 5


def array_of(shape: tuple[int, ...]) -> bytes:
    """The header of an array file, without the array."""
    file = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


HUGE_ARRAY = array_of((2**38, 1_024))


@contextmanager
def counted() -> Iterator[list[int]]:
    """Sequences that go through a transformer meanwhile: a list as long as there are any."""
    sequences: list[int] = []

    def count(module: torch.nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(module, BertModel):
            sequences.extend(range(len(output.last_hidden_state)))

    handle = register_module_forward_hook(count)
    try:
        yield sequences
    finally:
        handle.remove()


def cached(path: Path, folder: Path, **arguments: Any) -> ColbertEncoder:
    return load(path, **({"cache": folder, "query_length": 64, "document_length": 64} | arguments))


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "not" / "there" / "yet"


@pytest.fixture(scope="module")
def expected(bert: Path) -> list[Any]:
    return list(load(bert, query_length=64, document_length=64).encode_documents(TEXTS))


def test_nothing_is_encoded_twice(bert: Path, folder: Path, expected: list[Any]) -> None:
    encoder = cached(bert, folder)
    with counted() as passes:
        first = encoder.encode_documents(TEXTS)
    assert len(passes) == DISTINCT
    with counted() as passes:
        second = encoder.encode_documents(TEXTS)
        again = cached(bert, folder).encode_documents(TEXTS[::-1])
    assert passes == []
    assert_same(first, expected)
    assert_same(second, first, atol=0)
    assert_same(again, list(first)[::-1], atol=0)
    assert len(entries(folder)) == DISTINCT


def test_only_what_is_missing_is_encoded(bert: Path, folder: Path, expected: list[Any]) -> None:
    encoder = cached(bert, folder)
    encoder.encode_documents(TEXTS[1:3])
    with counted() as passes:
        batch = encoder.encode_documents(TEXTS)
    assert len(passes) == DISTINCT - 2
    assert_same(batch, expected)


def test_a_text_that_comes_twice_is_encoded_once(bert: Path, folder: Path) -> None:
    encoder = cached(bert, folder)
    with counted() as passes:
        batch = encoder.encode_documents(["cat", "dog", "cat", "cat"])
    assert len(passes) == 2
    plain = load(bert).encode_documents(["cat", "dog", "cat", "cat"])
    assert_same(batch, plain)


def test_truncation_is_remembered(bert: Path, folder: Path) -> None:
    flags = [text.startswith("query") for text in TEXTS]
    for _ in "ab":
        encoder = cached(bert, folder)
        assert encoder.encode_documents(TEXTS).truncated.tolist() == flags
    assert encoder.encode_documents(["cat", *TEXTS]).truncated.tolist() == [False, *flags]


def test_truncation_is_warned_of_for_what_comes_from_the_cache(bert: Path, folder: Path) -> None:
    for _ in "ab":
        with pytest.warns(ColbertQdrantWarning, match="1 of 6 documents are longer"):
            cached(bert, folder).encode_documents(TEXTS)


def test_queries_and_documents_are_apart(bert: Path, folder: Path) -> None:
    encoder, plain = cached(bert, folder), load(bert)
    text = "good, (cat)!"
    for _ in "ab":
        assert_same(encoder.encode_documents([text]), plain.encode_documents([text]))
        assert_same(encoder.encode_queries([text]), plain.encode_queries([text]))
    assert len(entries(folder)) == 2


def test_texts_that_look_like_parts_of_a_key_are_apart(bert: Path, folder: Path) -> None:
    encoder, plain = cached(bert, folder), load(bert, query_length=64, document_length=64)
    texts = ["cat", "cat\n", "\ncat", "document\ncat", "query\ncat", "CAT", " cat", "é", "e\u0301"]
    encoder.encode_documents(texts)
    assert len(entries(folder)) == len(texts)
    assert_same(encoder.encode_documents(texts[::-1]), plain.encode_documents(texts[::-1]))


@pytest.mark.parametrize(
    "arguments",
    [
        {"document_length": 7},
        {"prompts": {"document": "query "}},
        {"pool_factor": 2},
        {"dtype": "bfloat16"},
        {"dtype": "float16"},
        {"document_length": 7, "long_documents": "split"},
    ],
)
def test_other_settings_have_entries_of_their_own(bert: Path, folder: Path, arguments: dict[str, Any]) -> None:
    cached(bert, folder).encode_documents(TEXTS)
    with counted() as passes:
        batch = cached(bert, folder, **arguments).encode_documents(TEXTS)
    assert len(passes) >= DISTINCT
    plain = load(bert, **({"query_length": 64, "document_length": 64} | arguments))
    assert_same(batch, plain.encode_documents(TEXTS), atol=1e-5 if "dtype" not in arguments else 0.1)


def test_other_weights_have_entries_of_their_own(bert: Path, folder: Path, tmp_path: Path) -> None:
    cached(bert, folder).encode_documents(TEXTS)
    other = tiny_bert(tmp_path / "other", seed=1)
    batch = cached(other, folder).encode_documents(TEXTS)
    assert_same(batch, load(other, query_length=64, document_length=64).encode_documents(TEXTS))


def test_other_projections_have_entries_of_their_own(copied: Callable[[str], Path], folder: Path) -> None:
    path = copied("pylate-bert")
    first = load(path, cache=folder).encode_documents(TEXTS)
    edit_weights(path / "1_Dense", lambda tensors: tensors["linear.weight"][0].mul_(-1))
    second = load(path, cache=folder).encode_documents(TEXTS)
    assert np.abs(first.values - second.values).max() > 0.1


def test_other_activations_have_entries_of_their_own(copied: Callable[[str], Path], folder: Path) -> None:
    path = copied("pylate-bert")
    first = load(path, cache=folder).encode_documents(TEXTS)
    edit_json(path / "1_Dense" / "config.json", activation_function="torch.nn.modules.activation.Tanh")
    second = load(path, cache=folder).encode_documents(TEXTS)
    assert np.abs(first.values - second.values).max() > 1e-3


def test_a_copy_of_the_checkpoint_shares_the_entries(bert: Path, folder: Path, tmp_path: Path) -> None:
    cached(bert, folder).encode_documents(TEXTS)
    copy = shutil.copytree(bert, tmp_path / "copy")
    with counted() as passes:
        cached(copy, folder, batch_size=7).encode_documents(TEXTS)
    assert passes == []


# --- Damage -----------------------------------------------------------------------------------------------------------


def flip(content: bytes) -> bytes:
    return content[:-1] + bytes([content[-1] ^ 1])


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: content[:10], id="a few bytes"),
        pytest.param(lambda content: content[:32], id="a digest alone"),
        pytest.param(lambda content: content[:-8], id="cut short"),
        pytest.param(lambda content: content + b"\0", id="too long"),
        pytest.param(flip, id="one bit"),
        pytest.param(lambda content: content[:32] + bytes([content[32] ^ 1]) + content[33:], id="the flag"),
        pytest.param(lambda content: b"\0" * len(content), id="zeros"),
        pytest.param(lambda content: b"\x93NUMPY" + content, id="something else"),
    ],
)
def test_damaged_entries_are_made_anew(
    bert: Path,
    folder: Path,
    expected: list[Any],
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[bytes], bytes],
) -> None:
    cached(bert, folder).encode_documents(TEXTS)
    damaged = entries(folder)[1]
    damaged.write_bytes(damage(damaged.read_bytes()))
    caplog.clear()
    with counted() as passes:
        batch = cached(bert, folder).encode_documents(TEXTS)
    assert len(passes) == 1
    assert_same(batch, expected)
    assert batch.truncated.tolist() == [text.startswith("query") for text in TEXTS]
    warnings = {record.getMessage() for record in caplog.records if record.levelname == "WARNING"}
    assert any(str(damaged) in warning and "encoded again" in warning for warning in warnings)
    with counted() as passes:
        assert_same(cached(bert, folder).encode_documents(TEXTS), expected)
    assert passes == []


@pytest.mark.parametrize("array", [b"", b"no array", HUGE_ARRAY], ids=["nothing", "text", "a petabyte"])
def test_entries_that_somebody_else_wrote_are_made_anew(
    bert: Path, folder: Path, expected: list[Any], caplog: pytest.LogCaptureFixture, array: bytes
) -> None:
    cached(bert, folder).encode_documents(TEXTS)
    foreign = entries(folder)[1]
    foreign.write_bytes(hashlib.sha256(b"\0" + array).digest() + b"\0" + array)
    assert_same(cached(bert, folder).encode_documents(TEXTS), expected)
    assert f"{foreign} is not an array" in caplog.text


def test_deleted_entries_are_made_anew(bert: Path, folder: Path, expected: list[Any]) -> None:
    encoder = cached(bert, folder)
    encoder.encode_documents(TEXTS)
    entries(folder)[0].unlink()
    assert_same(encoder.encode_documents(TEXTS), expected)
    shutil.rmtree(folder)
    assert_same(encoder.encode_documents(TEXTS), expected)
    assert len(entries(folder)) == DISTINCT


def test_what_a_killed_process_leaves_is_harmless(bert: Path, folder: Path, expected: list[Any]) -> None:
    encoder = cached(bert, folder)
    encoder.encode_documents(TEXTS)
    entry = entries(folder)[0]
    for name in ("tmpabc.part", f"{entry.name}.part", "x.emb"):
        entry.with_name(name).write_bytes(entry.read_bytes()[:20])
    with counted() as passes:
        assert_same(encoder.encode_documents(TEXTS), expected)
    assert passes == []


def test_nothing_unfinished_is_left(bert: Path, folder: Path) -> None:
    cached(bert, folder).encode_documents(TEXTS)
    assert {path.suffix for path in entries(folder)} == {".emb"}


def test_a_file_is_no_folder(bert: Path, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigurationError, match="is a file") as caught:
        cached(bert, file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    "path", ["", " ", "~/cache", "$HOME/cache", "%TEMP%", "a\n", "http://example.org", "s3://bucket"]
)
def test_what_names_no_folder_makes_none(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match="does not name a folder: pass its path"):
        load(bert, cache=path)
    assert list(tmp_path.iterdir()) == []


# --- Texts ------------------------------------------------------------------------------------------------------------


def test_lone_surrogates_are_refused_as_without_a_cache(bert: Path, folder: Path) -> None:
    encoder = cached(bert, folder)
    with pytest.raises(InvalidDocumentError, match="not valid Unicode"):
        encoder.encode_documents(["cat \ud800"])
    with pytest.raises(InvalidQueryError, match="not valid Unicode"):
        encoder.encode_queries(["cat \udfff"])
    assert entries(folder) == []


def test_no_texts(bert: Path, folder: Path) -> None:
    assert len(cached(bert, folder).encode_documents([])) == 0


def test_a_stream_fills_and_reads_the_cache(bert: Path, folder: Path, expected: list[Any]) -> None:
    assert_same(cached(bert, folder).encode_documents(iter(TEXTS)), expected)
    with counted() as passes:
        assert_same(cached(bert, folder).encode_documents(iter(TEXTS)), expected)
    assert passes == []


# --- At once ----------------------------------------------------------------------------------------------------------


def test_threads_share_a_cache(bert: Path, folder: Path) -> None:
    texts = [f"the cat {number % 20} and dog {number % 7}" for number in range(60)]
    expected = list(load(bert).encode_documents(texts))
    shared, other = cached(bert, folder), cached(bert, folder)

    def encode(number: int) -> tuple[int, Any]:
        encoder = shared if number % 2 else other
        return number, encoder.encode_documents(texts[number:] + texts[:number])

    with ThreadPoolExecutor(8) as threads:
        for number, batch in threads.map(encode, range(24)):
            assert_same(batch, expected[number:] + expected[:number])
    assert {path.suffix for path in entries(folder)} == {".emb"}
    assert len(entries(folder)) == len(set(texts))


PROCESS = """
import sys
from pathlib import Path

import numpy as np
import torch

from colbert_qdrant import ColbertEncoder

checkpoint, folder, out = map(Path, sys.argv[1:])
torch.set_num_threads(1)
texts = [f"the cat {number} and dog" for number in range(200)]
encoder = ColbertEncoder.from_pretrained(checkpoint, device="cpu", local_files_only=True, cache=folder)
print("ready", flush=True)
sys.stdin.readline()
batches = [encoder.encode_documents(texts[start : start + 20]) for start in range(0, 200, 20)]
np.save(out, np.concatenate([batch.values for batch in batches]))
"""


def test_processes_share_a_cache(bert: Path, folder: Path, tmp_path: Path) -> None:
    outs = [tmp_path / f"{name}.npy" for name in "ab"]
    with ExitStack() as stack:
        processes = [stack.enter_context(Script(PROCESS, bert, folder, out)) for out in outs]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    texts = [f"the cat {number} and dog" for number in range(200)]
    expected = load(bert).encode_documents(texts).values
    for out in outs:
        np.testing.assert_allclose(np.load(out), expected, rtol=0, atol=1e-5)
    with counted() as passes:
        found = load(bert, cache=folder).encode_documents(texts)
    assert passes == []
    np.testing.assert_allclose(found.values, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("fails", ["replace", "read_bytes", "mkdir"])
def test_a_cache_that_fails_never_fails_the_work(
    bert: Path, folder: Path, fails: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    encoder, plain = cached(bert, folder), load(bert)
    monkeypatch.setattr(f"pathlib.Path.{fails}", fail)
    for text in ("the cat", "the dog"):
        assert_same(encoder.encode_queries([text]), plain.encode_queries([text]))
    warned = [record.getMessage() for record in caplog.records if "cannot be" in record.getMessage()]
    assert len(warned) == 1
    assert str(folder) in warned[0]
    assert "No space left on device" in warned[0]
