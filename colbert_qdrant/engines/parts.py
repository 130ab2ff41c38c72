"""Splits requests that are larger than a server accepts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pydantic import BaseModel

from colbert_qdrant.errors import RequestTooLargeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

MAX_REQUEST_BYTES: Final = 16 * 2**20
"""The maximum size of a REST request; servers accept 32 MiB by default (``service.max_request_size_mb``)."""

_BYTES_OF_NUMBER: Final = 21
"""The length of a float32 as the decimal digits of its double, plus a comma."""

Item = TypeVar("Item")
Result = TypeVar("Result")


async def send_parts(
    items: Sequence[Item],
    send: Callable[[Sequence[Item], float], Awaitable[Result]],
    *,
    deadline: float,
    max_bytes: int | None,
) -> list[Result]:
    """Send items in order, in as few parts as possible; if a part is too large, halve it and all later parts.

    Args:
        items: The items.
        send: Sends a part within a number of seconds.
        deadline: Seconds for all parts together.
        max_bytes: Approximate maximum size of a part; ``None`` for no limit.

    Returns:
        The response to each part.

    Raises:
        RequestTooLargeError: If a single item is too large.
    """
    end, seconds = time.monotonic() + deadline, deadline
    sizes = [0] * len(items) if max_bytes is None or len(items) < 2 else _sizes(items)
    start, most = 0, len(items)
    answers: list[Result] = []
    while start < len(items):
        part = items[start : start + _leading(sizes[start : start + most], max_bytes or 0)]
        try:
            answers.append(await send(part, seconds))
        except RequestTooLargeError:
            if len(part) == 1:
                raise
            most = len(part) // 2
        else:
            start += len(part)
        seconds = max(0.001, end - time.monotonic())
    return answers


def _leading(sizes: Sequence[int], limit: int) -> int:
    """Return the number of leading items that fit, at least one."""
    total = 0
    for count, size in enumerate(sizes):
        total += size
        if count and total > limit:
            return count
    return len(sizes)


def _sizes(items: Sequence[Any]) -> list[int]:
    known: dict[int, int] = {}
    return [_json_bytes(each, known) for each in items]


def _json_bytes(value: Any, known: dict[int, int]) -> int:
    """Estimate the length of a value as JSON; ``known`` caches models, because searches often share filters."""
    if isinstance(value, str):
        return len(value) + 3
    if isinstance(value, dict):
        return sum(len(key) + 4 + _json_bytes(each, known) for key, each in value.items())
    if isinstance(value, BaseModel):
        if id(value) not in known:
            known[id(value)] = _json_bytes(dict(value), known)
        return known[id(value)]
    if isinstance(value, list | tuple) and value:
        alike = isinstance(value[0], int | float)
        return len(value) * _BYTES_OF_NUMBER if alike else sum(_json_bytes(each, known) for each in value)
    return _BYTES_OF_NUMBER
