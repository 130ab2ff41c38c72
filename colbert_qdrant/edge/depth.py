"""Bounds how deep lists and objects are inside each other, in payloads and filters."""

from __future__ import annotations

from typing import Any, Final

MAX_DEPTH: Final = 64
"""Lists and objects inside each other: Edge's log can be read up to about 120, and so can a server's points (1.19)."""


def is_too_deep(value: Any) -> bool:
    """Says if JSON values are more than `MAX_DEPTH` lists and objects inside each other."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [child for parent in level for child in _children(parent)]
    return bool(level)


def _children(value: Any) -> Any:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
