"""Decides when a collection's writes are flushed to disk, where they survive a power cut."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import TYPE_CHECKING, Final, Literal, get_args

from colbert_qdrant.errors import ColbertQdrantError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

Durability = Literal["checkpoint", "always"]
"""When writes are flushed to disk; see `EdgeClient`."""

CHECKPOINT_BYTES: Final = 32 * 2**20
"""The maximum bytes of writes between two checkpoints, which is the size of a file of the engine's log."""

CHECKPOINT_SECONDS: Final = 5.0
"""The maximum seconds from a write to the next checkpoint, as in a Qdrant server."""

_LOG: Final = logging.getLogger("colbert_qdrant")


def check_durability(value: Durability) -> Durability:
    """Return a durability; raises `ConfigurationError` if it is unknown."""
    if not isinstance(value, str) or value not in get_args(Durability):
        raise ConfigurationError(f"durability={value!r}: use one of {', '.join(map(repr, get_args(Durability)))}")
    return value


class Checkpoints:
    """Schedules checkpoints of one collection, in addition to the flushes that its caller requests.

    A checkpoint also truncates the engine's log, which limits its size on disk and the time to open it after a crash.

    Args:
        checkpoint: A bound method that flushes everything to disk if a checkpoint is `due`, and calls `done`. It may be
            called in another thread, and its object may be garbage-collected.
        durability: Whether to flush after each write.
    """

    def __init__(self, checkpoint: Callable[[], None], durability: Durability) -> None:
        self._checkpoint = weakref.WeakMethod(checkpoint)
        self._durability = durability
        self._bytes = 1  # a crash may have left unflushed writes
        self._timer: threading.Timer | None = None

    @property
    def due(self) -> bool:
        """Whether there may be unflushed writes."""
        return self._bytes > 0

    def wrote(self, size: int) -> None:
        """Count the bytes of a write, and make a checkpoint if it is due."""
        self._bytes += max(size, 1)
        if self._durability == "always" or self._bytes >= CHECKPOINT_BYTES:
            self._call()
        elif self._timer is None:
            timer = threading.Timer(CHECKPOINT_SECONDS, self._late)
            timer.daemon = True
            try:
                timer.start()
            except RuntimeError:  # Python is exiting, and cannot start a thread
                self._call()
            else:
                self._timer = timer

    def done(self) -> None:
        """Record that everything is on disk."""
        self._bytes = 0
        timer, self._timer = self._timer, None  # another thread may set it to None at any time
        if timer is not None:
            timer.cancel()

    def _late(self) -> None:
        self._timer = None  # first, so that a concurrent write starts another timer
        try:
            self._call()
        except ColbertQdrantError as error:
            _LOG.warning("flushing recent writes to disk failed, and is retried after the next write: %s", error)

    def _call(self) -> None:
        checkpoint = self._checkpoint()
        if checkpoint is not None:
            checkpoint()
