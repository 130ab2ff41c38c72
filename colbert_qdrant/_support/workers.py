"""Spreads pieces of work over threads that share the cores of a processor."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")


class Workers:
    """A pool of threads, started when it is first needed.

    Small operations gain little from many cores, and lose much where other threads keep one of them busy, as all wait
    for the last. So each thread works alone, with its share of torch's threads, and the pieces of work are spread.

    Args:
        most: Most threads; no more than torch uses at the first call.
        exclusive: Whether each thread has a single core, even if that leaves some unused.
    """

    def __init__(self, most: int, *, exclusive: bool = False) -> None:
        self._most = most
        self._exclusive = exclusive
        self._starting = threading.Lock()
        self._pool: tuple[int, ThreadPoolExecutor] | None = None

    def run(self, work: Callable[[T], object], items: Iterable[T]) -> None:
        """Do ``work`` for each of ``items``, several at once; raises the first error."""
        import torch  # noqa: PLC0415

        run = map if torch.get_num_threads() == 1 else self._current_pool().map
        for _ in run(work, items):
            pass

    def _current_pool(self) -> ThreadPoolExecutor:
        """Return the threads; a forked process has none of its parent's, and gets its own."""
        with self._starting:
            if self._pool is None or self._pool[0] != os.getpid():
                self._pool = os.getpid(), self._start_pool()
            return self._pool[1]

    def _start_pool(self) -> ThreadPoolExecutor:
        """Start threads that use their share of the cores each.

        Torch keeps the number for each thread, but gives new threads the number that was set last: so all workers are
        started here, and the number is put back before anyone else begins.
        """
        import torch  # noqa: PLC0415

        cores = torch.get_num_threads()
        workers = min(cores, self._most)
        pool = ThreadPoolExecutor(workers)
        barrier = threading.Barrier(workers)

        def start() -> None:
            torch.set_num_threads(1 if self._exclusive else cores // workers)
            torch.get_num_threads()  # now this thread has taken the number over, and keeps it
            barrier.wait()

        try:
            for started in [pool.submit(start) for _ in range(workers)]:
                started.result()
        finally:
            torch.set_num_threads(cores)
        return pool
