"""What a `Where` becomes, and what is said about one that is wrong."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant import ConfigurationError
from colbert_qdrant.search.filters import combine_filters, to_filter
from tests.unit.support.test_values import Moment

DAY = dt.date(2024, 6, 1)
NOON = dt.datetime(2024, 6, 1, 12)
BERLIN = dt.timezone(dt.timedelta(hours=2))
ALL_OF_DAY = {"gte": "2024-06-01T00:00:00Z", "lte": "2024-06-01T23:59:59.999999Z"}


def match(key: str, kind: str, value: Any) -> dict[str, Any]:
    return {"key": key, "match": {kind: value}}


def within(key: str, **bounds: Any) -> dict[str, Any]:
    return {"key": key, "range": bounds}


def either(*conditions: Any) -> dict[str, Any]:
    return {"should": [*conditions]}


def sent(where: Any) -> Any:
    """The JSON that goes to a server."""
    return json.loads(to_filter(where).model_dump_json(exclude_none=True))


A, B = {"a": "x"}, {"b": "x"}
IS_A, IS_B = match("a", "value", "x"), match("b", "value", "x")
EMPTY = {"is_empty": {"key": "k"}}


@pytest.mark.parametrize(
    ("value", "conditions"),
    [
        ("en", [match("k", "value", "en")]),
        ("2024-06-01", [match("k", "value", "2024-06-01")]),
        ("", [match("k", "value", "")]),
        (3, [within("k", gte=3, lte=3)]),
        (2**60 + 1, [match("k", "any", [2**60 + 1])]),
        (True, [match("k", "value", True)]),
        (UUID(int=1), [match("k", "value", "00000000-0000-0000-0000-000000000001")]),
        (1.5, [within("k", gte=1.5, lte=1.5)]),
        (np.float64(1.5), [within("k", gte=1.5, lte=1.5)]),
        (None, [EMPTY]),
        (DAY, [within("k", **ALL_OF_DAY)]),
        (NOON, [within("k", gte="2024-06-01T12:00:00Z", lte="2024-06-01T12:00:00Z")]),
        (
            NOON.replace(tzinfo=BERLIN),
            [within("k", gte="2024-06-01T10:00:00Z", lte="2024-06-01T10:00:00Z")],
        ),
        (["en", "de"], [match("k", "any", ["en", "de"])]),
        (("en", UUID(int=1)), [match("k", "any", ["en", "00000000-0000-0000-0000-000000000001"])]),
        ({7}, [within("k", gte=7, lte=7)]),
        ([1, 2], [either(match("k", "any", [1, 2]), within("k", gte=1, lte=1), within("k", gte=2, lte=2))]),
        ([True], [match("k", "value", True)]),
        (
            [1, "en", 2, False, None, 0.5],
            [
                either(
                    match("k", "any", ["en"]),
                    match("k", "any", [1, 2]),
                    within("k", gte=0.5, lte=0.5),
                    within("k", gte=1, lte=1),
                    within("k", gte=2, lte=2),
                    match("k", "value", False),
                    EMPTY,
                )
            ],
        ),
        ({"in": ["en"]}, [match("k", "any", ["en"])]),
        ({"not_in": ["en", "de"]}, [{"must_not": [match("k", "any", ["en", "de"])]}]),
        ({"ne": "en"}, [{"must_not": [match("k", "value", "en")]}]),
        ({"ne": None}, [{"must_not": [EMPTY]}]),
        ({"exists": True}, [{"must_not": [EMPTY]}]),
        ({"exists": False}, [EMPTY]),
        ({"match": "river bridge"}, [match("k", "text", "river bridge")]),
        ({"gte": 2020}, [within("k", gte=2020)]),
        ({"gt": 1, "lt": 2.5}, [within("k", gt=1, lt=2.5)]),
        ({"gt": 1, "ne": 2, "lte": 3}, [within("k", gt=1, lte=3), {"must_not": [within("k", gte=2, lte=2)]}]),
        ({"gte": DAY, "lt": NOON}, [within("k", gte="2024-06-01T00:00:00Z", lt="2024-06-01T12:00:00Z")]),
        ({"gt": "2024-06-01"}, [within("k", gt="2024-06-01T23:59:59.999999Z")]),
        ({"lte": dt.date.max}, [within("k", lte="9999-12-31T23:59:59.999999Z")]),
        ({"lt": "2024-06-01T12:00+02:00"}, [within("k", lt="2024-06-01T10:00:00Z")]),
        ({"lt": "2024-06-01 12:00:00.25"}, [within("k", lt="2024-06-01T12:00:00.250000Z")]),
        ({"lt": "2024-06-01T12:00:00.123456000Z"}, [within("k", lt="2024-06-01T12:00:00.123456Z")]),
        ({"lt": NOON.replace(tzinfo=dt.timezone(dt.timedelta(seconds=1)))}, [within("k", lt="2024-06-01T11:59:59Z")]),
    ],
    ids=repr,
)
def test_what_a_key_has_to_be(value: Any, conditions: Any) -> None:
    assert sent({"k": value}) == {"must": conditions}


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({**A, **B}, {"must": [IS_A, IS_B]}),
        ({"a.b": "x", "a[].b": "x"}, {"must": [match("a.b", "value", "x"), match("a[].b", "value", "x")]}),
        ({"$or": [A, B]}, {"must": [{"should": [IS_A, IS_B]}]}),
        ({"$or": [A]}, {"must": [IS_A]}),
        ({"$or": ({**A, **B}, B)}, {"must": [{"should": [{"must": [IS_A, IS_B]}, IS_B]}]}),
        ({"$and": [A, B]}, {"must": [{"must": [IS_A, IS_B]}]}),
        ({"$not": A}, {"must": [{"must_not": [IS_A]}]}),
        ({"$not": {**A, **B}}, {"must": [{"must_not": [{"must": [IS_A, IS_B]}]}]}),
        ({**A, "$not": {"$or": [B]}}, {"must": [IS_A, {"must_not": [IS_B]}]}),
        ({"or": True, "not": "a"}, {"must": [match("or", "value", True), match("not", "value", "a")]}),
    ],
    ids=repr,
)
def test_how_keys_are_combined(where: Any, expected: Any) -> None:
    assert sent(where) == expected


def nested(depth: int) -> Any:
    where: Any = A
    for _ in range(depth - 1):
        where = {"$not": where}
    return where


DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]
LOOP: dict[str, Any] = {}
LOOP["$and"] = [LOOP]
NO_TIME = r"use finite numbers \(int, float\), or dates and times"


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({}, "where is empty: omit it to match everything"),
        ([A], r"must be a dict like .*, got \[{'a': 'x'}\]"),
        (models.Filter(must=[]), r"pass a models\.Filter as filter="),
        ({1: "a"}, "where: 1 is not a payload key: use a non-empty string"),
        ({"": "a"}, "'' is not a payload key"),
        ({"\ud800": 1}, "is not valid Unicode"),
        ({"k": "\ud800"}, r"where: 'k' '\\ud800' is not valid Unicode \(surrogates"),
        ({"k": {}}, r"'k' has {}: use gt, gte, lt, lte, in, not_in, ne, exists, match"),
        ({"k": {"gtee": 1}}, r"'k' has the unknown operator 'gtee' \(did you mean 'gte' or 'gt'\?\): use gt, gte"),
        ({"k": {"$gte": 1}}, r"unknown operator '\$gte' \(did you mean 'gte'"),
        ({"k": {"nin": [1]}}, r"did you mean 'in' or 'not_in'\?"),
        ({"k": {"eq": 1}}, "unknown operator 'eq': use .*, or pass the value to test for equality"),
        ({"author": {"name": "x"}}, r"'author' has the unknown .* write a key inside an object as 'author\.name'"),
        ({"k": {1: 1}}, "unknown operator 1"),
        ({"k": []}, r"'k' needs a non-empty list of values, got \[\]"),
        ({"k": {"in": []}}, "'k' needs a non-empty list of values"),
        ({"k": {"in": "en"}}, "'k' needs a non-empty list of values, got 'en'"),
        ({"k": {"not_in": None}}, "'k' needs a non-empty list"),
        ({"k": {"ne": ["en"]}}, r"'k' cannot be compared with \['en'\], of type list"),
        ({"k": [["en"]]}, r"'k' cannot be compared with \['en'\], of type list: use a string, a number"),
        (
            {"k": Decimal(1) / 3},
            r"'k' cannot be compared with Decimal\('0.3.*, of type Decimal: use a string, a number",
        ),
        ({"k": {"lt": Decimal(1) / 3}}, rf"'k' cannot be compared with Decimal\('0.3.*{NO_TIME}"),
        ({"k": {"lt": Moment(2024, 6, 1)}}, "'k' cannot be compared with Moment.* times in microseconds at most"),
        ({"k": Moment(2024, 6, 1)}, "'k' cannot be compared with Moment"),
        ({"k": np.datetime64("2024")}, "of type datetime64: use .* a date or a datetime"),
        ({"k": np.timedelta64(1, "s")}, r"'k' cannot be compared with np\.timedelta64\(1,'s'\), of type timedelta64"),
        ({"k": b"x"}, "of type bytes"),
        ({"k": float("nan")}, "'k' cannot equal nan, which no engine stores: use a finite number, or None"),
        ({"k": [1, float("-inf")]}, "'k' cannot equal -inf, which no engine stores"),
        ({"k": {"gte": "20240601"}}, f"'k' cannot be compared with '20240601': {NO_TIME}"),
        ({"k": {"gte": "2024-W22-6"}}, "'k' cannot be compared with '2024-W22-6'"),
        ({"k": {"gte": "20240601T120000Z"}}, "'k' cannot be compared with '20240601T120000Z'"),
        ({"k": {"gte": "2024-06-01T12:00:00,5"}}, "'k' cannot be compared with"),
        ({"k": {"gte": "2024-06-01T12"}}, "'k' cannot be compared with"),
        ({"k": {"gte": "2024-06-31"}}, "'k' cannot be compared with '2024-06-31'"),
        ({"k": {"lt": "2024-06-01T12:00:00.1234567Z"}}, "times in microseconds at most"),
        ({"k": {"lt": "٢٠٢٤-٠٦-٠١"}}, "'k' cannot be compared with"),
        ({"k": {"lt": dt.datetime.min.replace(tzinfo=BERLIN)}}, "'k' cannot be compared with datetime"),
        ({"k": 2**63}, "'k' cannot equal 9223372036854775808: integers have 64 bits"),
        ({"k": [1, -(2**63) - 1]}, "integers have 64 bits; store larger ones as strings"),
        ({"k": {"gt": True}}, f"'k' cannot be compared with True: {NO_TIME}"),
        ({"k": {"gt": None}}, "'k' cannot be compared with None"),
        ({"k": {"gt": float("inf")}}, "'k' cannot be compared with inf"),
        ({"k": {"gt": 10**400}}, "'k' cannot be compared with 1000"),
        ({"k": {"gt": "m"}}, f"'k' cannot be compared with 'm': {NO_TIME}"),
        ({"k": {"gt": "2020"}}, "'k' cannot be compared with '2020'"),
        ({"k": {"gt": [1]}}, r"'k' cannot be compared with \[1\]"),
        ({"k": {"gt": 1, "lt": DAY}}, r"'k' cannot be compared with 1, datetime\.date\(2024, 6, 1\)"),
        ({"k": {"gt": 1, "gte": 1}}, "'k' has both 'gt' and 'gte': use only one"),
        ({"k": {"lte": 1, "lt": 1}}, "'k' has both 'lt' and 'lte'"),
        ({"k": {"exists": 1}}, "'k' 'exists' needs True or False, got 1"),
        ({"k": {"match": " "}}, "'k' 'match' needs a non-empty string, got ' '"),
        ({"k": {"match": ["a"]}}, "'k' 'match' needs a non-empty"),
        ({"$nor": [A]}, r"'\$nor' is unknown \(did you mean '\$or' or '\$not'\?\): use one of \$and, \$or, \$not"),
        ({"$text": "a"}, r"'\$text' is unknown: use one of"),
        ({"$or": []}, r"'\$or' needs a non-empty list of filters"),
        ({"$and": A}, r"'\$and' needs a non-empty list of filters"),
        ({"$or": [A, {}]}, "where is empty"),
        ({"$not": [A]}, "must be a dict"),
        ({"$or": ["a"]}, "must be a dict like .*, got 'a'"),
        ({"or": [A, B]}, r"'or' is a payload key: write '\$or' to combine filters$"),
        ({"not": A}, r"'not' is a payload key: write '\$not' to combine filters$"),
        ({"and": [1, A]}, r"'and' is a payload key: write '\$and' to combine filters$"),
        ({"or": []}, r"'or' needs a non-empty list of values, got \[\]$"),
        (nested(14), "where is nested more than 13 levels deep: flatten it"),
        (nested(5_000), "where is nested more than 13 levels deep"),
        (LOOP, "where is nested more than 13 levels deep"),
        ({"k": DEEP}, r"'k' cannot be compared with \[\[\["),
        ({"$not": DEEP}, r"must be a dict like .*, got \[\[\["),
    ],
)
def test_what_is_wrong_is_named(where: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        to_filter(where)


def test_nothing_is_changed_where_only_one_of_two_is_given() -> None:
    other = models.Filter(should=[models.HasIdCondition(has_id=[1])])
    assert combine_filters(None, None) is None
    assert combine_filters(other, None) is other
    assert combine_filters(None, A) == to_filter(A)
    assert combine_filters(other, A) == models.Filter(must=[other, to_filter(A)])
