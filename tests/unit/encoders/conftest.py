"""Checkpoints that the tests share, and copies of them to break."""

from __future__ import annotations

import shutil
from functools import cache
from typing import TYPE_CHECKING

import pytest
import torch

from tests.checkpoints import tiny_bert, tiny_roberta
from tests.parity.checkpoints import build

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Build = Callable[[str], Path]


@pytest.fixture(scope="package", autouse=True)
def _one_thread() -> Iterator[None]:
    """The models are so small that sharing the work among threads costs more than the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """A checkpoint of `tests.parity.checkpoints`; it must not be changed."""

    @cache
    def built(name: str) -> Path:
        return build(name, tmp_path_factory.mktemp("built") / name)

    return built


@pytest.fixture
def copied(built: Build, tmp_path: Path) -> Build:
    """A copy of such a checkpoint, to be changed."""
    return lambda name: shutil.copytree(built(name), tmp_path / name)


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain BERT; it must not be changed."""
    return tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain RoBERTa; it must not be changed."""
    return tiny_roberta(tmp_path_factory.mktemp("roberta"))
