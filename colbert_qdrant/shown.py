"""Shows values and counts in messages, and inspects callers' values without raising the errors of their methods."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final


def shown(value: object, most: int = 200) -> str:
    """Return a value's `repr`, cut to ``most`` characters; only its type if `repr` fails."""
    for show in (repr, reprlib.repr):  # reprlib limits the depth
        try:
            text = show(value)
        except Exception:  # noqa: BLE001, S112 - an integer with thousands of digits, thousands of nested lists, …
            continue
        return text if len(text) <= most else f"{text[:most]}…"
    return f"<{type(value).__name__}>"


def kind_of(value: object) -> str:
    """Return the type of a value with its article: ``"a str"`` or ``"an int"``."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


_SINGULAR: Final = {"have": "has", "are": "is", "were": "was"}


def counted(count: int, noun: str, verb: str = "") -> str:
    """Return a count with its noun, and a verb that agrees: ``"1 document has"`` or ``"2 documents have"``."""
    several = f"{noun[:-1]}ies" if noun.endswith("ry") else f"{noun}s"  # queries
    words = [f"{count:,}", noun if count == 1 else several, _SINGULAR[verb] if verb and count == 1 else verb]
    return " ".join(word for word in words if word)


def holds(condition: Callable[[], object]) -> bool:
    """Tell whether a condition on a caller's value holds; False if it raises an error."""
    try:
        return bool(condition())
    except Exception:  # noqa: BLE001 - comparisons of other libraries' values may raise anything
        return False


def has(value: object, member: str) -> bool:
    """Tell whether a caller's value has an attribute."""
    return holds(lambda: hasattr(value, member))


def listed(values: object) -> list[Any] | None:
    """Return a caller's iterable as a list; ``None`` for strings, bytes, dicts and objects that are not iterable."""
    if isinstance(values, str | bytes | bytearray | memoryview | Mapping) or not isinstance(values, Iterable):
        return None
    try:
        iterator = iter(values)
    except Exception:  # noqa: BLE001 - a zero-dimensional array, a closed file
        return None
    return list(iterator)
