"""What is said of checkpoints, against what their builder wrote; what is measured, against scipy and plain numpy."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from colbert_qdrant import CheckpointError, ColbertEncoder, ConfigurationError, InvalidTokensError, TokenEmbeddings
from colbert_qdrant.inspection import Inspection, inspect, muvera_fitness
from colbert_qdrant.inspection.fitness import (
    CENTRING_GAIN,
    HIGH_ANISOTROPY,
    LOW_CORRELATION,
    anisotropy,
    effective_dim,
    spearman,
)
from tests.checkpoints import WORDS, tiny_bert
from tests.parity.checkpoints import NAMES, build

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DOCUMENTS = [f"{' '.join(WORDS[i:])}. {' '.join(WORDS[:i])}" for i in range(20, 36)]


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a builder of `tests.parity.checkpoints` wrote.

    Parameters are counted by hand for a hidden size of 16, 32 inside, and two layers.
    """

    layout: str
    architecture: str
    parameters: int
    vocabulary: int
    dense: tuple[tuple[int, int, str, bool, bool], ...]
    query: Mapping[str, Any]
    document: Mapping[str, Any]
    dtype: str = "float32"


def bert(vocabulary: int, *, positions: int = 64, types: int = 2) -> int:
    layer = 4 * (16 * 16 + 16) + 2 * (16 + 16) + (32 * 16 + 32) + (16 * 32 + 16)
    return (vocabulary + positions + types) * 16 + (16 + 16) + 2 * layer


def modernbert(vocabulary: int) -> int:
    layer = 3 * 16 * 16 + 16 * 16 + 16 + 2 * 32 * 16 + 16 * 32
    return vocabulary * 16 + 16 + 16 + 2 * layer + 16  # the first layer has one norm less


PIECES = 5 + 32 + 41 + 41 + 41  # special tokens, punctuation, characters, the same inside words, words
BYTES = 415
LINEAR, GELU = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.GELU"

WRITTEN = {
    "pylate-bert": Written(
        layout="pylate",
        architecture="BertModel",
        parameters=bert(PIECES + 2) + 8 * 16,
        vocabulary=PIECES + 2,
        dense=((16, 8, LINEAR, False, False),),
        query={"length": 16, "prefix": "[Q] ", "expansion": (16, False, None, "fixed")},
        document={"length": 24, "prefix": "[D] ", "skiplist": 32},
    ),
    "pylate-attend": Written(
        layout="pylate",
        architecture="BertModel",
        parameters=bert(PIECES + 2) + 10 * 16,
        vocabulary=PIECES + 2,
        dense=((16, 10, LINEAR, False, False),),
        query={"length": 12, "prefix": "[Q] ", "expansion": (12, True, None, "fixed")},
        document={"length": 28, "prefix": "[D] ", "skiplist": 4},
    ),
    "pylate-modernbert": Written(
        layout="pylate",
        architecture="ModernBertModel",
        parameters=modernbert(BYTES + 2) + 12 * 16,
        vocabulary=BYTES + 2,
        dense=((16, 12, LINEAR, False, False),),
        query={"length": 18, "prefix": "[Q] ", "expansion": (18, False, None, "fixed")},
        document={"length": 26, "prefix": "[D] ", "skiplist": 32},
    ),
    "pylate-stack": Written(
        layout="pylate",
        architecture="BertModel",
        parameters=bert(PIECES + 2) + 24 * 16 + 24 * 16 + 24 * 24 + 24 + 12 * 24,
        vocabulary=PIECES + 2,
        dense=((16, 24, LINEAR, False, True), (24, 24, GELU, True, True), (24, 12, LINEAR, False, False)),
        query={"length": 14, "prefix": "[Q] "},
        document={"length": 22, "prefix": "[D] ", "skiplist": 32},
    ),
    "pylate-prompts": Written(
        layout="pylate",
        architecture="RobertaModel",
        parameters=bert(BYTES, positions=66, types=1) + 8 * 16,
        vocabulary=BYTES,
        dense=((16, 8, LINEAR, False, False),),
        query={"length": 20, "prompt": "search_query: ", "expansion": (20, False, None, "fixed")},
        document={"length": 24, "prompt": "search_document: ", "skiplist": 32},
    ),
    "stanford-bert": Written(
        layout="stanford",
        architecture="BertModel",
        parameters=bert(PIECES + 4) + 8 * 16,
        vocabulary=PIECES + 4,
        dense=((16, 8, LINEAR, False, False),),
        query={"length": 16, "prefix": "[unused0]", "expansion": (16, False, None, "fixed")},
        document={"length": 24, "prefix": "[unused1]", "skiplist": 32},
    ),
    "stanford-modules": Written(
        layout="stanford",
        architecture="BertModel",
        parameters=bert(PIECES + 4) + 12 * 16,
        vocabulary=PIECES + 4,
        dense=((16, 12, LINEAR, False, False),),
        query={"length": 14, "prefix": "[unused0]", "expansion": (14, True, None, "fixed")},
        document={"length": 26, "prefix": "[unused1]", "skiplist": 32},
        dtype="float16",
    ),
    "mve-fixed": Written(
        layout="sentence-transformers",
        architecture="BertModel",
        parameters=bert(PIECES + 2) + 8 * 16,
        vocabulary=PIECES + 2,
        dense=((16, 8, LINEAR, False, False),),
        query={"length": 16, "prompt": "[Q] ", "expansion": (16, False, None, "fixed")},
        document={"length": 24, "prompt": "[D] ", "skiplist": 32},
    ),
    "mve-min": Written(
        layout="sentence-transformers",
        architecture="RobertaModel",
        parameters=bert(BYTES, positions=66, types=1) + 10 * 16,
        vocabulary=BYTES,
        dense=((16, 10, LINEAR, False, False),),
        query={"length": 20, "expansion": (12, True, "<unk>", "min"), "skiplist": 6},
        document={"length": 26, "skiplist": 6},
    ),
    "mve-pooling": Written(
        layout="sentence-transformers",
        architecture="ModernBertModel",
        parameters=modernbert(BYTES) + 12 * 16 + 12,
        vocabulary=BYTES,
        dense=((16, 12, GELU, True, False),),
        query={"length": 20, "prompt": "query: "},
        document={"length": 24, "pooling": (2.0, 1, True)},
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("checkpoints")
    for name in NAMES:
        build(name, root / name)
    return root


def vocabulary(folder: Path) -> int:
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    return len({*content["model"]["vocab"].values(), *(token["id"] for token in content["added_tokens"])})


def described(side: Any) -> dict[str, Any]:
    expansion, pooling = side.expansion, side.pooling
    values = {
        "length": side.length,
        "prefix": side.prefix,
        "prompt": side.prompt,
        "expansion": expansion and (expansion.length, expansion.attend, expansion.token, expansion.strategy),
        "skiplist": len(side.skiplist),
        "pooling": pooling and (pooling.factor, pooling.protected, pooling.normalize),
    }
    return {key: value for key, value in values.items() if value}


# --- What a checkpoint is ---------------------------------------------------------------------------------------------


def test_every_layout_is_in_the_table() -> None:
    assert set(WRITTEN) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_reports_what_was_written(folder: Path, name: str) -> None:
    written, found = WRITTEN[name], inspect(folder / name, documents=DOCUMENTS, local_files_only=True)
    spec = found.spec
    assert (found.name, spec.layout) == (name, written.layout)
    assert found.architecture == written.architecture
    assert found.model_type == written.architecture.removesuffix("Model").lower()
    assert found.parameters == written.parameters
    assert found.dtype == written.dtype
    assert found.vocab_size == written.vocabulary == vocabulary(folder / name)
    dense = [(each.in_features, each.out_features, each.activation, each.bias, each.residual) for each in spec.dense]
    assert tuple(dense) == written.dense
    assert found.dim == written.dense[-1][1]
    assert described(spec.query) == written.query
    assert described(spec.document) == written.document
    assert spec.normalize
    assert not found.remote_code
    assert found.fitness is not None
    assert (found.fitness.documents, found.fitness.queries, found.fitness.dim) == (16, 6, found.dim)
    assert found.fitness.norm == pytest.approx((1, 1, 1), abs=1e-5)


def test_a_plain_encoder(tmp_path: Path) -> None:
    found = inspect(tiny_bert(tmp_path / "tiny"), documents=DOCUMENTS)
    assert pickle.loads(pickle.dumps(found)) == found
    assert (found.spec.layout, found.dim, found.spec.dense) == ("plain", 16, ())
    assert found.spec.document.skip_punctuation
    assert found.parameters == bert(5 + 32 + 36 + 36 + 40)
    text = str(found)
    assert "layout: plain" in text
    assert f"{'projections':<26}none" in text
    assert "document skip punctuation True" in text


def test_a_loaded_encoder_says_the_same_but_for_what_its_files_say(folder: Path) -> None:
    path = folder / "stanford-modules"
    from_encoder = inspect(ColbertEncoder.from_pretrained(path, device="cpu"), documents=DOCUMENTS)
    assert from_encoder == replace(inspect(path, documents=DOCUMENTS), dtype=None)


def test_changed_settings_of_a_loaded_encoder_are_reported(folder: Path) -> None:
    encoder = ColbertEncoder.from_pretrained(folder / "pylate-stack", device="cpu", document_length=9, pool_factor=2)
    found = inspect(encoder, documents=DOCUMENTS)
    assert found.spec.document.length == 9
    assert found.spec.document.pooling is not None
    assert found.fitness is not None
    assert found.fitness.document_tokens < 16 * 9


def test_bert_hash_needs_no_code(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path / "tiny")
    config = json.loads((path / "config.json").read_text())
    config |= {"model_type": "bert_hash", "auto_map": {"AutoModel": "modeling.BertHashModel"}}
    (path / "config.json").write_text(json.dumps(config))
    weights = {key: value for key, value in load_file(path / "model.safetensors").items() if "word_emb" not in key}
    words = config["vocab_size"]
    weights["embeddings.hash.table"] = np.random.default_rng(0).standard_normal((words, 3)).astype(np.float32)
    weights["embeddings.hash.projection"] = np.random.default_rng(1).standard_normal((16, 3)).astype(np.float32)
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    found = inspect(path, documents=DOCUMENTS)
    assert (found.model_type, found.remote_code) == ("bert_hash", False)
    assert found.parameters == bert(words) - words * 16 + words * 3 + 16 * 3
    assert found.fitness is not None


# --- Code of their own ------------------------------------------------------------------------------------------------

CUSTOM = {
    "model_type": "thingamajig",
    "architectures": ["ThingModel"],
    "auto_map": {"AutoConfig": "thing.ThingConfig", "AutoModel": "thing.ThingModel"},
    "hidden_size": 16,
    "vocab_size": 149,
}


def test_code_that_is_not_allowed_to_run_is_said_and_no_error(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path / "custom")
    (path / "config.json").write_text(json.dumps(CUSTOM))
    (path / "thing.py").write_text("raise SystemExit('it ran')")
    found = inspect(path)
    assert found.remote_code
    assert found.fitness is None
    assert (found.model_type, found.architecture, found.dim, found.vocab_size) == ("thingamajig", "ThingModel", 16, 149)
    assert (found.parameters, found.dtype) == (bert(149), "float32")
    text = str(found)
    assert "needed" in text
    assert "pass trust_remote_code=True" in text
    assert "revision=" in text
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()


def test_a_config_alone_suffices_to_say_that_code_is_needed(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CUSTOM))
    found = inspect(tmp_path)
    assert (found.remote_code, found.parameters, found.dtype, found.fitness) == (True, None, None, None)
    assert "unknown" in str(found)


def test_code_beside_a_model_that_transformers_knows_is_not_needed(tmp_path: Path) -> None:
    path = tiny_bert(tmp_path / "tiny")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "thing.ThingModel"}}))
    found = inspect(path, documents=DOCUMENTS)
    assert not found.remote_code
    assert found.fitness is not None


# --- Errors -----------------------------------------------------------------------------------------------------------


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a folder"):
        inspect(tmp_path / "nothing", local_files_only=True)


def test_missing_weights_are_an_error_where_no_code_is_needed(tmp_path: Path) -> None:
    path = build("pylate-bert", tmp_path / "broken")
    (path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="has no weights"):
        inspect(path)


def test_texts_that_cannot_be_measured(folder: Path) -> None:
    encoder = ColbertEncoder.from_pretrained(folder / "mve-fixed", device="cpu")
    with pytest.raises(ConfigurationError, match="documents="):
        inspect(encoder, queries=["the cat"])
    with pytest.raises(ConfigurationError, match="3 documents"):
        inspect(encoder, documents=DOCUMENTS[:3])
    with pytest.raises(ConfigurationError, match="0 queries"):
        inspect(encoder, documents=DOCUMENTS, queries=[])
    with pytest.raises(ConfigurationError, match="list"):
        inspect(encoder, documents="the cat")
    with pytest.raises(InvalidTokensError):
        muvera_fitness(TokenEmbeddings(np.eye(3), [3]), space()[1])


# --- What is measured -------------------------------------------------------------------------------------------------

VALUES = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=40)


@given(VALUES)
@settings(max_examples=100, deadline=None)
def test_spearman_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    stats = pytest.importorskip("scipy.stats")
    first, second = np.array(pairs, np.float32).T
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert spearman(first, second) == 0
    else:
        assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second).statistic, abs=1e-12)


def test_anisotropy_is_the_mean_cosine_of_all_pairs_across_documents() -> None:
    _, documents = space(common=1.0)
    scaled = TokenEmbeddings(documents.values * np.arange(1, len(documents.values) + 1)[:, None], documents.lengths)
    units = documents.values / np.linalg.norm(documents.values, axis=1, keepdims=True)
    owners = np.repeat(np.arange(len(documents)), documents.lengths)
    expected = (units @ units.T)[owners[:, None] != owners].mean()
    assert anisotropy(documents) == pytest.approx(expected, abs=0.005)
    assert anisotropy(scaled) == pytest.approx(expected, abs=0.005)
    assert anisotropy(documents, seed=1) != anisotropy(documents)
    assert anisotropy(documents, seed=1) == anisotropy(documents, seed=1)


def test_anisotropy_of_what_has_no_direction() -> None:
    assert anisotropy(TokenEmbeddings(np.zeros((4, 3)), [2, 2])) == 0
    assert anisotropy(TokenEmbeddings(np.ones((4, 3)), [4])) == 0
    assert anisotropy(TokenEmbeddings(np.ones((4, 3)), [2, 2])) == pytest.approx(1)


def test_effective_dimensions_are_the_participation_ratio() -> None:
    values = np.random.default_rng(0).standard_normal((500, 6)) * [3, 2, 1, 1, 0.5, 0.1] + 7
    eigenvalues = np.linalg.eigvalsh(np.cov(values.T))
    assert effective_dim(values) == pytest.approx(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())
    assert effective_dim(np.ones((5, 3))) == 0


def space(
    *, common: float = 0.0, noise: float = 0.2, dim: int = 64, seed: int = 0
) -> tuple[TokenEmbeddings, TokenEmbeddings]:
    """Queries and documents of tokens that mean a word, in the context of their document.

    Args:
        common: Length of a direction that all tokens, of length 1, share.
        noise: Length of what a token has of its document, and of its own.
        dim: Dimensions.
        seed: Of all numbers.
    """
    random = np.random.default_rng(seed)

    def directions(count: int) -> Any:
        vectors = random.standard_normal((count, dim))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    words, shared, contexts = directions(400), directions(1), directions(80)

    def tokens(chosen: Any, context: Any) -> Any:
        vectors = words[chosen] + noise * context + noise * directions(len(chosen))
        vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True) + common * shared
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    texts = [random.integers(400, size=random.integers(10, 60)) for _ in contexts]
    documents = [tokens(text, context) for text, context in zip(texts, contexts, strict=True)]
    queries = [tokens(random.choice(texts[i], 8), contexts[i]) for i in range(0, 80, 4)]
    return TokenEmbeddings.from_matrices(queries), TokenEmbeddings.from_matrices(documents)


@pytest.mark.parametrize("seed", range(3))
def test_a_spread_space_suits(seed: int) -> None:
    fitness = muvera_fitness(*space(seed=seed))
    assert fitness.warnings == ()
    assert fitness.anisotropy < 0.05
    assert fitness.rank_correlation > LOW_CORRELATION
    assert fitness.recall > 0.6
    assert f"{'warning':<26}none" in str(fitness)


@pytest.mark.parametrize("seed", range(3))
def test_a_crowded_space_is_warned_of_and_centring_recommended(seed: int) -> None:
    fitness = muvera_fitness(*space(common=3.0, seed=seed))
    assert fitness.anisotropy == pytest.approx(0.9, abs=0.02)
    assert fitness.anisotropy > HIGH_ANISOTROPY
    assert fitness.rank_correlation < LOW_CORRELATION
    assert fitness.centred_rank_correlation > fitness.rank_correlation + CENTRING_GAIN
    assert fitness.centred_recall > fitness.recall
    (warning,) = fitness.warnings
    assert "ranks badly" in warning
    assert "min-max-normalised" in warning
    assert f"{fitness.rank_correlation:.2f}" in warning
    assert (
        f"MuveraConfig(center=True)), which raises the correlation to {fitness.centred_rank_correlation:.2f}" in warning
    )
    assert warning in str(fitness)


def test_where_centring_does_not_help_other_things_are_recommended() -> None:
    random = np.random.default_rng(0)
    # every document has about the same best matches: there is nothing that an encoding could rank by
    documents = TokenEmbeddings(random.standard_normal((60 * 200, 64)), [200] * 60)
    queries = TokenEmbeddings(random.standard_normal((10 * 32, 64)), [32] * 10)
    fitness = muvera_fitness(queries, documents)
    (warning,) = fitness.warnings
    assert fitness.centred_rank_correlation < fitness.rank_correlation + CENTRING_GAIN
    assert "use more candidates" in warning
    assert "LEMUR" in warning
    assert "centering the tokens does not help" in warning
    assert "min-max" not in warning


def test_numbers_are_those_of_the_tokens() -> None:
    queries, documents = space()
    fitness = muvera_fitness(queries, documents)
    scores = np.array([[(query @ document.T).max(axis=1).mean() for document in documents] for query in queries])
    assert (fitness.documents, fitness.queries) == (80, 20)
    assert (fitness.document_tokens, fitness.query_tokens) == (len(documents.values), 160)
    assert fitness.score == pytest.approx((scores.min(), scores.mean(), scores.max()), abs=1e-5)
    assert fitness.score_spread == pytest.approx(scores.std(axis=1).mean(), abs=1e-5)
    assert muvera_fitness(queries, documents) == fitness


# --- As text and as JSON ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def by_default(folder: Path) -> Inspection:
    return inspect(folder / "mve-pooling")


def test_measures_with_docstrings_by_default(by_default: Inspection) -> None:
    fitness = by_default.fitness
    assert fitness is not None
    assert fitness.documents >= 100
    assert fitness.queries >= 30
    assert fitness.document_tokens > 10 * fitness.documents


def test_text_shows_the_facts_in_aligned_lines(by_default: Inspection) -> None:
    text = str(by_default)
    lines = text.splitlines()
    assert 18 <= len(lines) <= 30
    assert all(line[25] == " " and line[26] != " " for line in lines)
    facts = ["mve-pooling (layout: sentence-transformers)", "ModernBertModel (model type: modernbert)", "12,044"]
    facts += ["float32", "16 → 12, GELU, bias", "12 dimensions, unit length", "'query: '", "factor 2.0", "not needed"]
    facts += [f"{'query length':<26}20", f"{'query expansion':<26}none", f"{'document length':<26}24"]
    fitness = by_default.fitness
    assert fitness is not None
    facts += [f"{fitness.documents} documents", f"{'rank correlation':<26}{fitness.rank_correlation:.2f}"]
    for fact in facts:
        assert fact in text


def test_dict_is_json(by_default: Inspection) -> None:
    values = by_default.to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["spec"]["layout"] == "sentence-transformers"
    assert values["spec"]["document"]["pooling"]["factor"] == 2
    assert by_default.fitness is not None
    assert values["fitness"]["rank_correlation"] == by_default.fitness.rank_correlation
    assert values["fitness"]["warnings"] == list(by_default.fitness.warnings)


def test_importing_it_loads_no_model_library() -> None:
    script = "import sys, colbert_qdrant.inspection as i; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
