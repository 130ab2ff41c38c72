"""Finds the limits of a server's strict mode that a migration would exceed, before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qdrant_client import models

from colbert_qdrant.collection.metadata import documents_only
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.migrate.plan import Risk
from colbert_qdrant.search.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.migrate.plan import MigrationPlan

_LIFT = "or raise the limit with client.update_collection(name, strict_mode_config=…)"


async def risks_of_filter(job: MigrationJob) -> list[Risk]:
    """Check that the server accepts the user's filter with one more condition, on a vector or on ids."""
    source = job.source
    having = source.narrow(models.HasVectorCondition(has_vector=job.plan.config.token_vector))
    try:
        source.limits.check_filter(await documents_only(job.source_engine, source.name, having))
    except ConfigurationError as error:
        problem = f"the server refuses the conditions that a migration adds to the filter ({error})"
        return [Risk(blocks=True, problem=problem, remedy="use a filter with fewer conditions, or raise the limit")]
    return []


def risks_of_sizes(job: MigrationJob, plan: MigrationPlan) -> Iterator[Risk]:
    """Find the limits that writes would exceed; ``plan`` has the costs.

    A separate target gets these limits once all points are written, so there they concern only later writes.
    """
    strict = job.source.info.config.strict_mode_config
    if strict is None or not strict.enabled:
        return
    rows, longest = Limits.of(job.source.info, plan.config.token_vector).rows, plan.costs.longest
    if plan.tokens == "encoded" and rows is not None and longest > rows:
        yield Risk(
            blocks=job.in_place,
            problem=f"sampled texts have up to {longest:,} token vectors, but strict mode allows {rows:,} "
            f"(multivector_config){_when(job)}",
            remedy=f"use an encoder that pools or truncates them, {_LIFT}",
        )
    size = strict.max_collection_vector_size_bytes
    if size is not None and plan.disk_bytes > size:
        yield Risk(
            blocks=job.in_place,
            problem=f"the vectors take about {plan.disk_bytes:,.0f} bytes, which is more than strict mode allows "
            f"(max_collection_vector_size_bytes={size:,}){_when(job)}",
            remedy=f"use a smaller encoding (fde=…) or datatype (config=…), {_LIFT}",
        )
    writes = strict.write_rate_limit
    if job.in_place and writes:
        yield Risk(
            blocks=False,
            problem=f"strict mode allows {writes:,} written points per minute (write_rate_limit)",
            remedy=f"expect at least {plan.points / writes:,.0f} minutes, {_LIFT}",
        )


def _when(job: MigrationJob) -> str:
    return "" if job.in_place else ", so that later writes to the target are refused"
