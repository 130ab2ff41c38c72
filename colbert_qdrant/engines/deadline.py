"""Holds the deadline of a thread's current request, for the transports below the clients."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_END: Final = ContextVar("_END", default=math.inf)


@contextmanager
def until(end: float) -> Iterator[None]:
    """Set the deadline of requests within the context, as a time of `time.monotonic`."""
    token = _END.set(end)
    try:
        yield
    finally:
        _END.reset(token)


def cut(timeout: float | None) -> float | None:
    """Return a timeout that ends no later than the deadline; zero or less after the deadline."""
    left = _END.get() - time.monotonic()
    if left == math.inf:
        return timeout
    return left if timeout is None else min(timeout, left)
