"""Stores points, and bisects a batch that the engine refuses to isolate the bad points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from colbert_qdrant.errors import RequestError, RequestRefusedError, RequestTooLargeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from colbert_qdrant.engines import Engine
    from colbert_qdrant.points.point import Point

_HOPELESS: Final = 3
"""After this number of single points was refused and no point was stored, the upsert stops."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A point that the server refused."""

    point: Point
    error: RequestError


async def upsert(
    engine: Engine,
    collection: str,
    points: Sequence[Point],
    *,
    on_stored: Callable[[int], None] = lambda _: None,
    most: Callable[[], Awaitable[int | None]] | None = None,
    ordered: Callable[[], bool] = lambda: False,
    insert_only: bool = False,
) -> list[Refused]:
    """Store points, and wait for the engine's acknowledgment.

    A batch that is refused or too large is bisected to isolate the bad points; all others are stored.

    Args:
        engine: The engine.
        collection: The collection's name.
        points: The points.
        on_stored: Called with the size of each stored batch.
        most: Called once if a batch is refused; returns the current maximum of points per request.
        ordered: Called for each batch; returns whether a later write must win even if the engine applies this one last.
        insert_only: Do not replace points that are stored already.

    Returns:
        The points that were refused.

    Raises:
        RequestError: If the request failed despite retries, or the engine refuses every point.
    """
    refused: list[Refused] = []
    waiting, stored = [points], False
    while waiting:
        batch, in_order = waiting.pop(), ordered()
        try:
            await engine.upsert(collection, batch, ordered=in_order, insert_only=insert_only)
        except (RequestRefusedError, RequestTooLargeError) as error:
            allowed, most = None if most is None else await most(), None
            unconditional = in_order and not ordered()  # the server no longer allows conditions
            if unconditional or len(batch) > 1:
                size = len(batch) if unconditional else len(batch) // 2
                size = min(size, allowed or size)
                waiting += [batch[start : start + size] for start in range(0, len(batch), size)][::-1]
                continue
            refused.append(Refused(point=batch[0], error=error))
            if not stored and (len(refused) == _HOPELESS or not waiting):
                raise  # these points are not the cause
        else:
            stored = True
            on_stored(len(batch))
    return refused
