"""Models of Sentence Transformers and PyLate as encoders: the real libraries, on tiny checkpoints."""

from __future__ import annotations

import copy
import json
import pickle
import shutil
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from qdrant_client import QdrantClient
from transformers import AutoConfig, AutoTokenizer

from colbert_qdrant import (
    ColbertCollection,
    ColbertEncoder,
    ColbertQdrantWarning,
    CollectionConfig,
    ConfigurationError,
    Document,
    FingerprintMismatchError,
    InvalidDocumentError,
    InvalidQueryError,
    LateInteractionEncoder,
    MuveraConfig,
    TokenEmbeddings,
    maxsim,
)
from colbert_qdrant.encoders.wrappers import PylateEncoder, SentenceTransformersEncoder
from tests.parity import differences
from tests.parity.checkpoints import build
from tests.parity.generate import GOLDENS, READ_BY
from tests.parity.texts import DOCUMENTS, QUERIES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    Load = Callable[..., Any]
    Encoder = PylateEncoder | SentenceTransformersEncoder

TOLERANCE = 1e-6
TEXTS = {"query": QUERIES, "document": DOCUMENTS}
SIDES = ("query", "document")
LONG = "the cat and the dog in the tree by the river " * 4


def encode(encoder: LateInteractionEncoder, side: str, texts: Iterable[str]) -> TokenEmbeddings:
    return encoder.encode_queries(list(texts)) if side == "query" else encoder.encode_documents(list(texts))


def golden(checkpoint: str, library: str) -> Mapping[str, NDArray[np.float32]]:
    with np.load(GOLDENS / f"{checkpoint}.{library}.npz") as arrays:
        return dict(arrays)


def sorted_rows(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    return matrix[np.lexsort(np.round(matrix, 4).T)]


def assert_golden(encoder: Encoder, checkpoint: str, library: str, side: str) -> None:
    expected, encoded = golden(checkpoint, library), encode(encoder, side, TEXTS[side])
    assert encoded.values.dtype == np.float32
    assert encoded.dim == encoder.dim
    for index, matrix in enumerate(encoded):
        reference = expected[f"{side}_{index:02}"]
        assert matrix.shape == reference.shape, TEXTS[side][index]
        np.testing.assert_allclose(matrix, reference, rtol=0, atol=TOLERANCE, err_msg=repr(TEXTS[side][index]))


def unnamed(encoder: LateInteractionEncoder) -> dict[str, Any]:
    return {**encoder.fingerprint(), "name": None}


def changed(one: LateInteractionEncoder, other: LateInteractionEncoder) -> set[str]:
    first, second = one.fingerprint(), other.fingerprint()
    return {name for name in first if first[name] != second[name]} - {"name"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("checkpoints")
    return cache(lambda name: build(name, root / name))


def test_importing_the_package_loads_neither_library() -> None:
    libraries = ("torch", "transformers", "sentence_transformers", "pylate")
    script = (
        "import sys, colbert_qdrant, colbert_qdrant.encoders.wrappers;"
        f"print([name for name in {libraries} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# --- Sentence Transformers --------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def library() -> Any:
    return pytest.importorskip(
        "sentence_transformers", minversion="6.0", reason="MultiVectorEncoder needs sentence-transformers 6"
    )


@pytest.fixture(scope="session")
def load(library: Any, folder: Callable[[str], Path]) -> Load:
    """Load a model anew."""

    def load(name: str, path: Path | None = None, **arguments: Any) -> Any:
        arguments = {"device": "cpu", "local_files_only": True} | arguments
        return library.MultiVectorEncoder(str(path or folder(name)), **arguments)

    return load


@pytest.fixture(scope="session")
def wrapped(load: Load) -> Callable[[str], SentenceTransformersEncoder]:
    return cache(lambda name: SentenceTransformersEncoder(load(name)))


@pytest.fixture(scope="session")
def own(folder: Callable[[str], Path]) -> Callable[[str], ColbertEncoder]:
    return cache(lambda name: ColbertEncoder.from_pretrained(folder(name), device="cpu", local_files_only=True))


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", READ_BY["sentence-transformers"])
def test_sentence_transformers_vectors_are_its_own(wrapped: Load, name: str, side: str) -> None:
    assert_golden(wrapped(name), name, "sentence-transformers", side)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", READ_BY["sentence-transformers"])
def test_sentence_transformers_is_as_our_encoder(wrapped: Load, own: Load, name: str, side: str) -> None:
    ours, theirs = encode(own(name), side, TEXTS[side]), encode(wrapped(name), side, TEXTS[side])
    assert theirs.truncated.any()
    for index, (mine, matrix) in enumerate(zip(ours, theirs, strict=True)):
        if (name, side, index) in differences.KNOWN:
            continue
        assert theirs.truncated[index] == ours.truncated[index], TEXTS[side][index]
        if name == "mve-pooling" and side == "document":  # the order of clusters means nothing
            mine, matrix = sorted_rows(mine), sorted_rows(matrix)  # noqa: PLW2901
        np.testing.assert_allclose(matrix, mine, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_wrapped_model_says_how_to_get_it_elsewhere(wrapped: Load, take: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match=r"load the model in the process .*, or use ColbertEncoder\.from_pretrained"):
        take(wrapped("mve-fixed"))


def test_a_wrapped_model_is_an_encoder(wrapped: Load) -> None:
    encoder = wrapped("mve-fixed")
    assert isinstance(encoder, LateInteractionEncoder)
    assert encoder.dim == 8
    assert repr(encoder) == "SentenceTransformersEncoder('mve-fixed', dim=8)"


@pytest.mark.parametrize("side", SIDES)
def test_nothing_gives_nothing(wrapped: Load, side: str) -> None:
    encoded = encode(wrapped("mve-fixed"), side, [])
    assert (len(encoded), encoded.dim) == (0, 8)


@pytest.mark.parametrize("side", SIDES)
def test_batches_change_nothing(load: Load, wrapped: Load, side: str) -> None:
    small = encode(SentenceTransformersEncoder(load("mve-min"), batch_size=3), side, TEXTS[side])
    together = encode(wrapped("mve-min"), side, TEXTS[side])
    np.testing.assert_array_equal(small.lengths, together.lengths)
    np.testing.assert_array_equal(small.truncated, together.truncated)
    np.testing.assert_allclose(small.values, together.values, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_becomes_float32(load: Load, wrapped: Load, dtype: torch.dtype) -> None:
    encoder = SentenceTransformersEncoder(load("mve-fixed", model_kwargs={"dtype": dtype}).to(dtype))
    for side in SIDES:
        encoded = encode(encoder, side, TEXTS[side])
        assert encoded.values.dtype == np.float32
        np.testing.assert_allclose(encoded.values, encode(wrapped("mve-fixed"), side, TEXTS[side]).values, atol=0.1)


def test_it_is_quiet(wrapped: Load, capfd: pytest.CaptureFixture[str]) -> None:
    wrapped("mve-min").encode_documents(DOCUMENTS)
    wrapped("mve-min").encode_queries(QUERIES)
    assert capfd.readouterr() == ("", "")


def test_truncation_is_warned_of_once_for_each_side(load: Load) -> None:
    encoder = SentenceTransformersEncoder(load("mve-fixed"))
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always", ColbertQdrantWarning)
        for _ in "ab":
            encoder.encode_documents([LONG, "cat"])
            encoder.encode_queries([LONG, LONG])
    first, second = [each for each in shown if each.category is ColbertQdrantWarning]
    assert "1 of 2 documents are longer" in str(first.message)
    assert "2 of 2 queries are longer" in str(second.message)
    assert first.filename == second.filename == __file__


def test_truncation_counts_the_prompt_that_is_used(load: Load) -> None:
    text = "the cat is in the tree"
    model = load("mve-fixed")
    assert not SentenceTransformersEncoder(model).encode_documents([text]).truncated[0]
    model.prompts = {"passage": LONG}
    assert SentenceTransformersEncoder(model).encode_documents([text]).truncated[0]
    model.prompts = {"passage": "", "other": LONG}
    model.default_prompt_name = "other"
    encoder = SentenceTransformersEncoder(model)
    assert not encoder.encode_documents([text]).truncated[0]
    assert encoder.encode_queries([text]).truncated[0]


def test_looking_for_truncated_texts_leaves_the_tokenizer_as_it_was(load: Load) -> None:
    model = load("mve-fixed")
    backend = model.tokenizer.backend_tokenizer
    model.encode_query([LONG])
    before = backend.to_str()
    SentenceTransformersEncoder(model).encode_queries([LONG])
    assert backend.to_str() == before


def test_it_works_in_a_collection(load: Load, folder: Callable[[str], Path], tmp_path: Path) -> None:
    encoder = SentenceTransformersEncoder(load("mve-fixed"))
    documents = [Document(number, text) for number, text in enumerate(DOCUMENTS) if text.strip()]
    client: Any = QdrantClient(":memory:")
    config = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=4))
    collection = ColbertCollection.create("wrapped", client=client, encoder=encoder, config=config)
    assert (
        collection.ingest(documents).truncated
        == encode(encoder, "document", [d.text for d in documents]).truncated.sum()
    )

    query = QUERIES[0]
    scores = maxsim(encoder.encode_queries([query]), encoder.encode_documents([d.text for d in documents]))[0]
    best = [documents[number].id for number in np.argsort(-scores)[:3]]
    assert [hit.id for hit in collection.search(query, limit=3, mode="exact")] == best
    assert len(collection.search(query, limit=3, mode="two-stage")) == 3

    shutil.copytree(folder("mve-fixed"), tmp_path / "elsewhere")
    copy = SentenceTransformersEncoder(load("mve-fixed", tmp_path / "elsewhere"))
    again = ColbertCollection.open("wrapped", client=client, encoder=copy)
    assert [hit.id for hit in again.search(query, limit=3, mode="exact")] == best
    other = SentenceTransformersEncoder(load("mve-fixed", prompts={"query": "[Q] the ", "document": "[D] "}))
    with pytest.raises(FingerprintMismatchError, match=r"encoder\.settings"):
        ColbertCollection.open("wrapped", client=client, encoder=other)
    client.close()


@pytest.mark.parametrize("name", READ_BY["sentence-transformers"])
def test_the_same_checkpoint_has_the_same_fingerprint(
    load: Load, folder: Callable[[str], Path], tmp_path: Path, name: str
) -> None:
    encoder = SentenceTransformersEncoder(load(name))
    encoder.encode_queries(QUERIES)
    encoder.encode_documents(DOCUMENTS)
    shutil.copytree(folder(name), tmp_path / "copy")
    copy = SentenceTransformersEncoder(load(name, tmp_path / "copy", model_kwargs={"attn_implementation": "eager"}))
    assert unnamed(copy) == unnamed(encoder)
    assert (encoder.fingerprint()["name"], copy.fingerprint()["name"]) == (name, "copy")
    assert str(tmp_path) not in json.dumps(copy.fingerprint())
    assert encoder.fingerprint()["type"] == "sentence-transformers"


def change_weight(model: Any) -> None:
    model[1].linear.weight.data[0, 0] += 1


def change_prompt(model: Any) -> None:
    model.prompts["document"] = "[D] the "


def change_query_length(model: Any) -> None:
    model[0].query_expansion = {**model[0].query_expansion, "length": 12}


def change_document_length(model: Any) -> None:
    model[0].document_length = 20


def change_longest(model: Any) -> None:
    model.max_seq_length = 30


def change_skiplist(model: Any) -> None:
    model[2].skiplist_words = [".", ","]


def change_config(model: Any) -> None:
    model[0].model.config.layer_norm_eps = 0.1


def change_mask_token(model: Any) -> None:
    model.tokenizer.mask_token = "[UNK]"


def leave_out_normalization(model: Any) -> None:
    del model[3]


def change_vocabulary(model: Any) -> None:
    model.tokenizer.add_tokens(["zebra"])


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (change_weight, "weights"),
        (change_prompt, "settings"),
        (change_query_length, "settings"),
        (change_document_length, "settings"),
        (change_longest, "settings"),
        (change_skiplist, "settings"),
        (change_config, "settings"),
        (change_mask_token, "tokenizer"),
        (leave_out_normalization, "settings"),
    ],
)
def test_what_changes_vectors_changes_the_fingerprint(
    load: Load, wrapped: Load, change: Callable[[Any], None], part: str
) -> None:
    model = load("mve-fixed")
    change(model)
    assert changed(SentenceTransformersEncoder(model), wrapped("mve-fixed")) == {part}


def test_another_vocabulary_changes_the_fingerprint(load: Load, wrapped: Load) -> None:
    model = load("mve-fixed")
    change_vocabulary(model)
    assert "tokenizer" in changed(SentenceTransformersEncoder(model), wrapped("mve-fixed"))


def test_pooling_changes_the_fingerprint(load: Load, wrapped: Load) -> None:
    model = load("mve-pooling")
    model[4].pool_factor = 3
    assert changed(SentenceTransformersEncoder(model), wrapped("mve-pooling")) == {"settings"}


def test_a_prompt_that_is_not_used_changes_nothing(load: Load, wrapped: Load) -> None:
    model = load("mve-fixed")
    model.prompts["clustering"] = "the topic of "
    assert not changed(SentenceTransformersEncoder(model), wrapped("mve-fixed"))


def test_a_fingerprint_is_a_copy(wrapped: Load) -> None:
    wrapped("mve-fixed").fingerprint()["dim"] = 0
    assert wrapped("mve-fixed").fingerprint()["dim"] == 8


def test_a_router_is_encoded_and_fingerprinted_but_not_looked_into(library: Any, load: Load) -> None:
    router: Any = pytest.importorskip("sentence_transformers.base.modules").Router

    def routed(*, length: int) -> SentenceTransformersEncoder:
        first, second = load("mve-fixed"), load("mve-fixed")
        second[0].document_length = length
        paths = router.for_query_document([first[0], first[1]], [second[0], second[1]])
        model = library.MultiVectorEncoder(modules=[paths, first[2], first[3]], prompts=first.prompts, device="cpu")
        return SentenceTransformersEncoder(model)

    encoder = routed(length=24)
    encoded = encoder.encode_documents([LONG])
    assert not encoded.truncated.any()
    np.testing.assert_allclose(
        encoded.values, SentenceTransformersEncoder(load("mve-fixed")).encode_documents([LONG]).values
    )
    assert unnamed(encoder) == unnamed(routed(length=24))
    assert changed(encoder, routed(length=20)) == {"settings"}


def test_threads_share_a_model(load: Load) -> None:
    model = load("mve-fixed")
    expected = {side: encode(SentenceTransformersEncoder(model), side, TEXTS[side]) for side in SIDES}
    encoders = [SentenceTransformersEncoder(model, batch_size=4) for _ in range(2)]

    def check(number: int) -> None:
        side = SIDES[number % 2]
        encoded = encode(encoders[number // 2 % 2], side, TEXTS[side])
        np.testing.assert_array_equal(encoded.lengths, expected[side].lengths)
        np.testing.assert_array_equal(encoded.truncated, expected[side].truncated)
        np.testing.assert_allclose(encoded.values, expected[side].values, rtol=0, atol=TOLERANCE)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, range(16)))


def test_a_text_without_tokens_is_named(load: Load) -> None:
    model = load("mve-fixed")
    model[2].skiplist_words, model[2].skiplist_tasks = ["[CLS]", "[D] ", "[Q] ", "[SEP]", "[MASK]", "cat"], list(SIDES)
    model[2].resolve_with_tokenizer(model.tokenizer)
    encoder = SentenceTransformersEncoder(model)
    with pytest.raises(InvalidDocumentError, match=r"no token of text 1 \('cat'\): leave the text out"):
        encoder.encode_documents(["the dog", "cat"])
    with pytest.raises(InvalidQueryError, match="no token of text 2"):
        encoder.encode_queries(["the dog", "cat dog", ""])


# --- What is no model, or no text -------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapper", [PylateEncoder, SentenceTransformersEncoder])
@pytest.mark.parametrize(
    ("model", "named"), [("colbert", "type str"), (None, "type NoneType"), (dict, "the class dict"), (7, "type int")]
)
def test_other_objects_are_refused(wrapper: type[Encoder], model: Any, named: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{wrapper.__name__} .*{named}: .*from_pretrained"):
        wrapper(model)


def test_models_of_single_vectors_are_refused(library: Any, folder: Callable[[str], Path]) -> None:
    model = library.SentenceTransformer(str(folder("mve-fixed")), device="cpu", local_files_only=True)
    for wrapper in (SentenceTransformersEncoder, PylateEncoder):
        with pytest.raises(ConfigurationError, match=r"SentenceTransformer: .*MultiVectorEncoder"):
            wrapper(model)


def test_each_library_has_its_wrapper(load: Load, folder: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigurationError, match=r"MultiVectorEncoder: .* goes into SentenceTransformersEncoder"):
        PylateEncoder(load("mve-fixed"))
    with pytest.raises(ConfigurationError, match=r"ColBERT: .* PyLate goes into PylateEncoder"):
        SentenceTransformersEncoder(ColBERT(folder("pylate-bert")))


def test_models_with_weights_elsewhere_are_refused(folder: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigurationError, match=r"backend='onnx' .* load it with backend='torch'"):
        PylateEncoder(ColBERT(folder("pylate-bert"), backend="onnx"))


def test_batches_have_a_size(folder: Callable[[str], Path]) -> None:
    with pytest.raises(ConfigurationError, match="batch_size must be at least 1"):
        PylateEncoder(ColBERT(folder("pylate-bert")), batch_size=0)


def test_texts_are_strings(folder: Callable[[str], Path]) -> None:
    encoder: Any = PylateEncoder(ColBERT(folder("pylate-bert")))
    for side in (encoder.encode_queries, encoder.encode_documents):
        with pytest.raises(ConfigurationError, match="put it into a list"):
            side("the cat")
    with pytest.raises(InvalidQueryError, match="text 1 is None"):
        encoder.encode_queries(["cat", None])
    with pytest.raises(InvalidDocumentError, match=r"text 0 is b'cat'"):
        encoder.encode_documents([b"cat"])


# --- PyLate, which needs another Sentence Transformers than the tests above -------------------------------------------


class Embedding(torch.nn.Module):
    """The first module, with a setting that every call changes."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.config = AutoConfig.from_pretrained(folder)
        self.max_seq_length = 64
        self.do_lower_case = False
        weight = np.random.RandomState(0).randn(len(self.tokenizer), 8).astype(np.float32)
        self.embedding = torch.nn.Embedding(len(self.tokenizer), 8)
        self.embedding.weight.data = torch.from_numpy(weight)

    def get_config_dict(self) -> dict[str, Any]:
        return {"max_seq_length": self.max_seq_length, "do_lower_case": self.do_lower_case}


class ColBERT(torch.nn.Sequential):
    """What a wrapper can see of PyLate's model, with one vector per kind of token."""

    tokenizer: Any

    def __init__(
        self,
        folder: Path,
        *,
        query_length: int = 16,
        document_length: int = 24,
        skiplist_words: tuple[str, ...] = (".", ","),
        prompts: dict[str, str] | None = None,
        default_prompt_name: str | None = None,
        do_query_expansion: bool = True,
        query_prefix: str = "[Q] ",
        backend: str = "torch",
    ) -> None:
        super().__init__(Embedding(folder))
        self.tokenizer = self[0].tokenizer
        self.query_length, self.document_length = query_length, document_length
        self.query_prefix, self.document_prefix = query_prefix, "[D] "
        self.query_prefix_id = self.tokenizer.convert_tokens_to_ids(query_prefix)
        self.document_prefix_id = self.tokenizer.convert_tokens_to_ids("[D] ")
        self.skiplist_words = list(skiplist_words)
        self.skiplist = [self.tokenizer.convert_tokens_to_ids(word) for word in skiplist_words]
        self.do_query_expansion, self.attend_to_expansion_tokens = do_query_expansion, False
        self.prompts = {"query": "", "document": ""} if prompts is None else prompts
        self.default_prompt_name = default_prompt_name
        self._backend = backend
        self._busy = threading.Lock()

    def get_backend(self) -> str:
        return self._backend

    def encode(
        self,
        sentences: list[str],
        prompt_name: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        convert_to_numpy: bool = True,
        is_query: bool = True,
    ) -> list[NDArray[Any]]:
        assert show_progress_bar is False
        assert convert_to_numpy
        assert sentences[0] is not None, "the library fails for an empty list too"
        assert self._busy.acquire(blocking=False), "two threads at once"
        try:
            prompt = self.prompts.get(self.default_prompt_name or "", "") if prompt_name is None else ""
            prompt = self.prompts[prompt_name] if prompt_name is not None else prompt
            return [self._matrix(prompt + text, is_query=is_query) for text in sentences]
        finally:
            self._busy.release()

    def _matrix(self, text: str, *, is_query: bool) -> NDArray[Any]:
        first: Any = self[0]
        first.max_seq_length = (self.query_length if is_query else self.document_length) - 1
        time.sleep(0.0001)
        text = text.strip().lower() if first.do_lower_case else text.strip()
        ids = self.tokenizer(
            [text],
            truncation="longest_first",
            max_length=first.max_seq_length,
            padding="max_length" if is_query and self.do_query_expansion else True,
        )["input_ids"][0]
        ids = [ids[0], self.query_prefix_id if is_query else self.document_prefix_id, *ids[1:]]
        kept = [id for id in ids if is_query or id not in self.skiplist]
        vectors = torch.nn.functional.normalize(first.embedding(torch.tensor(kept, dtype=torch.long)), dim=1).detach()
        return (vectors.float() if vectors.dtype == torch.bfloat16 else vectors).numpy()


@pytest.fixture(scope="session")
def stand_in(folder: Callable[[str], Path]) -> Load:
    return lambda **arguments: ColBERT(folder("pylate-bert"), **arguments)


def test_pylate_is_called_as_it_wants_to_be(stand_in: Load) -> None:
    model = stand_in()
    encoder = PylateEncoder(model)
    assert isinstance(encoder, LateInteractionEncoder)
    assert (encoder.dim, repr(encoder)) == (8, "PylateEncoder('pylate-bert', dim=8)")
    for side in SIDES:
        expected = model.encode(list(TEXTS[side]), show_progress_bar=False, is_query=side == "query")
        encoded = encode(encoder, side, TEXTS[side])
        assert [matrix.tolist() for matrix in encoded] == [matrix.tolist() for matrix in expected]
        assert (len(encode(encoder, side, [])), encode(encoder, side, []).dim) == (0, 8)


@pytest.mark.parametrize(
    ("prompts", "default", "used"),
    [
        ({"query": "the cat ", "document": "the dog "}, None, {"query": "the cat ", "document": "the dog "}),
        ({"query": "the cat "}, None, {"query": "the cat ", "document": ""}),
        ({"query": "", "document": ""}, None, {"query": "", "document": ""}),
        ({}, None, {"query": "", "document": ""}),
        ({"query": "the cat ", "all": "a tree "}, "all", {"query": "the cat ", "document": "a tree "}),
    ],
)
def test_pylate_prompts_are_used(
    stand_in: Load, prompts: dict[str, str], default: str | None, used: dict[str, str]
) -> None:
    encoder = PylateEncoder(stand_in(prompts=prompts, default_prompt_name=default))
    plain = PylateEncoder(stand_in())
    for side in SIDES:
        with_prompt = encode(encoder, side, ["a river", LONG])
        expected = encode(plain, side, [used[side] + "a river", used[side] + LONG])
        np.testing.assert_array_equal(with_prompt.values, expected.values)
        assert with_prompt.truncated.tolist() == [False, True]


@pytest.mark.parametrize("lower", [True, False])
def test_pylate_says_what_it_truncates(stand_in: Load, lower: bool) -> None:
    model = stand_in(document_length=6)
    model[0].do_lower_case = lower
    # lowercased, a special token is spelled out
    texts = ["the cat is", "the cat is good", "   the cat   ", "[MASK] [MASK] is"]
    assert PylateEncoder(model).encode_documents(texts).truncated.tolist() == [False, True, False, lower]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_pylate_half_precision_becomes_float32(stand_in: Load, dtype: torch.dtype) -> None:
    encoder = PylateEncoder(stand_in().to(dtype))
    encoded = encoder.encode_documents(DOCUMENTS)
    assert encoded.values.dtype == np.float32
    np.testing.assert_allclose(encoded.values, PylateEncoder(stand_in()).encode_documents(DOCUMENTS).values, atol=0.02)
    assert changed(encoder, PylateEncoder(stand_in())) == {"weights"}


def test_pylate_fingerprints_are_those_of_the_checkpoint(
    stand_in: Load, folder: Callable[[str], Path], tmp_path: Path
) -> None:
    encoder = PylateEncoder(stand_in())
    before = encoder.fingerprint()
    encoder.encode_queries(QUERIES)
    shutil.copytree(folder("pylate-bert"), tmp_path / "copy")
    copy = PylateEncoder(ColBERT(tmp_path / "copy"))
    copy.encode_queries(["cat"])
    assert unnamed(copy) == {**before, "name": None}
    assert (before["type"], before["name"], copy.fingerprint()["name"]) == ("pylate", "pylate-bert", "copy")
    assert not changed(PylateEncoder(encoder._model), encoder)


@pytest.mark.parametrize(
    "settings",
    [
        {"query_length": 17},
        {"document_length": 25},
        {"skiplist_words": (".",)},
        {"prompts": {"query": "the ", "document": ""}},
        {"do_query_expansion": False},
        {"query_prefix": "[D] "},
    ],
)
def test_pylate_settings_change_the_fingerprint(stand_in: Load, settings: dict[str, Any]) -> None:
    assert changed(PylateEncoder(stand_in(**settings)), PylateEncoder(stand_in())) == {"settings"}


def test_pylate_weights_change_the_fingerprint(stand_in: Load) -> None:
    model = stand_in()
    model[0].embedding.weight.data[0, 0] += 1
    assert changed(PylateEncoder(model), PylateEncoder(stand_in())) == {"weights"}


def test_pylate_settings_that_change_nothing_leave_the_fingerprint(stand_in: Load) -> None:
    plain = PylateEncoder(stand_in())
    assert not changed(PylateEncoder(stand_in(skiplist_words=(",", ".", ","))), plain)
    assert not changed(PylateEncoder(stand_in(prompts={"query": "", "topic": "a topic: "})), plain)


def test_pylate_is_never_in_two_threads(stand_in: Load) -> None:
    model = stand_in()
    encoders = [PylateEncoder(model), PylateEncoder(model)]
    expected = {side: encode(encoders[0], side, TEXTS[side]) for side in SIDES}

    def check(number: int) -> None:
        side = SIDES[number % 2]
        encoded = encode(encoders[number // 2 % 2], side, TEXTS[side])
        np.testing.assert_array_equal(encoded.values, expected[side].values)
        np.testing.assert_array_equal(encoded.truncated, expected[side].truncated)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(check, range(16)))


def test_pylate_texts_without_tokens_are_named(stand_in: Load) -> None:
    encoder = PylateEncoder(stand_in(skiplist_words=("[CLS]", "[SEP]", "[D] ", "cat")))
    with pytest.raises(InvalidDocumentError, match=r"no token of text 1 \('cat cat'\): leave the text out"):
        encoder.encode_documents(["the dog", "cat cat"])


@pytest.fixture(scope="session")
def load_pylate(folder: Callable[[str], Path]) -> Load:
    """Load a model of the real PyLate anew, in single precision."""
    models = pytest.importorskip(
        "pylate.models", reason="needs PyLate, which cannot be installed beside sentence-transformers 6"
    )

    def load(name: str, path: Path | None = None, **arguments: Any) -> Any:
        return models.ColBERT(
            str(path or folder(name)), device="cpu", model_kwargs={"dtype": torch.float32}, **arguments
        )

    return load


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", READ_BY["pylate"])
def test_real_pylate(load_pylate: Load, own: Load, folder: Callable[[str], Path], tmp_path: Path, name: str) -> None:
    encoder = PylateEncoder(load_pylate(name), batch_size=5)
    for side in SIDES:
        assert_golden(encoder, name, "pylate", side)
        assert (
            encode(encoder, side, TEXTS[side]).truncated.tolist()
            == encode(own(name), side, TEXTS[side]).truncated.tolist()
        )
    shutil.copytree(folder(name), tmp_path / "copy")
    assert unnamed(PylateEncoder(load_pylate(name, tmp_path / "copy"))) == unnamed(encoder)
    with pytest.raises(ConfigurationError, match=r"PyLate goes into PylateEncoder"):
        SentenceTransformersEncoder(load_pylate(name))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "settings",
    [
        {"query_length": 12},
        {"document_length": 20},
        {"skiplist_words": ["."]},
        {"prompts": {"query": "the "}},
        {"attend_to_expansion_tokens": True},
        {"do_query_expansion": False},
    ],
)
def test_real_pylate_settings_change_the_fingerprint(load_pylate: Load, settings: dict[str, Any]) -> None:
    other = PylateEncoder(load_pylate("pylate-bert", **settings))
    assert changed(other, PylateEncoder(load_pylate("pylate-bert"))) == {"settings"}
