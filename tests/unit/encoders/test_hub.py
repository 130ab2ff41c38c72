"""Checkpoints by name, from the cache of the Hugging Face hub, and those that come with code of their own."""

from __future__ import annotations

import hashlib
import logging
import pickle
import shutil
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from colbert_qdrant import CheckpointError, ColbertEncoder
from colbert_qdrant.encoders.checkpoint.backbone import code_options
from colbert_qdrant.encoders.checkpoint.files import CheckpointFiles
from tests.checkpoints import tiny_bert
from tests.unit.encoders.reference import WEIGHTS, assert_same, edit_json, load, tokenizer_of, unit, without_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NAME = "somebody/tiny"
FIRST, SECOND = "1" * 40, "2" * 40
TEXTS = ["the cat", "a river, and a tree"]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty cache of the hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(hub: Path, folder: Path, *, commit: str = FIRST, branch: str | None = "main", name: str = NAME) -> Path:
    """Lay a checkpoint out as the hub's client does: files are links to blobs, branches are files with a commit."""
    root = hub / f"models--{name.replace('/', '--')}"
    snapshot = root / "snapshots" / commit
    for file in (path for path in folder.rglob("*") if path.is_file()):
        blob = root / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blob)
        link = snapshot / file.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    if branch is not None:
        reference = root / "refs" / branch
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(commit)
    return snapshot


def pickle_weights(folder: Path) -> None:
    for file in list(folder.rglob(WEIGHTS)):
        torch.save(load_file(file), file.with_name("pytorch_model.bin"))
        file.unlink()


@pytest.mark.parametrize("name", ["pylate-bert", "stanford-bert", "mve-pooling", "pylate-stack"])
def test_loads_by_name(hub: Path, built: Callable[[str], Path], name: str) -> None:
    put(hub, built(name))
    encoder, folder = load(NAME), load(built(name))
    assert encoder.fingerprint()["name"] == NAME
    assert without_name(encoder) == without_name(folder)
    assert_same(encoder.encode_documents(TEXTS), folder.encode_documents(TEXTS), atol=0)


def test_loads_a_name_without_owner(hub: Path, bert: Path) -> None:
    put(hub, bert, name="tiny")
    assert without_name(load("tiny")) == without_name(load(bert))


def test_loads_a_revision(hub: Path, bert: Path, tmp_path: Path) -> None:
    other = tiny_bert(tmp_path / "other", seed=1)
    put(hub, bert)
    put(hub, other, commit=SECOND, branch="next")
    for revision in (None, "main", FIRST):
        assert without_name(load(NAME, revision=revision)) == without_name(load(bert))
    for revision in ("next", SECOND):
        assert without_name(load(NAME, revision=revision)) == without_name(load(other))


def test_a_revision_that_is_not_there(hub: Path, bert: Path) -> None:
    put(hub, bert)
    for revision in ("next", SECOND):
        with pytest.raises(CheckpointError, match=f"{NAME}.*check name, revision, token and network"):
            load(NAME, revision=revision)


@pytest.mark.parametrize("name", ["pylate-bert", "stanford-bert"])
def test_loads_pickled_weights(hub: Path, copied: Callable[[str], Path], name: str) -> None:
    folder = copied(name)
    expected = load(folder)
    pickle_weights(folder)
    put(hub, folder)
    encoder = load(NAME)
    assert without_name(encoder) == without_name(expected)
    assert_same(encoder.encode_documents(TEXTS), expected.encode_documents(TEXTS), atol=0)


def test_loads_pickled_projections_beside_a_transformer_that_is_not(hub: Path, copied: Callable[[str], Path]) -> None:
    folder = copied("pylate-bert")
    expected = load(folder)
    pickle_weights(folder / "1_Dense")
    put(hub, folder)
    assert without_name(load(NAME)) == without_name(expected)


def test_broken_files_are_named(hub: Path, copied: Callable[[str], Path]) -> None:
    folder = copied("pylate-bert")
    (folder / "config.json").write_text("{")
    snapshot = put(hub, folder)
    with pytest.raises(CheckpointError) as caught:
        load(NAME)
    assert str(snapshot / "config.json") in str(caught.value)


@pytest.mark.parametrize("content", ["{", '{"path": ""}', '[{"type": "a.Dense"}]', "[3]", "3"])
def test_broken_modules_are_an_error_as_they_are_in_a_folder(
    hub: Path, copied: Callable[[str], Path], content: str
) -> None:
    folder = copied("pylate-bert")
    (folder / "modules.json").write_text(content)
    put(hub, folder)
    with pytest.raises(CheckpointError, match=r"modules\.json") as caught:
        load(NAME)
    assert "network" not in str(caught.value)


# --- Code of their own ------------------------------------------------------------------------------------------------

CODE = """
from pathlib import Path

import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

Path({proof!r}).touch()


class BagConfig(PretrainedConfig):
    model_type = "bag"

    def __init__(self, hidden_size=8, vocab_size=8, **settings):
        super().__init__(**settings)
        self.hidden_size = hidden_size
        self.vocab_size = vocab_size


class BagModel(PreTrainedModel):
    config_class = BagConfig
    base_model_prefix = "bag"

    def __init__(self, config):
        super().__init__(config)
        self.table = torch.nn.Embedding(config.vocab_size, config.hidden_size)
        self.post_init()

    def forward(self, input_ids, attention_mask=None, **settings):
        return BaseModelOutput(last_hidden_state=self.table(input_ids))
"""


@pytest.fixture(scope="module", autouse=True)
def _modules_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where transformers copies code of models to: not to the user's own place."""
    with pytest.MonkeyPatch.context() as patch:
        folder = str(tmp_path_factory.mktemp("modules"))
        patch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", folder)
        patch.syspath_prepend(folder)
        yield


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    return tmp_path / "proof"


@pytest.fixture
def custom(tmp_path: Path, proof: Path) -> Path:
    """A model that transformers does not know, with its code. Importing that makes the file ``proof``."""
    # transformers imports code once for the same folder name: it is unique to the test
    path = tiny_bert(tmp_path / f"custom_{hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]}")
    size = len(tokenizer_of(path))
    (path / "bag.py").write_text(CODE.format(proof=str(proof)))
    (path / "config.json").write_text("{}")
    edit_json(
        path / "config.json",
        model_type="bag",
        architectures=["BagModel"],
        auto_map={"AutoConfig": "bag.BagConfig", "AutoModel": "bag.BagModel"},
        hidden_size=8,
        vocab_size=size,
    )
    table = torch.from_numpy(np.random.default_rng(0).standard_normal((size, 8)).astype(np.float32))
    save_file({"table.weight": table}, path / WEIGHTS, metadata={"format": "pt"})
    return path


def in_vocabulary(encoder: ColbertEncoder, folder: Path) -> bool:
    """Whether vectors are the rows of the model's table."""
    tokenizer, table = tokenizer_of(folder), load_file(folder / WEIGHTS)["table.weight"].numpy()
    ids = tokenizer("the cat", add_special_tokens=False)["input_ids"]
    (actual,) = encoder.encode_documents(["the cat"])
    return actual.shape == (2, 8) and np.allclose(actual, unit(table[ids]), rtol=0, atol=1e-6)


def test_code_runs_only_where_it_is_trusted(custom: Path, proof: Path) -> None:
    with pytest.raises(CheckpointError, match="trust_remote_code=True") as caught:
        load(custom)
    assert str(custom / "config.json") in str(caught.value)
    assert not proof.exists()
    assert in_vocabulary(load(custom, trust_remote_code=True), custom)
    assert proof.exists()


def test_code_of_a_folder_is_trusted_without_a_warning(custom: Path, bert: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load(custom, trust_remote_code=True)
        load(bert, trust_remote_code=True)


def test_code_without_a_commit_is_trusted_with_a_warning(hub: Path, custom: Path) -> None:
    put(hub, custom)
    for revision in (None, "main"):
        with pytest.warns(UserWarning, match=f"code of '{NAME}': .* revision=") as caught:
            encoder = ColbertEncoder.from_pretrained(
                NAME, revision=revision, device="cpu", local_files_only=True, trust_remote_code=True
            )
        assert [warning.filename for warning in caught] == [__file__]
        assert in_vocabulary(encoder, custom)


def test_code_of_a_commit_is_trusted_without_a_warning(hub: Path, custom: Path) -> None:
    put(hub, custom)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert in_vocabulary(load(NAME, revision=FIRST, trust_remote_code=True), custom)


def test_code_of_the_hub_runs_only_where_it_is_trusted(hub: Path, custom: Path, proof: Path) -> None:
    put(hub, custom)
    with pytest.raises(CheckpointError, match="trust_remote_code=True"):
        load(NAME)
    assert not proof.exists()


def test_code_of_another_repository_runs_and_is_in_the_fingerprint(hub: Path, custom: Path, proof: Path) -> None:
    put(hub, custom, name="org/code")
    (custom / "bag.py").unlink()
    reference = {"AutoConfig": "org/code--bag.BagConfig", "AutoModel": "org/code--bag.BagModel"}
    edit_json(custom / "config.json", auto_map=reference)
    with pytest.raises(CheckpointError, match="trust_remote_code=True"):
        load(custom)
    assert not proof.exists()
    with pytest.warns(UserWarning, match="current code of org/code"):
        encoder = load(custom, trust_remote_code=True)
    assert in_vocabulary(encoder, custom)
    assert encoder.fingerprint()["code"]


@pytest.mark.parametrize(
    ("reference", "trusted", "offline", "fetched"),
    [
        ("org/code--bag.BagModel", True, False, True),
        ("org/code--bag.BagModel", True, True, False),
        ("org/code--bag.BagModel", False, False, False),
        ("bag.BagModel", True, False, False),
    ],
)
@pytest.mark.filterwarnings("ignore:trust_remote_code")
def test_only_trusted_code_of_another_repository_is_fetched(
    tmp_path: Path, reference: str, trusted: bool, offline: bool, fetched: bool
) -> None:
    files = CheckpointFiles(name="a", folder=tmp_path, token="hf_secret", local_files_only=offline)
    settings = {"auto_map": {"AutoTokenizer": [reference, None]}}
    options = code_options(files, settings, trust_remote_code=trusted)
    assert options["local_files_only"] is not fetched
    assert "hf_secret" not in repr(files)


def test_a_pickled_encoder_is_loaded_again_from_the_same_commit(hub: Path, bert: Path, tmp_path: Path) -> None:
    put(hub, bert)
    encoder = ColbertEncoder.from_pretrained(NAME, token="hf_secret", local_files_only=True, document_length=12)
    content = pickle.dumps(encoder)
    assert len(content) < 2_000
    assert b"hf_secret" not in content
    put(hub, tiny_bert(tmp_path / "other", seed=1), commit=SECOND)
    again = pickle.loads(content)
    assert again.fingerprint() == encoder.fingerprint()
    assert load(NAME).fingerprint() != encoder.fingerprint()


def test_loading_prints_nothing(hub: Path, bert: Path, capfd: Any, caplog: pytest.LogCaptureFixture) -> None:
    put(hub, bert)
    capfd.readouterr()
    with caplog.at_level(logging.INFO):
        load(NAME)
    assert capfd.readouterr() == ("", "")
