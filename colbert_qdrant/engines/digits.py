"""Writes arrays of numbers as JSON, with no more digits than their stored type needs.

Each number is written into a row of a fixed width, in which unused bytes are 0. Then the zeros are removed from all
rows at once. That takes a fraction of the time that ``pydantic`` and ``json`` need for lists.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COMMA: Final = 2
"""The place of the comma before each number. The first number of a vector has a bracket there instead."""

_WIDTH_16: Final = 12
"""The bytes of a row for a float16: at most nine follow the comma."""

_FIELDS: Final = 5
"""A row for a float32 has fields of four bytes each. The first one has the comma and the sign."""

_SIGN, _FIRST, _MIDDLE, _LAST, _POWER = range(_FIELDS)

_TOO_LARGE: Final = 65_520
"""The smallest number that becomes infinity in float16."""


def write_floats(values: NDArray[Any], *, float16: bool = False) -> bytes:
    """Write a vector ``(n,)`` or a matrix ``(n, dim)`` of finite numbers as JSON.

    Args:
        values: The numbers, at least one. They are written as float32.
        float16: Whether to round them to float16, because they are stored in that type. The server would round them in
            the same way. Vectors with numbers that are too large for it are written as float32.
    """
    short = float16 and float(np.abs(values).max()) < _TOO_LARGE
    rows = (_of_float16 if short else _of_float32)(values)
    rows[..., 0, _COMMA] = ord("[")
    if values.ndim > 1:
        rows[1:, 0, :_COMMA] = ord("]"), ord(",")
    written = rows.tobytes().translate(None, b"\0")
    return written + b"]" if values.ndim == 1 else b"[" + written + b"]]"


def _of_float16(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a row for each number, shape ``(…, n, _WIDTH_16)``."""
    codes = np.ascontiguousarray(values, np.float16).view(np.uint16)
    return _every_float16().take(codes, axis=0).view(np.uint8)


@lru_cache(maxsize=1)
def _every_float16() -> NDArray[np.uint32]:
    """Return the rows of all float16 values, in the order of their bits."""
    rows = np.zeros((2**16, _WIDTH_16), np.uint8)
    finite = np.arange(0x7C00, dtype=np.uint16).view(np.float16)
    for code, value in enumerate(finite):
        number = _shortest(np.format_float_scientific(value, trim="-")) if code else "0.0"
        for bits, text in ((code, f",{number}"), (code | 0x8000, f",-{number}")):
            rows[bits, _COMMA : _COMMA + len(text)] = np.frombuffer(text.encode(), np.uint8)
    return rows.view(np.uint32)


def _shortest(scientific: str) -> str:
    """Return the shortest form of a number ``d.ddde±xx`` above 0."""
    mantissa, _, exponent = scientific.partition("e")
    digits = mantissa.replace(".", "")
    power = int(exponent) - len(digits) + 1
    padded = digits.rjust(1 - power, "0")
    plain = digits + "0" * power if power >= 0 else f"{padded[:power]}.{padded[power:]}"
    return min(plain, f"{digits}e{power}", key=len)


class _Tables(NamedTuple):
    """Parts of float32 values.

    Attributes:
        powers: For each binade, the exponent e of its smallest number d.ddd·10^e.
        scales: The factor 10^(8 - e), which makes that number an integer of nine digits.
        first: The field of each group of three digits at the beginning, then those at the end of a number.
        other: The same for groups in the middle and at the end.
        exponents: The field of each exponent from -38.
    """

    powers: NDArray[np.intp]
    scales: NDArray[np.float64]
    first: NDArray[np.uint32]
    other: NDArray[np.uint32]
    exponents: NDArray[np.uint32]


def _of_float32(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return a row for each number, shape ``(…, n, 4 * _FIELDS)``: nine digits distinguish all float32 values."""
    x, tables = np.ascontiguousarray(values, np.float32), _tables()
    binade = x.view(np.uint32) >> 23 & 0xFF
    power = tables.powers.take(binade)
    scaled = np.abs(x, dtype=np.float64) * tables.scales.take(binade)
    longer = scaled >= 10**9 - 0.5
    scaled[longer] /= 10
    power += longer
    front, last = np.divmod(np.rint(scaled).astype(np.uint32), np.uint32(1_000))
    first, middle = np.divmod(front, np.uint32(1_000))
    ends = last == 0
    rows = np.empty((*x.shape, _FIELDS), np.uint32)
    rows[..., _SIGN] = np.where(np.signbit(x), _field("\0\0,-"), _field("\0\0,"))
    rows[..., _FIRST] = tables.first.take(first + 1_000 * (ends & (middle == 0)))
    rows[..., _MIDDLE] = tables.other.take(middle + 1_000 * ends)
    rows[..., _LAST] = tables.other.take(last + 1_000)
    rows[..., _POWER] = tables.exponents.take(power - _LOWEST)
    return rows.view(np.uint8)


_LOWEST: Final = -38
"""The exponent of the smallest normal float32; smaller numbers begin with zeros."""


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    powers = [_LOWEST, *(int(f"{2.0 ** (binade - 127):e}".partition("e")[2]) for binade in range(1, 255)), 0]
    groups = [f"{number:03}" for number in range(1_000)]
    ending = [group.rstrip("0") for group in groups]
    return _Tables(
        powers=np.array(powers),
        scales=np.array([10.0 ** (8 - power) for power in powers]),
        first=_fields([f"{group[0]}.{group[1:]}" for group in groups + [f"{each:0<2}" for each in ending]]),
        other=_fields(groups + ending),
        exponents=_fields([f"e{power}" if power else "" for power in range(_LOWEST, 39)]),
    )


def _fields(texts: list[str]) -> NDArray[np.uint32]:
    return np.array([_field(text) for text in texts], np.uint32)


def _field(text: str) -> np.uint32:
    return np.uint32(int.from_bytes(text.encode().ljust(4, b"\0"), sys.byteorder))
