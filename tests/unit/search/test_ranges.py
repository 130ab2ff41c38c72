"""Numbers are compared exactly, also by engines that round whole numbers to floats and misread a bound's last digit."""

from __future__ import annotations

import json
import operator
from math import inf, nextafter
from sys import float_info
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colbert_qdrant.search.filters import to_filter

COMPARE = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}
NANOSECONDS = 1_768_907_445_451_174_113

wholes = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.sampled_from([0, 2**53, -(2**53), 10**16, NANOSECONDS, -NANOSECONDS, 2**63 - 1, -(2**63)]).flatmap(
        lambda near: st.integers(max(near - 3000, -(2**63)), min(near + 3000, 2**63 - 1))
    ),
)
reals = st.one_of(
    st.sampled_from(
        [
            0.5,
            -2.5,
            1.5e308,
            -1.5e308,
            1e30,
            -1e19,
            9.5e18,
            1e18,
            1.5e18,
            -1e18,
            1e300,
            9e15,
            2.0**53,
            1.768907445451e18,
        ]
    ),
    st.integers(-9, 9).map(float),
)


def holds(condition: Any, value: float, misread: int, *, exact: bool, cuts: bool = False) -> bool:
    """What an engine makes of a filter in JSON.

    Args:
        condition: The filter, or a part of it.
        value: The stored number.
        misread: By how many floats it misreads a bound of more digits than fit into 53 bits.
        exact: Whether it compares whole numbers as they are, and not as floats.
        cuts: Whether it cuts bounds down to 64 bits, as an index of whole numbers does.
    """
    if "match" in condition:
        return type(value) is int and value in condition["match"]["any"]
    if "range" in condition:
        stored = value if exact else float(value)
        ends = condition["range"].items()
        return all(COMPARE[name](stored, cut(read(bound, misread), cuts=cuts)) for name, bound in ends)

    def each(clause: str) -> list[bool]:
        return [holds(part, value, misread, exact=exact, cuts=cuts) for part in condition.get(clause, [])]

    should = each("should")
    return all(each("must")) and not any(each("must_not")) and (not should or any(should))


def cut(bound: float, *, cuts: bool) -> float:
    return min(max(bound, -(2**63)), 2**63 - 1) if cuts else bound


def read(bound: float, misread: int) -> float:
    digits = repr(bound).split("e")[0].replace(".", "").lstrip("-0").rstrip("0")
    if len(digits) < 16 or int(digits) <= 2**53:
        return bound
    for _ in range(abs(misread)):
        bound = nextafter(bound, inf * misread)
    return bound


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    low=st.one_of(st.none(), wholes, reals),
    high=st.one_of(st.none(), wholes, reals),
    names=st.tuples(st.sampled_from(["gt", "gte"]), st.sampled_from(["lt", "lte"])),
    steps=st.lists(st.integers(-1500, 1500), min_size=8, max_size=8),
    others=st.lists(st.one_of(wholes, reals), min_size=4, max_size=4),
)
def test_ranges(low: Any, high: Any, names: Any, steps: list[int], others: list[Any]) -> None:
    bounds = {name: bound for name, bound in zip(names, (low, high), strict=True) if bound is not None}
    if not bounds:
        return
    near = [int(bound) + step for bound in bounds.values() for step in [*steps, -1, 0, 1]]
    values = [*others, *bounds.values(), *(each for each in near if -(2**63) <= each < 2**63)]
    sent = json.loads(to_filter({"key": bounds}).model_dump_json(exclude_none=True))
    for value in values:
        expected = all(COMPARE[name](value, bound) for name, bound in bounds.items())
        assert_holds(sent, value, expected)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(wanted=st.lists(st.one_of(wholes, reals), min_size=1, max_size=40), step=st.integers(-300, 300))
def test_equals(wanted: list[Any], step: int) -> None:
    sent = json.loads(to_filter({"key": wanted}).model_dump_json(exclude_none=True))
    for value in [*wanted, *(int(each) + step for each in wanted if abs(each) < 2**62)]:
        assert_holds(sent, value, value in wanted)


def assert_holds(sent: Any, value: Any, expected: bool) -> None:
    for misread in (-1, 0, 1):
        for exact in (True, False):
            assert holds(sent, value, misread, exact=exact) is expected, (value, misread, exact)
        if type(value) is int:  # the only numbers of an index that cuts
            assert holds(sent, value, misread, exact=True, cuts=True) is expected, (value, misread)


@pytest.mark.parametrize("length", [1, 16, 17, 300, 5_000])
def test_a_long_list_is_a_flat_tree(length: int) -> None:
    wanted = [3 * number for number in range(length)]
    sent = json.loads(to_filter({"key": wanted}).model_dump_json(exclude_none=True))
    for value in (*wanted[:: max(1, length // 20)], -1, 0.5, 1, 3 * length, 3 * length - 2):
        assert_holds(sent, value, value in wanted)
        assert checks(sent, float(value) + 0.5) <= 150


def checks(condition: Any, value: float) -> int:
    """How many ranges are looked at, from the first on, before a filter that does not hold is refused."""
    if "range" in condition:
        return 1
    count = 0
    for part in [*condition.get("should", []), *condition.get("must", [])]:
        count += checks(part, value)
        if "must" in condition and not holds(part, value, 0, exact=False):
            break
    return count


@pytest.mark.parametrize("end", [float_info.max, -float_info.max])
@pytest.mark.parametrize("whole", [2**60, -(2**60)])
def test_the_largest_floats(end: float, whole: int) -> None:
    sent = json.loads(to_filter({"key": {"gt": whole, "lt": end}}).model_dump_json(exclude_none=True))
    for value in (whole, whole + 1, 1e308, -1e308, 0):
        assert holds(sent, value, 0, exact=False) is (whole < value < end)
