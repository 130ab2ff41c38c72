"""Other values that stand for the same: every engine is to store, and to find, what they stand for."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from colbert_qdrant import Document

_ENUM: Final[Any] = Enum


def dress(value: Any) -> Any:
    """A value of another type that is stored as this one, if there is one: an enum, a time, NumPy's, a Decimal."""
    make = _DRESSES.get(type(value))
    return make(value) if make else value


def dressed(documents: Iterable[Document]) -> Iterator[Document]:
    """Documents, each second of which has a payload of such values."""
    for number, each in enumerate(documents):
        yield replace(each, payload=dress(each.payload)) if number % 2 else each


def _time(text: str) -> dt.date | None:
    """The time or date that is written like this."""
    for kind in (dt.date, dt.datetime):
        try:
            time = kind.fromisoformat(text)
        except ValueError:
            continue
        if time.isoformat() == text:
            return time
    return None


_DRESSES: Final[dict[type, Callable[[Any], Any]]] = {
    dict: lambda value: MappingProxyType({key: dress(each) for key, each in value.items()}),
    list: lambda value: tuple(map(dress, value)),
    str: lambda value: _time(value) or _ENUM("Chosen", {"THIS": value}, type=str)(value),
    float: lambda value: np.float64(value) if "e" in repr(value) else Decimal(repr(value)),
    bool: np.bool_,
    int: lambda value: np.int64(value) if -(2**63) <= value < 2**63 else Decimal(value),
    dt.datetime: lambda value: value if value.tzinfo else np.datetime64(value),
    dt.date: np.datetime64,
}
