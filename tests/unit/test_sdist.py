"""The source distribution has all that `make test` and `make demo` need."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BACKEND = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["build-backend"]


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distribution, as the backend of `pyproject.toml` builds it, unpacked in a folder of its own."""
    backend = pytest.importorskip(BACKEND, reason="`make install` brings the build backend")
    folder = tmp_path_factory.mktemp("sdist")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        name: str = backend.build_sdist(str(folder))
    with tarfile.open(folder / name) as archive:
        archive.extractall(folder, filter="data")
    return folder / name.removesuffix(".tar.gz")


def written_by_hand() -> set[str]:
    """The files of a checkout; in an unpacked distribution, those that it came with."""
    if (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        return {name for name in listed.splitlines() if (ROOT / name).exists()}
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split()}
    found = (Path(folder, file).relative_to(ROOT) for folder, _, files in os.walk(ROOT) for file in files)
    return {path.as_posix() for path in found if not ignored & set(path.parts)}


def test_every_file_is_in_it(unpacked: Path) -> None:
    files = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()}
    assert files - {"PKG-INFO"} == written_by_hand() - {"PKG-INFO"}


def test_scripts_can_be_started(unpacked: Path) -> None:
    for script in (".ci/run", ".ci/freeze"):
        assert os.access(unpacked / script, os.X_OK)


@pytest.mark.parametrize("target", ["install", "test", "demo", "lint", "generate"])
def test_make_finds_what_its_commands_need(unpacked: Path, target: str) -> None:
    done = subprocess.run(["make", "--dry-run", target], cwd=unpacked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    named = [word for word in done.stdout.split() if word.startswith((".ci/", "examples/", "tests/"))]
    assert named
    assert all((unpacked / word).exists() for word in named)


def test_its_tests_run_in_it(unpacked: Path) -> None:
    some = ["tests/unit/test_workflows.py", "tests/unit/test_source.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *some]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["PYTHONPATH"] = str(unpacked)
    done = subprocess.run(command, cwd=unpacked, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout
