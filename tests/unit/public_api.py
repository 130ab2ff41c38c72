"""Writes the public API down, so that a change of it shows in a diff: ``python -m tests.unit.public_api``."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import colbert_qdrant

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES: Final = sorted([*colbert_qdrant.__all__, "inspect"])
"""All public names; a star import leaves `inspect` out, so that it does not hide Python's own module."""

FILE: Final = Path(__file__).parent / "goldens" / "public_api.txt"


def described() -> str:
    """Every public name with its signature, those of classes with their public members."""
    return "".join(f"{line}\n" for name in NAMES for line in _lines(name))


def is_function(value: object) -> bool:
    """Whether a public name is called like a function."""
    return inspect.isfunction(value) or is_callable_object(value)


def is_callable_object(value: object) -> bool:
    """Whether a public name is an object that is called like a function, and has more functions as its attributes."""
    return _is_ours(type(value)) and callable(value)


def _lines(name: str) -> Iterator[str]:
    value = getattr(colbert_qdrant, name)
    if inspect.ismodule(value):
        yield f"{name}: module"
        return
    if not inspect.isclass(value):
        yield f"{name}{_signature(value)}" if is_function(value) else f"{name}: type alias"
        for member, found in sorted(inspect.getmembers_static(type(value))) if is_callable_object(value) else ():
            if not member.startswith("_"):
                yield f"    {_member(member, found)}"
        return
    bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
    own_init = "__init__" in vars(value)
    yield f"class {name}({bases}){_signature(value) if own_init else ''}"
    for member, found in sorted(inspect.getmembers_static(value)):
        if not member.startswith("_") and any(member in vars(base) for base in value.__mro__ if _is_ours(base)):
            yield f"    {_member(member, found)}"


def _member(name: str, found: Any) -> str:
    kind = next((each.__name__ for each in (classmethod, staticmethod, property) if isinstance(found, each)), "")
    if kind == "property":
        return f"{name}: {found.fget.__annotations__.get('return')}"
    function = getattr(found, "__func__", found)
    if not callable(function):
        return name
    coroutine = "async " if inspect.iscoroutinefunction(function) else ""
    return f"{kind} {coroutine}{name}{_signature(function)}".strip()


def _signature(value: Any) -> str:
    return re.sub(r"'| at 0x[0-9a-f]+", "", str(inspect.signature(value)))


def _is_ours(base: type) -> bool:
    return base.__module__.startswith("colbert_qdrant")


if __name__ == "__main__":
    if "--check" not in sys.argv:
        FILE.write_text(described())
    elif FILE.read_text() != described():
        sys.exit(f"{FILE.name} is not what the public API is now: run `make generate`")
