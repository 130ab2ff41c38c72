"""Limits the nesting depth of payloads and filters."""

from __future__ import annotations

from typing import Any, Final

MAX_DEPTH: Final = 64
"""The maximum nesting depth. Edge's log is readable up to a depth of about 120, and so are a server's points (1.19)."""


def is_too_deep(value: Any) -> bool:
    """Tell whether a JSON value nests lists and objects deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [child for parent in level for child in _children(parent)]
    return bool(level)


def _children(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
