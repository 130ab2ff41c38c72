"""Checks the names of collections, vectors and payload keys against those that servers take.

The bounds are Qdrant's own (``lib/common/common/src/validation.rs``), which hold on every engine: so a collection can
move from one to another.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from colbert_qdrant._support.paths import join_path, parse_path
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

_FORBIDDEN: Final = re.compile(r'[<>:"/\\|?*\x00\x1f]')
_FORBIDDEN_IN_OLD: Final = re.compile(r"[/\x00]")
_MAX_BYTES: Final = 255
_MAX_VECTOR_BYTES: Final = 200


def require_collection_name(name: object, *, what: str = "a collection", suffix: str = "") -> None:
    """Raise unless a new collection, or what else is said, can have a name, also with a suffix behind it."""
    _require(name, what, _FORBIDDEN, _MAX_BYTES - len(suffix))


def require_stored_name(name: object) -> None:
    """Raise unless there can be a collection of a name: servers before 1.5 took more characters than today's."""
    _require(name, "a collection", _FORBIDDEN_IN_OLD, _MAX_BYTES)


def require_vector_names(names: Iterable[str]) -> None:
    """Raise unless new vectors can have names; ``""`` is the unnamed vector."""
    for name in names:
        if name:
            _require(name, "a vector", _FORBIDDEN, _MAX_VECTOR_BYTES)


def require_path(setting: str, path: str) -> str:
    """Return the value of a setting as every engine reads it; raise unless it is a path into a payload."""
    try:
        return join_path(parse_path(path))
    except ConfigurationError as error:
        raise ConfigurationError(f"{setting}: {error}") from None


def same_path(path: Any) -> Any:
    """Return a path as `require_path` does, or as it is if it is none: two of them are equal if they say the same."""
    try:
        return join_path(parse_path(path))
    except ConfigurationError:
        return path


def require_key(setting: str, key: str) -> None:
    """Raise unless the value of a setting is one payload key: Qdrant would take any other for a path."""
    try:
        is_key = parse_path(key) == [key]
    except ConfigurationError:
        is_key = False
    if not is_key:
        raise ConfigurationError(
            f"{setting}: {shown(key)} is not one payload key of letters, digits, - and _, as it has to be here: "
            "a text is found at other paths in a collection with id_scheme='native'"
        )


def _require(name: object, what: str, forbidden: re.Pattern[str], most: int) -> None:
    problem = _problem(name, forbidden, most)
    if problem:
        raise ConfigurationError(
            f"{_shorten(name)} cannot be the name of {what}: {problem}; use letters, digits, - and _"
        )


def _problem(name: object, forbidden: re.Pattern[str], most: int) -> str | None:
    if not isinstance(name, str):
        return f"it is a {type(name).__name__}, not a string"
    found = forbidden.search(name)
    if found:
        return f"it has the character {found[0]!r}"
    if name in ("", ".", ".."):
        return "it is empty" if not name else "it would lead to another folder"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    return f"it has {size} bytes, the most are {most}" if size > most else None


def _shorten(name: object) -> str:
    text = shown(name).encode("ascii", "backslashreplace").decode()  # a name may not be printable
    return text if len(text) <= 60 else f"{text[:60]}…"
