"""Converts qdrant-client's formulas to Edge's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_args

import qdrant_edge as edge
from qdrant_client import models

from colbert_qdrant.edge.fields import read_fields, unsupported_error
from colbert_qdrant.edge.filters import to_condition, to_geo_point
from colbert_qdrant.edge.points import to_payload
from colbert_qdrant.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    Inner: TypeAlias = Callable[[Any], edge.Expression]
    """Converts a part of an expression."""

    Translate: TypeAlias = Callable[[Any, Inner], edge.Expression]

MAX_DEPTH: Final = 64
"""The maximum depth of nested expressions: a server reads 128 levels of JSON, and a sum takes two levels."""

_CONDITIONS: Final = get_args(models.Condition)


def to_formula(value: models.FormulaQuery) -> edge.Formula:
    """Convert a formula, including its conditions.

    Raises:
        CapabilityError: If Edge does not support one of the expressions.
        ConfigurationError: If the formula is nested too deeply.
    """
    parts = read_fields(value, "formula", "defaults")
    return edge.Formula(_expression(parts["formula"], 1), to_payload(parts.get("defaults", {})))


def _expression(value: Any, depth: int) -> edge.Expression:
    if depth > MAX_DEPTH:
        raise ConfigurationError(f"the formula nests more than {MAX_DEPTH} expressions: write it with less nesting")
    if isinstance(value, str):
        return edge.Expression.Variable(value)
    if isinstance(value, (int, float)):
        return edge.Expression.Constant(value)
    if isinstance(value, _CONDITIONS):
        return edge.Expression.Condition(to_condition(value))
    kind = type(value).__name__
    if kind not in _EXPRESSIONS:
        raise unsupported_error(f"`{kind}` in formulas")
    return _EXPRESSIONS[kind](value, lambda part: _expression(part, depth + 1))


def _value(name: str, make: Callable[[Any], edge.Expression]) -> Translate:
    return lambda value, _: make(read_fields(value, name)[name])


def _one(name: str, make: Callable[[edge.Expression], edge.Expression]) -> Translate:
    return lambda value, inner: make(inner(read_fields(value, name)[name]))


def _many(name: str, make: Callable[[list[edge.Expression]], edge.Expression]) -> Translate:
    return lambda value, inner: make([inner(part) for part in read_fields(value, name)[name]])


def _decay(name: str, kind: edge.DecayKind) -> Translate:
    def translate(value: Any, inner: Inner) -> edge.Expression:
        parts = read_fields(read_fields(value, name)[name], "x", "target", "midpoint", "scale")
        parts |= {part: inner(parts[part]) for part in ("x", "target") if part in parts}
        return edge.Expression.Decay(kind, **({"target": None, "midpoint": None, "scale": None} | parts))

    return translate


def _div(value: models.DivExpression, inner: Inner) -> edge.Expression:
    parts = read_fields(value.div, "left", "right", "by_zero_default")
    return edge.Expression.Div(inner(parts["left"]), inner(parts["right"]), parts.get("by_zero_default"))


def _pow(value: models.PowExpression, inner: Inner) -> edge.Expression:
    parts = read_fields(value.pow, "base", "exponent")
    return edge.Expression.Pow(inner(parts["base"]), inner(parts["exponent"]))


def _geo_distance(value: models.GeoDistance, _: Inner) -> edge.Expression:
    parts = read_fields(value.geo_distance, "origin", "to")
    return edge.Expression.GeoDistance(to_geo_point(parts["origin"]), parts["to"])


# Keyed by class name: an older qdrant-client lacks some of the classes.
_EXPRESSIONS: Final[dict[str, Translate]] = {
    "SumExpression": _many("sum", edge.Expression.Sum),
    "MultExpression": _many("mult", edge.Expression.Mult),
    "MaxExpression": _many("max", edge.Expression.Max),
    "MinExpression": _many("min", edge.Expression.Min),
    "NegExpression": _one("neg", edge.Expression.Neg),
    "AbsExpression": _one("abs", edge.Expression.Abs),
    "SqrtExpression": _one("sqrt", edge.Expression.Sqrt),
    "ExpExpression": _one("exp", edge.Expression.Exp),
    "Log10Expression": _one("log10", edge.Expression.Log10),
    "LnExpression": _one("ln", edge.Expression.Ln),
    "AcoshExpression": _one("acosh", edge.Expression.Acosh),
    "DivExpression": _div,
    "PowExpression": _pow,
    "LinDecayExpression": _decay("lin_decay", edge.DecayKind.Lin),
    "ExpDecayExpression": _decay("exp_decay", edge.DecayKind.Exp),
    "GaussDecayExpression": _decay("gauss_decay", edge.DecayKind.Gauss),
    "GeoDistance": _geo_distance,
    "DatetimeExpression": _value("datetime", edge.Expression.Datetime),
    "DatetimeKeyExpression": _value("datetime_key", edge.Expression.DatetimeKey),
}
