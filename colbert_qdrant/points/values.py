"""Reduces ids and values to exact built-in types, so that every engine stores and compares the same."""

from __future__ import annotations

from datetime import date, datetime
from enum import Enum
from typing import Any
from uuid import UUID

import numpy as np


def plain(value: Any) -> Any:
    """Return a value as a bool, int, float, str, UUID, date or datetime of exactly that type.

    An enum member becomes its value. A NumPy scalar and an instance of a subclass become the built-in type that they
    stand for: a subclass may compare, print and iterate in its own way. All else is returned as it is.

    Example:
        >>> from http import HTTPStatus
        >>> plain(HTTPStatus.OK), plain(np.float32(0.5)), plain(np.str_("a")), plain([1])
        (200, 0.5, 'a', [1])
    """
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, np.integer | np.floating) and not isinstance(value, np.timedelta64 | np.longdouble):
        return value.item()
    return _exact(value)


def _exact(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    for kind, convert in _EXACT.items():
        if isinstance(value, kind):
            return value if type(value) is kind else convert(value)
    return value


_EXACT: dict[type, Any] = {
    int: int.__pos__,
    float: float.__pos__,
    str: str.__str__,
    UUID: lambda value: UUID(int=value.int),
    datetime: lambda value: datetime.combine(value.date(), value.timetz()),
    date: lambda value: date(value.year, value.month, value.day),
}
"""Each type, and a conversion that no subclass can override; a datetime is a date, too, and comes first."""
