"""Retries requests after transient failures."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception
from tenacity.wait import wait_random_exponential

from colbert_qdrant.engines.faults import DeadlineError, fault_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from colbert_qdrant.config import RetryConfig
    from colbert_qdrant.engines.faults import Fault
    from colbert_qdrant.engines.runtime import Runtime

_LOG: Final = logging.getLogger(__name__)
_LONGEST_RECONNECT: Final = 5.0
"""The longest wait, in seconds, before the next attempt to connect: an attempt costs the server nothing."""

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
    """Send a request, and retry it after transient failures.

    Failed connections are retried until the deadline; all other failures count as attempts.

    Raises:
        RequestError: If the request failed after all attempts; the error has the cause and the number of attempts.
        CollectionNotFoundError: If the collection does not exist.
    """
    policy = _Policy(config, runtime, keys)
    retrying = AsyncRetrying(
        retry=retry_if_exception(policy.may_help),
        wait=policy.wait,
        stop=policy.stop,
        before_sleep=lambda state: _log(policy.latest, state, operation, collection),
        sleep=runtime.sleep,
        reraise=True,
    )
    try:
        return await retrying(send), int(retrying.statistics["attempt_number"])
    except Exception as error:
        fault = policy.latest
        if fault is None:
            raise
        if isinstance(error, DeadlineError) and policy.earlier is not None:
            fault = policy.earlier  # more informative than the expired deadline
        attempts = int(retrying.statistics["attempt_number"])
        # an exception whose message shows the key must not become the cause
        cause = None if fault.kind == "unsendable" or fault.showed_key else error
        raise fault.error(operation=operation, collection=collection, attempts=attempts, address=address) from cause


class _Policy:
    """Decides, from the faults of one request, whether and when to retry it.

    Attributes:
        latest: The fault of the latest attempt; ``None`` if its exception is not a fault.
        earlier: The fault of the attempt before.
    """

    def __init__(self, config: RetryConfig, runtime: Runtime, keys: Callable[[], Iterable[str]]) -> None:
        self.latest: Fault | None = None
        self.earlier: Fault | None = None
        self._config = config
        self._now = runtime.now
        self._end = runtime.now() + config.deadline
        self._keys = keys
        self._counted = 0
        jitter = partial(wait_random_exponential, multiplier=config.first_wait)  # "full", so that clients spread
        self._wait = jitter(max=config.longest_wait)
        self._wait_to_connect = jitter(max=min(config.longest_wait, _LONGEST_RECONNECT))

    def may_help(self, error: BaseException) -> bool:
        """Record an exception, and tell whether a retry may help."""
        fault = fault_of(error, keys=self._keys())
        self.earlier, self.latest = self.latest, fault
        if fault is None:
            return False
        self._counted += not fault.connection
        used_up = self._counted >= self._config.attempts or self._config.attempts == 1
        return fault.retryable and not used_up

    def wait(self, state: RetryCallState) -> float:
        """Return the seconds until the next attempt; the server's ``Retry-After`` takes precedence."""
        fault = self.latest
        if fault is not None and fault.retry_after is not None:
            return fault.retry_after
        return (self._wait_to_connect if fault is not None and fault.connection else self._wait)(state)

    def stop(self, state: RetryCallState) -> bool:
        """Tell whether the next attempt would start after the deadline."""
        return self._now() + state.upcoming_sleep >= self._end


def _log(fault: Fault | None, state: RetryCallState, operation: str, collection: str) -> None:
    extra = {
        "operation": operation,
        "collection": collection,
        "attempt": state.attempt_number,
        "fault": "" if fault is None else fault.detail,
        "wait": state.upcoming_sleep,
    }
    _LOG.warning(
        "%(operation)s in collection %(collection)r failed (attempt %(attempt)d: %(fault)s), retrying in %(wait).1f s",
        extra,
        extra=extra,
    )
