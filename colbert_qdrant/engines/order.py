"""Lets the later of two writes win, even if the server applies the earlier one last.

A server may still apply a write after its client gave up waiting. So every write skips the points that have the stamp
of a later write. Only points with a write that may still be applied get a stamp.
"""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from colbert_qdrant.engines.faults import fault_of
from colbert_qdrant.points.stamp import not_newer, stamped

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from qdrant_client import models

    from colbert_qdrant.points.point import Point

_MOST_DOUBTFUL: Final = 2**17
"""The maximum number of points to remember; the oldest are forgotten first."""


class Writer:
    """Numbers the writes of one engine, and remembers which points may still be overwritten by an earlier one."""

    def __init__(self) -> None:
        self._name, self._process = uuid4().hex, os.getpid()
        self._numbers = count(1)
        self._doubtful: dict[tuple[str, str | int], None] = {}

    def begin(
        self,
        collection: str,
        points: Sequence[Point],
        send: Callable[[Sequence[Point], models.Filter], Awaitable[None]],
    ) -> Callable[[], Awaitable[None]]:
        """Return a function that sends the write once; a retry sends the same write."""
        if self._process != os.getpid():  # a forked child would reuse its parent's numbers
            self._name, self._process = uuid4().hex, os.getpid()
        name, number = self._name, next(self._numbers)
        marked = [
            stamped(point, writer=name, number=number) if (collection, point.id) in self._doubtful else point
            for point in points
        ]

        async def send_once() -> None:
            try:
                await send(marked, not_newer(writer=name, number=number))
            except BaseException as error:
                fault = fault_of(error)
                if fault is None or fault.in_doubt:  # a cancelled task raises no fault, but leaves a doubt
                    self._doubt((collection, point.id) for point in points)
                raise

        return send_once

    def _doubt(self, points: Any) -> None:
        self._doubtful |= dict.fromkeys(points)
        while len(self._doubtful) > _MOST_DOUBTFUL:
            del self._doubtful[next(iter(self._doubtful))]
