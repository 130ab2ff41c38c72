"""The layout of CONTRIBUTING.md, enforced."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import colbert_qdrant

PACKAGE = Path(colbert_qdrant.__file__).parent

LAYERS = [
    {"errors", "documents", "tokens", "devices", "progress", "runtime", "secret", "telemetry", "workers"},
    {"config"},
    {"fingerprint"},
    {"scoring", "fde", "encoders"},
    {"rank", "rerank", "inspection", "qdrant"},
    {"attached", "ingest"},
    {"operations"},
    {"shell"},
    {"searches"},
    {"aio", "collection"},
    {"evaluate", "migrate"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
WITHIN_LOWEST = {("tokens", "errors"), ("devices", "errors"), ("progress", "errors")}

MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def top_level(module: Path) -> str:
    return module.parts[0].removesuffix(".py")


def imports(module: Path, *, typing_only: bool) -> set[str]:
    """Names imported, with the part of this package they are from, at run time or also for type checkers."""
    tree = ast.parse((PACKAGE / module).read_text())
    if not typing_only:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = []
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "colbert_qdrant":
                found |= {f"colbert_qdrant.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_data_only_goes_forward(module: Path) -> None:
    own = top_level(module)
    assert own in RANK, f"{module} is in no layer: add it to LAYERS and to CONTRIBUTING.md"
    for name in imports(module, typing_only=True):
        if name.startswith("colbert_qdrant."):
            other = name.split(".")[1]
            allowed = other == own or RANK[other] < RANK[own] or (own, other) in WITHIN_LOWEST
            assert allowed, f"{module} imports {name}, which is not below it"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_models_are_only_known_to_encoders(module: Path) -> None:
    heavy = {name for name in imports(module, typing_only=True) if name.split(".")[0] in {"torch", "transformers"}}
    assert not heavy or top_level(module) in {"devices", "encoders", "fde", "scoring", "workers"}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_modules_stay_small(module: Path) -> None:
    assert len((PACKAGE / module).read_text().splitlines()) <= 420, f"{module}: one idea per module"


def test_importing_the_package_loads_no_model_library_and_no_engine() -> None:
    script = (
        "import sys, colbert_qdrant;"
        "print([name for name in ('torch', 'transformers', 'qdrant_edge') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_and_sorted() -> None:
    assert colbert_qdrant.__all__ == sorted(colbert_qdrant.__all__)
    missing = [name for name in colbert_qdrant.__all__ if not hasattr(colbert_qdrant, name)]
    assert not missing
    public = {name for name in vars(colbert_qdrant) if name[0].isupper()}
    assert public <= set(colbert_qdrant.__all__)
