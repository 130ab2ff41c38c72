"""Polls a collection until the server has finished its work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdrant_client import models
from tenacity import AsyncRetrying, retry_if_result, stop_after_delay, wait_exponential

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from colbert_qdrant.engines import Engine


async def poll(
    engine: Engine,
    look: Callable[[], Awaitable[models.CollectionInfo]],
    *,
    while_: Callable[[models.CollectionInfo], bool],
    timeout: float,  # noqa: ASYNC109 - a timeout returns the last state instead of raising
) -> models.CollectionInfo:
    """Poll at least every two seconds, until ``while_`` is false or the timeout expires; return the last state."""
    retrying = AsyncRetrying(
        sleep=engine.runtime.sleep,
        retry=retry_if_result(while_),
        wait=wait_exponential(multiplier=0.05, max=2),
        stop=stop_after_delay(timeout),
        retry_error_callback=lambda attempts: attempts.outcome.result() if attempts.outcome else None,
    )
    found: models.CollectionInfo = await retrying(look)
    return found


def has_queue(info: models.CollectionInfo) -> bool:
    """Tell whether there are writes that are not applied yet."""
    return info.update_queue is not None and info.update_queue.length > 0
