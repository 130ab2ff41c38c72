"""Converts parts of tables to Python objects, and describes values that have no such form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from colbert_qdrant.shown import shown
from colbert_qdrant.sources.item import Origin, SourceRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


def converted(
    convert: Callable[[], Sequence[Any]],
    names: Sequence[Any],
    cell: Callable[[int, int], Any],
    numbers: Sequence[int],
    origin: Origin,
) -> Iterator[SourceRow]:
    """Yield the rows of a part; a row with a value that cannot be converted becomes a row with a problem.

    Args:
        convert: Converts all rows at once.
        names: The names of the columns.
        cell: Converts one value, by the position of its row in the part and of its column.
        numbers: The numbers of the rows in the source.
        origin: The source.
    """
    try:
        values = convert()
    except Exception:  # noqa: BLE001 - invalid UTF-8, a date beyond the year 9999 or an unknown time zone
        for position, number in enumerate(numbers):
            yield _row(names, cell, position, SourceRow({}, origin, number))
    else:
        for number, value in zip(numbers, values, strict=True):
            yield SourceRow(value, origin, number)


def _row(names: Sequence[Any], cell: Callable[[int, int], Any], position: int, row: SourceRow) -> SourceRow:
    """Fill a row value by value."""
    for column, name in enumerate(names):
        try:
            row.value[name] = cell(position, column)
        except Exception as error:  # noqa: BLE001 - as above
            row.problem = row.problem or (
                f"the value of column {shown(name, 60)} cannot be read ({type(error).__name__}: {error}): correct it, "
                "or remove the column"
            )
    if row.problem is not None:
        row.value, row.raw = None, json.dumps(row.value, default=str).encode()
    return row
