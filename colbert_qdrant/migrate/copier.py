"""Copies points from a source to its target, or adds vectors to points in place."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from qdrant_client import models

from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.collection.update import update_vectors
from colbert_qdrant.collection.upsert import upsert
from colbert_qdrant.collection.writer import MAX_BATCH_BYTES
from colbert_qdrant.errors import EngineError, MigrationError
from colbert_qdrant.migrate.contents import read_gone, read_origins
from colbert_qdrant.migrate.source import PAGE_POINTS, read_pages, retrieve_pages
from colbert_qdrant.points.digests import Digest
from colbert_qdrant.points.page_size import PageSize
from colbert_qdrant.points.point import split_by_bytes, to_numbers
from colbert_qdrant.search.limits import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.migrate.sameness import Sameness
    from colbert_qdrant.points.digests import Snapshot
    from colbert_qdrant.points.point import Point

_PASSES: Final = 5
"""The largest number of extra passes over all points to find those that changed while vectors were added."""


async def make_copier(
    job: MigrationJob, *, report: ProgressReporter, rate: float | None = None, snapshot: Snapshot | None = None
) -> Copier:
    """Build the copier of a migration; see `Copier`."""
    info = await job.target_engine.get_collection(job.plan.target)
    limits = Limits.of(info, job.plan.config.token_vector)
    converter = await job.make_converter()
    return Copier(job, converter, limits=limits, rate=rate, report=report, snapshot=snapshot)


class Copier:
    """Copies the points of a migration, or adds vectors to them; a repeated run writes only missing data.

    Args:
        job: The migration.
        converter: The converter of the migration.
        limits: The limits of the target's server.
        rate: The points to write per second; ``None`` for no limit.
        report: The reporter, which is told of every batch.
        snapshot: The record of every point that is copied or already equal; ``None`` if no record is needed.
    """

    def __init__(
        self,
        job: MigrationJob,
        converter: Converter,
        *,
        limits: Limits,
        rate: float | None,
        report: ProgressReporter,
        snapshot: Snapshot | None = None,
    ) -> None:
        self._job = job
        self._snapshot = snapshot
        self._source_engine, self._target_engine = job.source_engine, job.target_engine
        self._source, self._target = job.source, job.plan.target
        self._converter = converter
        self._limits = limits
        self._rate = rate
        self._conditional = False
        self._started = 0.0
        self._sent = 0
        self._report = report
        self._page, self._compared = PageSize(PAGE_POINTS), PageSize(PAGE_POINTS)
        self._refused: list[tuple[PointId, EngineError]] = []
        self.copied = Digest()
        # see `MigrationReport`
        self.written = self.present = self.removed = self.without_tokens = self.truncated = 0

    async def copy(self) -> None:
        """Write every point that is missing or different in the target, and delete points that the source lost.

        Raises:
            MigrationError: If the server refuses points. All other points are written.
        """
        async for ids in self._ids(self._source.filter):
            missing = await self._find_missing(ids)
            self._skip(len(ids) - len(missing))
            if missing:
                self._job.require_encoder(missing)
            async for points in self._convert(missing):
                await self._upsert(points)
        self._require_taken()
        await self._remove_gone()

    async def copy_points(
        self, ids: Sequence[PointId], *, choose: Callable[[list[Point]], Awaitable[list[Point]]]
    ) -> None:
        """Copy the points that ``choose`` returns right before each write.

        Raises:
            MigrationError: If texts have to be encoded and there is no encoder, or if the server refuses points.
        """
        self._job.require_encoder(ids)
        async for points in self._convert(ids):
            await self._upsert(await choose(points))
        self._require_taken()

    async def add(self) -> None:
        """Add vectors, in place, to every point that lacks them or has vectors of another text.

        To catch up with writes by other clients, further passes over all points follow, up to a limit, until no point
        is stale.

        Raises:
            MigrationError: If the server refuses the vectors of some points. All other points have vectors.
        """
        if self._converter.origin_vector is None:
            return
        # strict mode may forbid filters by a text; then stale vectors are found and rewritten in a later pass
        strict, capabilities = self._source.info.config.strict_mode_config, await self._target_engine.capabilities()
        self._conditional = capabilities.has("update_filter") and not (strict and strict.enabled)
        having = models.HasVectorCondition(has_vector=self._converter.origin_vector)
        async for ids in self._ids(self._source.narrow(models.Filter(must_not=[having]))):
            async for points in self._convert(ids):
                await self._update(points)
        for _ in range(_PASSES):
            if not await self._renew():
                break
        self._require_taken()

    async def _renew(self) -> int:
        """Rewrite the vectors of all stale points, and return the number of stale points."""
        count, refused = 0, {id for id, _ in self._refused}
        async for page in read_origins(self._job, self._converter):
            found = await self._source_engine.runtime.compute(self._converter.find_stale, page)
            stale = [id for id in found if id not in refused]
            if not stale:
                continue
            count += len(stale)
            await self._drop(stale)
            async for points in self._convert(stale):
                await self._update(points)
        return count

    async def _drop(self, ids: Sequence[PointId]) -> None:
        """Remove stale vectors that are not rewritten: those of points without a text, and FDEs that need a fit.

        The digest is removed first, so that a point stays stale if only a part of its vectors is removed.
        """
        size = self._limits.condition_size or len(ids)
        for start in range(0, len(ids), size):
            chosen = models.Filter(must=[models.HasIdCondition(has_id=list(ids[start : start + size]))])
            await self._target_engine.delete_vectors(self._target, vectors=self._job.plan.added, points=chosen)

    async def _ids(self, chosen: models.Filter | None) -> AsyncIterator[list[PointId]]:
        """Read ids of the source, page by page."""
        async for page in read_pages(self._source_engine, self._source.name, chosen, limits=self._source.limits):
            yield [record.id for record in page]

    async def _remove_gone(self) -> None:
        """Delete the points that the source lost; every point of the target comes from the migration."""
        if await count_documents(self._target_engine, self._target) <= self.written + self.present:
            return
        async for gone in read_gone(self._job, limits=self._limits):
            await self._target_engine.delete(self._target, points_selector=models.PointIdsList(points=gone))
            self.removed += len(gone)

    async def _find_missing(self, ids: Sequence[PointId]) -> Sequence[PointId]:
        """Return the points that are missing in the target, or have a different payload or different vectors there."""
        same, engine, vectors = self._job.sameness, self._target_engine, self._job.sameness.vectors or False
        stored = await engine.retrieve(self._target, ids=ids, with_payload=False, with_vectors=False)
        there = [record.id for record in stored]
        found: set[PointId] = set()
        async for page in retrieve_pages(engine, self._target, there, vectors=vectors, size=self._compared):
            self._compared.learn(page)
            current = await self._source_engine.retrieve(
                self._source.name, ids=[record.id for record in page], with_payload=True, with_vectors=vectors
            )
            equal = await self._source_engine.runtime.compute(_find_same, same, current, page)
            await self._note_read(equal)
            found.update(record.id for record in equal)
        return [id for id in ids if id not in found]

    async def _note_read(self, records: Sequence[models.Record]) -> None:
        """Record points that the target has at the end of the run."""
        await self._source_engine.runtime.compute(self.copied.add, records)
        if self._snapshot is not None:
            await self._source_engine.runtime.compute(self._snapshot.add, records)

    async def _convert(self, ids: Sequence[PointId]) -> AsyncIterator[list[Point]]:
        """Read points and convert them, in pages of bounded size."""
        async for records in retrieve_pages(self._source_engine, self._source.name, ids, size=self._page):
            points = await self._source_engine.runtime.compute(self._converter.convert, records)
            await self._note_read(records)
            self._page.learn(records, least=sum(4 * point.values for point in points) / len(points))
            yield points

    def _batches(self, points: Sequence[Point]) -> Iterator[list[Point]]:
        binary, most = self._target_engine.binary, self._limits.upsert_batch
        return split_by_bytes(points, MAX_BATCH_BYTES, binary=binary, most=most)

    async def _upsert(self, points: Sequence[Point]) -> None:
        for batch in self._batches(points):
            refused = await upsert(self._target_engine, self._target, batch, on_stored=self._report.advance)
            self._refused += [(each.point.id, each.error) for each in refused]
            await self._note(batch)
            self.written -= len(refused)

    async def _update(self, points: Sequence[Point]) -> None:
        before = len(self._refused)
        for batch in self._batches(points):
            changes = await self._target_engine.runtime.compute(_take_vectors, batch)
            if changes:
                only = self._converter.texts_unchanged(batch) if self._conditional else None
                refused = await update_vectors(
                    self._target_engine, self._target, changes, only=only, float16=self._converter.float16
                )
                self._refused += [(each.id, each.error) for each in refused]
            self._report.advance(len(batch))
            await self._note(batch)
        # points without a text stay unchanged
        self.written -= len(self._refused) - before + sum(not point.vectors for point in points)

    async def _note(self, points: Sequence[Point]) -> None:
        """Count written points, and wait if they exceed the rate."""
        self.written += len(points)
        own = {self._converter.token_vector, self._converter.fde_vector}
        self.without_tokens += sum(own.isdisjoint(point.vectors) for point in points)
        cut = [point.id for point in points if point.truncated]
        self.truncated += len(cut)
        where = f"migration of collection {self._source.name!r}"
        self._job.warned.of_truncated_documents(where, cut, among=len(points))
        if self._rate is None:
            return
        self._sent += len(points)
        self._started = self._started or time.monotonic()
        if (wait := self._started + self._sent / self._rate - time.monotonic()) > 0:
            await self._target_engine.runtime.sleep(wait)

    def _skip(self, points: int) -> None:
        self.present += points
        if points:
            self._report.advance(points)

    def _require_taken(self) -> None:
        if self._refused:
            lines = "".join(f"\n  {id!r}: {error}" for id, error in self._refused[:10])
            raise MigrationError(
                f"the server of {self._target!r} refuses {len(self._refused)} points, and all other points are "
                f"migrated: fix these points in the source, then run() again:{lines}"
            )


def _find_same(
    same: Sameness, current: Sequence[models.Record], stored: Sequence[models.Record]
) -> list[models.Record]:
    """Return the points of the source that are equal in the target."""
    there = {record.id: record for record in stored}
    return [record for record in current if same.is_same(record, there[record.id])]


def _take_vectors(points: Sequence[Point]) -> list[models.PointVectors]:
    """Return the vectors of the points that have vectors; in place, all these vectors are new."""
    return [
        models.PointVectors.model_construct(
            id=point.id, vector={name: to_numbers(vector) for name, vector in point.vectors.items()}
        )
        for point in points
        if point.vectors
    ]
