"""Prevents pickling and copying of objects that hold a client."""

from __future__ import annotations

from typing import ClassVar, NoReturn


class StaysHere:
    """Base of classes that hold a client and cannot be pickled or copied."""

    _instead: ClassVar[str]
    """How to get such an object in another process, as an imperative without a full stop."""

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"{self!r} holds a client, which cannot be pickled or copied: {self._instead}")
