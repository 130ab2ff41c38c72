"""Reproduces how Edge reads numbers in stored payloads: it misreads some numbers with more than 15 digits."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

_DENSE: Final = 2.0**53
_READS: Final = 4
"""The number of reads to follow: building a graph makes Edge rewrite the numbers that it read, and misread again."""

_LARGEST_POWER: Final = 308


def outer_bound(name: str, bound: float) -> float:
    """Return a bound under which a number matches as it was written, whatever Edge reads now.

    Args:
        name: The kind of bound: ``gt``, ``gte``, ``lt`` or ``lte``.
        bound: The bound.
    """
    if not abs(bound) < _DENSE:
        return bound
    reads = [bound]
    while len(reads) <= _READS and (read := as_read(reads[-1])) != reads[-1]:
        reads.append(read)
    return min(reads) if name in {"gte", "lt"} else max(reads)


def as_read(number: float) -> float:
    """Return the number that Edge reads after it has written a finite number.

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
