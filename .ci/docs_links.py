"""A griffe extension for the API reference: names in docstrings become links, and options are listed in one place."""

from __future__ import annotations

import ast
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from griffe import Class, Extension, Module, Object

if TYPE_CHECKING:
    from collections.abc import Iterator

_PACKAGE: Final = "colbert_qdrant"
_OPTIONS: Final = (
    "AttachOptions",
    "SimilarOptions",
    "GroupOptions",
    "SearchOptions",
    "IngestTokensOptions",
    "IngestOptions",
)
_NAME: Final = re.compile(r"(?<![`\[])`([A-Za-z_]\w*)`(?!`)")
_ENTRY: Final = re.compile(r"^ {4}\w+: .*(?:\n {8}.*)*", re.MULTILINE)
_UNLISTED: Final = {"inspect"}
"""Public, but not in ``__all__``: a star import keeps Python's own."""


def public_names() -> frozenset[str]:
    """The names that the package exports."""
    tree = ast.parse(Path(_PACKAGE, "__init__.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            return frozenset(ast.literal_eval(node.value)) | _UNLISTED
    raise AssertionError(f"{_PACKAGE} has no __all__")


class DocsLinks(Extension):
    """Rewrites docstrings before they are rendered."""

    def __init__(self) -> None:
        super().__init__()
        self._public = public_names()
        self._options: dict[str, list[str]] = {}

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Link the public names in all docstrings; give each kind of options those that it inherits."""
        for obj in [pkg, *_objects(pkg)]:
            if obj.docstring is None:
                continue
            text = re.sub(r"(?m)^::\n", "", obj.docstring.value)  # reStructuredText's mark of a block
            text = re.sub(r"(?m)^Example:$", "Examples:", text)  # Griffe's name of a section of code
            if isinstance(obj, Class) and obj.name in _OPTIONS:
                text = self._with_inherited(obj, text)
            obj.docstring.value = _NAME.sub(partial(self._link, obj), text)

    def _with_inherited(self, kind: Class, text: str) -> str:
        own = _ENTRY.findall(text)
        inherited = [entry for base in kind.bases for entry in self._options.get(str(base), [])]
        names = {entry.split(":")[0] for entry in own}
        self._options[kind.name] = every = [entry for entry in inherited if entry.split(":")[0] not in names] + own
        summary = re.sub(r", in addition to those of `\w+`\.", ".", text.split("\n", maxsplit=1)[0])
        return summary + "\n\nAttributes:\n" + "\n".join(every) + "\n"

    def _link(self, obj: Object, found: re.Match[str]) -> str:
        name = found[1]
        owner = obj if isinstance(obj, Class) else obj.parent
        while owner is not None and not isinstance(owner, Class):
            owner = owner.parent
        if name in self._public:
            return f"[`{name}`][{_PACKAGE}.{name}]"
        member = owner.all_members.get(name) if owner is not None and owner.name in self._public else None
        if owner is not None and member is not None and member.has_docstring and name[0] != "_":
            documented = owner.name.removeprefix("Async")  # the pages list an asynchronous class's methods only
            return f"[`{name}`][{_PACKAGE}.{documented}.{name}]"
        return found[0]


def _objects(parent: Object) -> Iterator[Object]:
    """All modules, classes, functions and attributes below one, without imported names."""
    for member in parent.members.values():
        if isinstance(member, Object):
            yield member
            yield from _objects(member)
