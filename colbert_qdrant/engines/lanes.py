"""Runs jobs beside each other: each lane runs its own jobs in order, one at a time.

A job is a coroutine function. After a job failed, its lane runs no later job: each of these fails with the same error.
So whatever goes through several lanes in the same order stops at the first failure. When lanes are closed, jobs that
wait are dropped, and none is left running.
"""

from __future__ import annotations

import asyncio
import ctypes
import time
from collections import deque
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from threading import Event, Lock, get_ident
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from colbert_qdrant._support.warned import deferred, warn

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)

_LANE: Final[ContextVar[_ThreadLane | None]] = ContextVar("_LANE", default=None)
"""The lane of a job that runs in a thread."""


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
    lane = _LANE.get()
    if lane is None:
        time.sleep(seconds)
    else:
        lane.closed.wait(seconds)
        require_wanted()


def in_job() -> bool:
    """Tell whether this code runs in the job of a thread."""
    return _LANE.get() is not None


def require_wanted() -> None:
    """Raise `CancelledError` in a job whose lanes are closed, before it sends anything."""
    lane = _LANE.get()
    if lane is not None and lane.closed.is_set():
        raise CancelledError


@contextmanager
def computing() -> Iterator[None]:
    """Let Ctrl-C end a computation within the context, also in the thread of a job."""
    lane = _LANE.get()
    if lane is None:
        yield
        return
    lane.mark(get_ident())
    try:
        yield
    finally:
        lane.mark(None)


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
        self._closed = Event()
        self._lanes = tuple(_ThreadLane(name, run, self._closed) for name in names)

    async def __aenter__(self) -> tuple[_ThreadLane, ...]:
        return self._lanes

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Drop the jobs that wait, and wait for those that run, which send no further request.

        Ctrl-C ends what they compute, as it would in the caller's thread.
        """
        self._closed.set()
        for lane in self._lanes:
            lane.threads.shutdown(wait=False, cancel_futures=True)
            if kind is not None and not issubclass(kind, Exception):
                lane.interrupt()
        for lane in self._lanes:
            lane.threads.shutdown()


class _ThreadLane(_FailingLane):
    def __init__(self, name: str, run: Callable[[Coroutine[Any, Any, Any]], Any], closed: Event) -> None:
        super().__init__()
        self.threads = ThreadPoolExecutor(1, thread_name_prefix=f"colbert_qdrant {name}")
        self.closed = closed
        self._run = run
        self._computing: int | None = None
        self._guard = Lock()

    def submit(self, job: Callable[[], Coroutine[Any, Any, Result]]) -> _OfThread[Result]:
        warnings = deque[str]()
        return _OfThread(self.threads.submit(copy_context().run, self._perform, job, warnings), warnings)

    def mark(self, thread: int | None) -> None:
        """Remember the thread that computes."""
        with self._guard:
            self._computing = thread

    def interrupt(self) -> None:
        """Raise `KeyboardInterrupt` in a computation, between two instructions of Python."""
        with self._guard:
            if self._computing is not None:
                thread, error = ctypes.c_ulong(self._computing), ctypes.py_object(KeyboardInterrupt)
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, error)

    def _perform(self, job: Callable[[], Coroutine[Any, Any, Result]], warnings: deque[str]) -> Result:
        _LANE.set(self)
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
