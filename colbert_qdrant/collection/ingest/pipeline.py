"""Reads, encodes, completes and writes chunks beside each other, in the order of their source."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from colbert_qdrant.collection.writer import Chunk, Written

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.writer import DocumentWriter
    from colbert_qdrant.documents import Document
    from colbert_qdrant.engines.lanes import Lane, Submitted

LANES: Final = ("encode", "complete", "write")
"""The stages that run beside each other, and beside the source."""

_CHUNKS_AHEAD: Final = 3
"""Chunks that were read and not acknowledged: one for each lane."""

_UNWRITTEN_BYTES: Final = 64 * 2**20
"""While this many bytes of vectors wait to be written, the encoder waits, too. A chunk of 256 documents has 29 MiB, if
each has 150 token vectors of 128 dimensions and an encoding of 10,240."""


async def _nothing(documents: Sequence[Document], written: Written) -> None:
    """Do nothing."""


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """The seams of a pipeline.

    Attributes:
        acknowledged: Awaited after each chunk that was written, in the order of the source, with all of its documents
            and their outcome.
        stopping: Tells whether the ingest should end early; once true, it must stay true. Then no further chunk is
            read, encoded or fitted to; chunks that the encoder has begun are written and acknowledged.
    """

    acknowledged: Callable[[Sequence[Document], Written], Awaitable[None]] = _nothing
    stopping: Callable[[], bool] = lambda: False


class Pipeline:
    """Moves chunks from a source into a collection.

    Chunks are read and checked where the pipeline is awaited, because a source may belong to one thread. Every other
    stage has a lane. Only the lane that writes talks to the engine.

    Args:
        source: The chunks.
        writer: Has the stages.
        lanes: One for each of `LANES`.
        is_due: Awaited after each chunk that was written; tells whether a fit is due.
        hooks: The seams.
    """

    def __init__(
        self,
        source: AsyncGenerator[list[Document], None],
        writer: DocumentWriter,
        *,
        lanes: tuple[Lane, ...],
        is_due: Callable[[], Awaitable[bool]],
        hooks: Hooks,
    ) -> None:
        self._source = source
        self._writer = writer
        self._encoding, self._completing, self._writing = lanes
        self._is_due = is_due
        self._hooks = hooks
        self._relay = _Relay()
        self._flights = deque[_Flight]()
        self._prepared = False
        self._source_ended = False
        self._held = False
        self._failure: Exception | None = None

    @property
    def ended(self) -> bool:
        """Whether every chunk that was read is acknowledged, and no other will be read."""
        return self._source_ended and not self._flights

    async def run(self, progress: ProgressReporter) -> None:
        """Move chunks until a fit is due or the source ends.

        If a fit is due, no chunk is written until the next call. An error of the source is raised at the end, when all
        chunks before it are stored.
        """
        if self._held:
            self._held = False
            for flight in self._flights:
                self._submit_write(flight)
        while not self.ended:
            await self._read()
            while self._flights and (self._source_ended or self._crowded or self._flights[0].write.done()):
                if await self._acknowledge(progress):
                    for flight in self._flights:
                        await flight.write.settled()
                    return
        if self._failure is not None:
            raise self._failure

    @property
    def _crowded(self) -> bool:
        return len(self._flights) >= _CHUNKS_AHEAD

    async def _read(self) -> None:
        """Read, check and submit the next chunk."""
        documents: list[Document] = []
        try:
            if not self._source_ended and not self._hooks.stopping():
                documents = await anext(self._source, [])
            if documents and not self._prepared:
                await self._writer.prepare()
            if documents:
                chunk = self._writer.checked(documents)
                await self._writer.resolve(chunk, [each.chunk for each in self._flights])
                await self._writer.measure(chunk)
                self._submit(chunk)
        except Exception as error:  # noqa: BLE001 - raised by `run`, after the chunks before it
            self._failure, documents = error, []
        self._source_ended = not documents

    def _submit(self, chunk: Chunk) -> None:
        encoded = self._encoding.submit(partial(self._encode, chunk, before=list(self._flights)))
        completed = self._completing.submit(partial(self._complete, chunk, encoded))
        flight = _Flight(chunk, completed, needs_check=self._prepared)
        self._prepared = True
        self._submit_write(flight)
        self._flights.append(flight)

    def _submit_write(self, flight: _Flight) -> None:
        flight.write = self._writing.submit(partial(self._write, flight))

    async def _encode(self, chunk: Chunk, *, before: Sequence[_Flight]) -> None:
        for flight in before:
            if sum(each.chunk.bytes for each in before) < _UNWRITTEN_BYTES:
                break
            await flight.write.settled()
        if self._hooks.stopping():
            raise _StoppedError
        await self._writer.encode(chunk)

    async def _complete(self, chunk: Chunk, encoded: Submitted[None]) -> None:
        await encoded.result()
        await self._writer.complete(chunk)

    async def _write(self, flight: _Flight) -> _Outcome | None:
        if self._held:
            return None
        await flight.completed.result()
        if flight.needs_check:
            await self._writer.prepare()
        written = await self._writer.store(flight.chunk, self._relay)
        flight.chunk.release()
        self._held = not self._hooks.stopping() and await self._is_due()
        return _Outcome(written, self._held)

    async def _acknowledge(self, progress: ProgressReporter) -> bool:
        """Wait for the oldest chunk in flight, and tell whether a fit is due."""
        try:
            outcome = await self._flights[0].write.result()
        except _StoppedError:
            self._flights.clear()
            self._source_ended = True
            return False
        finally:
            self._relay.pass_on(progress)
        documents = self._flights.popleft().chunk.documents
        if outcome is None:
            raise AssertionError("a chunk that was held back is written by the next call of run")
        await self._hooks.acknowledged(documents, outcome.written)
        return outcome.is_due


class _Flight:
    """A chunk between its source and its acknowledgment."""

    write: Submitted[_Outcome | None]

    def __init__(self, chunk: Chunk, completed: Submitted[None], *, needs_check: bool) -> None:
        self.chunk = chunk
        self.completed = completed
        self.needs_check = needs_check


@dataclass(frozen=True)
class _Outcome:
    """The outcome of a chunk, and whether a fit is due after it."""

    written: Written
    is_due: bool


class _StoppedError(Exception):
    """Marks the first chunk that is not encoded anymore."""


class _Relay:
    """Receives progress in the lane that writes, and passes it on where the pipeline is awaited."""

    def __init__(self) -> None:
        self._stored = deque[int]()

    def start(self, total: int | None) -> None:
        """Do nothing."""

    def advance(self, documents: int) -> None:
        self._stored.append(documents)

    def stop(self) -> None:
        """Do nothing."""

    def pass_on(self, progress: ProgressReporter) -> None:
        while self._stored:
            progress.advance(self._stored.popleft())
