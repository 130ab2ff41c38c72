"""Makes the demo's documents from the docstrings of the Python standard library."""

from __future__ import annotations

import ast
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from colbert_qdrant.documents import Document

if TYPE_CHECKING:
    from collections.abc import Iterator

MIN_WORDS: Final = 20
_SKIPPED_FOLDERS: Final = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}

_Documented: TypeAlias = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def iter_documents(root: Path | None = None) -> Iterator[Document]:
    """Yield one document per module, class and function with a docstring of at least 20 words.

    Args:
        root: A folder of Python sources; by default the standard library.

    Yields:
        Documents in the order of files and lines. The id is a dotted name such as
        ``json.decoder.JSONDecoder.raw_decode``. If a name is defined twice, the first definition counts.
    """
    root = root or Path(os.__file__).parent
    seen: set[str] = set()
    for path in sorted(root.rglob("*.py")):
        relative = path.relative_to(root)
        if path.is_file() and _SKIPPED_FOLDERS.isdisjoint(relative.parts[:-1]):
            yield from _documents_of(path, relative, seen)


def _documents_of(path: Path, relative: Path, seen: set[str]) -> Iterator[Document]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer Pythons warn about syntax in old sources
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError):
        return
    parts = relative.with_suffix("").parts
    module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    for name, node in _walk(module, tree):
        if name in seen:
            continue
        seen.add(name)
        docstring = ast.get_docstring(node)
        if docstring and len(docstring.split()) >= MIN_WORDS:
            payload = {"module": module, "kind": _kind(node), "file": relative.as_posix(), "line": _line(node)}
            yield Document(name, f"{_title(name, node)}\n\n{docstring}", payload)


def _walk(name: str, node: _Documented) -> Iterator[tuple[str, _Documented]]:
    yield name, node
    for child in _definitions(node):
        yield from _walk(f"{name}.{child.name}", child)


def _definitions(node: ast.AST) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the classes and functions directly inside a node, including those under ``if`` or ``try``."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
        else:
            yield from _definitions(child)


def _kind(node: _Documented) -> str:
    if isinstance(node, ast.Module):
        return "module"
    return "class" if isinstance(node, ast.ClassDef) else "function"


def _line(node: _Documented) -> int:
    return 1 if isinstance(node, ast.Module) else node.lineno


def _title(name: str, node: _Documented) -> str:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return f"{name}({ast.unparse(node.args)})"
    return name
