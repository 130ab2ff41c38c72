"""Runs a migration: prepares the target, writes points in the order of their ids, and fits the encoding if required."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from qdrant_client import models

from colbert_qdrant._support.progress import ProgressReporter, reporting, require_progress
from colbert_qdrant._support.values import plain
from colbert_qdrant.collection.fitting import Fitter
from colbert_qdrant.config.checks import require_number
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.migrate.copier import Copier, make_copier
from colbert_qdrant.migrate.job import MigrationJob
from colbert_qdrant.migrate.state import utc_now, write_migration
from colbert_qdrant.migrate.target import declare, prepare_target


@dataclass(frozen=True, kw_only=True)
class MigrationReport:
    """The outcome of a run.

    Attributes:
        points: The number of points written; in place, the number of points that got vectors.
        present: The number of points that the target already had, equal to those of the source.
        removed: The number of points that the source lost, and that were deleted from the target.
        without_tokens: The number of points without a text, and so without token vectors; MaxSim never finds them.
        truncated: The number of points written whose text was truncated, since it is longer than the encoder accepts.
        seconds: The wall time.
    """

    points: int
    present: int = 0
    removed: int = 0
    without_tokens: int = 0
    truncated: int = 0
    seconds: float

    @property
    def points_per_second(self) -> float:
        """The number of points written per second of wall time."""
        return self.points / self.seconds if self.seconds > 0 else 0.0


async def run_migration(
    job: MigrationJob, *, progress: bool | ProgressReporter, points_per_second: float | None
) -> MigrationReport:
    """Write every point that the target lacks; see `Migration.run`."""
    require_progress(progress)
    points_per_second = plain(points_per_second)
    if points_per_second is not None:
        require_number("points_per_second", points_per_second, minimum=0)
        if points_per_second == 0:
            raise ConfigurationError("points_per_second=0 would write nothing: use a larger number, or leave it out")
    job.plan.require_possible()
    job.require_encoder()
    started = time.perf_counter()
    job = await job.with_source()
    await prepare_target(job, progress=progress)
    copier = await _write_points(job, progress=progress, rate=points_per_second)
    if job.plan.encoding == "fitted":
        await _fit(job, progress=progress)
    elif job.in_place:
        await declare(job, job.fde)
    await _copy_limits(job)
    state = await job.read_state()
    await write_migration(job.target_engine, replace(state, copied=utc_now(), wrote=copier.copied.to_dict()))
    return MigrationReport(
        points=copier.written,
        present=copier.present,
        removed=copier.removed,
        without_tokens=copier.without_tokens,
        truncated=copier.truncated,
        seconds=time.perf_counter() - started,
    )


async def _write_points(job: MigrationJob, *, progress: bool | ProgressReporter, rate: float | None) -> Copier:
    with reporting(progress, label="migrate", total=job.source.points) as report:
        copier = await make_copier(job, rate=rate, report=report)
        await (copier.add() if job.in_place else copier.copy())
    return copier


async def _fit(job: MigrationJob, *, progress: bool | ProgressReporter) -> None:
    fitter = Fitter(await job.open_target())
    if await fitter.is_due(last=True):
        await fitter.fit(progress=progress)


async def _copy_limits(job: MigrationJob) -> None:
    """Copy the source's strict mode to the target once all points are written."""
    strict = job.source.info.config.strict_mode_config  # a different class than that of requests
    if strict is None or job.in_place or not (await job.target_engine.capabilities()).has("strict_mode"):
        return
    limits = models.StrictModeConfig(**strict.model_dump(exclude_none=True))
    await job.target_engine.update_collection(job.plan.target, strict_mode_config=limits)
