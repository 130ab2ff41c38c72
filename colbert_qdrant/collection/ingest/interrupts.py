"""Ends an ingest gracefully at the first Ctrl-C: the documents that are being written are finished and recorded."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from types import FrameType, TracebackType


class Interrupts:
    """Turns the first SIGINT into a request to stop; the second one raises `KeyboardInterrupt` at once.

    It takes effect only in the main thread, and only if Python's own handler is installed. So it never replaces a
    handler of the application or of an event loop. The handler is restored at the end.

    Attributes:
        requested: Whether the ingest should stop.
    """

    def __init__(self) -> None:
        self.requested = False
        self._installed = False

    def __enter__(self) -> Self:
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._stop)
            self._installed = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._installed and signal.getsignal(signal.SIGINT) == self._stop:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _stop(self, number: int, frame: FrameType | None) -> Any:
        if self.requested:
            signal.default_int_handler(number, frame)
        self.requested = True
        say("Stopping after the documents that are being written; press Ctrl-C again to stop at once.")


def say(text: str) -> None:
    """Print a line to stderr, if there is one."""
    with contextlib.suppress(OSError, ValueError, RuntimeError, AttributeError):  # closed, or in the middle of a write
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
