"""Decides when what a collection was told to write has to be on disk, where no power cut loses it."""

from __future__ import annotations

import logging
import threading
import weakref
from typing import TYPE_CHECKING, Final, Literal, get_args

from colbert_qdrant.errors import ColbertQdrantError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

Durability = Literal["checkpoint", "always"]
"""When a write is on disk, see `EdgeClient`."""

CHECKPOINT_BYTES: Final = 32 * 2**20
"""The most bytes of writes between two checkpoints: as many as one file of the engine's log holds."""

CHECKPOINT_SECONDS: Final = 5.0
"""The most seconds from a write to the next checkpoint; those of a Qdrant server."""

_LOG: Final = logging.getLogger("colbert_qdrant")


def check_durability(value: Durability) -> Durability:
    """Returns a durability; raises `ConfigurationError` if it is none."""
    if not isinstance(value, str) or value not in get_args(Durability):
        raise ConfigurationError(f"durability is {value!r}; give one of {', '.join(map(repr, get_args(Durability)))}")
    return value


class Checkpoints:
    """When one collection is brought to disk, besides where its caller wants that.

    This also cuts the engine's log, which bounds the disk that it takes and how long opening takes after a crash.

    Args:
        checkpoint: Writes everything to disk if that is `due`, and calls `done`; a bound method, called in a thread
            too, of an object that may be forgotten meanwhile.
        durability: Whether that has to be after each write.
    """

    def __init__(self, checkpoint: Callable[[], None], durability: Durability) -> None:
        self._checkpoint = weakref.WeakMethod(checkpoint)
        self._durability = durability
        self._bytes = 1  # a crash may have left something
        self._timer: threading.Timer | None = None

    @property
    def due(self) -> bool:
        """Tells whether anything may not be on disk."""
        return self._bytes > 0

    def wrote(self, size: int) -> None:
        """Counts a write of so many bytes, and brings it to disk if it is time."""
        self._bytes += max(size, 1)
        if self._durability == "always" or self._bytes >= CHECKPOINT_BYTES:
            self._call()
        elif self._timer is None:
            timer = threading.Timer(CHECKPOINT_SECONDS, self._late)
            timer.daemon = True
            try:
                timer.start()
            except RuntimeError:  # no thread can be started while Python exits
                self._call()
            else:
                self._timer = timer

    def done(self) -> None:
        """Notes that everything is on disk."""
        self._bytes = 0
        timer, self._timer = self._timer, None  # which another thread may set to None meanwhile
        if timer is not None:
            timer.cancel()

    def _late(self) -> None:
        self._timer = None  # first: a write that comes now has another
        try:
            self._call()
        except ColbertQdrantError as error:
            _LOG.warning("what was written is not on disk yet, which is tried again after the next write: %s", error)

    def _call(self) -> None:
        checkpoint = self._checkpoint()
        if checkpoint is not None:
            checkpoint()
