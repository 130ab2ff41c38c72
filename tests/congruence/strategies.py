"""Random documents and filters, of few values, so that filters find something and scores tie.

What engines are known to do differently is left out; `differences.py` says what that is.
"""

from __future__ import annotations

import datetime as dt
import operator
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from hypothesis import strategies as st
from qdrant_client import models

from colbert_qdrant import Document
from colbert_qdrant.points.ids import point_id
from tests.encoders import WORDS

if TYPE_CHECKING:
    from colbert_qdrant import DocumentId
    from colbert_qdrant.config import PayloadIndex

Strategy = st.SearchStrategy[Any]

KINDS: Final = st.sampled_from(["red", "green", "blue"])
NUMBERS: Final = st.sampled_from([0, 1, 2])
WEIGHTS: Final = st.sampled_from([-0.5, 0.0, 1.0, 1.5])
FLAGS: Final = st.booleans()
TIMES: Final = st.sampled_from(
    ["2024-01-01T00:00:00Z", "2024-06-01", "2024-06-01T01:00:00+02:00", "2024-06-01T00:00:00.5", "2025-01-01 10:00:00"]
)
PLACES: Final = st.sampled_from([{"lon": 13.4, "lat": 52.5}, {"lon": 2.3, "lat": 48.9}, {"lon": -74.0, "lat": 40.7}])
ANY_VALUE: Final = st.one_of(KINDS, NUMBERS, WEIGHTS, FLAGS, TIMES, PLACES, st.none())
ANYTHING: Final = st.one_of(ANY_VALUE, st.lists(st.one_of(ANY_VALUE, st.lists(ANY_VALUE, max_size=2)), max_size=3))

INDEXES: Final[dict[str, PayloadIndex]] = {
    "kind": "keyword",
    "number": "integer",
    "weight": "float",
    "flag": "bool",
    "when": "datetime",
    "place": "geo",
    "deep.kind": "keyword",  # and none of "items[]": `nested_is_empty_over_an_index`
}


def only(values: Strategy) -> Strategy:
    """A value, an array of values and nulls, or null."""
    return st.one_of(values, st.lists(st.one_of(values, st.none()), max_size=3), st.none())


def payloads(*, mixed: bool) -> Strategy:
    """Payloads in which every key may be missing.

    Args:
        mixed: Whether a key may have values of other types than its own.
    """

    def own(values: Strategy) -> Strategy:
        kinds = [values, values, values, only(values), ANYTHING if mixed else only(values), st.just(...)]
        return st.integers(0, len(kinds) - 1).flatmap(kinds.__getitem__)

    def objects(**fields: Strategy) -> Strategy:
        return st.fixed_dictionaries(fields).map(
            lambda each: {key: value for key, value in each.items() if value is not ...}
        )

    inner = objects(kind=own(KINDS), number=own(NUMBERS))
    return objects(
        kind=own(KINDS),
        number=own(NUMBERS),
        weight=own(st.one_of(WEIGHTS, NUMBERS)),
        flag=own(FLAGS),
        when=own(TIMES),
        place=own(PLACES),
        deep=own(inner),
        items=st.one_of(st.lists(inner, max_size=3), own(inner)),
    )


TEXTS: Final = st.lists(st.sampled_from(WORDS[:4]), min_size=1, max_size=4).map(" ".join)
IDS: Final[list[DocumentId]] = [2, 10, 9, "2", "b", "a", UUID(int=2), UUID(int=1)]


@st.composite
def documents(draw: st.DrawFn, *, least: int = 1, most: int = len(IDS), mixed: bool = True) -> list[Document]:
    """Documents with ids of every type, many of them with equal texts."""
    document = st.builds(Document, st.sampled_from(IDS), TEXTS, payloads(mixed=mixed))
    return draw(st.lists(document, min_size=least, max_size=most, unique_by=lambda each: (type(each.id), each.id)))


def bounds(kind: Any, values: Strategy) -> Strategy:
    """Ranges that end at a value or before it, on one side or both; not both at once: `two_bounds_on_one_side`."""

    def side(*names: str) -> Strategy:
        return st.one_of(st.just({}), st.builds(lambda name, value: {name: value}, st.sampled_from(names), values))

    return st.builds(lambda upper, lower: kind(**upper, **lower), side("lt", "lte"), side("gt", "gte"))


def matching(values: Strategy) -> Strategy:
    """The three ways to match values, as arguments of a condition."""
    several = st.lists(values, max_size=2)
    matches = st.one_of(
        st.builds(lambda value: models.MatchValue(value=value), values),
        st.builds(lambda choice: models.MatchAny(any=choice), several),
        st.builds(lambda choice: models.MatchExcept(**{"except": choice}), several),
    )
    return st.builds(lambda match: {"match": match}, matches)


def box(west: float, north: float, east: float, south: float) -> models.GeoBoundingBox:
    """What lies between four degrees."""
    top_left, bottom_right = models.GeoPoint(lon=west, lat=north), models.GeoPoint(lon=east, lat=south)
    return models.GeoBoundingBox(top_left=top_left, bottom_right=bottom_right)


MOMENTS: Final = st.sampled_from(
    [
        dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
        dt.datetime(2024, 6, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=2))),
        dt.datetime(2024, 6, 1),
        dt.date(2024, 6, 1),
        dt.datetime(2024, 12, 1, tzinfo=dt.UTC),
    ]
)
BOXES: Final = st.sampled_from([box(0, 55, 20, 45), box(10, 55, 15, 50)])
CIRCLES: Final = st.builds(
    lambda center, radius: models.GeoRadius(center=models.GeoPoint(**center), radius=radius),
    PLACES,
    st.sampled_from([1_000, 500_000, 1_000_000]),
)

# the tests of a field condition, one each: `several_tests_in_one_condition`
OF_KINDS: Final = matching(KINDS)
OF_WEIGHTS: Final = st.builds(lambda ends: {"range": ends}, bounds(models.Range, st.one_of(NUMBERS, WEIGHTS)))
OF_NUMBERS: Final = st.one_of(matching(NUMBERS), OF_WEIGHTS)
OF_FLAGS: Final = st.builds(lambda value: {"match": models.MatchValue(value=value)}, FLAGS)
PERIODS_OF_DATES: Final = bounds(models.DatetimeRange, MOMENTS).filter(lambda ends: ends.model_dump(exclude_none=True))
OF_TIMES: Final = st.builds(lambda ends: {"range": ends}, PERIODS_OF_DATES)  # none is empty: `empty_range_of_dates`
OF_PLACES: Final = st.one_of(
    st.builds(lambda box: {"geo_bounding_box": box}, BOXES), st.builds(lambda circle: {"geo_radius": circle}, CIRCLES)
)
OF_ANYTHING: Final = st.one_of(
    st.builds(lambda wanted: {"is_empty": wanted}, st.booleans()),
    st.builds(lambda wanted: {"is_null": wanted}, st.booleans()),
    st.builds(lambda count: {"values_count": count}, bounds(models.ValuesCount, st.sampled_from([0, 1, 2]))),
)
EVERY_TEST: Final = st.one_of(OF_KINDS, OF_NUMBERS, OF_FLAGS, OF_TIMES, OF_PLACES, OF_ANYTHING)

FIELDS: Final[dict[str, Strategy]] = {
    "kind": OF_KINDS,
    "kind[]": OF_KINDS,
    "number": OF_NUMBERS,
    "weight": OF_WEIGHTS,
    "flag": OF_FLAGS,
    "when": OF_TIMES,
    "place": OF_PLACES,
    "deep": OF_ANYTHING,
    "deep.kind": OF_KINDS,
    "deep.number": OF_NUMBERS,
    "deep.missing": EVERY_TEST,
    "items": OF_ANYTHING,
    "items[].kind": OF_KINDS,
    "items[].number": OF_NUMBERS,
    "missing": EVERY_TEST,
}


@st.composite
def on_fields(draw: st.DrawFn, fields: tuple[str, ...], *, mixed: bool) -> models.Condition:
    """Conditions on one of these fields.

    Args:
        draw: Hypothesis's.
        fields: Keys of `FIELDS`.
        mixed: Whether a field may also be tested for what is of another type than its values.
    """
    key = draw(st.sampled_from(fields))
    kind = draw(st.sampled_from(["own", "other", "empty", "null"]))
    if kind == "empty" or (kind == "null" and "[]" in key):  # `null_in_a_list`: no server was asked of its elements
        return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
    if kind == "null":
        return models.IsNullCondition(is_null=models.PayloadField(key=key))
    test = FIELDS[key] if kind == "own" else EVERY_TEST if mixed else OF_ANYTHING
    if "[]" in key:  # `is_empty_and_is_null_of_several_values`
        test = test.filter(lambda each: not each.keys() & {"is_empty", "is_null"})
    return models.FieldCondition(key=key, **draw(test))


@st.composite
def combined(draw: st.DrawFn, conditions: Strategy, *, nested: bool = False) -> models.Filter:
    """Filters of conditions; a part of one condition may stand without its list."""
    parts: dict[str, Any] = {}
    # no empty list: `min_should_without_conditions`, `nested_should_without_conditions`
    least = {"min_should": 1, "should": 1 if nested else 0}
    for name in draw(st.lists(st.sampled_from(["must", "should", "must_not", "min_should"]), max_size=3, unique=True)):
        some = draw(st.lists(conditions, min_size=least.get(name, 0), max_size=2))
        if name == "min_should":  # not 0: `min_count_of_zero`
            parts[name] = models.MinShould(conditions=some, min_count=draw(st.integers(min_value=1, max_value=2)))
        else:
            parts[name] = some[0] if len(some) == 1 and draw(st.booleans()) else some
    return models.Filter(**parts)


@st.composite
def of_elements(draw: st.DrawFn, *, mixed: bool) -> models.Condition:
    """Conditions on the elements of an array, each for itself."""
    key = draw(st.sampled_from(["items", "items[]", "deep"]))
    inner = draw(combined(on_fields(("kind", "number"), mixed=mixed), nested=True))
    return models.NestedCondition(nested=models.Nested(key=key, filter=inner))


HAS_ID: Final = st.builds(
    lambda ids: models.HasIdCondition(has_id=ids), st.lists(st.sampled_from([*map(point_id, IDS)]), max_size=4)
)


def conditions(*, mixed: bool = True) -> Strategy:
    """Conditions on documents; see `on_fields`."""
    kinds = [*[on_fields(tuple(FIELDS), mixed=mixed)] * 8, of_elements(mixed=mixed), HAS_ID]
    return st.integers(0, len(kinds) - 1).flatmap(kinds.__getitem__)


@st.composite
def one_condition_of_each(draw: st.DrawFn, *, mixed: bool = True) -> list[models.Condition]:
    """For every field a condition that suits it and another one, and conditions on arrays and ids."""
    suiting = [models.FieldCondition(key=key, **draw(tests)) for key, tests in FIELDS.items()]
    others = [draw(on_fields((key,), mixed=mixed)) for key in FIELDS]
    return [*suiting, *others, draw(of_elements(mixed=mixed)), draw(of_elements(mixed=mixed)), draw(HAS_ID)]


@st.composite
def filters(draw: st.DrawFn) -> models.Filter:
    """Filters on documents, some of them inside each other."""
    return draw(combined(st.one_of(conditions(), combined(conditions()))))


MEASURES: Final = bounds(dict, st.one_of(NUMBERS, WEIGHTS)).filter(bool)
ISO: Final = st.sampled_from(["2024-06-01", "2024-06-01T01:00+02:00", "2024-12-01T00:00:00Z"])
PERIODS: Final = bounds(dict, st.one_of(MOMENTS, ISO)).filter(bool)
EQUAL: Final = st.one_of(KINDS, NUMBERS, WEIGHTS, FLAGS, MOMENTS, st.none(), st.just(UUID(int=1)))


def of_where(values: Strategy, ranges: Strategy) -> Strategy:
    """What a `Where` can have for a key: a value, a list of values, or operators."""
    several = st.lists(values, min_size=1, max_size=3)
    operators = {
        "in": several,
        "not_in": several,
        "ne": values,
        "exists": FLAGS,
        "match": st.sampled_from(["red", "2024"]),
    }
    others = st.one_of(
        [st.builds(lambda operand, name=name: {name: operand}, each) for name, each in operators.items()]
    )
    return st.one_of(values, several, ranges, others, st.builds(operator.or_, ranges, others))


OF_ANY_KEY: Final = of_where(EQUAL, st.one_of(MEASURES, PERIODS))
OF_KEYS: Final[dict[str, Strategy]] = {
    "kind": of_where(KINDS, MEASURES),
    "number": of_where(NUMBERS, MEASURES),
    "weight": of_where(WEIGHTS, MEASURES),
    "flag": of_where(FLAGS, MEASURES),
    "when": of_where(MOMENTS, PERIODS),
    "deep.kind": of_where(KINDS, MEASURES),
    "deep.number": of_where(NUMBERS, MEASURES),
    "items[].kind": of_where(KINDS, MEASURES),
    "items[].number": of_where(NUMBERS, MEASURES),
    "missing": OF_ANY_KEY,
}


@st.composite
def wheres(draw: st.DrawFn, *, depth: int = 2) -> dict[str, Any]:
    """What `Where` can be."""
    keys = draw(st.lists(st.sampled_from(sorted(OF_KEYS)), min_size=1, max_size=2, unique=True))
    where = {key: draw(OF_KEYS[key]) for key in keys}
    name = draw(st.sampled_from(["$and", "$or", "$not", None, None])) if depth else None
    if name is None:
        return where
    inner = wheres(depth=depth - 1)
    parts = draw(inner) if name == "$not" else draw(st.lists(inner, min_size=1, max_size=2))
    return draw(st.sampled_from([{name: parts}, {name: parts, **where}]))


@st.composite
def wheres_of_each(draw: st.DrawFn) -> list[dict[str, Any]]:
    """For every key one that suits it and one that may not, and some that are combined."""
    suiting = [{key: draw(values)} for key, values in OF_KEYS.items()]
    others = [{key: draw(OF_ANY_KEY)} for key in OF_KEYS]
    return [*suiting, *others, *(draw(wheres()) for _ in range(5))]
