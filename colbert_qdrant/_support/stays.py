"""Says what to do instead where somebody pickles or copies what holds a client."""

from __future__ import annotations

from typing import ClassVar, NoReturn


class StaysHere:
    """Base of what holds a client, and is neither pickled nor copied."""

    _instead: ClassVar[str]
    """A sentence, without its full stop, that says how to get one in another process."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{self!r} holds a client, which is not pickled or copied: {self._instead}")
