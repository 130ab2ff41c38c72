"""The package runs nothing that it reads: no pickle, no `eval`, no shell."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import colbert_qdrant

PACKAGE = Path(colbert_qdrant.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
READERS_THAT_RUN = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
CALLS_THAT_DO = {"eval", "exec", "compile", "__import__"}
ONLY_WITH = {"torch.load": ("weights_only", True)}
NEVER_WITH = {"np.load": ("allow_pickle", True), "numpy.load": ("allow_pickle", True)}
NEVER = {"os.system", "os.popen", "yaml.load", "yaml.unsafe_load", "pd.read_pickle", "pandas.read_pickle"}


def problems(source: str) -> list[str]:
    """What is forbidden in a module, with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [f"{node.lineno}: {name}" for name in names if name.split(".")[0] in READERS_THAT_RUN]
        elif isinstance(node, ast.Call) and (problem := _problem(node)):
            found.append(f"{node.lineno}: {problem}")
    return found


def _problem(call: ast.Call) -> str | None:
    name = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name in CALLS_THAT_DO or name in NEVER or given.get("shell", "False") != "False":
        return name
    if name in ONLY_WITH and given.get(ONLY_WITH[name][0]) != str(ONLY_WITH[name][1]):
        return f"{name} without {ONLY_WITH[name]}"
    if name in NEVER_WITH and given.get(NEVER_WITH[name][0], "False") != "False":
        return f"{name} with {NEVER_WITH[name]}"
    return None


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_that_is_read_is_run(path: Path) -> None:
    assert problems(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from marshal import loads",
        "import torch\ntorch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "yaml.load(text)",
        "eval(text)",
        "exec(text)",
        "subprocess.run(command, shell=True)",
        "os.system(command)",
    ],
)
def test_it_would_be_found(source: str) -> None:
    assert problems(source)


def test_what_is_harmless_is_left_alone() -> None:
    assert (
        problems("torch.load(p, weights_only=True)\nnp.load(p, allow_pickle=False)\nmodel.eval()\nre.compile(x)") == []
    )
