"""Compares the vectors of a source and its target: the number of each vector, and the values of a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qdrant_client import models

from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.migrate.source import retrieve_pages
from colbert_qdrant.migrate.verdict import Check
from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.shown import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from colbert_qdrant.migrate.contents import Contents
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.migrate.plan import MigrationPlan

_SHOWN: Final = 5
_RECOMPUTED: Final = 0.98
"""The lowest accepted cosine between a stored and a recomputed vector. Stored token vectors are rounded, which may move
a token near a hyperplane to its other side."""


async def check_counts(job: MigrationJob, contents: Contents, *, switched: bool) -> Check:
    """Check that the target has as many copied vectors as the source, and as many added vectors as texts.

    It may have more vectors of this library, which `repair` adds, and more of every vector once ``switched``.
    """
    plan = job.plan
    if not all([(await each.capabilities()).has("has_vector") for each in (job.source_engine, job.target_engine)]):
        return Check(name="vectors", passed=None, detail="servers before 1.13 cannot filter points by a vector")
    own = (plan.config.token_vector, plan.config.fde_vector)
    wrong, counts = [], {}
    for name in plan.kept:
        having = job.source.narrow(models.HasVectorCondition(has_vector=name))
        before = await count_documents(job.source_engine, job.source.name, having)
        counts[name] = await _count_with(job, name)
        if counts[name] < before or (counts[name] > before and not switched and name not in job.sameness.own):
            wrong.append(f"{counted(counts[name], 'point', 'have')} {name!r}, but {before:,} in the source")
    tokens, encodings = [await _count_with(job, name) for name in own]
    counts |= {name: count for name, count in zip(own, (tokens, encodings), strict=True) if name not in plan.kept}
    if plan.tokens == "encoded" and (tokens < contents.texts or (tokens > contents.texts and not switched)):
        wrong.append(f"{counted(contents.texts, 'point', 'have')} a text, but {tokens:,} have token vectors")
    remedy = _remedy(plan, switched=switched)
    if tokens != encodings:
        if plan.encoding == "stored" and not wrong:
            remedy = (
                "as in the source; add the missing vectors there, or call cleanup('target') and plan with another "
                "encoding (fde=…) for all points"
            )
        wrong.append(f"{counted(tokens, 'point', 'have')} token vectors, but {encodings:,} have an FDE")
    numbers = ", ".join(f"{name!r} {count:,}" for name, count in counts.items())
    return Check(name="vectors", passed=not wrong, detail=f"{'; '.join(wrong)}: {remedy}" if wrong else numbers)


async def check_sample(job: MigrationJob, converter: Converter, contents: Contents, *, switched: bool) -> list[Check]:
    """Compare the copied vectors of a sample with the source, and recompute its added vectors."""
    if not contents.sample:
        return []
    sample = _Sample(job, converter)
    async for source in retrieve_pages(job.source_engine, job.source.name, contents.sample):
        ids = [record.id for record in source]
        target = await job.target_engine.retrieve(job.plan.target, ids=ids, with_payload=False, with_vectors=True)
        await job.source_engine.runtime.compute(sample.compare, source, target)
    return sample.checks(contents, _remedy(job.plan, switched=switched))


class _Sample:
    """Compares the vectors of points that source and target have in common."""

    def __init__(self, job: MigrationJob, converter: Converter) -> None:
        self._job = job
        self._converter = converter
        self._points = self._computed = 0
        self._wrong: list[str] = []
        self._worst = 1.0

    def compare(self, source: Sequence[models.Record], target: Sequence[models.Record]) -> None:
        """Compare the copied vectors that are too large to compare for every point, and recompute the added ones."""
        there = {record.id: vectors_of(record) for record in target}
        both = [record for record in source if record.id in there]
        plan, same = self._job.plan, self._job.sameness
        self._points += len(both)
        self._wrong += [
            f"{name!r} of point {record.id!r}"
            for record in both
            for name, vector in vectors_of(record).items()
            if name in plan.kept
            and name not in same.vectors
            and not same.is_same_vector(name, vector, there[record.id].get(name))
        ]
        for point in self._converter.convert(both):
            for name in {*point.vectors} - {*plan.kept}:
                self._compute_again(point.vectors[name], there[point.id].get(name))

    def checks(self, contents: Contents, remedy: str) -> list[Check]:
        """Return the checks; the small vectors of every point were already compared with ids and payloads."""
        wrong = contents.altered + self._wrong
        others = f"different from the source: {', '.join(wrong[:_SHOWN])}: {remedy}"
        number = contents.points if self._job.sameness.vectors else self._points
        detail = others if wrong else f"equal in {number:,} points"
        checks = [Check(name="copied vectors", passed=not wrong, detail=detail)]
        if self._computed or self._worst < 1:
            passed = self._worst >= _RECOMPUTED
            problem = "" if passed else f", since the encoder is another or the vectors were altered; {remedy}"
            detail = f"the lowest cosine of {self._computed} recomputed vectors is {self._worst:.4f}"
            checks.append(Check(name="computed vectors", passed=passed, detail=f"{detail}{problem}"))
        return checks

    def _compute_again(self, made: Any, stored: Any) -> None:
        if stored is None:
            self._worst = 0.0
        elif isinstance(made, np.ndarray):
            self._worst = min(self._worst, _cosine(_flatten(made), _flatten(stored)))
            self._computed += 1


def _remedy(plan: MigrationPlan, *, switched: bool) -> str:
    """Return the remedy for wrong vectors, which a run does not compare."""
    if switched:
        return (
            "ignore this if applications wrote these vectors after the switch. Otherwise, open collection "
            f"{plan.target!r} with its encoder, call repair() to encode texts without token vectors, and rewrite the "
            "other documents"
        )
    if plan.strategy == "in_place":
        return "run() again if vectors are missing, and call rollback() first if they are wrong"
    return "delete these points or the whole target, and run() again"


async def _count_with(job: MigrationJob, name: str) -> int:
    """Count the points of the target that have a vector."""
    having = models.Filter(must=[models.HasVectorCondition(has_vector=name)])
    return await count_documents(job.target_engine, job.plan.target, having)


def _flatten(vector: Any) -> NDArray[np.float32]:
    return np.asarray(vector, np.float32).ravel()


def _cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    if first.shape != second.shape:
        return 0.0
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / norms if norms else float(not first.any() and not second.any())
