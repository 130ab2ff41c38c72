"""Filters and payload paths as they come in JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError
from qdrant_client import models

from colbert_qdrant.edge.filters import to_filter
from tests.server.refusals import RefusedError, bad_format, no_variant
from tests.server.vectors import point_id

if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    import qdrant_edge as edge

CLAUSES: Final = ("must", "must_not", "should")
_TIME: Final = re.compile(
    r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}(:?\d{2})?)?)?", re.IGNORECASE
)
_PATH: Final = re.compile(r'("[^"]+"|[^".\[\]]+)(\[\d*\])*(\.("[^"]+"|[^".\[\]]+)(\[\d*\])*)*')
_NO_CONDITION: Final = (
    'Expected some form of condition, which can be a field condition (like {"key": ..., "match": ... }), or some other '
    "mentioned in the documentation: https://qdrant.tech/documentation/concepts/filtering/#filtering-conditions"
)


def engine_filter(value: dict[str, Any] | None, words: Container[str] = ()) -> edge.Filter | None:
    """Returns a filter as the engine takes it.

    Args:
        value: The JSON.
        words: The keys that have an index of words.
    """
    if value is None:
        return None
    for condition in conditions(value):
        _check(condition)
    try:
        return to_filter(models.Filter(**_as_served(value, words)))
    except ValidationError as error:
        raise bad_format(_NO_CONDITION) from error


def _as_served(value: Any, words: Container[str]) -> Any:
    """Says in the engine's words what a server of 1.19 means otherwise.

    Without an index of words, a text is found as it stands anywhere in a string; a list with a null in it is not null.
    """
    if isinstance(value, list):
        return [_as_served(each, words) for each in value]
    if not isinstance(value, dict):
        return value
    match, key = value.get("match") or {}, value.get("key")
    if "text" in match and key not in words:
        return {**value, "match": {"substring": match["text"]}}
    null = value.get("is_null")
    key = null["key"] if isinstance(null, dict) else key
    if null is None or key is None or "[]" in key:
        return {name: _as_served(each, words) for name, each in value.items()}
    is_null = {"must": [{"is_null": {"key": key}}], "must_not": [{"key": key, "values_count": {"gte": 1}}]}
    return is_null if null else {"must_not": [is_null]}


def conditions(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields the conditions of a filter, those of filters inside it too, and of nested ones."""
    clauses = [value.get(name) or [] for name in CLAUSES]
    for clause in (*clauses, (value.get("min_should") or {}).get("conditions") or []):
        for each in clause if isinstance(clause, list) else [clause]:
            inner = each.get("nested", {}).get("filter") if "nested" in each else each
            if inner is not each or each.keys() & {*CLAUSES, "min_should"}:
                yield from conditions(inner)
            else:
                yield each


def check_path(path: str) -> None:
    """Says so if a path to a field of a payload cannot be read."""
    if not _PATH.fullmatch(path):
        raise bad_format(f"Invalid json path: '{path}'")


def _check(condition: dict[str, Any]) -> None:
    match = condition.get("match") or {}
    value = match.get("value", "")
    if isinstance(value, float) or (isinstance(value, int) and not -(2**63) <= value < 2**63):
        raise no_variant("MatchInterface")
    for bound in (condition.get("range") or {}).values():
        if isinstance(bound, str) and not _TIME.fullmatch(bound):
            raise bad_format(
                f"'{bound}' does not match accepted datetime format (RFC3339). Example: 2014-01-01T00:00:00Z"
            )
    try:
        for each in condition.get("has_id") or ():
            point_id(each)
    except RefusedError as error:
        raise bad_format(_NO_CONDITION) from error
