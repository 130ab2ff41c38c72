"""Finds the differences between source and target, so that the only copy of a point is never deleted."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.errors import MigrationError
from colbert_qdrant.migrate.contents import read_both, read_gone
from colbert_qdrant.migrate.source import count_of, read_pages, show
from colbert_qdrant.points.digests import Digest
from colbert_qdrant.search.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qdrant_client import models

    from colbert_qdrant.engines import Engine
    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.migrate.sameness import Sameness
    from colbert_qdrant.migrate.state import MigrationState


@dataclass(kw_only=True)
class Differences:
    """The differences between a source and its target.

    Attributes:
        source: The source's name.
        target: The target's name.
        missing: The points that only the source has.
        more: The points that only the target has.
        different: The points whose payload, dense or sparse vectors differ between the two.
        digest: The digest of the source.
    """

    source: str
    target: str
    missing: list[PointId] = field(default_factory=list)
    more: list[PointId] = field(default_factory=list)
    different: list[PointId] = field(default_factory=list)
    digest: Digest = field(default_factory=Digest)

    def __bool__(self) -> bool:
        return bool(self.missing or self.more or self.different)

    def __str__(self) -> str:
        found = [
            (self.missing, f"only in {self.source!r}"),
            (self.more, f"only in {self.target!r}"),
            (self.different, f"in different versions in {self.source!r} and {self.target!r}"),
        ]
        return ", ".join(f"{count_of(ids)} {where}{show(ids)}" for ids, where in found if ids)

    def compare(self, page: Sequence[models.Record], stored: Sequence[models.Record], same: Sameness) -> None:
        """Compare a page of the source with the same points of the target."""
        self.digest.add(page)
        there = {record.id: record for record in stored}
        for record in page:
            if record.id not in there:
                self.missing.append(record.id)
            elif not same.is_same(record, there[record.id]):
                self.different.append(record.id)


async def find_differences(job: MigrationJob) -> Differences:
    """Compare all points of source and target in both directions."""
    found, same = Differences(source=job.plan.source, target=job.plan.target), job.sameness
    async for page, stored in read_both(job):
        await job.source_engine.runtime.compute(found.compare, page, stored, same)
    both = found.digest.points - len(found.missing)
    if await count_documents(job.target_engine, job.plan.target) > both:
        async for ids in read_gone(job, limits=await limits_of(job.target_engine, job.plan.target)):
            found.more += ids
    return found


async def require_no_own(job: MigrationJob, state: MigrationState) -> None:
    """Raise an error if another client wrote data to the target that the source lacks.

    Raises:
        MigrationError: If the only copy of a point would be deleted or overwritten with the target.
    """
    if state.wrote is None and state.returned is None and not state.switches:
        return  # no run has ended and no alias was switched, so no application has used the target
    if (await read_digest(job.target_engine, job.plan.target)).to_dict() == state.wrote:
        return
    found = await find_differences(job)
    if found.more or found.different:
        found.missing.clear()
        raise MigrationError(
            f"another client wrote to collection {job.plan.target!r}, with {found}: write the points that you need to "
            f"{job.plan.source!r}, then delete {job.plan.target!r} with client.delete_collection"
        )


async def read_digest(
    engine: Engine, name: str, *, chosen: models.Filter | None = None, vectors: Sequence[str] = ()
) -> Digest:
    """Read all points of a collection, or those that match a filter, and return their digest."""
    digest, limits = Digest(vectors), await limits_of(engine, name)
    async for page in read_pages(engine, name, chosen, limits=limits, payload=True, vectors=vectors):
        await engine.runtime.compute(digest.add, page)
    return digest


async def limits_of(engine: Engine, name: str) -> Limits:
    """Return the limits of a collection's server."""
    return Limits.of(await engine.get_collection(name), "")
