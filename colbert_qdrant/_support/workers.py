"""Distributes work over threads that share the CPU's cores."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")


class Workers:
    """A thread pool, started on first use.

    Small operations gain little from many cores. They lose much if another thread occupies one core, because all cores
    wait for the slowest. So each worker runs its own items with its share of torch's threads.

    Args:
        most: Maximum number of workers; never more than torch's number of threads at the first call.
        exclusive: Whether each worker has a single core, even if some cores stay unused.
    """

    def __init__(self, most: int, *, exclusive: bool = False) -> None:
        self._most = most
        self._exclusive = exclusive
        self._starting = threading.Lock()
        self._pool: tuple[int, ThreadPoolExecutor] | None = None

    def run(self, work: Callable[[T], object], items: Iterable[T]) -> None:
        """Call ``work`` for each item, several at a time; raises the first error."""
        import torch  # noqa: PLC0415

        run = map if torch.get_num_threads() == 1 else self._current_pool().map
        for _ in run(work, items):
            pass

    def _current_pool(self) -> ThreadPoolExecutor:
        """Return the thread pool; a forked process does not have its parent's threads, and starts its own."""
        with self._starting:
            if self._pool is None or self._pool[0] != os.getpid():
                self._pool = os.getpid(), self._start_pool()
            return self._pool[1]

    def _start_pool(self) -> ThreadPoolExecutor:
        """Start threads that each use their share of the cores.

        Torch keeps a number of threads for each thread, but new threads get the number that was set last. So all
        workers start here, and the number is restored before other threads start.
        """
        import torch  # noqa: PLC0415

        cores = torch.get_num_threads()
        workers = min(cores, self._most)
        pool = ThreadPoolExecutor(workers)
        barrier = threading.Barrier(workers)

        def start() -> None:
            torch.set_num_threads(1 if self._exclusive else cores // workers)
            torch.get_num_threads()  # makes this thread adopt the number for good
            barrier.wait()

        try:
            for started in [pool.submit(start) for _ in range(workers)]:
                started.result()
        finally:
            torch.set_num_threads(cores)
        return pool
