"""The layout of CONTRIBUTING.md, enforced."""

from __future__ import annotations

import ast
import builtins
import os
import re
import subprocess
import sys
from functools import cache
from graphlib import CycleError, TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

import colbert_qdrant

PACKAGE = Path(colbert_qdrant.__file__).parent
ROOT = PACKAGE.parent
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")
MOST_LINES = 400
MOST_ROOMS = 22
PARALLEL = {
    "__init__.py",  # every package has one
    "aio.py",  # coroutines written by hand
    "sync.py",  # the blocking classes generated from them
    "registry.py",  # the things of a kind that are known
}


def layers() -> list[list[str]]:
    """The table of CONTRIBUTING.md, from the lowest layer up."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    table = text[text.index("<!-- layers -->") : text.index("<!-- /layers -->")]
    rows = [line for line in table.splitlines() if line.startswith("| `")]
    return [re.findall(r"`(\w+)(?:\.py|/)`", row.split("|")[1]) for row in rows]


RANK = {name: rank for rank, layer in enumerate(layers()) for name in layer}


def room(module: Path | str) -> str:
    """The part of the package that a module is in."""
    parts = module.parts if isinstance(module, Path) else module.split(".")[1:]
    return parts[0].removesuffix(".py")


def dotted(module: Path) -> str:
    """The name that a module is imported by."""
    parts = ["colbert_qdrant", *module.with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(module) for module in MODULES}


@cache
def imports(module: Path) -> frozenset[str]:
    """Names of modules that a module imports, inside functions and for type checkers, too."""
    found = set()
    for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & NAMES
            found |= inner or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(found)


def own_imports(module: Path) -> set[str]:
    return {name for name in imports(module) if name.startswith("colbert_qdrant.")}


def test_every_room_is_in_the_table_once() -> None:
    named = list(chain.from_iterable(layers()))
    assert sorted(named) == sorted({room(module) for module in MODULES})
    assert len(named) <= MOST_ROOMS


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_data_only_goes_forward(module: Path) -> None:
    upward = [
        name for name in own_imports(module) if room(name) != room(module) and RANK[room(name)] >= RANK[room(module)]
    ]
    assert not upward, f"{module} imports {upward}, which are not in a layer below it"


def test_the_embedded_engine_knows_nothing_of_ours_but_errors() -> None:
    outside = {
        name for module in MODULES if room(module) == "edge" for name in own_imports(module) if room(name) != "edge"
    }
    assert outside <= {"colbert_qdrant.errors"}


@pytest.mark.parametrize("folder", sorted({module.parent for module in MODULES}), ids=str)
def test_no_modules_of_a_package_import_each_other(folder: Path) -> None:
    here = [module for module in MODULES if module.parent == folder and module.name != "__init__.py"]
    graph = {dotted(module): own_imports(module) & {dotted(each) for each in here} for module in here}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"these import each other: {' → '.join(error.args[1])}")


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_models_are_only_known_to_encoders(module: Path) -> None:
    heavy = {name for name in imports(module) if name.split(".")[0] in {"torch", "transformers"}}
    assert not heavy or room(module) in {"_support", "encoders", "fde", "scoring"}


@pytest.mark.parametrize("module", [module for module in MODULES if room(module) != "engines"], ids=str)
def test_engines_are_only_told_apart_in_their_own_package(module: Path) -> None:
    if room(module) in {"edge", "evaluation"}:
        return  # the client itself, and a store of its own to measure in
    for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
        called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        if called == "isinstance":
            assert "Client" not in ast.unparse(node), f"{module}: {ast.unparse(node)}"
        assert not (isinstance(node, ast.Attribute) and node.attr in {"embedded", "remote"}), f"{module}: {node.lineno}"


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_modules_stay_small_and_say_what_they_do(module: Path) -> None:
    text = (PACKAGE / module).read_text()
    assert len(text.splitlines()) <= MOST_LINES, f"{module}: one idea per module"
    first = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    assert first.endswith("."), f"{module}: the first line is no sentence"
    assert not first.startswith(("What ", "Where ", "How ", "Whether ", "Who")), f"{module}: {first!r} is headless"


def test_no_room_takes_more_than_a_fifth_of_the_lines() -> None:
    written = [module for module in MODULES if not (PACKAGE / module).read_text().startswith("# Generated")]
    lines = {module: len((PACKAGE / module).read_text().splitlines()) for module in written}
    for name in {room(module) for module in MODULES}:
        own = sum(count for module, count in lines.items() if room(module) == name)
        assert own <= sum(lines.values()) / 5, name


def test_a_file_name_is_in_two_packages_at_most() -> None:
    folders: dict[str, set[str]] = {}
    for module in MODULES:
        # MUVERA and LEMUR have the same parts
        folder = "fde/*" if module.parts[:2] in {("fde", "muvera"), ("fde", "lemur")} else str(module.parent)
        folders.setdefault(module.name, set()).add(folder)
    many = {name: sorted(where) for name, where in folders.items() if len(where) > 2 and name not in PARALLEL}
    assert not many


def test_the_generated_files_are_what_is_generated() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / ".ci" / "generate_sync.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_importing_the_package_and_reading_its_hints_loads_no_model_library_and_no_engine() -> None:
    script = (
        "import inspect, sys, typing, colbert_qdrant\n"
        "for value in vars(colbert_qdrant).values():\n"
        "    if inspect.isclass(value) or inspect.isfunction(value): typing.get_type_hints(value)\n"
        "print([name for name in ('torch', 'transformers', 'qdrant_edge', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_the_package_takes_little_beside_its_client(tmp_path: Path) -> None:
    script = (
        "import time; start = time.process_time(); import qdrant_client; middle = time.process_time();"
        "import colbert_qdrant; print(middle - start, time.process_time() - middle)"
    )
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    compiled["PYTHONPYCACHEPREFIX"] = str(tmp_path)  # as installed packages are
    ratios = []
    for _ in range(4):  # the first one compiles; then the least disturbed counts
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=compiled)
        client, own = map(float, done.stdout.split())
        ratios.append(own / client)
    assert min(ratios[1:]) < 0.4


def test_every_public_name_is_there_and_sorted() -> None:
    assert colbert_qdrant.__all__ == sorted(colbert_qdrant.__all__)
    missing = [name for name in colbert_qdrant.__all__ if not hasattr(colbert_qdrant, name)]
    assert not missing
    public = {name for name in vars(colbert_qdrant) if name[0].isupper()}
    assert public <= set(colbert_qdrant.__all__)


def test_a_star_import_hides_nothing_of_pythons() -> None:
    names = set(colbert_qdrant.__all__)
    assert not names & {*dir(builtins), *sys.stdlib_module_names}
    assert callable(colbert_qdrant.inspect)  # by its name
