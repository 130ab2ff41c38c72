"""Compares ids and payloads of a source and its target, by a digest and one by one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.migrate.source import canonical_json, read_pages
from colbert_qdrant.migrate.verdict import Check

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from qdrant_client import models

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.migrate.source import Source

_SHOWN: Final = 5
_PAGE_PAYLOADS: Final = 256
_PAGE_TOKENS: Final = 64


@dataclass(kw_only=True)
class Contents:
    """Ids and payloads of a source, told from others by a digest that does not depend on their order.

    Args:
        size: The size of the sample.

    Attributes:
        points: The number of points.
        texts: The number of points with a text.
        different: The points whose payload is another in the target.
        missing: The points that the target lacks.
        stale: In place, the points whose added vectors were made of something else than they have.
        sample: Some ids, chosen at random.
    """

    size: int = 0
    points: int = 0
    texts: int = 0
    different: list[PointId] = field(default_factory=list)
    missing: list[PointId] = field(default_factory=list)
    stale: list[PointId] = field(default_factory=list)
    sample: list[PointId] = field(default_factory=list)
    _total: int = 0
    _random: np.random.RandomState = field(default_factory=lambda: np.random.RandomState(0))

    @property
    def digest(self) -> str:
        """The sum of the points' digests, in hexadecimal."""
        return f"{self._total % 2**256:064x}"

    def add(self, page: Sequence[models.Record]) -> list[str]:
        """Count a page of points, and return their payloads as JSON."""
        payloads = [canonical_json(record.payload) for record in page]
        for record, payload in zip(page, payloads, strict=True):
            self.points += 1
            self._total += int.from_bytes(hashlib.sha256(f"{record.id!r} {payload}".encode()).digest(), "big")
            self._choose(record.id)
        return payloads

    def compare(self, page: Sequence[models.Record], target: Sequence[models.Record], converter: Converter) -> None:
        """Count a page of points, and compare it with the same points of the target."""
        there = {record.id: canonical_json(record.payload) for record in target}
        self.texts += sum(text is not None for text in converter.find_texts(page))
        for record, payload in zip(page, self.add(page), strict=True):
            if record.id not in there:
                self.missing.append(record.id)
            elif there[record.id] != payload:
                self.different.append(record.id)

    def examine(self, page: Sequence[models.Record], converter: Converter) -> None:
        """Count a page of points, in place."""
        self.texts += sum(text is not None for text in converter.find_texts(page))
        self.add(page)
        if converter.origin_vector is not None:
            self.stale += converter.find_stale(page)

    def _choose(self, id: PointId) -> None:
        """Keep every id with the same probability (reservoir sampling)."""
        if len(self.sample) < self.size:
            self.sample.append(id)
        elif self.size and (place := self._random.randint(self.points)) < self.size:
            self.sample[place] = id


async def read_contents(engine: Engine, source: Source) -> Contents:
    """Read all ids and payloads of a source."""
    contents = Contents()
    async for page in read_pages(engine, source.name, source.filter, limits=source.limits, payload=True):
        await engine.runtime.compute(contents.add, page)
    return contents


def read_origins(job: MigrationJob, converter: Converter) -> AsyncIterator[list[models.Record]]:
    """Read in place, page by page, what added vectors are made of, and the digest of what they were made of."""
    source, vectors, most = job.source, [str(converter.origin_vector)], _PAGE_PAYLOADS
    if converter.encoder is None:
        vectors, most = [*vectors, converter.token_vector], _PAGE_TOKENS
    return read_pages(
        job.source_engine,
        source.name,
        source.filter,
        limits=source.limits,
        payload=True,
        vectors=vectors if converter.origin_vector is not None else (),
        most=most,
    )


async def compare_contents(
    job: MigrationJob, converter: Converter, *, sample: int, report: ProgressReporter
) -> Contents:
    """Read all ids and payloads of source and target, page by page; every page is reported."""
    source, compute = job.source, job.source_engine.runtime.compute
    contents = Contents(size=sample)
    if job.in_place:
        async for page in read_origins(job, converter):
            await compute(contents.examine, page, converter)
            report.advance(len(page))
        return contents
    async for page in read_pages(job.source_engine, source.name, source.filter, limits=source.limits, payload=True):
        stored = await job.target_engine.retrieve(
            job.plan.target, ids=[record.id for record in page], with_payload=True, with_vectors=False
        )
        await compute(contents.compare, page, stored, converter)
        report.advance(len(page))
    return contents


async def check_contents(job: MigrationJob, contents: Contents) -> list[Check]:
    """Check counts, ids and payloads; in place, the digests of what added vectors were made of."""
    if job.in_place:
        return [_check_origins(contents)] if job.plan.written else []
    target = await count_documents(job.target_engine, job.plan.target)
    same, missing, different = target == contents.points, contents.missing, contents.different
    again = "" if same else "; run() again, if the source was written to meanwhile"
    more = target - (contents.points - len(missing))
    found = [f"{len(missing):,} are missing{show(missing)}"] if missing else []
    found += [f"{more:,} are not in the source"] if more else []
    others = f"{len(different):,} points have another payload{show(different)}; run() again"
    return [
        Check(name="count", passed=same, detail=f"{contents.points:,} points, {target:,} in the target{again}"),
        Check(name="ids", passed=not found, detail=f"{', '.join(found)}; run() again" if found else "the same"),
        Check(
            name="payloads",
            passed=not different,
            detail=others if different else f"equal, SHA-256 {contents.digest[:16]}…",
        ),
    ]


def _check_origins(contents: Contents) -> Check:
    stale = contents.stale
    others = f"{len(stale):,} points lack vectors, or have those of another text{show(stale)}; run() again"
    return Check(name="origins", passed=not stale, detail=others if stale else "all vectors are those of their texts")


def show(ids: Sequence[PointId]) -> str:
    """Name some points in a message."""
    return f" ({', '.join(map(repr, ids[:_SHOWN]))}{', …' if len(ids) > _SHOWN else ''})"
