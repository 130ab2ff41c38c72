"""Finds the text of a point in its payload, and puts it there."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from qdrant_client import models

from colbert_qdrant._support.paths import parse_path, values_at
from colbert_qdrant.config.names import require_path
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError

if TYPE_CHECKING:
    from colbert_qdrant._support.paths import Step
    from colbert_qdrant.config import CollectionConfig

TextOf: TypeAlias = Callable[[dict[str, Any]], str | None]
"""Takes a payload and returns its text, or ``None`` if it has none."""


class TextSource:
    r"""Finds texts in payloads.

    Args:
        key: The path of the text, as Qdrant writes paths; several texts, under ``list[]``, are joined by line breaks,
            and a step into a string goes into the JSON that it holds.
        function: A function that finds it, instead of the path; it gets a copy, so that it changes nothing.

    Raises:
        ConfigurationError: ``key`` is no path.

    Example:
        >>> TextSource("meta.parts[].text").text({"meta": {"parts": [{"text": "one"}, {"page": 2}, {"text": "two"}]}})
        'one\ntwo'
    """

    def __init__(self, key: str, function: TextOf | None = None) -> None:
        if function is not None and not callable(function):
            raise ConfigurationError("text must be a function that takes a payload and returns its text, or None")
        self.key = key
        self._function = function
        if function is None:
            require_path("text_key", key)
        self._steps: list[Step] = [] if function else parse_path(key)

    def text(self, payload: dict[str, Any]) -> str | None:
        """Return the text, or ``None`` if there is none, it is empty or no string."""
        found = self._function(deepcopy(payload)) if self._function else self._text_at_path(payload)
        return found if isinstance(found, str) and found.strip() else None

    @property
    def first_key(self) -> str:
        """The first key of the path, in the quotes of paths."""
        return "" if self._function else f'"{self._steps[0]}"'

    def is_still(self, payload: dict[str, Any]) -> models.FieldCondition | None:
        """Return the condition that a point has the text of this payload; ``None`` if no filter can say so."""
        inner: Any = payload
        for step in self._steps:
            inner = inner.get(step) if isinstance(inner, dict) and isinstance(step, str) else None
        if self._function or not isinstance(inner, str):
            return None
        return models.FieldCondition(key=self.key, match=models.MatchValue(value=inner))

    def put(self, payload: dict[str, Any], text: str) -> None:
        """Put a text into a payload where it is missing, if a path of keys leads there.

        Raises:
            InvalidDocumentError: The payload has something else there, or the text cannot be put there; the message
                says which, and the remedy.
        """
        if self.text(payload) == text:
            return
        if any(True for _ in values_at(payload, self._steps)):
            raise InvalidDocumentError(
                f"its payload has, {self}, something else than its text: give both the same, or leave it out of the "
                "payload"
            )
        inner: Any = payload
        for step in self._steps[:-1]:
            inner = inner.setdefault(step, {}) if isinstance(step, str) and isinstance(inner, dict) else None
        if not isinstance(inner, dict) or not isinstance(self._steps[-1], str):
            raise InvalidDocumentError(
                f"its payload has no text {self}, and a list or a value is on the way: the payload has to bring it"
            )
        inner[self._steps[-1]] = text

    def _text_at_path(self, payload: dict[str, Any]) -> str:
        return "\n".join(value for value in values_at(payload, self._steps) if isinstance(value, str))

    def __str__(self) -> str:
        return "that text= finds" if self._function else f"under {self.key!r}"


@lru_cache(maxsize=64)
def text_source(key: str | None) -> TextSource | None:
    """Return the source of a native collection's texts by its ``text_key``; ``None`` if it has no texts.

    Raises:
        ConfigurationError: ``key`` is no path.
    """
    return None if key is None else TextSource(key)


def text_of(payload: dict[str, Any], config: CollectionConfig) -> str | None:
    """Return the text in a stored payload of one of this library's collections, or ``None`` if there is none."""
    if config.native:
        source = text_source(config.text_key)
        return None if source is None else source.text(payload)
    found = payload.get(str(config.text_key))
    return found if isinstance(found, str) else None
