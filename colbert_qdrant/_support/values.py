"""Converts ids, values and settings to exact built-in types, so that every engine stores and compares them equally."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from math import nan
from typing import Any, Final
from uuid import UUID

import numpy as np

_ARRAYS: Final = "biufU"
"""NumPy's kinds of arrays whose values have a built-in type."""

_BUILT_IN: Final = frozenset({bool, int, float, str, type(None)})


def plain(value: Any) -> Any:
    """Return a value as exactly a bool, int, float, str, UUID, date or datetime, without loss.

    An enum member becomes its value. A NumPy scalar or an instance of a subclass becomes the corresponding built-in
    type, because subclasses may override comparison, printing and iteration. A ``Decimal`` becomes the number that has
    its digits, a NumPy array becomes a list, and NaT becomes NaN. Other values are returned unchanged. So are values
    that would lose precision: a ``Decimal`` with more digits than a float, and a time with nanoseconds.

    Example:
        >>> from http import HTTPStatus
        >>> plain(HTTPStatus.OK), plain(np.float32(0.5)), plain(np.str_("a")), plain([1])
        (200, 0.5, 'a', [1])
        >>> plain(Decimal("19.99")), plain(np.datetime64("2024-06-01")), plain(np.arange(2))
        (19.99, datetime.date(2024, 6, 1), [0, 1])
    """
    if type(value) in _BUILT_IN:  # most values; a search checks many
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, np.ndarray):
        return _listed(value)
    if isinstance(value, np.generic):
        return _scalar(value)
    return _number(value) if isinstance(value, Decimal) else _exact(value)


def in_utc(time: datetime) -> datetime:
    """Convert a time to UTC; a time without a zone is taken as UTC.

    Raises:
        OverflowError: If the year would be before 1 or after 9999.
    """
    return time.replace(tzinfo=UTC) if time.utcoffset() is None else time.astimezone(UTC)


def _exact(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    for kind, convert in _EXACT.items():
        if isinstance(value, kind):
            return value if type(value) is kind else convert(value)
    return value


def _instant(value: datetime) -> Any:
    if value != value:  # noqa: PLR0124 - the NaT of pandas is a datetime
        return nan
    if getattr(value, "nanosecond", 0):
        return value
    try:
        return datetime.combine(value.date(), value.timetz())
    except (NotImplementedError, ValueError):  # a year of pandas that Python lacks
        return value


_EXACT: Final[dict[type, Any]] = {
    int: int.__pos__,
    float: float.__pos__,
    str: str.__str__,
    UUID: lambda value: UUID(int=value.int),
    datetime: _instant,
    date: lambda value: date(value.year, value.month, value.day),
}
"""A conversion for each type that no subclass can override; datetime is a subclass of date, and comes first."""


def _listed(array: Any) -> Any:
    if array.dtype.kind in _ARRAYS and array.dtype != np.longdouble:
        return array.tolist()
    if array.ndim == 0:
        return array if array.dtype.kind == "O" else plain(array[()])
    return [plain(each) for each in array] if array.dtype.kind in "OM" else array


def _scalar(value: np.generic) -> Any:
    if isinstance(value, np.datetime64):
        return _time(value)
    inexact = isinstance(value, np.timedelta64 | np.longdouble)  # a timedelta64 is an integer
    return value.item() if isinstance(value, np.bool_ | np.integer | np.floating | np.str_) and not inexact else value


def _time(value: np.datetime64) -> Any:
    if np.isnat(value):
        return nan
    unit = np.datetime_data(value.dtype)[0]
    made = value if unit == "D" else value.astype("datetime64[us]")
    time = made.item() if unit not in "YMW" and made.astype(value.dtype) == value else None  # not rounded or wrapped
    return time if isinstance(time, date) else value


def _number(value: Decimal) -> Any:
    if value.is_nan():
        return nan
    if not value.is_finite():
        return float(value)
    if value.as_tuple().exponent in range(20):
        return int(value)
    made = float(value)
    return made if Decimal(repr(made)) == value else value
