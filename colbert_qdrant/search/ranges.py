"""Builds conditions on numbers and times that are exact on every engine, with or without an index.

Engines compare integers as floats, which cannot represent every integer beyond 2**53. With an integer index, and in
local mode, they compare the integers themselves. They round numbers that they read from JSON, unless they have few
digits.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from decimal import Decimal
from math import ceil, floor, inf, isfinite, nextafter, ulp
from sys import float_info
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from qdrant_client import models

from colbert_qdrant._support.values import in_utc
from colbert_qdrant.points.ids import INT_RANGE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_DENSE: Final = 2**53
"""Up to this number, a float can represent every integer."""
_CUT: Final = 9.3e18
"""An integer index clamps bounds to 64 bits. A bound above this number is clamped beyond the index's last number."""

_BRANCHES: Final = 16
_ISO: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6}0*)?)?(Z|[+-]\d{2}(:?\d{2})?)?)?", re.ASCII
)
"""The format of times that servers read; they compare microseconds."""


class Bound(NamedTuple):
    """A lower bound of numbers; an upper bound is a lower bound of the negated numbers."""

    value: int | float
    strict: bool = False

    @property
    def is_wide(self) -> bool:
        """Whether floats cannot represent every 64-bit integer near the bound."""
        return _DENSE <= abs(self.value) <= INT_RANGE.stop

    @property
    def whole(self) -> int:
        """The least 64-bit integer within the bound; a larger integer if there is no such one."""
        if self.value == -inf:
            return INT_RANGE.start
        least = floor(self.value) + 1 if self.strict else ceil(self.value)
        return min(max(least, INT_RANGE.start), INT_RANGE.stop + 1)

    @property
    def real(self) -> float:
        """The least float within the bound."""
        nearest = float(self.value)
        return nextafter(nearest, inf) if nearest < self.value or (self.strict and nearest == self.value) else nearest

    @property
    def as_float(self) -> Bound:
        """The same bound for floats."""
        return self if float(self.value) == self.value else Bound(self.real)

    @property
    def inner(self) -> Bound:
        """The least bound within this one that every engine reads exactly, with no number outside rounded to it."""
        if INT_RANGE.stop < self.value <= _CUT:
            return Bound(nextafter(self.real, -inf), strict=True)
        if not self.is_wide:
            return self.as_float
        least, step = nextafter(self.real, inf), 1000
        while not (_is_short(found := float(-(-int(least) // step) * step)) and found >= least):
            step *= 10
        return Bound(nextafter(found, -inf), strict=True) if found > INT_RANGE.stop else Bound(found)


def is_number(value: Any) -> bool:
    """Tell whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= float_info.max


def within(key: str, bounds: Mapping[str, int | float]) -> models.Condition:
    """Return the condition that a single number of a key is within bounds: ``gt``, ``gte``, ``lt``, ``lte``."""
    low = high = Bound(-inf, strict=True)
    for name, value in bounds.items():
        if name.startswith("g"):
            low = Bound(value, name == "gt")
        else:
            high = Bound(-value, name == "lt")
    inside = _inside(key, low, high)
    # integers between that range and the bounds are listed one by one; floats in between get a separate range
    least, most = low.whole, min(-high.whole, INT_RANGE.stop - 1)
    wholes = {each for each in _cut_off(low, high) if least <= each <= most}
    edges: list[models.Condition] = []
    if low.is_wide:
        wholes.update(range(least, min(int(low.inner.value), most + 1)))
        edges.append(_floats(key, low, max(high, Bound(-low.inner.value)), least, most))
    if high.is_wide:
        wholes.update(range(max(int(-high.inner.value) + 1, least), most + 1))
        edges.append(_floats(key, max(low, Bound(-high.inner.value)), high, least, most))
    more = [*([_among(key, sorted(wholes))] if wholes else []), *edges]
    return models.Filter(should=[inside, *more]) if more else inside


def equal(key: str, values: Sequence[int | float]) -> list[models.Condition]:
    """Return conditions such that at least one holds if a number of a key equals one of several values."""
    wide = [each for each in values if Bound(each).is_wide]
    small = sorted({each for each in values if not Bound(each).is_wide})
    others = _points(key, small, max(_BRANCHES, ceil(len(small) ** (1 / 3))))
    if len(values) == 1 and not wide:
        return others
    wholes = [int(each) for each in values if each == int(each) and int(each) in INT_RANGE]
    floats = [_floats(key, Bound(each), Bound(-each), int(each), int(each)) for each in wide if float(each) == each]
    return [*([_among(key, wholes)] if wholes else []), *others, *floats]


def _points(key: str, values: Sequence[int | float], branches: int) -> list[models.Condition]:
    """Return conditions that a number equals one of these values, as a flat tree: most documents fail at its top."""
    if len(values) <= branches:
        return [_inside(key, Bound(each), Bound(-each)) for each in values]
    size = branches if len(values) <= branches**2 else branches**2
    parts = [values[start : start + size] for start in range(0, len(values), size)]
    return [  # `should` is nested, since engines evaluate it before a `must` on the same level
        models.Filter(
            must=[
                _range(key, Bound(part[0]).inner, Bound(-part[-1]).inner),
                models.Filter(should=_points(key, part, branches)),
            ]
        )
        for part in parts
    ]


def _inside(key: str, low: Bound, high: Bound) -> models.Condition:
    """Return the condition that a number is within the inner bounds; no integer is if both bounds exceed 64 bits."""
    inside = _range(key, low.inner, high.inner)
    if low.value > _CUT:
        return models.Filter(must=[inside, models.FieldCondition(key=key, range=models.Range(gt=_CUT))])
    if high.value > _CUT:
        return models.Filter(must=[inside, models.FieldCondition(key=key, range=models.Range(lt=-_CUT))])
    return inside


def _cut_off(low: Bound, high: Bound) -> list[int]:
    """Return the integers that an index misses because it clamps a bound beyond 64 bits to them."""
    first = [INT_RANGE.start] if low.strict and isfinite(low.value) and low.value < INT_RANGE.start else []
    return (
        [*first, INT_RANGE.stop - 1]
        if high.strict and isfinite(high.value) and -high.value >= INT_RANGE.stop
        else first
    )


def _range(key: str, low: Bound, high: Bound) -> models.FieldCondition:
    ends: dict[str, float] = {}
    if isfinite(low.value):
        ends["gt" if low.strict else "gte"] = low.value
    if isfinite(high.value):
        ends["lt" if high.strict else "lte"] = -high.value
    return models.FieldCondition(key=key, range=models.Range(**ends))


def _among(key: str, wholes: list[int]) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchAny(any=wholes))


def _floats(key: str, low: Bound, high: Bound, least: int, most: int) -> models.Condition:
    """Return the condition that a float is in a range; integers that are rounded into it must be within bounds."""
    first, last = (min(max(each.real, -(2.0**64)), 2.0**64) for each in (low, high))
    # a server may be off by one float when it reads a bound
    below = range(max(int(first - 2 * ulp(first)), INT_RANGE.start), min(least, INT_RANGE.stop))
    above = range(max(most + 1, INT_RANGE.start), min(int(-last + 2 * ulp(last)) + 1, INT_RANGE.stop))
    inside = _range(key, low.as_float, high.as_float)
    if not below and not above:
        return inside
    return models.Filter(must=[inside], must_not=[_among(key, [*below, *above])])


def _is_short(value: float) -> bool:
    """Tell whether every engine reads a number without rounding it."""
    return int("".join(map(str, Decimal(repr(value)).normalize().as_tuple().digits))) <= _DENSE


def instant(bound: Any, *, end: bool) -> datetime | None:
    """Return a time in UTC; for a date, the start or end of the day. ``None`` if some engine cannot compare it."""
    if isinstance(bound, str):
        bound = _parsed(bound)
    if isinstance(bound, datetime):
        if getattr(bound, "nanosecond", 0):  # of pandas timestamps
            return None
        try:
            return in_utc(bound)
        except (OverflowError, NotImplementedError):
            return None
    return datetime.combine(bound, time.max if end else time.min, UTC) if isinstance(bound, date) else None


def _parsed(text: str) -> date | None:
    if not _ISO.fullmatch(text):
        return None
    try:
        return date.fromisoformat(text) if len(text) == len("2024-06-01") else datetime.fromisoformat(text)
    except ValueError:
        return None
