"""Compares the vectors of a source and its target: how many there are of each, and some of them one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qdrant_client import models

from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.migrate.source import read_points
from colbert_qdrant.migrate.verdict import Check
from colbert_qdrant.points.convert import vectors_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from colbert_qdrant.migrate.contents import Contents
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.migrate.plan import MigrationPlan

    Records = Mapping[Any, models.Record]

_SHOWN: Final = 5
_RECOMPUTED: Final = 0.98
"""The least cosine of an encoding and the one that is computed again. Stored token vectors are rounded, so a token on a
hyperplane may come to its other side."""


async def check_counts(job: MigrationJob, contents: Contents) -> Check:
    """Check that copied vectors are as many as in the source, and added ones as many as there are texts."""
    plan = job.plan
    if not all([(await each.capabilities()).has("has_vector") for each in (job.source_engine, job.target_engine)]):
        return Check(name="vectors", passed=None, detail="servers before 1.13 do not tell which points have a vector")
    own = (plan.config.token_vector, plan.config.fde_vector)
    wrong, counts = [], {}
    for name in plan.kept:
        having = job.source.narrow(models.HasVectorCondition(has_vector=name))
        before = await count_documents(job.source_engine, job.source.name, having)
        counts[name] = await _count_with(job, name)
        if before != counts[name]:
            wrong.append(f"{counts[name]:,} of {before:,} points have {name!r}")
    tokens, encodings = [await _count_with(job, name) for name in own]
    counts |= {name: count for name, count in zip(own, (tokens, encodings), strict=True) if name not in plan.kept}
    if plan.tokens == "encoded" and tokens != contents.texts:
        wrong.append(f"{contents.texts:,} points have a text, and {tokens:,} token vectors")
    remedy = _remedy(plan)
    if tokens != encodings:
        if plan.encoding == "stored" and not wrong:
            remedy = (
                "so it is in the source; add them to the points there that lack them, or cleanup('target') and plan "
                "with another encoding (fde=…), which all points get"
            )
        wrong.append(f"{tokens:,} points have token vectors, and {encodings:,} an encoding")
    numbers = ", ".join(f"{name!r} {count:,}" for name, count in counts.items())
    return Check(name="vectors", passed=not wrong, detail=f"{'; '.join(wrong)}: {remedy}" if wrong else numbers)


async def check_sample(job: MigrationJob, converter: Converter, contents: Contents) -> list[Check]:
    """Check that some points' copied vectors are those of the source, and compute the added ones again."""
    ids = contents.sample
    if not ids:
        return []
    source = {record.id: record for record in await read_points(job.source_engine, job.source.name, ids)}
    target = {record.id: record for record in await read_points(job.target_engine, job.plan.target, ids)}
    both = [id for id in ids if id in source and id in target]
    return await job.source_engine.runtime.compute(_check_both, job, converter, contents, source, target, both)


def _check_both(
    job: MigrationJob,
    converter: Converter,
    contents: Contents,
    source: Records,
    target: Records,
    ids: Sequence[Any],
) -> list[Check]:
    checks = [_check_copied(job, contents, source, target, ids)]
    worst, compared = _compute_again(job.plan, converter, source, target, ids)
    if compared or worst < 1:
        passed = worst >= _RECOMPUTED
        problem = "" if passed else f": another encoder, or altered; {_remedy(job.plan)}"
        detail = f"the least cosine of {compared} vectors that were computed again is {worst:.4f}{problem}"
        checks.append(Check(name="computed vectors", passed=passed, detail=detail))
    return checks


def _check_copied(job: MigrationJob, contents: Contents, source: Records, target: Records, ids: Sequence[Any]) -> Check:
    """Check vectors that were copied: those that are cheap to read of all points, the others of some."""
    same = job.sameness
    wrong = contents.altered + [
        f"{name!r} of point {id!r}"
        for id in ids
        for name, vector in vectors_of(source[id]).items()
        if name in job.plan.kept
        and name not in same.vectors
        and not same.is_same_vector(name, vector, vectors_of(target[id]).get(name))
    ]
    others = f"other than in the source: {', '.join(wrong[:_SHOWN])}: {_remedy(job.plan)}"
    number = contents.points if same.vectors else len(ids)
    return Check(name="copied vectors", passed=not wrong, detail=others if wrong else f"equal in {number:,} points")


def _compute_again(
    plan: MigrationPlan, converter: Converter, source: Records, target: Records, ids: Sequence[Any]
) -> tuple[float, int]:
    """Return the least cosine of vectors that were added and the same computed again, and the number of them."""
    worst, compared = 1.0, 0
    for point in converter.convert([source[id] for id in ids]):
        stored = vectors_of(target[point.id])
        for name in {*point.vectors} - {*plan.kept}:
            if name not in stored:
                worst = 0.0
            elif isinstance(point.vectors[name], np.ndarray):
                worst = min(worst, _cosine(_flatten(point.vectors[name]), _flatten(stored[name])))
                compared += 1
    return worst, compared


def _remedy(plan: MigrationPlan) -> str:
    """Say what to do about vectors: a run looks at ids and payloads only, in place at missing vectors only."""
    if plan.strategy == "in_place":
        return "run() again for those that are missing, for others rollback() first"
    return "delete these points from the target, or all of it, and run() again"


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
