"""Values become exact built-in types, whatever a subclass makes of them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag, StrEnum
from math import inf, nan
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, strategies

from colbert_qdrant._support.values import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

ID = UUID("5c56c793-69f3-4fbf-87e6-c4bf54c28c26")
NOON = datetime(2024, 6, 1, 12, tzinfo=UTC)


class Text(str):
    """Prints as something else, as members of enums do."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another"

    def __format__(self, _: str) -> str:
        return "another"


class Whole(int):
    """Is never equal to anything."""

    def __eq__(self, other: object) -> bool:
        return False

    __hash__ = int.__hash__

    def __iter__(self) -> Iterator[int]:
        raise AssertionError


class Real(float):
    """A float of another class."""


class Uuid(UUID):
    """A UUID of another class."""


class Instant(datetime):
    """A datetime of another class."""


class Day(date):
    """A date of another class."""


class Moment(datetime):
    """Has nanoseconds, as pandas' times have."""

    nanosecond = 5


class Missing(datetime):
    """Is equal to nothing, as pandas' missing time is."""

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = datetime.__hash__


class Kind(str, Enum):  # noqa: UP042 - prints its name, as a StrEnum does not
    A = "a"


class Modern(StrEnum):
    A = "a"


class Status(IntEnum):
    OK = 200


class Bits(IntFlag):
    ALL = 3


class Anything(Enum):
    NUMBER = 7
    TEXT = Kind.A


PAIRS: list[tuple[Any, Any]] = [
    (Text("a"), "a"),
    (Kind.A, "a"),
    (Modern.A, "a"),
    (Anything.TEXT, "a"),
    (np.str_("a"), "a"),
    (Whole(200), 200),
    (Status.OK, 200),
    (Bits.ALL, 3),
    (Anything.NUMBER, 7),
    (np.int64(-5), -5),
    (np.uint64(2**64 - 1), 2**64 - 1),
    (np.bool_(True), True),
    (True, True),
    (Real(0.5), 0.5),
    (np.float64(0.1), 0.1),
    (np.float16(0.5), 0.5),
    (Uuid(str(ID)), ID),
    (Instant(2024, 6, 1, 12, tzinfo=UTC), NOON),
    (Day(2024, 6, 1), date(2024, 6, 1)),
]
OTHERS: list[tuple[Any, Any]] = [
    (np.datetime64("2024-06-01T12:00:00.000005000"), datetime(2024, 6, 1, 12, 0, 0, 5)),
    (np.datetime64("2024-06-01T12", "h"), datetime(2024, 6, 1, 12)),
    (np.datetime64("2024-06-01"), date(2024, 6, 1)),
    (np.datetime64("NaT"), nan),
    (Missing(2024, 6, 1), nan),
    (Decimal("19.99"), 19.99),
    (Decimal("5.00"), 5.0),
    (Decimal("-0.0"), -0.0),
    (Decimal("2E3"), 2000),
    (Decimal(2**53 + 1), 2**53 + 1),
    (Decimal("sNaN"), nan),
    (Decimal("-Infinity"), -inf),
    (np.array([[1, 2]]), [[1, 2]]),
    (np.array(0.5), 0.5),
    (np.array(["2024-06-01", "NaT"], "datetime64[s]"), [datetime(2024, 6, 1), nan]),
    (np.array([Kind.A, np.int8(1)], dtype=object), ["a", 1]),
]


@pytest.mark.parametrize(("odd", "expected"), [*PAIRS, *OTHERS], ids=lambda each: type(each).__name__)
def test_a_value_has_exactly_the_type_that_it_stands_for(odd: Any, expected: Any) -> None:
    made = plain(odd)
    assert type(made) is type(expected)
    assert repr(made) == repr(expected)


@given(strategies.integers() | strategies.floats() | strategies.text() | strategies.booleans() | strategies.datetimes())
def test_values_that_are_plain_stay_what_they_are(value: Any) -> None:
    assert plain(value) is value


@pytest.mark.parametrize(
    "other",
    [
        Moment(2024, 6, 1),
        np.datetime64("2024-06-01T12:00:00.000005001"),
        np.datetime64(2**62, "h"),
        np.datetime64("2024", "Y"),
        np.array([1j]),
        np.array([b"a"]),
        np.zeros(2, "i4,i4"),
        Decimal("0.12345678901234567890"),
        Decimal("9007199254740993.0"),
        Decimal("1E400"),
        Decimal("1E-400"),
        Decimal("1E+1000000000"),
    ],
    ids=repr,
)
def test_what_would_lose_something_stays_what_it_is(other: Any) -> None:
    assert plain(other) is other


@pytest.mark.parametrize(
    "other", [None, [1], {"a": 1}, b"a", np.datetime64("2024-06"), np.timedelta64(1, "s"), np.longdouble(1), object()]
)
def test_all_else_is_left_to_those_who_know_it(other: Any) -> None:
    assert plain(other) is other
