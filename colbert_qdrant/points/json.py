"""Writes payloads as JSON values: of the values that JSON lacks, those whose meaning is plain."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from reprlib import repr as short
from typing import Any, Final
from uuid import UUID

import numpy as np

from colbert_qdrant._support.paths import join_path
from colbert_qdrant._support.values import in_utc, plain
from colbert_qdrant.points.exact import lossy_key


def to_json(values: Any) -> Any:
    """Return values as they are read back; the round trip makes every engine store the same, as tuples become lists.

    UUIDs, dates and times become strings. NaN and infinity, which JSON has not, stay what they are.

    Raises:
        TypeError: A value has no plain meaning in JSON, or the key of an object is no string.
        UnicodeEncodeError: A text is not valid Unicode.
        ValueError: A list or object is inside itself, or a time is none in UTC.
        RecursionError: Lists and objects are too many inside each other.
    """
    made: list[Any] = []

    def default(value: Any) -> Any:
        try:
            known = _known(value)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"{_place_of(value, values)}{error}") from error
        if isinstance(known, dict | list | tuple):
            made.append(known)
        return known

    text = json.dumps(values, ensure_ascii=False, default=default).encode()
    problem = next(filter(None, map(lossy_key, made)), None)
    if problem:
        raise TypeError(problem)
    return json.loads(text)


def _place_of(wanted: object, values: Any) -> str:
    """Say under which key an object is inside others."""
    levels: list[tuple[list[Any], Any]] = [([], values)]
    seen = set[int]()
    for path, each in levels:
        if each is wanted:
            keys = path if path and isinstance(path[0], str) else path[1:]  # the payload may be in a list
            return f"under payload key {join_path(keys)!r}, " if keys else ""
        if isinstance(each, Mapping | list | tuple) and id(each) not in seen:
            seen.add(id(each))
            inner = each.items() if isinstance(each, Mapping) else enumerate(each)
            levels.extend(([*path, step], one) for step, one in inner)
    return ""


def _known(value: Any) -> Any:
    """Return what `json` knows in the place of a value that it does not."""
    known = plain(value)
    if isinstance(known, UUID):
        return str(known)
    if isinstance(known, datetime):
        return _written(known)
    if isinstance(known, date):
        return known.isoformat()
    if isinstance(known, Mapping) and not isinstance(known, dict):
        return dict(known)
    if known is value:
        remedy = next((remedy for kind, remedy in _REMEDIES.items() if isinstance(value, kind)), _REMEDY)
        raise TypeError(f"{short(value)} is a {type(value).__name__}, which JSON has not: {remedy}")
    return known


def _written(instant: datetime) -> str:
    """Return a time as engines read it, who take one without a zone for UTC: ISO 8601 with its offset."""
    if getattr(instant, "nanosecond", 0):
        raise TypeError(f"{instant} has nanoseconds, and engines compare microseconds: round it, or use a string")
    try:
        utc, offset = in_utc(instant), instant.utcoffset() or timedelta()
    except (OverflowError, NotImplementedError) as error:
        raise ValueError(f"the time {instant!r} is none in UTC: use another, or a string") from error
    return (utc if offset % timedelta(minutes=1) else instant).isoformat()


_REMEDY: Final = "use strings, numbers, booleans, None, lists and dicts, dates, times, UUIDs and enums"
_REMEDIES: Final[dict[type | tuple[type, ...], str]] = {
    (bytes, bytearray, memoryview): "use .decode() for a text, or base64.b64encode(…).decode()",
    (set, frozenset): "use a list, as sorted(…)",
    time: "use .isoformat()",
    timedelta: "use .total_seconds()",
    Fraction: "use float(…) or str(…)",
    np.longdouble: "use float(…)",
    np.datetime64: "use days or times of at most microseconds, as .astype('datetime64[us]') makes them",
    Decimal: "a number has at most 17 digits there; use str(…), or float(…) to round it",
    PurePath: "use str(…)",
    complex: "use a list of two numbers",
}
"""Instructions for types whose meaning is not plain."""
