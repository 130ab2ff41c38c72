"""Looks at a collection again and again, until a server has done with it."""

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
    timeout: float,  # noqa: ASYNC109 - the state of then is the answer, not an exception
) -> models.CollectionInfo:
    """Look at most every two seconds, while something is under way and there is time; return what was seen last."""
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
    """Tell whether writes wait to be applied."""
    return info.update_queue is not None and info.update_queue.length > 0
