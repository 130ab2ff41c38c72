"""What every engine has to find, in a few lines of Python and numpy."""

from __future__ import annotations

import datetime as dt
import math
import operator
import re
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant.points.ids import point_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from colbert_qdrant import Document, DocumentId, SearchHit

EARTH_RADIUS: Final = 6_371_008.8
"""Metres."""

FLOAT32: Final = 2.0**-22
"""By how much of itself a score may be off: servers write 32-bit numbers in decimal."""


def maxsim(query: NDArray[Any], document: NDArray[Any]) -> float:
    """The sum, over the query's tokens, of the best match in the document."""
    return float((query.astype(np.float64) @ document.astype(np.float64).T).max(axis=1).sum())


def assert_ranked(
    hits: Sequence[SearchHit], scores: Mapping[DocumentId, float], *, limit: int, tolerance: float = 0.0
) -> None:
    """The hits are the best documents, by falling score and then by id.

    Which of several that tie with the last hit are among them is the engine's choice (`ties_at_the_cut`).

    Args:
        hits: What was found.
        scores: The score of every document that may be found.
        limit: How many were asked for.
        tolerance: By how much a score may be off, beyond what a 32-bit number loses.
    """
    found = [hit.score for hit in hits]
    assert found == pytest.approx(sorted(scores.values(), reverse=True)[:limit], abs=tolerance, rel=FLOAT32)
    assert found == pytest.approx([scores[hit.id] for hit in hits], abs=tolerance, rel=FLOAT32)
    assert len({hit.id for hit in hits}) == len(hits)
    assert list(hits) == sorted(hits, key=lambda hit: (-hit.score, type(hit.id).__name__, hit.id))


def chosen(
    documents: Iterable[Document], wanted: models.Filter | None, *, null_in_lists: bool = True
) -> list[DocumentId]:
    """The ids of the documents that a filter lets pass; see `matches`."""
    return [each.id for each in documents if matches(wanted, each.payload, str(point_id(each.id)), null_in_lists)]


def matches(
    wanted: models.Filter | None, payload: Mapping[str, Any], point: str = "", null_in_lists: bool = True
) -> bool:
    """Whether a filter lets a point pass.

    Args:
        wanted: The filter.
        payload: The point's payload.
        point: Its id.
        null_in_lists: Whether a list with a null in it is null: `null_in_a_list`.
    """
    if wanted is None:
        return True
    must, must_not, should = (
        [_holds(condition, payload, point, null_in_lists) for condition in _listed(part)]
        for part in (wanted.must, wanted.must_not, wanted.should)
    )
    few = wanted.min_should
    enough = few is None or (
        sum(_holds(each, payload, point, null_in_lists) for each in few.conditions) >= few.min_count
    )
    return all(must) and not any(must_not) and (not should or any(should)) and enough


def fits(where: Mapping[str, Any], payload: Mapping[str, Any]) -> bool:
    """Whether a payload is as a `Where` says."""
    return all(_entry_fits(key, wanted, payload) for key, wanted in where.items())


def _entry_fits(key: str, wanted: Any, payload: Mapping[str, Any]) -> bool:
    if key == "$not":
        return not fits(wanted, payload)
    if key in ("$and", "$or"):
        return {"$and": all, "$or": any}[key](fits(each, payload) for each in wanted)
    found = select(payload, key)
    if not isinstance(wanted, dict):
        return _equals(found, wanted)
    bounds = {name: bound for name, bound in wanted.items() if name in ("gt", "gte", "lt", "lte")}
    compared = any(all(_compares(name, value, bound) for name, bound in bounds.items()) for value in _values(found))
    others = (_OPERATORS[name](found, operand) for name, operand in wanted.items() if name not in bounds)
    return (compared or not bounds) and all(others)


def _equals(found: list[Any], wanted: Any) -> bool:
    if isinstance(wanted, list):
        return any(_equals(found, each) for each in wanted)
    if wanted is None:
        return _is_empty(found)
    if type(wanted) in (int, float) or isinstance(wanted, dt.date):
        return any(_compares("eq", value, wanted) for value in _values(found))
    return any(_same(value, str(wanted) if isinstance(wanted, UUID) else wanted) for value in _values(found))


def _compares(name: str, value: Any, bound: Any) -> bool:
    compare = getattr(operator, name.replace("te", "e"))
    if isinstance(bound, int | float):
        return type(value) in (int, float) and compare(value, bound)
    if isinstance(bound, str):
        bound = dt.date.fromisoformat(bound) if len(bound) == len("2024-01-01") else dt.datetime.fromisoformat(bound)
    time = _time(value)
    if time is None or isinstance(bound, dt.datetime):
        return time is not None and compare(time, _time(bound))
    return bool(compare(time.astimezone(dt.UTC).date(), bound))


_OPERATORS: Final[dict[str, Callable[[list[Any], Any], bool]]] = {
    "in": _equals,
    "not_in": lambda found, wanted: not _equals(found, wanted),
    "ne": lambda found, wanted: not _equals(found, wanted),
    "exists": lambda found, wanted: _is_empty(found) != wanted,
    "match": lambda found, words: any(
        isinstance(value, str) and set(_words(words)) <= set(_words(value)) for value in _values(found)
    ),
}


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _holds(condition: Any, payload: Mapping[str, Any], point: str, null_in_lists: bool) -> bool:
    match condition:
        case models.Filter():
            return matches(condition, payload, point, null_in_lists)
        case models.HasIdCondition(has_id=ids):
            return point in map(str, ids)
        case models.NestedCondition(nested=nested):
            arrays = [value for value in select(payload, nested.key.removesuffix("[]")) if isinstance(value, list)]
            elements = [each for array in arrays for each in array if isinstance(each, dict)]
            return any(matches(nested.filter, each, null_in_lists=null_in_lists) for each in elements)
        case models.IsEmptyCondition(is_empty=field):
            return _is_empty(select(payload, field.key))
        case models.IsNullCondition(is_null=field):
            return _is_null(select(payload, field.key), null_in_lists)
        case models.FieldCondition():
            return _field_holds(condition, select(payload, condition.key), null_in_lists)
    raise NotImplementedError(condition)


def _field_holds(condition: models.FieldCondition, found: list[Any], null_in_lists: bool) -> bool:
    if condition.is_empty is not None:
        return _is_empty(found) == condition.is_empty
    if condition.is_null is not None:
        return _is_null(found, null_in_lists) == condition.is_null
    if condition.values_count is not None:
        return any(_between(count, condition.values_count) for count in _counts(found))
    tests = (condition.match, condition.range, condition.geo_bounding_box, condition.geo_radius)
    [test] = [each for each in tests if each is not None]
    return any(_TESTS[type(test)](test, value) for value in _values(found))


def select(payload: Any, key: str) -> list[Any]:
    """The values that a key such as ``"a.b"`` or ``"a[].b"`` stands for."""
    found = [payload]
    for step in re.findall(r"\[]|[^.\[\]]+", key):
        if step == "[]":
            found = [item for value in found if isinstance(value, list) for item in value]
        else:
            found = [value[step] for value in found if isinstance(value, dict) and step in value]
    return found


def _values(found: list[Any]) -> list[Any]:
    return [value for each in found for value in (each if isinstance(each, list) else [each])]


def _listed(part: Any) -> Iterable[Any]:
    return part if isinstance(part, list) else [] if part is None else [part]


def _same(value: Any, wanted: Any) -> bool:
    return type(value) is type(wanted) and bool(value == wanted)


def _is_empty(found: list[Any]) -> bool:
    return all(value is None or value == [] for value in found)


def _is_null(found: list[Any], null_in_lists: bool) -> bool:
    return any(value is None or (null_in_lists and isinstance(value, list) and None in value) for value in found)


def _counts(found: list[Any]) -> list[int]:
    return [len(value) if isinstance(value, list) else int(value is not None) for value in found] or [0]


def _between(value: Any, bounds: Any, read: Callable[[Any], Any] = lambda bound: bound) -> bool:
    return (
        (bounds.lt is None or value < read(bounds.lt))
        and (bounds.lte is None or value <= read(bounds.lte))
        and (bounds.gt is None or value > read(bounds.gt))
        and (bounds.gte is None or value >= read(bounds.gte))
    )


def _time(value: Any) -> dt.datetime | None:
    try:
        time = dt.datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _in_time(value: Any, bounds: models.DatetimeRange) -> bool:
    time = _time(value)
    return time is not None and _between(time, bounds, _time)


def _is_place(value: Any) -> bool:
    return isinstance(value, dict) and {"lon", "lat"} <= value.keys()


def _in_box(lon: float, lat: float, box: models.GeoBoundingBox) -> bool:
    return box.top_left.lon < lon < box.bottom_right.lon and box.bottom_right.lat < lat < box.top_left.lat


def _distance(lon: float, lat: float, center: models.GeoPoint) -> float:
    """Along the sphere, by the law of cosines."""
    one, other = math.radians(lat), math.radians(center.lat)
    cosine = math.sin(one) * math.sin(other) + math.cos(one) * math.cos(other) * math.cos(
        math.radians(lon - center.lon)
    )
    return EARTH_RADIUS * math.acos(max(-1.0, min(1.0, cosine)))


_TESTS: Final[dict[type, Callable[[Any, Any], bool]]] = {
    models.MatchValue: lambda test, value: _same(value, test.value),
    models.MatchAny: lambda test, value: any(_same(value, each) for each in test.any),
    models.MatchExcept: lambda test, value: value is not None and not any(_same(value, each) for each in test.except_),
    models.Range: lambda test, value: type(value) in (int, float) and _between(value, test),
    models.DatetimeRange: lambda test, value: _in_time(value, test),
    models.GeoBoundingBox: lambda test, value: _is_place(value) and _in_box(value["lon"], value["lat"], test),
    models.GeoRadius: lambda test, value: (
        _is_place(value) and _distance(value["lon"], value["lat"], test.center) < test.radius
    ),
}
