"""The payload of a document has what is read back, or the document is refused."""

from __future__ import annotations

from collections import ChainMap
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from colbert_qdrant import CollectionConfig, Document, InvalidDocumentError
from colbert_qdrant.points.convert import check_document
from tests.unit.support.test_values import Moment

EAST = timezone(timedelta(hours=5, minutes=30))
REFUSED: list[tuple[Any, str]] = [
    (float("inf"), "'key' is inf, which JSON cannot represent: use None, a finite number or a string"),
    (-np.float32("inf"), "'key' is -inf"),
    (Decimal("-Infinity"), "'key' is -inf"),
    ([1, {"a": float("inf")}], r"'key\[1\].a' is inf"),
    (
        Decimal("0.12345678901234567890"),
        r"a Decimal, which JSON does not support: use str\(…\) to keep .*, or float\(…\)",
    ),
    (Decimal(10) ** 30, "does not fit into 64 bits"),
    (Fraction(1, 3), r"Fraction\(1, 3\) is a Fraction, which JSON does not support: use float\(…\) or str\(…\)"),
    (np.longdouble(0.5), r"a longdouble, which JSON does not support: use float\(…\)"),
    (np.datetime64("2024-06-01T12:00:00.123456789"), "a datetime64, which JSON does not support: .* microsecond"),
    (Moment(2024, 6, 1), "has nanoseconds, but engines compare microseconds"),
    (np.datetime64("2024"), "a datetime64, which JSON does not support"),
    (time(12, 30), r"use \.isoformat\(\)"),
    (timedelta(seconds=1), r"use \.total_seconds\(\)"),
    (b"river", r"use \.decode\(\)"),
    ({"a", "b"}, r"use a list, for example sorted\(…\)"),
    (1j, "use a list of two numbers"),
    (Path("a"), r"use str\(…\)"),
    (object(), "use strings, numbers, booleans, None, lists and dicts"),
    (np.zeros(2, "i4,i4"), r"an? ndarray, which JSON does not support"),
    (datetime(1, 1, 1, tzinfo=EAST), "does not exist in UTC"),
    (
        datetime(2024, 1, 1, tzinfo=tzinfo()),  # type: ignore[abstract]
        "does not exist in UTC",
    ),
    (np.array([{1: 2}], dtype=object), r"under payload key 'key\[0\]', key 1 has type int: use a string"),
    ({"a": {None: 2}}, "payload key None under 'key.a' has type NoneType: use a string, such as 'None'"),
    ({"a": {(1,): 2}}, r"under payload key 'key.a', key \(1,\) has type tuple: use a string"),
    (10**4_400, r"an integer of about 4,401 digits does not fit into 64 bits: .* for example hex\(…\)"),
    ([{10**4_400}], "a set, which JSON does not support: use a list"),
    ([], "under payload key 'key\\[0\\]', a list or object contains itself: remove the inner one"),
]
REFUSED[-1][0].append(REFUSED[-1][0])


@pytest.mark.parametrize(("value", "remedy"), REFUSED, ids=lambda each: type(each).__name__)
def test_a_value_whose_meaning_is_not_plain_is_refused(value: Any, remedy: str) -> None:
    for config in (CollectionConfig(), CollectionConfig(id_scheme="native")):
        with pytest.raises(InvalidDocumentError, match=f"^document 2: (?s:.*){remedy}"):
            check_document(Document(2, "river", {"key": value}), config)


class Huge(IntEnum):
    ONE = 10**4_400


class Odd(Enum):
    SET = frozenset({1})


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("payload", "place"),
    [
        ({"when": time(1)}, "'when', "),
        ({"a": {"b": [1, b"x"]}}, r"'a\.b\[1\]', "),
        ({"my key": [{"x": {1}}], "b": 2}, r"""'"my key"\[0\]\.x', """),
        ({"a": datetime(1, 1, 1, tzinfo=EAST)}, "'a', "),
        ({"a": object(), "z": CIRCLE}, "'a', "),
        ({"z": {"y": CIRCLE}}, r"'z\.y\[0\]', "),
        ({"n": -(10**4_400)}, "'n', "),
        ({"a": [1, {"n": 10**4_400}]}, r"'a\[1\]\.n', "),
        ({"a": [Huge.ONE]}, r"'a\[0\]', "),
        ({"a": np.array([1, {"n": {2}}], dtype=object)}, r"'a\[1\]\.n', "),
        ({"a": {"b": ChainMap({"c": [{1}]})}}, r"'a\.b\.c\[0\]', "),
        ({"a": [Odd.SET]}, r"'a\[0\]', "),
    ],
)
def test_the_error_names_the_key(payload: dict[str, Any], place: str) -> None:
    for config in (CollectionConfig(), CollectionConfig(id_scheme="native")):
        with pytest.raises(InvalidDocumentError, match=f"^document 2: the payload is .*: under payload key {place}"):
            check_document(Document(2, "river", payload), config)


def test_a_payload_of_too_many_levels_is_refused() -> None:
    value: Any = []
    for _ in range(10**5):
        value = [value]
    with pytest.raises(InvalidDocumentError, match=r"^document 2: the payload nests lists and objects more than 64"):
        check_document(Document(2, "river", {"key": value}), CollectionConfig())


NANS: list[tuple[Any, str, Any]] = [
    (float("nan"), "key", None),
    (np.float32("nan"), "key", None),
    (np.datetime64("NaT"), "key", None),
    (Decimal("sNaN"), "key", None),
    ([1.5, {"a b": np.nan}], 'key[1]."a b"', [1.5, {"a b": None}]),
    (np.array([[1, np.nan]]), "key[0][1]", [[1.0, None]]),
    (np.array([date(2024, 6, 1), np.nan], dtype=object), "key[1]", ["2024-06-01", None]),
]


@pytest.mark.parametrize(("value", "key", "stored"), NANS, ids=lambda each: type(each).__name__)
def test_nan_becomes_null_and_its_key_is_named(value: Any, key: str, stored: Any) -> None:
    payload, nan = check_document(Document(2, "river", {"key": value, "other": 1.5}), CollectionConfig())
    assert (payload["key"], payload["other"], nan) == (stored, 1.5, key)


def test_a_time_keeps_its_zone_and_its_digits() -> None:
    times = {
        datetime(2024, 6, 1, 12, tzinfo=UTC): "2024-06-01T12:00:00+00:00",
        datetime(2024, 6, 1, 12, 0, 0, 5): "2024-06-01T12:00:00.000005",
        datetime(2024, 6, 1, 12, tzinfo=EAST): "2024-06-01T12:00:00+05:30",
        datetime(2024, 6, 1, 12, tzinfo=timezone(-timedelta(minutes=1, seconds=1))): "2024-06-01T12:01:01+00:00",
        date(2024, 6, 1): "2024-06-01",
    }
    payload, nan = check_document(Document(2, "river", {"key": [*times]}), CollectionConfig())
    assert (payload["key"], nan) == ([*times.values()], None)
    for made, text in times.items():
        if isinstance(made, datetime):
            assert datetime.fromisoformat(text) == made
