"""Finds what is in a payload that an engine would store as something else, or not find again.

The payload has been written as JSON before: so it is a tree, of few levels.
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
    """Return what is wrong with the first key that is no string; ``None`` if all are."""
    levels: list[tuple[list[Step], Any]] = [([], payload)]
    for path, value in levels:
        if not isinstance(value, Mapping):
            levels.extend(([*path, number], each) for number, each in enumerate(value) if _is_inner(each))
            continue
        for key, each in value.items():
            if not isinstance(key, str):
                under = f" under {join_path(path)!r}" if path and isinstance(path[0], str) else ""
                return (
                    f"payload key {short(key)}{under} is a {type(key).__name__}: use a string, as {short(short(key))}"
                )
            if _is_inner(each):
                levels.append(([*path, str.__str__(key)], each))
    return None


def lossy_number(payload: Mapping[str, Any], indexes: Mapping[str, PayloadIndex]) -> str | None:
    """Return what is wrong with the first number that engines would round or not find; ``None`` if there is none."""
    for path, value in _leaves(payload):
        if type(value) is float and isinf(value):
            return (
                f"payload key {join_path(path)!r} is {value}, and JSON has no such number: use None, a finite number "
                "or a string"
            )
        if type(value) is int and value not in INT_RANGE:
            return (
                f"payload key {join_path(path)!r} is {short(value)}, and whole numbers have 64 bits: engines would "
                "round it, or refuse it; store it as a string"
            )
    for key, kind in indexes.items():
        for value in values_at(payload, parse_path(key)) if kind == "integer" else ():
            for each in value if isinstance(value, list) else [value]:
                if type(each) is float and not (each.is_integer() and int(each) in INT_RANGE):
                    return (
                        f"payload key {key!r} is {each!r}, which is no whole number of 64 bits, and its index of type "
                        f"'integer' would not find it: use payload_indexes={{{key!r}: 'float'}}, or a whole number"
                    )
    return None


def nulls_for_nan(payload: dict[str, Any]) -> str | None:
    """Put null in the place of NaN, and return the path of the first; ``None`` if there was none."""
    found = [path for path, value in _leaves(payload) if type(value) is float and isnan(value)]
    for path in found:
        inner: Any = payload
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = None
    return join_path(found[0]) if found else None


def broken_text(payload: Mapping[Any, Any]) -> str | None:
    """Return which key or value of a payload is not valid Unicode; ``None`` if none is."""
    for path, value in _leaves(payload):
        for text, name in ((path[-1], "payload key"), (value, f"payload key {join_path(path)!a}:")):
            if isinstance(text, str) and not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):
                return f"{name} {text!a}"
    return None


def _leaves(value: Any) -> Iterator[tuple[list[Step], Any]]:
    """Yield all values that are no lists and objects, with their paths."""
    levels: list[tuple[list[Step], Any]] = [([], value)]
    for path, inner in levels:
        for step, each in inner.items() if isinstance(inner, Mapping) else enumerate(inner):
            if _is_inner(each):
                levels.append(([*path, step], each))
            else:
                yield [*path, step], each


def _is_inner(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple)
