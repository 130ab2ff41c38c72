"""Copying points, or adding vectors to them: in the order of ids, whatever is missing, however often it is begun."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.collection.upsert import upsert
from colbert_qdrant.collection.writer import MAX_BATCH_BYTES
from colbert_qdrant.errors import EngineError, MigrationError, RequestError, RequestRefusedError, RequestTooLargeError
from colbert_qdrant.migrate.source import canonical, pages, read_points
from colbert_qdrant.points.point import split_by_bytes, to_numbers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.migrate.source import PointId, Source
    from colbert_qdrant.points.point import Point
    from colbert_qdrant.search.limits import Limits

_PAGE_VALUES: Final = 2**21
_PAGE_POINTS: Final = (16, 256)
"""Points that are read at once, at first and at most. After that a page holds about so many values."""

_HOPELESS: Final = 3
"""Points refused one by one, with none written, after which nothing else is tried."""


@dataclass(frozen=True, kw_only=True)
class MigrationReport:
    """What a run did.

    Attributes:
        points: Points written; in place, those that got vectors.
        present: Points that were there already, as they are in the source.
        removed: Points that are not in the source any more, and were deleted from the target.
        without_tokens: Points without token vectors, for they have no text: MaxSim never finds them.
        seconds: Wall time.
    """

    points: int
    present: int = 0
    removed: int = 0
    without_tokens: int = 0
    seconds: float

    @property
    def points_per_second(self) -> float:
        """Points written per second of wall time."""
        return self.points / self.seconds if self.seconds > 0 else 0.0


@dataclass(kw_only=True)
class Pace:
    """Keeps writing to so many points a second.

    Args:
        rate: Points per second; ``None``: as many as there can be.
    """

    rate: float | None
    points: int = 0
    started: float = 0.0

    def behind(self, points: int) -> float:
        """Seconds to wait after so many more points."""
        if self.rate is None:
            return 0.0
        self.started = self.started or time.monotonic()
        self.points += points
        return max(0.0, self.started + self.points / self.rate - time.monotonic())


@dataclass(kw_only=True)
class Run:
    """One run of a migration.

    Args:
        reading, writing: The engines of source and target.
        source: The source.
        target: The target's name.
        limits: What its server allows.
        converter: Adds what late interaction needs.
        pace: How fast it may be.
        report: Told of every batch.
    """

    reading: Engine
    writing: Engine
    source: Source
    target: str
    limits: Limits
    converter: Converter
    pace: Pace
    report: ProgressReporter
    page: int = _PAGE_POINTS[0]
    written: int = 0
    present: int = 0
    without_tokens: int = 0
    refused: list[tuple[Any, EngineError]] = field(default_factory=list)

    async def copy(self) -> None:
        """Write every point that the target has not, or has with another payload.

        Raises:
            MigrationError: The server refuses points; all others are written.
        """
        async for page in pages(self.reading, self.source.name, self.source.filter, limits=self.source.limits):
            ids = [record.id for record in page]
            todo = await self._missing(ids)
            self._skip(len(ids) - len(todo))
            async for points in self._converted(todo):
                await self._upsert(points)
        self._require_taken()

    async def add(self) -> None:
        """Add vectors to every point that has them not, where it is.

        Raises:
            MigrationError: The server refuses them for some points; all others have them.
        """
        added = self._added()
        if not added:
            return
        lacking = models.Filter(must_not=[models.HasVectorCondition(has_vector=added[0])])
        chosen = self.source.chosen(lacking)
        async for page in pages(self.reading, self.source.name, chosen, limits=self.source.limits):
            async for points in self._converted([record.id for record in page]):
                await self._update(points)
        self._require_taken()

    async def remove_gone(self) -> int:
        """Delete what is not in the source any more from the target; only points that a migration wrote are there."""
        if await count_documents(self.writing, self.target) <= self.written + self.present:
            return 0
        removed = 0
        async for page in pages(self.writing, self.target, None, limits=self.limits):
            ids = [record.id for record in page]
            found: set[Any] = set()
            size = self.source.limits.condition_size or len(ids)
            for start in range(0, len(ids), size):
                asked = models.HasIdCondition(has_id=ids[start : start + size])
                there = self.source.chosen(asked)
                async for stored in pages(self.reading, self.source.name, there, limits=self.source.limits):
                    found |= {record.id for record in stored}
            gone = [id for id in ids if id not in found]
            if gone:
                selector = models.PointIdsList(points=gone)
                await self.writing.delete(self.target, points_selector=selector)
                removed += len(gone)
        return removed

    async def _missing(self, ids: list[PointId]) -> list[PointId]:
        """Points that the target has not, or not as they are now."""
        stored = await self.writing.retrieve(self.target, ids=ids, with_payload=True, with_vectors=False)
        payloads = {record.id: canonical(record.payload) for record in stored}
        same: set[Any] = set()
        if payloads:
            current = await self.reading.retrieve(
                self.source.name, ids=list(payloads), with_payload=True, with_vectors=False
            )
            same = {record.id for record in current if canonical(record.payload) == payloads[record.id]}
        return [id for id in ids if id not in same]

    async def _converted(self, ids: Sequence[PointId]) -> AsyncIterator[list[Point]]:
        """Points with what is added to them, in pages of bounded size."""
        place = 0
        while place < len(ids):
            records = await read_points(self.reading, self.source.name, ids[place : place + self.page])
            place += self.page
            if not records:
                continue
            points = await self.reading.runtime.compute(self.converter.points, records)
            values = sum(point.values for point in points) / len(points)
            self.page = max(1, min(_PAGE_POINTS[1], int(_PAGE_VALUES / max(values, 1))))
            yield points

    async def _upsert(self, points: list[Point]) -> None:
        for batch in split_by_bytes(points, MAX_BATCH_BYTES, binary=self.writing.binary, most=self.limits.upsert_batch):
            refused = await upsert(self.writing, self.target, batch, on_stored=self.report.advance)
            self.refused += [(each.point.id, each.error) for each in refused]
            await self._wrote(batch)
            self.written -= len(refused)

    async def _update(self, points: list[Point]) -> None:
        names, before = self._added(), len(self.refused)
        for batch in split_by_bytes(points, MAX_BATCH_BYTES, binary=self.writing.binary, most=self.limits.upsert_batch):
            changes = [
                models.PointVectors.model_construct(
                    id=point.id,
                    vector={name: to_numbers(vector) for name, vector in point.vectors.items() if name in names},
                )
                for point in batch
                if any(name in point.vectors for name in names)
            ]
            if changes:
                await self._change(changes)
            self.report.advance(len(batch))
            await self._wrote(batch)
        # those without text stay as they are
        self.written -= len(self.refused) - before + sum(not point.vectors for point in points)

    async def _change(self, changes: Sequence[models.PointVectors]) -> None:
        """Add vectors to points, in smaller parts where the server refuses them; what was deleted since needs none."""
        try:
            await self.writing.update_vectors(self.target, changes)
        except EngineError as error:
            if isinstance(error, RequestError) and not isinstance(error, RequestRefusedError | RequestTooLargeError):
                raise
            stored = await self.writing.retrieve(
                self.target, ids=[each.id for each in changes], with_payload=False, with_vectors=False
            )
            there = {record.id for record in stored}
            left = [each for each in changes if each.id in there]
            if len(left) == 1 == len(changes):
                self.refused.append((left[0].id, error))
                if not self.written and len(self.refused) == _HOPELESS:
                    raise  # it is not about these points
                return
            half = len(left) if len(left) < len(changes) else len(left) // 2
            for part in (left[:half], left[half:]):
                if part:
                    await self._change(part)

    async def _wrote(self, points: Sequence[Point]) -> None:
        self.written += len(points)
        own = {self.converter.token_vector, self.converter.fde_vector}
        self.without_tokens += sum(own.isdisjoint(point.vectors) for point in points)
        if wait := self.pace.behind(len(points)):
            await self.writing.runtime.sleep(wait)

    def _skip(self, points: int) -> None:
        self.present += points
        if points:
            self.report.advance(points)

    def _require_taken(self) -> None:
        if self.refused:
            lines = "".join(f"\n  {id!r}: {error}" for id, error in self.refused[:10])
            raise MigrationError(
                f"{len(self.refused)} points are not migrated, for the server of {self.target!r} refuses them (all "
                f"others are):{lines}"
            )

    def _added(self) -> list[str]:
        """The vectors that are added, that which is written last first."""
        converter = self.converter
        names = [converter.fde_vector] if converter.fde is not None else []
        return names + ([converter.token_vector] if converter.encoder is not None else [])
