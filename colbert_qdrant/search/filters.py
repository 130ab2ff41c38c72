"""Converts `Where` filters to Qdrant's filters."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

from qdrant_client import models

from colbert_qdrant._support.scripts import NEVER_SPLIT, UNSPACED
from colbert_qdrant._support.values import plain
from colbert_qdrant.config.names import require_path, same_path
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.points.ids import INT_RANGE
from colbert_qdrant.search.limits import filter_keys
from colbert_qdrant.search.ranges import equal, instant, is_number, within
from colbert_qdrant.shown import kind_of, listed, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Where: TypeAlias = Mapping[str, Any]
"""A condition on the payload of a document: ``{"year": {"gte": 2020}, "lang": ["en", "de"]}``.

Keys are payload keys, or paths in Qdrant's syntax (``"author.name"``, ``"authors[].name"``). A document must meet the
conditions of all keys. If a key has several values, one matching value is enough.

- ``{"lang": "en"}``: a scalar means "equals". Numbers compare as in Python: ``2020`` equals ``2020.0``. ``True`` is not
  a number. A ``date`` means the whole day, a ``datetime`` that instant; without a time zone, both are in UTC. ``None``
  means "has no value": the key is missing, null or ``[]``. Enums, NumPy scalars and ``Decimal`` are converted as in
  payloads.
- ``{"lang": ["en", "de"]}``: a list means "is one of".
- ``{"year": {"gte": 2020, "ne": 2022}}``: all of these conditions must hold.

  - ``gt``, ``gte``, ``lt`` and ``lte`` compare numbers or times. A time is a ``datetime``, a ``date``, or a string such
    as ``"2024-06-01"`` or ``"2024-06-01T12:00:00Z"``; without a time zone, it is in UTC. A single value must be within
    all bounds. Integers are compared exactly; engines keep 15 digits of other numbers.
  - ``in`` and ``not_in`` take a list, ``ne`` takes a value. ``ne`` and ``not_in`` also match documents without a value.
  - ``exists`` takes ``True`` or ``False``: whether there is a value.
  - ``match`` takes the words that a text must contain, in any order and case. Servers before 1.20 need an index of
    type ``"text"`` for the key: without it they would match substrings, so that is an error. Words in Chinese,
    Japanese and Thai need an index with the multilingual tokenizer, which local mode lacks.
- ``{"$or": [where, where]}``, ``{"$and": [where, where]}`` and ``{"$not": where}`` combine conditions.

For anything else, such as geographic conditions or several conditions on the same array element, use ``filter=``. The
engine interprets such a filter as it stands.
"""

_LOGIC: Final = ("$and", "$or", "$not")
_BOUNDS: Final = ("gt", "gte", "lt", "lte")
_MAX_DEPTH: Final = 13
"""One level can become four levels of Qdrant's filter, or eight with a list. Edge writes 64; servers read about 100."""


def to_filter(where: Where) -> models.Filter:
    """Convert a filter to Qdrant's form; see `Where`.

    Raises:
        ConfigurationError: If the filter is invalid; the error names the key and the remedy.

    Example:
        >>> to_filter({"year": {"gte": 2020}, "lang": ["en", "de"]}).model_dump(exclude_none=True)
        {'must': [{'key': 'year', 'range': {'gte': 2020.0}}, {'key': 'lang', 'match': {'any': ['en', 'de']}}]}
    """
    return models.Filter(must=_conditions(where, depth=1))


def combine_filters(filter: models.Filter | None, where: Where | None) -> models.Filter | None:
    """Combine two filters, either of which may be missing.

    Raises:
        ConfigurationError: If ``where`` is not a `Where`, ``filter`` is not a ``models.Filter``, or a key of it is not
            a valid path.
    """
    if not isinstance(filter, models.Filter | None):
        raise ConfigurationError(
            f'filter must be a models.Filter, got {shown(filter)}: pass a dict like {{"year": 2020}} as where='
        )
    for key in filter_keys(filter):
        require_path("filter", key)
    if where is None:
        return filter
    return to_filter(where) if filter is None else models.Filter(must=[filter, to_filter(where)])


def holds_of_everything(filter: models.Filter) -> bool:
    """Tell whether a filter and the filters nested in it have no condition."""
    must, must_not, should = (
        each if isinstance(each, list) else [] if each is None else [each]
        for each in (filter.must, filter.must_not, filter.should)
    )
    empty = [isinstance(each, models.Filter) and holds_of_everything(each) for each in (*must, *should)]
    return (
        all(empty[: len(must)]) and (not should or any(empty[len(must) :])) and not must_not and not filter.min_should
    )


def word_keys(where: Where | None) -> frozenset[tuple[str, bool]]:
    """Return the payload keys that a valid `Where` tests with ``match``, and whether those words lack spaces."""
    found: set[tuple[str, bool]] = set()
    for key, value in (where or {}).items():
        name = plain(key)
        if name in _LOGIC:
            found.update(*map(word_keys, [value] if name == "$not" else value))
            continue
        tests = {plain(test): operand for test, operand in value.items()} if isinstance(value, Mapping) else {}
        if "match" in tests:
            found.add((same_path(name), UNSPACED.search(tests["match"]) is not None))
    return frozenset(found)


def compared_keys(where: Where | None) -> frozenset[tuple[str, str]]:
    """Return the payload keys that a valid `Where` compares, each with ``"numbers"`` or ``"times"``."""
    found: set[tuple[str, str]] = set()
    for key, value in (where or {}).items():
        name = plain(key)
        if name in _LOGIC:
            found.update(*map(compared_keys, [value] if name == "$not" else value))
            continue
        tests = {plain(test): _plain(operand) for test, operand in value.items()} if isinstance(value, Mapping) else {}
        for test, operand in (tests or {"": _plain(value)}).items():
            for each in operand if isinstance(operand, list) else [operand]:
                if isinstance(each, date) or (isinstance(each, str) and test in _BOUNDS):
                    found.add((same_path(name), "times"))
                elif isinstance(each, int | float) and not isinstance(each, bool):
                    found.add((same_path(name), "numbers"))
    return frozenset(found)


def _conditions(where: Where, *, depth: int) -> list[models.Condition]:
    """Return conditions that must all hold."""
    if not isinstance(where, Mapping):
        raise ConfigurationError(
            f'where must be a dict like {{"year": {{"gte": 2020}}}}, got {shown(where)}: pass a models.Filter as '
            "filter="
        )
    if not where:
        raise ConfigurationError("where is empty: omit it to match everything")
    if depth > _MAX_DEPTH:
        raise ConfigurationError(f"where is nested more than {_MAX_DEPTH} levels deep: flatten it")
    return [condition for key, value in where.items() for condition in _entry(key, value, depth)]


def _entry(key: str, value: Any, depth: int) -> list[models.Condition]:
    key = plain(key)
    if not isinstance(key, str) or not key:
        raise _wrong(key, "is not a payload key: use a non-empty string")
    if key.startswith("$"):
        return [_logic(key, value, depth + 1)]
    if f"${key}" in _LOGIC and _has_filters(value):
        raise _wrong(key, f"is a payload key: write '${key}' to combine filters")
    key = require_path("where", _text(key, key))
    if isinstance(value, Mapping):
        return _operators(key, {plain(name): _plain(operand) for name, operand in value.items()})
    value = _plain(value)
    return [_any_of(key, value) if isinstance(value, list) else _equal(key, value)]


def _has_filters(value: Any) -> bool:
    """Tell whether a value is a filter or a list with filters, so that it cannot be the condition of a key."""
    if isinstance(value, Mapping):
        return any(name not in _BOUNDS and name not in _TESTS for name in map(plain, value))
    return isinstance(value, list | tuple) and any(isinstance(each, Mapping) for each in value)


def _plain(value: Any) -> Any:
    """Convert a value, or each value of a collection, to an exact built-in type."""
    value = plain(value)
    if not isinstance(value, list | tuple | set | frozenset):
        return value
    found = listed(value)
    if found is None:
        raise ConfigurationError(f"where has {kind_of(value)} that cannot be iterated over: pass a list of values")
    return [plain(each) for each in found]


def _logic(key: str, value: Any, depth: int) -> models.Condition:
    if key not in _LOGIC:
        raise _wrong(key, f"is unknown{_nearest(key, _LOGIC)}: use one of {', '.join(_LOGIC)}")
    if key == "$not":
        return _not(_all(_conditions(value, depth=depth)))
    if not isinstance(value, list | tuple) or not value:
        raise _wrong(key, f"needs a non-empty list of filters, got {shown(value)}")
    parts = [_all(_conditions(each, depth=depth)) for each in value]
    return _all(parts) if key == "$and" else _any(parts)


def _operators(key: str, tests: Mapping[str, Any]) -> list[models.Condition]:
    unknown = [name for name in tests if name not in _BOUNDS and name not in _TESTS]
    if unknown or not tests:
        names = [*_BOUNDS, *_TESTS]
        problem = f"has the unknown operator {shown(unknown[0])}{_nearest(unknown[0], names)}" if unknown else "has {}"
        raise _wrong(
            key,
            f"{problem}: use {', '.join(names)}, or pass the value to test for equality; write a key inside an object "
            f"as {f'{key}.name'!r}",
        )
    bounds = {name: bound for name, bound in tests.items() if name in _BOUNDS}
    others = [_TESTS[name](key, operand) for name, operand in tests.items() if name in _TESTS]
    return [_range(key, bounds), *others] if bounds else others


def _equal(key: str, value: Any) -> models.Condition:
    if value is None:
        return models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
    if isinstance(value, str | UUID | bool):
        return models.FieldCondition(key=key, match=models.MatchValue(value=_exact(key, value)))
    if isinstance(value, int | float):
        return _any(equal(key, [_number(key, value)]))
    if isinstance(value, date):
        return _range(key, {"gte": value, "lte": value})
    raise _wrong(
        key,
        f"cannot be compared with {shown(value)}, of type {type(value).__name__}: use a string, a number, True, False, "
        "None, a UUID, a date or a datetime",
    )


def _any_of(key: str, values: Any) -> models.Condition:
    if not isinstance(values, list) or not values:
        raise _wrong(key, f"needs a non-empty list of values, got {shown(values)}")
    texts = [_exact(key, each) for each in values if isinstance(each, str | UUID)]
    numbers = [_number(key, each) for each in values if isinstance(each, int | float) and not isinstance(each, bool)]
    others = [each for each in values if isinstance(each, bool) or not isinstance(each, str | UUID | int | float)]
    return _any(
        [
            *([models.FieldCondition(key=key, match=models.MatchAny(any=texts))] if texts else []),
            *(equal(key, numbers) if numbers else []),
            *(_equal(key, each) for each in others),
        ]
    )


def _exists(key: str, wanted: Any) -> models.Condition:
    if not isinstance(wanted, bool):
        raise _wrong(key, f"'exists' needs True or False, got {shown(wanted)}")
    return _not(_equal(key, None)) if wanted else _equal(key, None)


def _words(key: str, text: Any) -> models.Condition:
    if not isinstance(text, str) or not text.strip():
        raise _wrong(key, f"'match' needs a non-empty string, got {shown(text)}")
    if NEVER_SPLIT.search(text):
        raise _wrong(
            key,
            "'match' searches for words, but Qdrant cannot split Lao, Burmese or Khmer into words: store the words as "
            "a list, and compare with 'in'",
        )
    return models.FieldCondition(key=key, match=models.MatchText(text=_text(key, text)))


def _range(key: str, bounds: Mapping[str, Any]) -> models.Condition:
    # one condition, so that a single value must be within all bounds
    for one, other in (("gt", "gte"), ("lt", "lte")):
        if one in bounds and other in bounds:  # engines disagree about both together
            raise _wrong(key, f"has both {shown(one)} and {shown(other)}: use only one")
    if all(map(is_number, bounds.values())):
        return within(key, bounds)
    times = {name: instant(bound, end=name in ("gt", "lte")) for name, bound in bounds.items()}
    if None not in times.values():
        return models.FieldCondition(key=key, range=models.DatetimeRange(**times))
    raise _wrong(
        key,
        f"cannot be compared with {', '.join(map(shown, bounds.values()))}: use finite numbers (int, float), or dates "
        "and times in microseconds at most (date, datetime, '2024-06-01', '2024-06-01T12:00:00Z')",
    )


def _exact(key: str, value: Any) -> Any:
    """Convert a value to the form that Qdrant matches."""
    return str(value) if isinstance(value, UUID) else _text(key, value) if isinstance(value, str) else value


def _number(key: str, value: float) -> int | float:
    if isinstance(value, int) and value not in INT_RANGE:
        raise _wrong(key, f"cannot equal {shown(value)}: integers have 64 bits; store larger ones as strings")
    if not is_number(value):
        raise _wrong(key, f"cannot equal {value}, which no engine stores: use a finite number, or None for no value")
    return value


def _text(key: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise _wrong(key, f"{shown(text)} is not valid Unicode ({error.reason}): correct the text") from error
    return text


def _all(conditions: list[models.Condition]) -> models.Condition:
    return conditions[0] if len(conditions) == 1 else models.Filter(must=conditions)


def _any(conditions: list[models.Condition]) -> models.Condition:
    return conditions[0] if len(conditions) == 1 else models.Filter(should=conditions)


def _not(condition: models.Condition) -> models.Filter:
    return models.Filter(must_not=[condition])


def _nearest(name: object, names: Iterable[str]) -> str:
    near = get_close_matches(name, names, n=2) if isinstance(name, str) else []
    return f" (did you mean {' or '.join(map(repr, near))}?)" if near else ""


def _wrong(key: object, problem: str) -> ConfigurationError:
    return ConfigurationError(f"where: {shown(key)} {problem}")


_TESTS: Final[dict[str, Callable[[str, Any], models.Condition]]] = {
    "in": _any_of,
    "not_in": lambda key, values: _not(_any_of(key, values)),
    "ne": lambda key, value: _not(_equal(key, value)),
    "exists": _exists,
    "match": _words,
}
