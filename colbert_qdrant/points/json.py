"""Writes payloads as JSON values: of the values that JSON lacks, those whose meaning is plain."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from math import log10
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID

import numpy as np

from colbert_qdrant._support.paths import join_path
from colbert_qdrant._support.values import in_utc, plain
from colbert_qdrant.points.exact import lossy_key
from colbert_qdrant.points.ids import INT_RANGE
from colbert_qdrant.shown import shown


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
        known = _known(value)
        if isinstance(known, dict | list | tuple):
            made.append(known)
        return known

    try:
        text = json.dumps(values, ensure_ascii=False, default=default).encode()
    except UnicodeEncodeError:
        raise
    except (TypeError, ValueError):
        _refuse(values)
        raise
    if any(map(lossy_key, made)):
        _refuse(values)
    return json.loads(text)


def _refuse(value: Any, path: Sequence[str | int] = (), inside: frozenset[int] = frozenset()) -> None:
    """Raise for the first of the values inside others that JSON cannot have, and name its key."""
    try:
        inner = _inner(value, inside)
    except (TypeError, ValueError) as error:
        under = join_path(path if path and isinstance(path[0], str) else path[1:])  # the payload may be in a list
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"under payload key {under!r}, {error}" if under else str(error)) from error
    for step, each in inner:
        _refuse(each, [*path, step], inside | {id(value)})


def _inner(value: Any, inside: frozenset[int]) -> Iterable[tuple[str | int, Any]]:
    """Return the values in a list or object with their places; raise for a value that JSON cannot have."""
    if value is None or isinstance(value, str | float):
        return ()
    if id(value) in inside:
        raise ValueError("a list or object is inside itself: leave it out there")
    if isinstance(value, int):
        if plain(value) not in INT_RANGE:
            digits = int(value.bit_length() * log10(2)) + 1
            raise ValueError(
                f"a whole number has about {digits:,} digits, and engines keep 64 bits: store it as a string, as "
                "hex(…) makes it"
            )
        return ()
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"key {shown(key, 60)} is a {type(key).__name__}: use a string")
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else _inner(_known(value), inside)


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
        raise TypeError(f"{shown(value, 60)} is a {type(value).__name__}, which JSON has not: {remedy}")
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
