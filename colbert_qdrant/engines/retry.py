"""Sends requests again after faults that may pass."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, stop_before_delay
from tenacity.wait import wait_random_exponential

from colbert_qdrant.engines.faults import DeadlineError, Fault, fault_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from colbert_qdrant.config import RetryConfig

_LOG: Final = logging.getLogger(__name__)

Result = TypeVar("Result")


async def run(
    send: Callable[[], Awaitable[Result]],
    *,
    operation: str,
    collection: str,
    config: RetryConfig,
    sleep: Callable[[float], Awaitable[None]],
    address: tuple[str, int] | None = None,
    keys: Callable[[], Iterable[str]] = tuple,
) -> tuple[Result, int]:
    """Send a request, and again while a retry may help.

    Raises:
        RequestError: The request failed for good; the error has the fault and the number of attempts.
        CollectionNotFoundError: There is no such collection.
    """
    earlier: list[Fault | None] = []
    retrying = AsyncRetrying(
        retry=retry_if_exception(_is_retryable),
        wait=_Wait(config),
        stop=stop_after_attempt(config.attempts) | stop_before_delay(config.deadline),
        before_sleep=lambda state: earlier.append(_log(state, operation, collection, keys())),
        sleep=sleep,
        reraise=True,
    )
    try:
        result: Result = await retrying(send)
    except Exception as error:
        fault = fault_of(error, keys=keys())
        if fault is None:
            raise
        if isinstance(error, DeadlineError) and earlier:
            fault = earlier[-1] or fault  # says more than that time ran out
        attempts = int(retrying.statistics["attempt_number"])
        cause = None if fault.kind == "unsendable" or fault.showed_key else error  # whose message repeats the key
        raise fault.error(operation=operation, collection=collection, attempts=attempts, address=address) from cause
    return result, int(retrying.statistics["attempt_number"])


class _Wait(wait_random_exponential):
    """Waits as long as the server asks for, else with full jitter."""

    def __init__(self, config: RetryConfig) -> None:
        super().__init__(multiplier=config.first_wait, max=config.longest_wait)

    def __call__(self, retry_state: RetryCallState) -> float:
        fault = _fault(retry_state)
        if fault is not None and fault.retry_after is not None:
            return fault.retry_after
        return super().__call__(retry_state)


def _is_retryable(error: BaseException) -> bool:
    fault = fault_of(error)
    return fault is not None and fault.retryable


def _fault(state: RetryCallState, keys: Iterable[str] = ()) -> Fault | None:
    error = None if state.outcome is None else state.outcome.exception()
    return None if error is None else fault_of(error, keys=keys)


def _log(state: RetryCallState, operation: str, collection: str, keys: Iterable[str]) -> Fault | None:
    fault = _fault(state, keys)
    extra = {
        "operation": operation,
        "collection": collection,
        "attempt": state.attempt_number,
        "fault": "" if fault is None else fault.detail,
        "wait": 0.0 if state.next_action is None else state.next_action.sleep,
    }
    _LOG.warning(
        "%(operation)s in collection %(collection)r failed (attempt %(attempt)d: %(fault)s), trying again in "
        "%(wait).1f s",
        extra,
        extra=extra,
    )
    return fault
