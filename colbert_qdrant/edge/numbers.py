"""Reads numbers as Edge does from the payloads that it stores: of those with more than 15 digits it misreads some."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

_DENSE: Final = 2.0**53
_READS: Final = 4
"""Edge writes anew what it has read where it builds a graph, and misreads some numbers once more."""

_LARGEST_POWER: Final = 308


def outer_bound(name: str, bound: float) -> float:
    """Return the bound of a range for which a number counts as it was written, whatever Edge reads by now.

    Args:
        name: Which bound: ``gt``, ``gte``, ``lt`` or ``lte``.
        bound: The bound.
    """
    if not abs(bound) < _DENSE:
        return bound
    reads = [bound]
    while len(reads) <= _READS and (read := as_read(reads[-1])) != reads[-1]:
        reads.append(read)
    return min(reads) if name in {"gte", "lt"} else max(reads)


def as_read(number: float) -> float:
    """Return what Edge reads where it has written a finite number.

    Example:
        >>> as_read(0.5), as_read(0.36995516654807925)
        (0.5, 0.3699551665480793)
    """
    sign, digits, power = Decimal(repr(float(number))).as_tuple()
    exponent, read = int(power), float(int("".join(map(str, digits))))
    while exponent < -_LARGEST_POWER:
        read /= 10.0**_LARGEST_POWER
        exponent += _LARGEST_POWER
    read = read * float(f"1e{exponent}") if exponent >= 0 else read / float(f"1e{-exponent}")
    return -read if sign else read
