"""Verifies that a target equals its source and can be searched."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from colbert_qdrant._support.progress import reporting
from colbert_qdrant._support.values import plain
from colbert_qdrant.config.checks import require_int, require_number
from colbert_qdrant.migrate.contents import check_contents, check_found, check_texts, compare_contents
from colbert_qdrant.migrate.quality import check_quality
from colbert_qdrant.migrate.state import utc_now, write_migration
from colbert_qdrant.migrate.vector_checks import check_counts, check_sample
from colbert_qdrant.migrate.verdict import Check, Verdict
from colbert_qdrant.migrate.waiting import describe_status, wait_for_graphs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdrant_client import models

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.migrate.contents import Contents
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.migrate.state import MigrationState


async def verify_target(
    job: MigrationJob,
    *,
    sample: int,
    queries: int,
    min_recall: float,
    timeout: float,  # noqa: ASYNC109 - it bounds a part of the work
    progress: bool | ProgressReporter,
) -> Verdict:
    """Compare the target with the source; see `Migration.verify`."""
    sample, queries, min_recall, timeout = map(plain, (sample, queries, min_recall, timeout))
    require_int("sample", sample, minimum=1)
    require_int("queries", queries, minimum=1)
    require_number("min_recall", min_recall, minimum=0, maximum=1)
    if not (isinstance(timeout, float) and timeout == math.inf):
        require_number("timeout", timeout, minimum=0)
    job.require_encoder()
    state = await job.read_state()
    job = await job.with_fde()
    converter = await job.make_converter()
    with reporting(progress, label="verify", total=job.source.points) as report:
        contents = await compare_contents(job, converter, sample=sample, report=report)
    switched = bool(state.switches)
    checks = [
        *_check_run(state, contents),
        *await check_contents(job, contents, switched=switched),
        *check_texts(job, contents),
        await check_counts(job, contents, switched=switched),
        *await check_found(job),
        *await check_sample(job, converter, contents, switched=switched),
    ]
    checks += await _check_engine(job, timeout=timeout if _is_fine(checks) else 0, progress=progress)
    recall = None
    if _is_fine(checks):
        check, recall = await check_quality(job, converter, contents.sample, queries=queries, min_recall=min_recall)
        checks.append(check)
    verdict = Verdict(
        source=job.plan.source,
        target=job.plan.target,
        at=utc_now(),
        points=contents.points,
        digest=contents.digest,
        recall=recall,
        checks=tuple(checks),
    )
    read = {"points": verdict.points, "digest": verdict.digest} if job.in_place else contents.copy.to_dict()
    short = {"at": verdict.at, "passed": verdict.passed, **read}
    state = await job.read_state()  # an alias may have been switched since
    await write_migration(job.target_engine, replace(state, verified=short))
    return verdict


def _check_run(state: MigrationState, contents: Contents) -> list[Check]:
    """Check that the run finished, and that in place no id and no payload changed."""
    ended = f"finished {state.copied}" if state.copied else "the run did not finish: run() again"
    checks = [Check(name="run", passed=state.copied is not None, detail=ended)]
    if state.before is not None:
        same = state.before == {"points": contents.points, "digest": contents.digest}
        detail = (
            "ids and payloads are unchanged"
            if same
            else "ids or payloads have changed since run() started: call run() and verify() again if another client "
            "wrote to the collection, or else restore the snapshot"
        )
        checks.append(Check(name="untouched", passed=same, detail=detail))
    return checks


def _is_fine(checks: Sequence[Check]) -> bool:
    return all(check.passed is not False for check in checks)


async def _check_engine(
    job: MigrationJob,
    *,
    timeout: float,  # noqa: ASYNC109 - a graph that is not ready then is a finding
    progress: bool | ProgressReporter,
) -> list[Check]:
    """Check that the target has every payload index of the source, and that its graphs are built before the timeout."""
    with reporting(progress, label="graphs", total=job.source.points) as report:
        info = await wait_for_graphs(job.target_engine, job.plan.target, report, timeout=timeout)
    if (await job.target_engine.capabilities()).has("payload_indexes"):
        indexes = _check_indexes(job, info.payload_schema)
    else:
        indexes = Check(name="payload indexes", passed=None, detail="the client's local mode has no payload indexes")
    remedies = {"green": "", "red": "; see the server's log, fix the cause, and call verify() again"}
    remedy = remedies.get(info.status.value, f" after {timeout:g} s; verify(timeout=…) waits longer")
    detail = f"{describe_status(info)}, {info.indexed_vectors_count or 0:,} vectors in graphs{remedy}"
    return [indexes, Check(name="index state", passed=info.status.value == "green", detail=detail)]


def _check_indexes(job: MigrationJob, there: Mapping[str, models.PayloadIndexInfo]) -> Check:
    wanted = job.source.info.payload_schema
    missing = [key for key, index in wanted.items() if key not in there or there[key].data_type != index.data_type]
    problem = f"missing or of a different type: {missing}; run() again"
    detail = problem if missing else f"{len(wanted)} of {len(wanted)}"
    return Check(name="payload indexes", passed=not missing, detail=detail)
