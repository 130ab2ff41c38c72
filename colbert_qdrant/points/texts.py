"""Reads and writes the text in a point's payload."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from qdrant_client import models

from colbert_qdrant._support.paths import parse_path, values_at
from colbert_qdrant.config.names import require_path
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from colbert_qdrant._support.paths import Step
    from colbert_qdrant.config import CollectionConfig

TextOf: TypeAlias = Callable[[dict[str, Any]], str | None]
"""Takes a payload and returns its text, or ``None`` if it has no text."""


class TextSource:
    r"""Finds texts in payloads.

    Args:
        key: The path of the text in Qdrant's notation. Several texts, under ``list[]``, are joined with line breaks. A
            step into a string reads the JSON in it.
        function: A function that returns the text, instead of a path. It gets a copy of the payload.

    Raises:
        ConfigurationError: If ``key`` is not a path.

    Example:
        >>> TextSource("meta.parts[].text").text({"meta": {"parts": [{"text": "one"}, {"page": 2}, {"text": "two"}]}})
        'one\ntwo'
    """

    def __init__(self, key: str, function: TextOf | None = None) -> None:
        if function is not None:
            require_text_function(function)
        self.key = key
        self._function = function
        if function is None:
            require_path("text_key", key)
        self._steps: list[Step] = [] if function else parse_path(key)

    def text(self, payload: dict[str, Any]) -> str | None:
        """Return the text, or ``None`` if it is missing, empty or not a string."""
        found = self._function(deepcopy(payload)) if self._function else self._text_at_path(payload)
        return found if isinstance(found, str) and found.strip() else None

    @property
    def first_key(self) -> str:
        """The first key of the path, in quotes as in Qdrant's paths; empty for a function."""
        return "" if self._function else f'"{self._steps[0]}"'

    def is_still(self, payload: dict[str, Any]) -> models.FieldCondition | None:
        """Return the condition that a point still has this payload's text; ``None`` if no filter can express it."""
        inner: Any = payload
        for step in self._steps:
            inner = inner.get(step) if isinstance(inner, dict) and isinstance(step, str) else None
        if self._function or not isinstance(inner, str):
            return None
        return models.FieldCondition(key=self.key, match=models.MatchValue(value=inner))

    def put(self, payload: dict[str, Any], text: str) -> None:
        """Put a text into a payload that lacks it, if the path consists of keys only.

        Raises:
            InvalidDocumentError: If the payload has another value at the path, or if the path leads through a list or
                a scalar. The message names the problem and the remedy.
        """
        if self.text(payload) == text:
            return
        if any(True for _ in values_at(payload, self._steps)):
            raise InvalidDocumentError(
                f"its payload has another value than the text {self}: make the two equal, or leave the key out of the "
                "payload"
            )
        inner: Any = payload
        for step in self._steps[:-1]:
            inner = inner.setdefault(step, {}) if isinstance(step, str) and isinstance(inner, dict) else None
        if not isinstance(inner, dict) or not isinstance(self._steps[-1], str):
            raise InvalidDocumentError(
                f"its payload has no text {self}, where a list or a scalar is in the way: put the text into the payload"
            )
        inner[self._steps[-1]] = text

    def _text_at_path(self, payload: dict[str, Any]) -> str:
        return "\n".join(value for value in values_at(payload, self._steps) if isinstance(value, str))

    def __str__(self) -> str:
        return "returned by text=" if self._function else f"under {self.key!r}"


def require_text_function(text: object) -> None:
    """Raise `ConfigurationError` unless the argument ``text`` is a function."""
    if not callable(text):
        raise ConfigurationError(
            f"text is {shown(text)}: pass a function that takes a payload and returns its text or None"
        )


@lru_cache(maxsize=64)
def text_source(key: str | None) -> TextSource | None:
    """Return the source of a native collection's texts for its ``text_key``; ``None`` if it has no texts.

    Raises:
        ConfigurationError: If ``key`` is not a path.
    """
    return None if key is None else TextSource(key)


def text_of(payload: dict[str, Any], config: CollectionConfig) -> str | None:
    """Return the text in a stored payload of one of this library's collections, or ``None`` if it has no text."""
    if config.native:
        source = text_source(config.text_key)
        return None if source is None else source.text(payload)
    found = payload.get(str(config.text_key))
    return found if isinstance(found, str) else None
