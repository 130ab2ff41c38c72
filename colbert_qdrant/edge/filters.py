"""Converts qdrant-client's filters to Edge's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import qdrant_edge as edge

from colbert_qdrant.edge.fields import as_list, read_fields, unsupported_error
from colbert_qdrant.edge.numbers import outer_bound

if TYPE_CHECKING:
    from collections.abc import Callable

    from qdrant_client import models

# Tables are keyed by class name: an older qdrant-client lacks some of the classes.


def to_filter(value: models.Filter) -> edge.Filter:
    """Convert a filter; raises `CapabilityError` if Edge does not support one of its conditions."""
    parts = read_fields(value, "must", "should", "must_not", "min_should")
    min_should = parts.pop("min_should", None)
    clauses = {name: _conditions(part) for name, part in parts.items()}
    return edge.Filter(**clauses, min_should=None if min_should is None else _min_should(min_should))


def _conditions(value: Any) -> list[edge.ConditionType]:
    return [to_condition(condition) for condition in as_list(value) or []]


def to_condition(value: models.Condition) -> edge.ConditionType:
    """Convert a condition, or a filter as a condition; raises `CapabilityError` if Edge does not support it."""
    kind = type(value).__name__
    if kind not in _CONDITIONS:
        raise unsupported_error(f"`{kind}` in filters")
    return _CONDITIONS[kind](value)


def _min_should(value: models.MinShould) -> edge.MinShould:
    return edge.MinShould(_conditions(value.conditions), value.min_count)


def _has_id(value: models.HasIdCondition) -> edge.HasIdCondition:
    return edge.HasIdCondition(set(value.has_id))


def _nested(value: models.NestedCondition) -> edge.NestedCondition:
    return edge.NestedCondition(value.nested.key, to_filter(value.nested.filter))


def _slice(value: models.SliceCondition) -> edge.ConditionType:
    # The type stub of qdrant-edge lacks this class.
    return edge.SliceCondition(**read_fields(value.slice, "total", "index"))  # type: ignore[attr-defined, no-any-return]


def _field(value: models.FieldCondition) -> edge.FieldCondition:
    parts = read_fields(value, *_FIELD_PARTS, "key", "is_empty", "is_null")
    return edge.FieldCondition(
        **{name: _FIELD_PARTS[name](part) if name in _FIELD_PARTS else part for name, part in parts.items()}
    )


def _match(value: models.Match) -> edge.MatchType:
    kind = type(value).__name__
    if kind not in _MATCHES:
        raise unsupported_error(f"`{kind}` in filters")
    field, match = _MATCHES[kind]
    return match(read_fields(value, field)[field])


def _match_value(value: str | int) -> edge.MatchValue:
    # Edge reads True as the integer 1, which matches no boolean; NumPy's True is not an integer.
    return edge.MatchValue(cast("bool", np.bool_(value)) if isinstance(value, bool) else value)


def _range(value: models.RangeInterface) -> edge.RangeType:
    bounds = read_fields(value, "lt", "lte", "gt", "gte")
    if type(value).__name__ == "DatetimeRange":
        return edge.RangeDateTime(**{name: bound.isoformat() for name, bound in bounds.items()})
    if type(value).__name__ == "Range":
        return edge.RangeFloat(**{name: outer_bound(name, bound) for name, bound in bounds.items()})
    raise unsupported_error(f"`{type(value).__name__}` in filters")


def _values_count(value: models.ValuesCount) -> edge.ValuesCount:
    return edge.ValuesCount(**read_fields(value, "lt", "lte", "gt", "gte"))


def to_geo_point(value: models.GeoPoint) -> edge.GeoPoint:
    """Convert a geographical point."""
    return edge.GeoPoint(lon=value.lon, lat=value.lat)


def _geo_line(value: models.GeoLineString) -> list[edge.GeoPoint]:
    return [to_geo_point(point) for point in value.points]


def _geo_box(value: models.GeoBoundingBox) -> edge.GeoBoundingBox:
    return edge.GeoBoundingBox(to_geo_point(value.top_left), to_geo_point(value.bottom_right))


def _geo_radius(value: models.GeoRadius) -> edge.GeoRadius:
    return edge.GeoRadius(to_geo_point(value.center), value.radius)


def _geo_polygon(value: models.GeoPolygon) -> edge.GeoPolygon:
    holes = None if value.interiors is None else [_geo_line(line) for line in value.interiors]
    return edge.GeoPolygon(_geo_line(value.exterior), holes)


_CONDITIONS: dict[str, Callable[[Any], edge.ConditionType]] = {
    "FieldCondition": _field,
    "IsEmptyCondition": lambda value: edge.IsEmptyCondition(value.is_empty.key),
    "IsNullCondition": lambda value: edge.IsNullCondition(value.is_null.key),
    "HasIdCondition": _has_id,
    "HasVectorCondition": lambda value: edge.HasVectorCondition(value.has_vector),
    "NestedCondition": _nested,
    "SliceCondition": _slice,
    "Filter": to_filter,
}

_FIELD_PARTS: dict[str, Callable[[Any], Any]] = {
    "match": _match,
    "range": _range,
    "geo_bounding_box": _geo_box,
    "geo_radius": _geo_radius,
    "geo_polygon": _geo_polygon,
    "values_count": _values_count,
}

_MATCHES: dict[str, tuple[str, Callable[[Any], edge.MatchType]]] = {
    "MatchValue": ("value", _match_value),
    "MatchText": ("text", edge.MatchText),
    "MatchTextAny": ("text_any", edge.MatchTextAny),
    "MatchPhrase": ("phrase", edge.MatchPhrase),
    "MatchPrefix": ("prefix", edge.MatchPrefix),
    "MatchSubstring": ("substring", edge.MatchSubstring),
    "MatchAny": ("any", edge.MatchAny),
    "MatchExcept": ("except_", edge.MatchExcept),
}
