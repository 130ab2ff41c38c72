"""Compares the ids and payloads of a source and its target, one by one and by a digest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from qdrant_client import models

from colbert_qdrant._support.warned import warn
from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.collection.without_tokens import count_without_tokens, say_without_tokens
from colbert_qdrant.migrate.evidence import is_text
from colbert_qdrant.migrate.source import count_of, read_pages, show
from colbert_qdrant.migrate.verdict import Check
from colbert_qdrant.points.digests import Digest, is_same_payload
from colbert_qdrant.search.limits import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.migrate.sameness import Sameness
    from colbert_qdrant.migrate.source import Source


@dataclass(kw_only=True)
class Contents:
    """The ids and payloads of a source, with a digest that does not depend on their order.

    Args:
        size: The size of the sample.

    Attributes:
        points: The number of points.
        texts: The number of points with a text.
        sentences: The number of texts that look like texts of documents; see `is_text`.
        different: The points whose payload differs in the target.
        missing: The points that the target lacks.
        altered: A description of each vector that differs in the target, with its point.
        stale: In place, the points whose text or token vectors have changed since their vectors were added.
        sample: Some ids, chosen at random.
        copy: The digest of the target's points, in which the last digits of floats may differ; empty in place.
    """

    size: int = 0
    points: int = 0
    texts: int = 0
    sentences: int = 0
    different: list[PointId] = field(default_factory=list)
    missing: list[PointId] = field(default_factory=list)
    altered: list[str] = field(default_factory=list)
    stale: list[PointId] = field(default_factory=list)
    sample: list[PointId] = field(default_factory=list)
    copy: Digest = field(default_factory=Digest)
    _digest: Digest = field(default_factory=Digest)
    _random: np.random.RandomState = field(default_factory=lambda: np.random.RandomState(0))

    @property
    def digest(self) -> str:
        """The sum of the points' digests, in hexadecimal."""
        return str(self._digest)

    def add(self, page: Sequence[models.Record]) -> None:
        """Add a page of points to the digest and the sample."""
        self._digest.add(page)
        for record in page:
            self.points += 1
            self._choose(record.id)

    def compare(
        self, page: Sequence[models.Record], target: Sequence[models.Record], converter: Converter, same: Sameness
    ) -> None:
        """Add a page of points, and compare it with the same points of the target."""
        there = {record.id: record for record in target}
        self.copy.add(target)
        self._count_texts(page, converter)
        self.add(page)
        for record in page:
            if record.id not in there:
                self.missing.append(record.id)
                continue
            if not is_same_payload(record.payload, there[record.id].payload):
                self.different.append(record.id)
            self.altered += [f"{name!r} of point {record.id!r}" for name in same.differing(record, there[record.id])]

    def examine(self, page: Sequence[models.Record], converter: Converter) -> None:
        """Add a page of points in place, and find those with stale vectors."""
        self._count_texts(page, converter)
        self.add(page)
        if converter.origin_vector is not None:
            self.stale += converter.find_stale(page)

    def _count_texts(self, page: Sequence[models.Record], converter: Converter) -> None:
        texts = [text for text in converter.find_texts(page) if text is not None]
        self.texts += len(texts)
        self.sentences += sum(map(is_text, texts))

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
    """Read in place, page by page, the sources of added vectors, and the digests of the sources they were made from."""
    source, vectors = job.source, [str(converter.origin_vector)]
    if converter.encoder is None:
        vectors.append(converter.token_vector)
    return read_pages(
        job.source_engine,
        source.name,
        source.filter,
        limits=source.limits,
        payload=True,
        vectors=vectors if converter.origin_vector is not None else (),
    )


async def read_both(job: MigrationJob) -> AsyncIterator[tuple[list[models.Record], list[models.Record]]]:
    """Read the data to compare from source and target, page by page of the source."""
    source, vectors = job.source, job.sameness.vectors
    async for page in read_pages(
        job.source_engine, source.name, source.filter, limits=source.limits, payload=True, vectors=vectors
    ):
        ids = [record.id for record in page]
        yield (
            page,
            await job.target_engine.retrieve(
                job.plan.target, ids=ids, with_payload=True, with_vectors=vectors or False
            ),
        )


async def read_gone(job: MigrationJob, *, limits: Limits) -> AsyncIterator[list[PointId]]:
    """Read the ids that only the target has, page by page; ``limits`` are the target's."""
    source = job.source
    async for page in read_pages(job.target_engine, job.plan.target, None, limits=limits):
        ids = [record.id for record in page]
        found: set[PointId] = set()
        size = source.limits.condition_size or len(ids)
        for start in range(0, len(ids), size):
            asked = source.narrow(models.HasIdCondition(has_id=ids[start : start + size]))
            async for there in read_pages(job.source_engine, source.name, asked, limits=source.limits):
                found.update(record.id for record in there)
        if gone := [id for id in ids if id not in found]:
            yield gone


async def compare_contents(
    job: MigrationJob, converter: Converter, *, sample: int, report: ProgressReporter
) -> Contents:
    """Read all ids and payloads of source and target, page by page, and report every page."""
    compute = job.source_engine.runtime.compute
    contents = Contents(size=sample)
    if job.in_place:
        async for page in read_origins(job, converter):
            await compute(contents.examine, page, converter)
            report.advance(len(page))
        return contents
    same = job.sameness
    async for page, stored in read_both(job):
        await compute(contents.compare, page, stored, converter, same)
        report.advance(len(page))
    return contents


def check_texts(job: MigrationJob, contents: Contents) -> list[Check]:
    """Warn if few points have a text, or if few texts look like texts, which no check of vectors would detect."""
    if job.texts is None or job.plan.tokens != "encoded" or not contents.points:
        return []
    found = f"{contents.texts:,} of {contents.points:,} points have a text {job.texts}"
    if 2 * contents.sentences < contents.texts:
        odd = contents.texts - contents.sentences
        found += f", but {odd:,} of these look like single words, numbers, file names or JSON"
    elif 2 * contents.texts > contents.points:
        return [Check(name="texts", passed=True, detail=found)]
    detail = f"{found}: check that this is right, or plan again with text_key=… or text=…"
    warn(f"migration of collection {job.plan.source!r}: {detail}")
    return [Check(name="texts", passed=None, detail=detail, warns=True)]


async def check_found(job: MigrationJob) -> list[Check]:
    """Warn if documents of the target have a text but no token vectors, as other applications write them."""
    plan, engine = job.plan, job.target_engine
    if job.in_place and plan.tokens == "encoded":
        return []  # the digests of texts detect it
    limits = Limits.of(await engine.get_collection(plan.target), plan.config.token_vector)
    count = await count_without_tokens(engine, plan.target, plan.config, limits)
    if not count:
        return []
    detail = say_without_tokens(count, plan.config, opened=plan.target)
    warn(f"migration of collection {plan.source!r}: {detail}")
    return [Check(name="documents found", passed=True, detail=detail, warns=True)]


async def check_contents(job: MigrationJob, contents: Contents, *, switched: bool) -> list[Check]:
    """Check counts, ids and payloads; in place, check the digests of texts or token vectors.

    Once an alias is ``switched``, applications may add points to the target.
    """
    if job.in_place:
        return [_check_origins(contents)] if job.plan.written else []
    target = await count_documents(job.target_engine, job.plan.target)
    missing, different = contents.missing, contents.different
    more = target - (contents.points - len(missing))
    same = target == contents.points or (switched and not missing)
    again = (
        f"write the points to {job.plan.target!r}, unless applications deleted or changed them after the switch"
        if switched
        else "run() again"
    )
    since = "" if same else f"; {again}" if switched else f"; {again} if the source was written to during the run"
    found = [f"{len(missing):,} missing{show(missing)}"] if missing else []
    found += [f"{more:,} not in the source"] if more and not switched else []
    fine = f"the same, plus {more:,} that were written after the switch" if more else "the same"
    others = f"{count_of(different)} with a different payload{show(different)}; {again}"
    return [
        Check(name="count", passed=same, detail=f"{contents.points:,} points, {target:,} in the target{since}"),
        Check(name="ids", passed=not found, detail=f"{', '.join(found)}; {again}" if found else fine),
        Check(
            name="payloads",
            passed=not different,
            detail=others if different else f"equal, SHA-256 {contents.digest[:16]}…",
        ),
    ]


def _check_origins(contents: Contents) -> Check:
    stale = contents.stale
    others = f"{count_of(stale)} without vectors, or with vectors of another text{show(stale)}; run() again"
    return Check(name="origins", passed=not stale, detail=others if stale else "all vectors belong to their texts")
