"""Sends requests again after faults that may pass."""

from __future__ import annotations

import logging
import random
from itertools import count
from typing import TYPE_CHECKING, Final, TypeVar

from colbert_qdrant.engines.faults import DeadlineError, fault_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from colbert_qdrant.config import RetryConfig
    from colbert_qdrant.engines.faults import Fault
    from colbert_qdrant.engines.runtime import Runtime

_LOG: Final = logging.getLogger(__name__)
_LONGEST_RECONNECT: Final = 5.0
"""Seconds until a connection is tried again, at most: that costs a server nothing, which may be back meanwhile."""

Result = TypeVar("Result")


async def run(
    send: Callable[[], Awaitable[Result]],
    *,
    operation: str,
    collection: str,
    config: RetryConfig,
    runtime: Runtime,
    address: tuple[str, int] | None = None,
    keys: Callable[[], Iterable[str]] = tuple,
) -> tuple[Result, int]:
    """Send a request, and again while a retry may help.

    Connections are tried until the deadline; all other faults count as attempts.

    Raises:
        RequestError: The request failed for good; the error has the fault and the number of attempts.
        CollectionNotFoundError: There is no such collection.
    """
    end, faults = runtime.now() + config.deadline, _Faults(config)
    for attempt in count(1):
        try:
            return await send(), attempt
        except Exception as error:
            fault = fault_of(error, keys=keys())
            if fault is None:
                raise
            wait = faults.add(fault)
            if wait is None or runtime.now() + wait >= end:
                if isinstance(error, DeadlineError) and faults.earlier is not None:
                    fault = faults.earlier  # says more than that time ran out
                # an exception whose message repeats the key is no cause
                cause = None if fault.kind == "unsendable" or fault.showed_key else error
                raise fault.error(
                    operation=operation, collection=collection, attempts=attempt, address=address
                ) from cause
        _log(fault, wait, attempt, operation, collection)
        await runtime.sleep(wait)
    raise AssertionError  # `count` has no end


class _Faults:
    """Counts the faults of one request, and says how long to wait after each."""

    def __init__(self, config: RetryConfig) -> None:
        self.earlier: Fault | None = None
        self._latest: Fault | None = None
        self._config = config
        self._count = 0
        self._counted = 0

    def add(self, fault: Fault) -> float | None:
        """Return the seconds until the request is sent again; ``None`` if that is of no use."""
        self.earlier, self._latest = self._latest, fault
        self._count += 1
        self._counted += not fault.connection
        used_up = self._counted >= self._config.attempts or self._config.attempts == 1
        if used_up or not fault.retryable:
            return None
        if fault.retry_after is not None:
            return fault.retry_after
        config = self._config
        bound = min(config.first_wait * 2 ** min(self._count - 1, 64), config.longest_wait)
        # "full jitter", so that many clients do not come back at once
        return random.uniform(0, min(bound, _LONGEST_RECONNECT) if fault.connection else bound)  # noqa: S311


def _log(fault: Fault, wait: float, attempt: int, operation: str, collection: str) -> None:
    extra = {
        "operation": operation,
        "collection": collection,
        "attempt": attempt,
        "fault": fault.detail,
        "wait": wait,
    }
    _LOG.warning(
        "%(operation)s in collection %(collection)r failed (attempt %(attempt)d: %(fault)s), trying again in "
        "%(wait).1f s",
        extra,
        extra=extra,
    )
