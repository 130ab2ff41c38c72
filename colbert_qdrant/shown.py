"""Looks at values of callers, whatever they are: none of them raises its own error here."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any


def shown(value: object, most: int = 200) -> str:
    """Return a value's `repr`, cut to so many characters; only its type where that fails."""
    for show in (repr, reprlib.repr):  # the second one goes few levels deep
        try:
            text = show(value)
        except Exception:  # noqa: BLE001, S112 - a number of thousands of digits, lists in thousands of lists, …
            continue
        return text if len(text) <= most else f"{text[:most]}…"
    return f"<{type(value).__name__}>"


def holds(condition: Callable[[], object]) -> bool:
    """Tell whether a condition of a caller's value holds; one that fails does not."""
    try:
        return bool(condition())
    except Exception:  # noqa: BLE001 - values of other libraries compare as they like
        return False


def has(value: object, member: str) -> bool:
    """Tell whether a caller's value has an attribute."""
    return holds(lambda: hasattr(value, member))


def listed(values: object) -> list[Any] | None:
    """Return several values of a caller as a list; ``None`` for a string, bytes, a dict, or what has no values."""
    if isinstance(values, str | bytes | bytearray | memoryview | Mapping) or not isinstance(values, Iterable):
        return None
    try:
        iterator = iter(values)
    except Exception:  # noqa: BLE001 - an array of no dimension, a closed file
        return None
    return list(iterator)
