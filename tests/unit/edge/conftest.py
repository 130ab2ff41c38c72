"""A store in a temporary folder, and ways to run a script in another process."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

import pytest

from colbert_qdrant.edge import EdgeClient
from tests import processes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class RunScript(Protocol):
    def __call__(self, script: str, *arguments: object) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def client(tmp_path: Path) -> Iterator[EdgeClient]:
    with EdgeClient(tmp_path / "store") as opened:
        yield opened


@pytest.fixture
def script_env() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}


@pytest.fixture
def run_script() -> RunScript:
    return processes.run_script


@pytest.fixture
def new_interpreter(script_env: dict[str, str]) -> RunScript:
    """For what depends on what has been imported, and on how Python ends."""

    def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=script_env,
        )

    return run
