"""A progress reporter for tests of waiting."""

from __future__ import annotations


class Reporter:
    """Notes how often it was started, and how often it was told something."""

    def __init__(self) -> None:
        self.totals: list[int | None] = []
        self.stopped = 0

    def start(self, total: int | None) -> None:
        self.totals.append(total)

    def advance(self, documents: int) -> None:
        assert documents > 0

    def stop(self) -> None:
        self.stopped += 1
