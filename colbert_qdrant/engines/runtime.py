"""Runs coroutines either blocking, in the calling thread, or in an event loop.

All I/O is written once, as coroutines. The coroutines of `BlockingRuntime` never suspend: each call is complete when it
returns, so that `run_blocking` needs no event loop.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

from colbert_qdrant.engines import deadline, lanes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
    from contextlib import AbstractAsyncContextManager

    from colbert_qdrant.engines.lanes import Lane

Arguments = ParamSpec("Arguments")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Runtime(Protocol):
    """The operations that coroutines of this library await.

    Attributes:
        has_event_loop: Whether coroutines may await anything else, such as tasks of an event loop.
    """

    has_event_loop: bool

    async def call(
        self, method: Callable[Arguments, Any], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Any:
        """Call a client's method, and await its result if the client is async."""

    async def compute(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        """Run a long computation without blocking an event loop."""

    async def within(self, seconds: float, request: Callable[[], Awaitable[Result]]) -> Result:
        """Run a request with a timeout, after which it sends nothing more.

        Raises:
            TimeoutError: If the request takes longer than ``seconds``, unless the client raises its own error.
        """

    async def whole(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Finish work before a cancellation takes effect."""

    def stream(self, items: AsyncGenerator[Item, None]) -> Any:
        """Return the iterator through which callers of this runtime receive items: a generator of the same kind."""

    async def sleep(self, seconds: float) -> None:
        """Wait for a number of seconds."""

    def now(self) -> float:
        """Return the time in seconds, from an arbitrary origin."""

    def lock(self) -> AbstractAsyncContextManager[None]:
        """Return a lock for tasks or threads."""

    def lanes(self, *names: str) -> AbstractAsyncContextManager[tuple[Lane, ...]]:
        """Return one lane for each name, whose jobs run beside those of the others; see `Lane`."""


def run_blocking(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine of a `BlockingRuntime` to completion.

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
    raise RuntimeError("a coroutine awaits an event loop, which BlockingRuntime does not have")


def _run_blocking_stream(items: AsyncGenerator[Item, None]) -> Generator[Item, None, None]:
    """Iterate over an asynchronous generator of a `BlockingRuntime`, and close it at the end."""

    async def following() -> Item:
        return await anext(items)

    try:
        while True:
            try:
                item = run_blocking(following())
            except StopAsyncIteration:
                return
            yield item
    finally:
        run_blocking(_close(items))


async def _close(items: AsyncGenerator[Any, None]) -> None:
    await items.aclose()


class BlockingRuntime:
    """Runs everything in the caller's thread, before it returns; only lanes have threads of their own.

    Args:
        threads: Whether lanes may have threads; otherwise, their jobs run in the caller's thread, too.
    """

    has_event_loop = False

    def __init__(self, *, threads: bool = True) -> None:
        self._threads = threads

    async def call(
        self, method: Callable[Arguments, Any], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Any:
        lanes.require_wanted()
        return method(*arguments, **named)

    async def compute(
        self, function: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> Result:
        with lanes.computing():
            return function(*arguments, **named)

    async def within(self, seconds: float, request: Callable[[], Awaitable[Result]]) -> Result:
        """Set the deadline, which the clients' transports check at every read and write; see `bound`."""
        with deadline.until(time.monotonic() + seconds):
            return await request()

    async def whole(self, work: Coroutine[Any, Any, Result]) -> Result:
        return await work

    def stream(self, items: AsyncGenerator[Item, None]) -> Any:
        return _run_blocking_stream(items)

    async def sleep(self, seconds: float) -> None:
        lanes.pause(seconds)

    def now(self) -> float:
        return time.monotonic()

    def lock(self) -> AbstractAsyncContextManager[None]:
        return _ThreadLock()

    def lanes(self, *names: str) -> AbstractAsyncContextManager[tuple[Lane, ...]]:
        return lanes.ThreadLanes(names, run_blocking) if self._threads else lanes.InlineLanes(len(names), run_blocking)


class AsyncioRuntime:
    """Runs tasks in an event loop, and long computations in threads."""

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
            task.exception()  # retrieved and dropped: the caller gets the cancellation
        raise cancelled

    def stream(self, items: AsyncGenerator[Item, None]) -> Any:
        return items

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def now(self) -> float:
        return time.monotonic()

    def lock(self) -> AbstractAsyncContextManager[None]:
        return asyncio.Lock()

    def lanes(self, *names: str) -> AbstractAsyncContextManager[tuple[Lane, ...]]:
        return lanes.TaskLanes(len(names))


class _ThreadLock:
    def __init__(self) -> None:
        self._lock = threading.Lock()

    async def __aenter__(self) -> None:
        self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
