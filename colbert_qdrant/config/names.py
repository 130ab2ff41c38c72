"""Validates the names of collections, vectors and payload keys.

The limits are those of a Qdrant server (``lib/common/common/src/validation.rs``). They apply to every engine, so that
collections can move between engines.
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
    """Raise `ConfigurationError` unless a new collection can have the name, also with a suffix appended.

    Args:
        name: The name.
        what: The kind of object that gets the name, for the message.
        suffix: A suffix that is appended to the name.
    """
    _require(name, what, _FORBIDDEN, _MAX_BYTES - len(suffix))


def require_stored_name(name: object) -> None:
    """Raise `ConfigurationError` unless a stored collection can have the name.

    Servers before 1.5 accepted more characters in names.
    """
    _require(name, "a collection", _FORBIDDEN_IN_OLD, _MAX_BYTES)


def require_vector_names(names: Iterable[str]) -> None:
    """Raise `ConfigurationError` unless new vectors can have the names; ``""`` is the unnamed vector."""
    for name in names:
        if name:
            _require(name, "a vector", _FORBIDDEN, _MAX_VECTOR_BYTES)


def require_path(setting: str, path: str) -> str:
    """Return a payload path in normalized form; raise `ConfigurationError` unless it is a valid path."""
    try:
        return join_path(parse_path(path))
    except ConfigurationError as error:
        raise ConfigurationError(f"{setting}: {error}") from None


def same_path(path: Any) -> Any:
    """Return a payload path in normalized form, so that equivalent paths compare equal; keep an invalid path."""
    try:
        return join_path(parse_path(path))
    except ConfigurationError:
        return path


def require_key(setting: str, key: str) -> None:
    """Raise `ConfigurationError` unless a setting is a single payload key, which Qdrant does not split as a path."""
    try:
        is_key = parse_path(key) == [key]
    except ConfigurationError:
        is_key = False
    if not is_key:
        raise ConfigurationError(
            f"{setting}: {shown(key)} is not a single payload key: use letters, digits, - and _; only collections with "
            "id_scheme='native' accept paths"
        )


def _require(name: object, what: str, forbidden: re.Pattern[str], most: int) -> None:
    problem = _problem(name, forbidden, most)
    if problem:
        raise ConfigurationError(
            f"{_shorten(name)} cannot be the name of {what} because {problem}: use letters, digits, - and _"
        )


def _problem(name: object, forbidden: re.Pattern[str], most: int) -> str | None:
    if not isinstance(name, str):
        return f"it is a {type(name).__name__}, not a string"
    found = forbidden.search(name)
    if found:
        return f"it contains {found[0]!r}"
    if name in ("", ".", ".."):
        return "it is empty" if not name else "it refers to another folder"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "it is not valid Unicode"
    return f"it has {size} bytes, but the maximum is {most}" if size > most else None


def _shorten(name: object) -> str:
    text = shown(name).encode("ascii", "backslashreplace").decode()  # a name may contain unprintable characters
    return text if len(text) <= 60 else f"{text[:60]}…"
