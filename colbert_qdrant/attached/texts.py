"""Where the text of a point is."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from colbert_qdrant.qdrant.paths import parse_path, values_at

if TYPE_CHECKING:
    from colbert_qdrant.qdrant.paths import Step

TextOf: TypeAlias = Callable[[dict[str, Any]], str | None]
"""A payload → its text, or ``None`` if it has none."""


class TextSource:
    r"""Finds texts in payloads.

    Args:
        key: The path of the text, as Qdrant writes paths; several texts, under ``list[]``, are joined by line breaks.
        function: Finds it, in the place of the path.

    Raises:
        ConfigurationError: The path is none.

    Example:
        >>> TextSource("meta.parts[].text").text({"meta": {"parts": [{"text": "one"}, {"page": 2}, {"text": "two"}]}})
        'one\ntwo'
    """

    def __init__(self, key: str, function: TextOf | None = None) -> None:
        self._key = key
        self._function = function
        self._steps: list[Step] = [] if function else parse_path(key)

    def text(self, payload: dict[str, Any]) -> str | None:
        """The text, or ``None`` if there is none, it is empty or no string."""
        found = self._function(payload) if self._function else self._at_path(payload)
        return found if isinstance(found, str) and found.strip() else None

    def _at_path(self, payload: dict[str, Any]) -> str:
        return "\n".join(value for value in values_at(payload, self._steps) if isinstance(value, str))

    def __str__(self) -> str:
        return "that text= finds" if self._function else f"under {self._key!r}"
