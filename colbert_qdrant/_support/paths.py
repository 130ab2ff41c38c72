"""Reads payload values at paths in Qdrant's syntax.

Examples are ``meta.text``, ``parts[0].text``, ``parts[].text`` and ``"a key".text``. Unlike in Qdrant, a step into a
string leads into the JSON object or list that the string holds. For example, LlamaIndex stores its texts at
``_node_content.text``.
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_STEP: Final = re.compile(
    r'(?:^|(?!^)\.)(?:"(?P<quoted>[^"\\\ud800-\udfff]*)"|(?P<bare>[^\s."\\\[\]]+))|\[(?P<index>[0-9]{0,9})\]'
)

_PART: Final = re.compile(r'(?P<key>[^"\\\[\]]+)(?P<indices>(\[[0-9]*\])*)')

Step: TypeAlias = str | int | None
"""A key, an index in a list, or ``None`` for all elements of a list."""


def parse_path(path: str) -> list[Step]:
    """Split a path into its steps.

    Raises:
        ConfigurationError: If ``path`` is not a valid path.

    Example:
        >>> parse_path('parts[].pages[0]."the text"')
        ['parts', None, 'pages', 0, 'the text']
    """
    steps: list[Step] = []
    position = 0
    while isinstance(path, str) and (found := _STEP.match(path, position)) and _is_bare(found["bare"] or ""):
        key, index = found["quoted"] if found["bare"] is None else found["bare"], found["index"]
        steps.append(key if index is None else int(index) if index else None)
        position = found.end()
    if not steps or not isinstance(steps[0], str) or position != len(path):
        raise ConfigurationError(
            f"{shown(path)} is not a valid payload path: write {_quoted(path)}'key', 'key.inner', 'list[0].key' or "
            "'list[].key'. Put keys with other characters in double quotes, as in '\"a key\"'. Keys that contain "
            "double quotes or backslashes cannot be addressed"
        )
    return steps


def _quoted(path: Any) -> str:
    """Return a suggestion for an invalid path, with its keys in quotes."""
    parts = [_PART.fullmatch(each) for each in path.split(".")] if isinstance(path, str) else []
    named = [each for each in parts if each]
    if not named or len(named) < len(parts):
        return ""
    return repr(".".join(join_path([each["key"]]) + each["indices"] for each in named)) + ", or in general "


def join_path(steps: Sequence[Step]) -> str:
    """Join steps to a path, and quote the keys that need quotes on any engine.

    Example:
        >>> join_path(["parts", None, "pages", 0, "the text"])
        'parts[].pages[0]."the text"'
    """
    path = ""
    for step in steps:
        if isinstance(step, str):
            path += ("." if path else "") + (step if _is_plain(step) else f'"{step}"')
        else:
            path += "[]" if step is None else f"[{step}]"
    return path


def _is_bare(key: str) -> bool:
    """Tell whether a key, in any language, needs no quotes on a server."""
    return all(each.isalnum() or each in "_-" or unicodedata.category(each)[0] == "M" for each in key)


def _is_plain(key: str) -> bool:
    """Tell whether a key needs no quotes on any engine: some engines do not support combining characters."""
    return bool(key) and all(each.isalnum() or each in "_-" for each in key)


def values_at(payload: Any, steps: Sequence[Step]) -> Iterator[Any]:
    """Yield the values at a path: at most one, or any number for a path with ``[]``.

    Example:
        >>> list(values_at({"node": '{"text": "a river"}'}, parse_path("node.text")))
        ['a river']
    """
    if not steps:
        yield payload
        return
    step, rest = steps[0], steps[1:]
    if isinstance(payload, str):
        payload = _parse_json(payload)
    if isinstance(step, str):
        inner = [payload[step]] if isinstance(payload, dict) and step in payload else []
    elif isinstance(payload, list):
        inner = payload if step is None else payload[step : step + 1]
    else:
        inner = []
    for each in inner:
        yield from values_at(each, rest)


def _parse_json(text: str) -> Any:
    """Return the JSON object or list that a string holds, or ``None``."""
    if not text.lstrip().startswith(("{", "[")):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
