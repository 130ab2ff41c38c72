"""Brings a target up to date during a switch, so that no write to its source is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from qdrant_client import models

from colbert_qdrant._support.progress import reporting
from colbert_qdrant._support.warned import warn
from colbert_qdrant.migrate.contents import read_gone
from colbert_qdrant.migrate.copier import make_copier
from colbert_qdrant.migrate.differences import limits_of
from colbert_qdrant.migrate.source import read_pages, show
from colbert_qdrant.migrate.state import write_migration
from colbert_qdrant.points.digests import Digest, Snapshot, is_same_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.points.point import Point

    Records = Sequence[models.Record]

_NAMED: Final = 100
"""The largest number of points that a state names."""


async def catch_up(job: MigrationJob) -> Snapshot:
    """Copy all writes to the source since the last run, and return a snapshot of the copied points."""
    snapshot = Snapshot(job.sameness.vectors)
    with reporting(False, label="switch", total=job.source.points) as report:  # noqa: FBT003
        copier = await make_copier(job, report=report, snapshot=snapshot)
        await copier.copy()
    state, copied = await job.read_state(), copier.copied.to_dict()
    verified = {**(state.verified or {}), **copied}
    await write_migration(job.target_engine, replace(state, wrote=copied, verified=verified))
    return snapshot


async def settle(job: MigrationJob, snapshot: Snapshot) -> None:
    """Copy the writes to the source between the snapshot and the move of an alias to the target.

    Applications already write to the target. A point that they wrote or deleted there keeps that state, which is the
    later one for applications that write through the alias. A warning names the point, and `cleanup` names it before it
    deletes the other version.
    """
    digest, late, in_snapshot = Digest(job.sameness.vectors), [], 0
    source, compute = job.source, job.source_engine.runtime.compute
    async for page in read_pages(
        job.source_engine,
        source.name,
        source.filter,
        limits=source.limits,
        payload=True,
        vectors=job.sameness.vectors,
    ):
        await compute(digest.add, page)
        late += await compute(_find_late, page, snapshot)
        in_snapshot += sum(record.id in snapshot for record in page)
    overruled = await _copy_late(job, snapshot, late)
    if in_snapshot < len(snapshot):
        await _delete_late(job, snapshot)
    state = await job.read_state()
    state = replace(state, left=digest.to_dict(), overruled=tuple(overruled[:_NAMED]))
    await write_migration(job.target_engine, state)
    if overruled:
        warn(
            f"points{show(overruled)} were written both to {job.plan.source!r} and to {job.plan.target!r} while an "
            "alias was switched. The target keeps its own versions, which are later if applications write through "
            "the alias: compare both if not."
        )


def _find_late(page: Records, snapshot: Snapshot) -> list[PointId]:
    return [record.id for record in page if not snapshot.is_unchanged(record)]


async def _copy_late(job: MigrationJob, snapshot: Snapshot, ids: list[PointId]) -> list[PointId]:
    """Copy points, except those that another client wrote in the target since; return the exceptions."""
    overruled: list[PointId] = []

    async def choose(points: list[Point]) -> list[Point]:
        """Compare with the target right before the write, after the slow encoding of texts."""
        records = await job.target_engine.retrieve(job.plan.target, ids=[point.id for point in points])
        there, free = {record.id: record for record in records}, []
        for point in points:
            stored = there.get(point.id)
            if point.id not in snapshot if stored is None else snapshot.is_as_copied(stored):
                free.append(point)
            elif stored is None or not is_same_payload(stored.payload, point.payload):
                overruled.append(point.id)
        return free

    if ids:
        with reporting(False, label="switch", total=len(ids)) as report:  # noqa: FBT003
            copier = await make_copier(job, report=report)
            await copier.copy_points(ids, choose=choose)
    return overruled


async def _delete_late(job: MigrationJob, snapshot: Snapshot) -> None:
    """Delete the points that the source lost, except those that another client wrote in the target since."""
    limits = await limits_of(job.target_engine, job.plan.target)
    async for gone in read_gone(job, limits=limits):
        asked = [id for id in gone if id in snapshot]
        stored = await job.target_engine.retrieve(job.plan.target, ids=asked) if asked else []
        if ids := [record.id for record in stored if snapshot.is_as_copied(record)]:
            await job.target_engine.delete(job.plan.target, points_selector=models.PointIdsList(points=ids))
