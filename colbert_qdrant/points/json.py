"""Converts payloads to JSON values, including dates, UUIDs and other types with an obvious JSON form."""

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
from colbert_qdrant.shown import kind_of, shown


def to_json(values: Any) -> Any:
    """Return values in the form in which every engine reads them back: tuples, for example, become lists.

    UUIDs, dates and times become strings. NaN and infinity, which JSON lacks, stay unchanged.

    Raises:
        TypeError: If a value has no obvious form in JSON, or if the key of an object is not a string.
        UnicodeEncodeError: If a text is not valid Unicode.
        ValueError: If a list or object contains itself, or if a time does not exist in UTC.
        RecursionError: If lists and objects are nested too deeply.
    """
    containers: list[Any] = []

    def default(value: Any) -> Any:
        converted = _convert(value)
        if isinstance(converted, dict | list | tuple):
            containers.append(converted)
        return converted

    try:
        text = json.dumps(values, ensure_ascii=False, default=default).encode()
    except UnicodeEncodeError:
        raise
    except (TypeError, ValueError):
        _refuse(values)
        raise
    if any(map(lossy_key, containers)):
        _refuse(values)
    return json.loads(text)


def _refuse(value: Any, path: Sequence[str | int] = (), inside: frozenset[int] = frozenset()) -> None:
    """Raise an error for the first nested value that JSON does not support; the message names its key."""
    try:
        inner = _inner(value, inside)
    except (TypeError, ValueError) as error:
        under = join_path(path if path and isinstance(path[0], str) else path[1:])  # the payload may be in a list
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"under payload key {under!r}, {error}" if under else str(error)) from error
    for step, each in inner:
        _refuse(each, [*path, step], inside | {id(value)})


def _inner(value: Any, inside: frozenset[int]) -> Iterable[tuple[str | int, Any]]:
    """Return the values in a list or object with their positions; raise for a value that JSON does not support."""
    if value is None or isinstance(value, str | float):
        return ()
    if id(value) in inside:
        raise ValueError("a list or object contains itself: remove the inner one")
    if isinstance(value, int):
        if plain(value) not in INT_RANGE:
            digits = int(value.bit_length() * log10(2)) + 1
            raise ValueError(
                f"an integer of about {digits:,} digits does not fit into 64 bits: store it as a string, for example "
                "hex(…)"
            )
        return ()
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"key {shown(key, 60)} has type {type(key).__name__}: use a string")
        return value.items()
    return enumerate(value) if isinstance(value, list | tuple) else _inner(_convert(value), inside)


def _convert(value: Any) -> Any:
    """Convert a value that `json` does not support to one that it supports."""
    simple = plain(value)
    if isinstance(simple, UUID):
        return str(simple)
    if isinstance(simple, datetime):
        return _iso_format(simple)
    if isinstance(simple, date):
        return simple.isoformat()
    if isinstance(simple, Mapping) and not isinstance(simple, dict):
        return dict(simple)
    if simple is value:
        remedy = next((remedy for kind, remedy in _REMEDIES.items() if isinstance(value, kind)), _REMEDY)
        raise TypeError(f"{shown(value, 60)} is {kind_of(value)}, which JSON does not support: {remedy}")
    return simple


def _iso_format(instant: datetime) -> str:
    """Return a time in ISO 8601 with its UTC offset; engines assume UTC if a time has no offset."""
    if getattr(instant, "nanosecond", 0):
        raise TypeError(f"{instant} has nanoseconds, but engines compare microseconds: round it, or use a string")
    try:
        utc, offset = in_utc(instant), instant.utcoffset() or timedelta()
    except (OverflowError, NotImplementedError, ValueError) as error:  # pandas has years that Python lacks
        raise ValueError(f"the time {instant!r} does not exist in UTC: use another time, or a string") from error
    return (utc if offset % timedelta(minutes=1) else instant).isoformat()


_REMEDY: Final = "use strings, numbers, booleans, None, lists and dicts, dates, times, UUIDs and enums"
_REMEDIES: Final[dict[type | tuple[type, ...], str]] = {
    (bytes, bytearray, memoryview): "use .decode() for text, or base64.b64encode(…).decode()",
    (set, frozenset): "use a list, for example sorted(…)",
    time: "use .isoformat()",
    timedelta: "use .total_seconds()",
    Fraction: "use float(…) or str(…)",
    np.longdouble: "use float(…)",
    np.datetime64: "use days, or times to the microsecond, for example .astype('datetime64[us]')",
    Decimal: "use str(…) to keep all digits, or float(…) to round it to at most 17",
    PurePath: "use str(…)",
    complex: "use a list of two numbers",
}
"""Remedies for types without an obvious form in JSON."""
