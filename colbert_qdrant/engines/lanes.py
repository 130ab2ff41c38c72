"""Runs jobs beside each other: each lane runs its own jobs in order, one at a time.

A job is a coroutine function. After a job failed, its lane runs no later job: each of these fails with the same error.
So whatever goes through several lanes in the same order stops at the first failure. When lanes are closed, jobs that
wait are dropped, and none is left running.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from threading import Event
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from colbert_qdrant._support.warned import deferred, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)

_ABANDONED: Final[ContextVar[Event | None]] = ContextVar("_ABANDONED", default=None)
"""Set in the jobs of threads; the event is set when their lanes are closed."""


class Submitted(Protocol[Result_co]):
    """A job that was submitted to a lane."""

    def done(self) -> bool:
        """Tell whether the job has ended."""

    async def settled(self) -> None:
        """Wait until the job has ended, whether it failed or not."""

    async def result(self) -> Result_co:
        """Wait for the job, issue its warnings here, and return its result or raise its error."""


class Lane(Protocol):
    """Runs jobs in order, one at a time."""

    def submit(self, job: Callable[[], Coroutine[Any, Any, Result]]) -> Submitted[Result]:
        """Add a job, and return at once."""


def pause(seconds: float) -> None:
    """Sleep; in a job, raise `CancelledError` as soon as its lanes are closed."""
    abandoned = _ABANDONED.get()
    if abandoned is None:
        time.sleep(seconds)
    else:
        abandoned.wait(seconds)
        require_wanted()


def require_wanted() -> None:
    """Raise `CancelledError` in a job whose lanes are closed, before it sends anything."""
    abandoned = _ABANDONED.get()
    if abandoned is not None and abandoned.is_set():
        raise CancelledError


class _FailingLane:
    """Remembers the first error of its jobs."""

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def _require_success(self) -> None:
        if self._error is not None:
            raise self._error


class ThreadLanes:
    """Lanes with one thread each.

    Args:
        names: The names of the threads.
        run: Runs a coroutine to its end.
    """

    def __init__(self, names: tuple[str, ...], run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._abandoned = Event()
        self._lanes = tuple(_ThreadLane(name, run, self._abandoned) for name in names)

    async def __aenter__(self) -> tuple[_ThreadLane, ...]:
        return self._lanes

    async def __aexit__(self, *_: object) -> None:
        """Drop the jobs that wait, and wait for those that run; they send no further request."""
        self._abandoned.set()
        for wait in (False, True):
            for lane in self._lanes:
                lane.threads.shutdown(wait=wait, cancel_futures=True)


class _ThreadLane(_FailingLane):
    def __init__(self, name: str, run: Callable[[Coroutine[Any, Any, Any]], Any], abandoned: Event) -> None:
        super().__init__()
        self.threads = ThreadPoolExecutor(1, thread_name_prefix=f"colbert_qdrant {name}")
        self._run = run
        self._abandoned = abandoned

    def submit(self, job: Callable[[], Coroutine[Any, Any, Result]]) -> _OfThread[Result]:
        warnings = deque[str]()
        return _OfThread(self.threads.submit(copy_context().run, self._perform, job, warnings), warnings)

    def _perform(self, job: Callable[[], Coroutine[Any, Any, Result]], warnings: deque[str]) -> Result:
        _ABANDONED.set(self._abandoned)
        try:
            self._require_success()
            with deferred(warnings):
                result: Result = self._run(job())
                return result
        except BaseException as error:
            self._error = error
            raise


class _OfThread(Generic[Result]):
    def __init__(self, future: Future[Result], warnings: deque[str]) -> None:
        self._future = future
        self._warnings = warnings

    def done(self) -> bool:
        return self._future.done()

    async def settled(self) -> None:
        try:
            self._future.exception()
        except CancelledError:
            return

    async def result(self) -> Result:
        await self.settled()
        _repeat(self._warnings)
        return self._future.result()


class InlineLanes:
    """Lanes without concurrency, for clients that work in one thread only: jobs run when they are submitted.

    Args:
        count: The number of lanes.
        run: Runs a coroutine to its end.
    """

    def __init__(self, count: int, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._lanes = tuple(_InlineLane(run) for _ in range(count))

    async def __aenter__(self) -> tuple[_InlineLane, ...]:
        return self._lanes

    async def __aexit__(self, *_: object) -> None:
        """All jobs have ended."""


class _InlineLane(_FailingLane):
    def __init__(self, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        super().__init__()
        self._run = run

    def submit(self, job: Callable[[], Coroutine[Any, Any, Result]]) -> _OfThread[Result]:
        future = Future[Result]()
        try:
            self._require_success()
            future.set_result(self._run(job()))
        except Exception as error:  # noqa: BLE001 - raised where the result is awaited
            self._error = error
            future.set_exception(error)
        return _OfThread(future, deque())


class TaskLanes:
    """Lanes of tasks in an event loop.

    Args:
        count: The number of lanes.
    """

    def __init__(self, count: int) -> None:
        self._tasks = set[asyncio.Task[Any]]()
        self._lanes = tuple(_TaskLane(self._tasks) for _ in range(count))

    async def __aenter__(self) -> tuple[_TaskLane, ...]:
        return self._lanes

    async def __aexit__(self, *_: object) -> None:
        """Cancel the jobs that wait or run, and wait until they have ended."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


class _TaskLane(_FailingLane):
    def __init__(self, tasks: set[asyncio.Task[Any]]) -> None:
        super().__init__()
        self._tasks = tasks
        self._last: asyncio.Task[Any] | None = None

    def submit(self, job: Callable[[], Coroutine[Any, Any, Result]]) -> _OfTask[Result]:
        warnings = deque[str]()
        task = self._last = asyncio.create_task(self._perform(job, self._last, warnings))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return _OfTask(task, warnings)

    async def _perform(
        self, job: Callable[[], Coroutine[Any, Any, Result]], after: asyncio.Task[Any] | None, warnings: deque[str]
    ) -> Result:
        if after is not None and not after.done():
            await asyncio.wait([after])
        try:
            self._require_success()
            with deferred(warnings):
                return await job()
        except Exception as error:
            self._error = error
            raise

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved, since the caller may have stopped waiting


class _OfTask(Generic[Result]):
    def __init__(self, task: asyncio.Task[Result], warnings: deque[str]) -> None:
        self._task = task
        self._warnings = warnings

    def done(self) -> bool:
        return self._task.done()

    async def settled(self) -> None:
        if not self._task.done():
            await asyncio.wait([self._task])

    async def result(self) -> Result:
        await self.settled()
        _repeat(self._warnings)
        return self._task.result()


def _repeat(messages: deque[str]) -> None:
    """Issue warnings again where the result of their job is awaited, so that they point to the caller's code."""
    while messages:
        warn(messages.popleft())
