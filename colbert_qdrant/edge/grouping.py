"""Groups points by the values of a payload field, as servers do."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdrant_client import models

    Key = str | int
    Step = str | int | None
    Groups = dict[Key, list[models.ScoredPoint]]

_STEP: Final = re.compile(r'"(?P<quoted>[^"]*)"|(?P<key>[^".\[\]]+)|\[(?P<index>\d*)\]')


def group_points(points: Sequence[models.ScoredPoint], path: Sequence[Step], size: int) -> Groups:
    """Group points by their keys, in the order of their first points, up to a number of points per group."""
    groups: Groups = {}
    for point in points:
        for key in group_keys(point.payload or {}, path):
            hits = groups.setdefault(key, [])
            if len(hits) < size:
                hits.append(point)
    return groups


def group_keys(payload: Mapping[str, Any], path: Sequence[Step]) -> list[Key]:
    """Return a point's group keys; none if any value of the field is neither a string nor an integer."""
    values: list[Any] = [payload]
    for step in path:
        values = [child for value in values for child in _children(value, step)]
    flat = [each for value in values for each in (value if isinstance(value, list) else [value])]
    return list(dict.fromkeys(flat)) if all(type(value) in {str, int} for value in flat) else []


def parse_path(field: str) -> list[Step]:
    """Split a payload path into keys and list indices; ``None`` stands for all elements of a list."""
    found: list[Step] = []
    for match in _STEP.finditer(field):
        index = match["index"]
        if index is not None:
            found.append(int(index) if index else None)
        else:
            found.append(match["key"] or match["quoted"])
    return found


def selectable_field(field: str) -> str:
    """Return the leading part of a path that the engine can select, which ends before an index into a list."""
    bracket = next((match for match in _STEP.finditer(field) if match["index"] is not None), None)
    return field if bracket is None else field[: bracket.start()]


def _children(value: Any, step: Step) -> list[Any]:
    if isinstance(step, str):
        return [value[step]] if isinstance(value, dict) and step in value else []
    if not isinstance(value, list):
        return []
    return value if step is None else value[step : step + 1]
