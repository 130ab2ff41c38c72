"""Looks for limits of a server's strict mode that a migration would come to, before anything is written."""

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

_LIFT = "or lift it with client.update_collection(name, strict_mode_config=…)"


async def risks_of_filter(job: MigrationJob) -> list[Risk]:
    """Look whether the server takes the user's filter with one more condition, by a vector or by ids."""
    source = job.source
    having = source.narrow(models.HasVectorCondition(has_vector=job.plan.config.token_vector))
    try:
        source.limits.check_filter(await documents_only(job.source_engine, source.name, having))
    except ConfigurationError as error:
        problem = f"the server does not take the conditions of a migration ({error})"
        return [Risk(blocks=True, problem=problem, remedy="use a filter of fewer conditions, or lift the limit")]
    return []


def risks_of_sizes(job: MigrationJob, plan: MigrationPlan) -> Iterator[Risk]:
    """Look for limits of what is written; ``plan`` has the costs.

    The target of another name gets these limits when all points are there: then they concern later writes.
    """
    strict = job.source.info.config.strict_mode_config
    if strict is None or not strict.enabled:
        return
    rows, longest = Limits.of(job.source.info, plan.config.token_vector).rows, plan.costs.longest
    if plan.tokens == "encoded" and rows is not None and longest > rows:
        yield Risk(
            blocks=job.in_place,
            problem=f"texts of the sample have up to {longest:,} token vectors, and strict mode allows {rows:,} "
            f"(multivector_config){_when(job)}",
            remedy=f"have the encoder pool or truncate them, {_LIFT}",
        )
    size = strict.max_collection_vector_size_bytes
    if size is not None and plan.disk_bytes > size:
        yield Risk(
            blocks=job.in_place,
            problem=f"the vectors take about {plan.disk_bytes:,.0f} bytes, more than strict mode allows "
            f"(max_collection_vector_size_bytes={size:,}){_when(job)}",
            remedy=f"use a smaller encoding (fde=…) or datatype (config=…), {_LIFT}",
        )
    writes = strict.write_rate_limit
    if job.in_place and writes:
        yield Risk(
            blocks=False,
            problem=f"strict mode allows {writes:,} points a minute to be written (write_rate_limit)",
            remedy=f"this takes {plan.points / writes:,.0f} minutes at least, {_LIFT}",
        )


def _when(job: MigrationJob) -> str:
    return "" if job.in_place else ": later writes to the target are refused"
