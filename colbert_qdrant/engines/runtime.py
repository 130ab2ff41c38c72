"""Runs coroutines: in the calling thread, blocking, or in an event loop.

All I/O is written once, as coroutines. `BlockingRuntime` gives them nothing to wait for: whatever they await is done
when it returns, so that `run_blocking` gets through them without an event loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from colbert_qdrant.engines import deadline

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine
    from contextlib import AbstractAsyncContextManager

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Runtime(Protocol):
    """The operations that coroutines of this library wait for.

    Attributes:
        has_event_loop: Whether coroutines may wait for others than this runtime's.
    """

    has_event_loop: bool

    async def call(
        self, method: Callable[Arguments, Any], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Any:
        """Call a client's method, and await its result if that has to be awaited."""

    async def compute(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Do long work without keeping an event loop from its other tasks."""

    async def within(self, seconds: float, request: Callable[[], Awaitable[Result]]) -> Result:
        """Bound the time of a request, which sends nothing any more when it is over.

        Raises:
            TimeoutError: The request takes longer than ``seconds``, unless the client raises its own error for that.
        """

    async def whole(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Finish work before a cancellation takes effect."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""

    def now(self) -> float:
        """Return the seconds since some moment."""

    def lock(self) -> AbstractAsyncContextManager[None]:
        """Return a lock that one task or thread holds at a time."""


def run_blocking(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine of a `BlockingRuntime` to its end.

    Example:
        >>> run_blocking(BlockingRuntime().compute(abs, -3))
        3
    """
    try:
        work.send(None)
    except StopIteration as stop:
        result: Result = stop.value
        return result
    work.close()
    raise RuntimeError("a coroutine waits for an event loop, but there is none here")


class BlockingRuntime:
    """Everything is done, in the caller's thread, when it returns."""

    has_event_loop = False

    async def call(
        self, method: Callable[Arguments, Any], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Any:
        return method(*arguments, **named)

    async def compute(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        return function(*arguments, **named)

    async def within(self, seconds: float, request: Callable[[], Awaitable[Result]]) -> Result:
        """See `Runtime`; the transports of clients, see `bound`, look at the deadline at every byte."""
        with deadline.until(time.monotonic() + seconds):
            return await request()

    async def whole(self, work: Coroutine[Any, Any, Result]) -> Result:
        return await work

    async def sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 - there is no event loop to keep busy

    def now(self) -> float:
        return time.monotonic()

    def lock(self) -> AbstractAsyncContextManager[None]:
        return _ThreadLock()


class AsyncioRuntime:
    """Tasks of an event loop; long work goes to threads."""

    has_event_loop = True

    async def call(
        self, method: Callable[Arguments, Any], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Any:
        return await method(*arguments, **named)

    async def compute(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        return await asyncio.to_thread(function, *arguments, **named)

    async def within(self, seconds: float, request: Callable[[], Awaitable[Result]]) -> Result:
        async with asyncio.timeout(seconds):
            return await request()

    async def whole(self, work: Coroutine[Any, Any, Result]) -> Result:
        task, cancelled = asyncio.ensure_future(work), None
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is None:
            return task.result()
        if not task.cancelled():
            task.exception()  # the cancellation is what the caller is told
        raise cancelled

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def now(self) -> float:
        return time.monotonic()

    def lock(self) -> AbstractAsyncContextManager[None]:
        return asyncio.Lock()


class _ThreadLock:
    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
