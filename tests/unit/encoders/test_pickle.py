"""Encoders and rerankers travel to other processes by their source and settings."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import pytest

from colbert_qdrant import ColbertEncoder, ColbertReranker
from colbert_qdrant.encoders.checkpoint.files import open_checkpoint
from colbert_qdrant.encoders.checkpoint.load import load_checkpoint
from tests.unit.encoders.reference import assert_same, load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TEXTS = ["the cat", "a river, and a tree"]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"document_length": 12, "query_length": 10},
    {"prompts": {"query": "find: "}, "pool_factor": 2},
    {"long_documents": "split", "batch_size": 2},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=["as it is", "lengths", "prompts and pooling", "windows"])
def test_an_encoder_is_the_same_on_the_other_side(bert: Path, settings: dict[str, Any]) -> None:
    encoder = load(bert, **settings)
    content = pickle.dumps(encoder)
    again = pickle.loads(content)
    assert len(content) < 2_000  # no weights
    assert again.fingerprint() == encoder.fingerprint()
    assert_same(again.encode_documents(TEXTS), encoder.encode_documents(TEXTS), atol=0)
    assert_same(again.encode_queries(TEXTS), encoder.encode_queries(TEXTS), atol=0)


@pytest.mark.parametrize("name", ["pylate-bert", "stanford-bert", "mve-fixed"])
def test_so_is_one_of_every_layout(built: Callable[[str], Path], name: str) -> None:
    encoder = load(built(name))
    assert pickle.loads(pickle.dumps(encoder)).fingerprint() == encoder.fingerprint()


def test_a_folder_is_found_from_another_working_directory(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(bert.parent)
    content = pickle.dumps(load(bert.name))
    monkeypatch.chdir(tmp_path)
    assert pickle.loads(content).dim == 16


def test_rerankers_go_with_their_encoder(bert: Path) -> None:
    rank = ColbertReranker(load(bert), normalize=True)
    again = pickle.loads(pickle.dumps(rank))
    assert again("the cat", TEXTS) == rank("the cat", TEXTS)


def test_an_encoder_made_in_memory_says_how_to_make_one_that_travels(bert: Path) -> None:
    encoder = ColbertEncoder(load_checkpoint(open_checkpoint(bert)), device="cpu")
    with pytest.raises(TypeError, match=r"make it with ColbertEncoder\.from_pretrained"):
        pickle.dumps(encoder)
