"""Plans migrations: reads the source, and writes nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qdrant_client import models

from colbert_qdrant.collection.lifecycle import fitted
from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.collection.without_tokens import count_without_tokens
from colbert_qdrant.config.names import require_collection_name, require_stored_name
from colbert_qdrant.encoders.base import require_encoder
from colbert_qdrant.encoders.ready import able_to_encode
from colbert_qdrant.errors import ArtefactError, AuthenticationError, ConfigurationError, MigrationError
from colbert_qdrant.fde import make_encoder
from colbert_qdrant.migrate.costs import measure_costs
from colbert_qdrant.migrate.decide import decide
from colbert_qdrant.migrate.job import MigrationJob
from colbert_qdrant.migrate.risks import (
    risk_of_length,
    risk_of_target,
    risk_of_texts,
    risks_of_engines,
    risks_of_gaps,
    risks_of_points,
    risks_of_rollback,
    risks_of_sample,
)
from colbert_qdrant.migrate.sample import count_texts, read_sample
from colbert_qdrant.migrate.source import Source, read_source
from colbert_qdrant.migrate.state import read_migration
from colbert_qdrant.migrate.strict import risks_of_filter, risks_of_sizes
from colbert_qdrant.migrate.target import is_blank
from colbert_qdrant.points.fingerprint import fingerprint_of_encoder, same_encoder
from colbert_qdrant.points.texts import TextSource
from colbert_qdrant.search.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.migrate.decide import MigrationOptions
    from colbert_qdrant.migrate.plan import MigrationPlan
    from colbert_qdrant.migrate.sample import Sample
    from colbert_qdrant.points.texts import TextOf


async def plan_migration(
    source_engine: Engine, target_engine: Engine, name: str, target: str | None, options: MigrationOptions
) -> MigrationJob:
    """Plan a migration; see `Migration.plan`."""
    require_stored_name(name)
    source = await read_source(source_engine, name, options.filter)
    target = _target_name(source, target, options, same_engine=source_engine.client is target_engine.client)
    begun = await read_migration(target_engine, source.name) if options.in_place else None
    if begun is not None and begun.plan.strategy == "in_place":  # its source already has added vectors
        _require_same_options(begun.plan, options)
        return await _restore(source_engine, target_engine, begun.plan, options.encoder, options.text)
    sample = await read_sample(source_engine, source)
    plan, texts = await source_engine.runtime.compute(decide, source, target, sample.records, options)
    fde, lost = await _make_fde(source_engine, plan, source)
    if lost is not None:
        raise ArtefactError(lost)
    job = MigrationJob(
        source_engine=source_engine,
        target_engine=target_engine,
        source=source,
        plan=plan,
        texts=texts,
        encoder=able_to_encode(options.encoder),
        fde=fde,
    )
    return await _try_out(job, sample, options)


async def resume_migration(
    source_engine: Engine,
    target_engine: Engine,
    target: str,
    *,
    encoder: LateInteractionEncoder | None,
    text: TextOf | None,
) -> MigrationJob:
    """Continue a migration that was started; see `Migration.resume`."""
    require_stored_name(target)
    if encoder is not None:
        require_encoder(encoder)
    state = await read_migration(target_engine, target)
    if state is None:
        raise MigrationError(f"collection {target!r} is not the target of a migration: start one with Migration.plan")
    return await _restore(source_engine, target_engine, state.plan, encoder, text)


async def _try_out(job: MigrationJob, sample: Sample, options: MigrationOptions) -> MigrationJob:
    """Add to the plan the costs and risks that a sample shows, and the number of points that the target has."""
    plan, engine = job.plan, job.target_engine
    converter, compute = await job.make_converter(), job.source_engine.runtime.compute
    risks = [*risks_of_engines(job, await engine.capabilities())]
    risks += risks_of_points(job, *await _count_texts(job, converter, sample.records))
    if job.in_place:
        risks += risks_of_rollback(job, allowed=options.allow_irreversible)
    if plan.kind == "colbert_qdrant" and plan.tokens == "stored":
        count = await count_without_tokens(job.source_engine, plan.source, plan.config, job.source.limits)
        risks += [risk_of_texts(plan.source, count)] if count else []
    found = options.finds_texts and job.source.fingerprint is None
    risks += await compute(risks_of_sample, job, converter, sample.records, found=found)
    risks += risks_of_gaps(plan, await _count_gaps(job))
    risks += await risks_of_filter(job)
    if not any(risk.blocks for risk in risks):
        plan = replace(plan, costs=await compute(measure_costs, sample, converter, plan.config, binary=engine.binary))
        risks += risks_of_sizes(job, plan)
        risks += [risk_of_length(plan.costs)] if plan.costs.truncated else []
    if not job.in_place and await _target_exists(engine, plan):
        state = await read_migration(engine, plan.target)
        if state is not None and state.plan.same_as(plan):
            plan = replace(plan, present=min(await count_documents(engine, plan.target), plan.points))
        elif not await is_blank(engine, plan):
            risks.append(risk_of_target(plan.target))
    return replace(job, plan=replace(plan, risks=tuple(risks)))


async def _count_gaps(job: MigrationJob) -> int:
    """Count the points that have only one of token vectors and FDE, if the source stores both."""
    engine, config = job.source_engine, job.plan.config
    if job.plan.encoding != "stored" or not (await engine.capabilities()).has("has_vector"):
        return 0
    tokens, fde = [models.HasVectorCondition(has_vector=name) for name in (config.token_vector, config.fde_vector)]
    only: list[models.Condition] = [
        models.Filter(must=[one], must_not=[other]) for one, other in ((tokens, fde), (fde, tokens))
    ]
    chosen = job.source.narrow(models.Filter(should=only))
    try:
        job.source.limits.check_filter(chosen)
    except ConfigurationError:
        return 0  # verify() counts each
    return await count_documents(engine, job.source.name, chosen)


async def _target_exists(engine: Engine, plan: MigrationPlan) -> bool:
    try:
        return await engine.collection_exists(plan.target)
    except AuthenticationError as error:
        raise AuthenticationError(
            f"the API key has no access to collection {plan.target!r}, the target of {plan.source!r} ({error}): use a "
            "key that may create collections and aliases and read and write both, name another collection with "
            "target=…, or add the vectors with strategy='in_place'",
            operation=error.operation,
            collection=plan.target,
            attempts=error.attempts,
        ) from error


async def _count_texts(job: MigrationJob, converter: Converter, sample: Sequence[models.Record]) -> tuple[int, int]:
    """Return the number of points with a text and the number searched; search further if the sample has no text."""
    texts = await job.source_engine.runtime.compute(converter.find_texts, sample)
    found = sum(text is not None for text in texts)
    if found or job.texts is None or len(sample) >= job.source.points:
        return found, len(sample)
    return await count_texts(job.source_engine, job.source, converter)


async def _restore(
    source_engine: Engine,
    target_engine: Engine,
    plan: MigrationPlan,
    encoder: LateInteractionEncoder | None,
    text: TextOf | None,
) -> MigrationJob:
    """Return the job of a migration that was started, with its stored plan."""
    await _require_same_encoder(source_engine, plan, encoder)
    if text is not None and plan.text is not None:
        raise MigrationError(
            f"the migration to collection {plan.target!r} was started with texts under {plan.text!r}: leave text out"
        )
    texts = TextSource("", text) if text is not None else None if plan.text is None else TextSource(plan.text)
    await _require_two(source_engine, plan)
    source = await _find_source(source_engine, target_engine, plan)
    fde, _ = await _make_fde(source_engine, plan, source)
    return MigrationJob(
        source_engine=source_engine,
        target_engine=target_engine,
        source=source,
        plan=plan,
        texts=texts,
        encoder=able_to_encode(encoder),
        fde=fde,
    )


async def _find_source(source_engine: Engine, target_engine: Engine, plan: MigrationPlan) -> Source:
    """Return the source, or a placeholder if an interrupted `cleanup` deleted it."""
    state = await read_migration(target_engine, plan.target)
    if state is None or state.copied is None or await source_engine.collection_exists(plan.source):
        return await read_source(source_engine, plan.source, plan.filter)
    info = await target_engine.get_collection(plan.target)
    return Source(name=plan.source, info=info, points=0, filter=plan.filter, fingerprint=None, limits=Limits())


async def _require_same_encoder(engine: Engine, plan: MigrationPlan, encoder: LateInteractionEncoder | None) -> None:
    if encoder is None or not plan.encoder:
        return
    fingerprint = await engine.runtime.compute(fingerprint_of_encoder, encoder)
    if not same_encoder(fingerprint, plan.encoder):
        raise MigrationError(
            f"the migration to collection {plan.target!r} was started with another encoder: pass that encoder"
        )


async def _require_two(engine: Engine, plan: MigrationPlan) -> None:
    """Raise an error if the client is the target's and not that of the source of the same name in another engine."""
    if plan.strategy == "in_place" or plan.source != plan.target:
        return
    state = await read_migration(engine, plan.source)
    if state is not None and state.plan.same_as(plan):
        raise MigrationError(
            f"the client is that of the target {plan.target!r}, whose source of the same name is in another engine: "
            "pass the source's client as client, and this one as target_client"
        )


async def _make_fde(
    engine: Engine, plan: MigrationPlan, source: Source
) -> tuple[FixedDimensionalEncoder | None, str | None]:
    """Build the FDE encoder; ``None`` if it has to be fitted first, or if its fit is lost.

    The second value is the error message of a lost fit.
    """
    if plan.encoding != "stored" or not plan.config.encoding.needs_fit:
        return await engine.runtime.compute(make_encoder, plan.config.encoding, token_dim=plan.token_dim), None
    return (None, None) if source.fingerprint is None else await fitted(engine, source.name, source.fingerprint)


def _require_same_options(plan: MigrationPlan, options: MigrationOptions) -> None:
    pairs = {
        "fde": (options.wanted_fde, plan.config.encoding),
        "filter": (options.filter, plan.filter),
        "text_key": (options.text_key, plan.text),
        "token_vector": (options.token_vector, plan.config.token_vector),
    }
    if others := [name for name, (wanted, begun) in pairs.items() if wanted not in (None, begun)]:
        raise MigrationError(
            f"vectors were already added to collection {plan.target!r}, with another {' and another '.join(others)}: "
            "use the same values, or call rollback() first"
        )


def _target_name(source: Source, name: str | None, options: MigrationOptions, *, same_engine: bool) -> str:
    if options.in_place:
        if name not in (None, source.name) or not same_engine:
            raise ConfigurationError(
                "strategy='in_place' migrates the source itself: leave target and target_client out"
            )
        return source.name
    usual = f"{source.name}_colbert" if same_engine else source.name
    chosen = usual if name is None else name
    require_collection_name(chosen, what="a target")
    if same_engine and chosen == source.name:
        raise ConfigurationError(
            f"source and target are both collection {chosen!r}: name another target, or use strategy='in_place'"
        )
    return chosen
