"""Finds payload keys and numbers that an engine would store differently or could not find again.

The payload was written as JSON before, so it is a tree of limited depth.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isinf, isnan
from reprlib import repr as short
from typing import TYPE_CHECKING, Any

from colbert_qdrant._support.paths import join_path, parse_path, values_at
from colbert_qdrant.points.ids import INT_RANGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colbert_qdrant._support.paths import Step
    from colbert_qdrant.config import PayloadIndex


def lossy_key(payload: Mapping[Any, Any]) -> str | None:
    """Describe the first key that is not a string; return ``None`` if every key is a string."""
    levels: list[tuple[list[Step], Any]] = [([], payload)]
    for path, value in levels:
        if not isinstance(value, Mapping):
            levels.extend(([*path, number], each) for number, each in enumerate(value) if _is_inner(each))
            continue
        for key, each in value.items():
            if not isinstance(key, str):
                under = f" under {join_path(path)!r}" if path and isinstance(path[0], str) else ""
                return (
                    f"payload key {short(key)}{under} has type {type(key).__name__}: use a string, such as "
                    f"{short(short(key))}"
                )
            if _is_inner(each):
                levels.append(([*path, str.__str__(key)], each))
    return None


def lossy_number(payload: Mapping[str, Any], indexes: Mapping[str, PayloadIndex]) -> str | None:
    """Describe the first number that engines would round or fail to find; return ``None`` if all are safe."""
    for path, value in _leaves(payload):
        if type(value) is float and isinf(value):
            return (
                f"payload key {join_path(path)!r} is {value}, which JSON cannot represent: use None, a finite number "
                "or a string"
            )
        if type(value) is int and value not in INT_RANGE:
            return (
                f"payload key {join_path(path)!r} is {short(value)}, which does not fit into 64 bits, so that engines "
                "would round or refuse it: store it as a string"
            )
    for key, kind in indexes.items():
        for value in values_at(payload, parse_path(key)) if kind == "integer" else ():
            for each in value if isinstance(value, list) else [value]:
                if type(each) is float and not (each.is_integer() and int(each) in INT_RANGE):
                    return (
                        f"payload key {key!r} is {each!r}, which its index of type 'integer' would not find, since it "
                        f"is not a 64-bit integer: use payload_indexes={{{key!r}: 'float'}}, or an integer"
                    )
    return None


def nulls_for_nan(payload: dict[str, Any]) -> str | None:
    """Replace every NaN with null, and return the path of the first; return ``None`` if there was no NaN."""
    found = [path for path, value in _leaves(payload) if type(value) is float and isnan(value)]
    for path in found:
        inner: Any = payload
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = None
    return join_path(found[0]) if found else None


def broken_text(payload: Mapping[Any, Any]) -> str | None:
    """Name the first key or value of a payload that is not valid Unicode; return ``None`` if all are valid."""
    for path, value in _leaves(payload):
        for text, name in ((path[-1], "payload key"), (value, f"payload key {join_path(path)!a}:")):
            if isinstance(text, str) and not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):
                return f"{name} {text!a}"
    return None


def _leaves(value: Any) -> Iterator[tuple[list[Step], Any]]:
    """Yield every value that is not a list or an object, with its path."""
    levels: list[tuple[list[Step], Any]] = [([], value)]
    for path, inner in levels:
        for step, each in inner.items() if isinstance(inner, Mapping) else enumerate(inner):
            if _is_inner(each):
                levels.append(([*path, step], each))
            else:
                yield [*path, step], each


def _is_inner(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)
