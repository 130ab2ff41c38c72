"""Plans of migrations: what is read, and what is decided, before anything is written."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from colbert_qdrant.collection import artefacts
from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.encoders.further import FurtherVectors
from colbert_qdrant.errors import ConfigurationError, MigrationError
from colbert_qdrant.fde import encoder_from_bytes, make_encoder
from colbert_qdrant.migrate.convert import Converter
from colbert_qdrant.migrate.costs import measured
from colbert_qdrant.migrate.decide import Design, Wishes, decide, facts
from colbert_qdrant.migrate.plan import Costs, MigrationPlan
from colbert_qdrant.migrate.risks import risk_of_encoder, risk_of_target, risks_of_engines, risks_of_points
from colbert_qdrant.migrate.source import read_sample, read_source
from colbert_qdrant.migrate.state import MigrationState, read_migration
from colbert_qdrant.migrate.target import is_blank
from colbert_qdrant.points.schema import datatype_of
from colbert_qdrant.points.texts import TextSource

if TYPE_CHECKING:
    from qdrant_client import models

    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.migrate.source import Sample, Source
    from colbert_qdrant.points.texts import TextOf

_SAMPLE: Final = 32
_WARM_UP: Final = 2


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A plan, and what is needed to carry it out.

    Attributes:
        reading, writing: The engines of source and target.
        source: The source, as it was when the plan was made.
        plan: The plan.
        texts: Where texts are; ``None``: nobody needs them, or nobody knows.
        encoder: The user's encoder; ``None``: there is none.
        fde: The encoding; ``None``: it has to be fitted first.
    """

    reading: Engine
    writing: Engine
    source: Source
    plan: MigrationPlan
    texts: TextSource | None
    encoder: LateInteractionEncoder | None
    fde: FixedDimensionalEncoder | None

    @property
    def in_place(self) -> bool:
        """Whether source and target are one."""
        return self.plan.strategy == "in_place"

    @property
    def same_engine(self) -> bool:
        """Whether source and target are in one server or store."""
        return self.reading.client is self.writing.client

    def require_encoder(self) -> None:
        """Raise if it was resumed without what encodes texts.

        Raises:
            MigrationError: Texts have to be encoded, and there is no encoder, or nobody knows where they are.
        """
        if self.plan.tokens == "encoded" and self.encoder is None:
            raise MigrationError(f"texts of collection {self.plan.source!r} have to be encoded: give encoder=…")
        if self.plan.tokens == "encoded" and self.texts is None:
            raise MigrationError(f"a function finds the texts of collection {self.plan.source!r}: give text=…")

    async def converter(self) -> Converter:
        """What adds to points what late interaction needs."""
        plan, config = self.plan, self.plan.config
        bm25 = None
        if config.bm25 is not None and config.bm25_vector not in plan.kept:
            bm25 = FurtherVectors(replace(config, dense={}, sparse={}), {}, await self.writing.capabilities())
        return Converter(
            kept=() if self.in_place else plan.kept,
            token_vector=config.token_vector,
            fde_vector=config.fde_vector,
            encoder=self.encoder if plan.tokens == "encoded" else None,
            fde=self.fde if plan.encoding == "computed" else None,
            texts=self.texts,
            bm25=bm25,
        )


async def plan_migration(
    reading: Engine,
    writing: Engine,
    name: str,
    target: str | None,
    *,
    wishes: Wishes,
    filter: models.Filter | None,
) -> Planned:
    """See `Migration.plan`."""
    source = await read_source(reading, name, filter)
    target = _target_name(source, target, wishes, same_engine=reading.client is writing.client)
    begun = await read_migration(writing, source.name) if wishes.in_place else None
    if begun is not None and begun.plan.strategy == "in_place":  # its source has some of what is added by now
        _require_same_wishes(begun.plan, wishes, filter)
        return await _of(reading, writing, begun, encoder=wishes.encoder, text=wishes.text)
    sample = await read_sample(reading, source, size=_SAMPLE)
    design = decide(source, sample.records, wishes)
    plan = MigrationPlan(
        source=source.name,
        target=target,
        strategy="in_place" if wishes.in_place else "blue_green",
        kind=design.kind,
        points=source.points,
        filter=filter,
        vectors=_in_words(source),
        kept=design.kept,
        tokens=design.tokens,
        encoding=design.encoding,
        encoder=dict(design.encoder),
        token_dim=design.token_dim,
        text=None if design.texts is None or wishes.text is not None else design.texts.key,
        config=design.config,
        indexes=tuple(sorted(source.info.payload_schema)),
        costs=Costs(),
    )
    planned = Planned(
        reading=reading,
        writing=writing,
        source=source,
        plan=plan,
        texts=design.texts,
        encoder=wishes.encoder,
        fde=await _fde(reading, plan),
    )
    return await _tried(planned, design, sample, wishes)


async def resume_migration(
    reading: Engine,
    writing: Engine,
    target: str,
    *,
    encoder: LateInteractionEncoder | None,
    text: TextOf | None,
) -> Planned:
    """See `Migration.resume`."""
    state = await read_migration(writing, target)
    if state is None:
        raise MigrationError(f"collection {target!r} is no migration's target: begin one with Migration.plan")
    return await _of(reading, writing, state, encoder=encoder, text=text)


async def _tried(planned: Planned, design: Design, sample: Sample, wishes: Wishes) -> Planned:
    """The plan with the risks and costs that a sample shows, and with what is there already."""
    plan, source, writing = planned.plan, planned.source, planned.writing
    converter, compute = await planned.converter(), planned.reading.runtime.compute
    texts = converter.found_texts(sample.records)
    risks = [
        *risks_of_engines(source, design, await writing.capabilities(), in_place=wishes.in_place),
        *risks_of_points(source, design, texts, function=wishes.text is not None),
    ]
    if wishes.encoder is not None:
        other = await compute(risk_of_encoder, design, converter, wishes.encoder, sample.records)
        risks += [] if other is None else [other]
    if not any(risk.blocks for risk in risks):
        await compute(converter.points, sample.records[:_WARM_UP])  # models compile at first, libraries are loaded
        started = time.perf_counter()
        points = await compute(converter.points, sample.records)
        seconds = time.perf_counter() - started
        plan = replace(plan, costs=measured(sample, points, seconds, design.config))
    if await writing.collection_exists(plan.target) and not wishes.in_place:
        state = await read_migration(writing, plan.target)
        if state is not None and state.plan.same_as(plan):
            plan = replace(plan, present=min(await count_documents(writing, plan.target), plan.points))
        elif not await is_blank(writing, plan):
            risks.append(risk_of_target(plan.target))
    return replace(planned, plan=replace(plan, risks=tuple(risks)))


async def _of(
    reading: Engine,
    writing: Engine,
    state: MigrationState,
    *,
    encoder: LateInteractionEncoder | None,
    text: TextOf | None,
) -> Planned:
    """What was begun, as it was planned."""
    plan = state.plan
    if encoder is not None and plan.encoder and facts(encoder.fingerprint()) != facts(plan.encoder):
        raise MigrationError(
            f"the migration to collection {plan.target!r} was begun with another encoder: give that one"
        )
    if text is not None and plan.text is not None:
        raise MigrationError(
            f"the migration to collection {plan.target!r} was begun with texts under {plan.text!r}: leave text out"
        )
    texts = TextSource("", text) if text is not None else None if plan.text is None else TextSource(plan.text)
    await _require_two(reading, plan)
    source = await read_source(reading, plan.source, plan.filter)
    return Planned(
        reading=reading,
        writing=writing,
        source=source,
        plan=plan,
        texts=texts,
        encoder=encoder,
        fde=await _fde(reading, plan),
    )


async def _require_two(reading: Engine, plan: MigrationPlan) -> None:
    """Raise if the target is taken for the source of the same name, which is in another engine."""
    if plan.strategy == "in_place" or plan.source != plan.target:
        return
    state = await read_migration(reading, plan.source)
    if state is not None and state.plan.same_as(plan):
        raise MigrationError(
            f"the client is that of the target {plan.target!r}, whose source of the same name is in another engine: "
            "give the source's client first, and this one as target_client"
        )


async def _fde(reading: Engine, plan: MigrationPlan) -> FixedDimensionalEncoder | None:
    """The encoding, unless it has to be fitted first."""
    if plan.encoding == "stored" and plan.config.fde.needs_fit:
        data = await artefacts.fetch(reading, plan.source)
        return None if data is None else encoder_from_bytes(data)
    return make_encoder(plan.config.fde, token_dim=plan.token_dim)


def _require_same_wishes(plan: MigrationPlan, wishes: Wishes, filter: models.Filter | None) -> None:
    fde = wishes.fde if wishes.config is None else wishes.config.fde
    wanted = {
        "fde": (fde, plan.config.fde),
        "filter": (filter, plan.filter),
        "text_key": (wishes.text_key, plan.text),
        "token_vector": (wishes.token_vector, plan.config.token_vector),
    }
    if others := [name for name, (wish, begun) in wanted.items() if wish not in (None, begun)]:
        raise MigrationError(
            f"vectors were added to collection {plan.target!r} already, with another {' and another '.join(others)}: "
            "use those, or rollback() first"
        )


def _target_name(source: Source, name: str | None, wishes: Wishes, *, same_engine: bool) -> str:
    if wishes.in_place:
        if name not in (None, source.name) or not same_engine:
            raise ConfigurationError("in place the source is the target: leave target and target_client out")
        return source.name
    if name == "":
        raise ConfigurationError("target is an empty name: give one, or leave it out")
    chosen = name or (f"{source.name}_colbert" if same_engine else source.name)
    if same_engine and chosen == source.name:
        raise ConfigurationError(
            f"source and target are both collection {chosen!r}: name another target, or use strategy='in_place'"
        )
    return chosen


def _in_words(source: Source) -> dict[str, str]:
    words = {}
    for name, params in source.vectors.items():
        kind = "multivector" if params.multivector_config is not None else "dense"
        words[name] = f"{kind}, {params.size:,} dimensions, {params.distance.value}, {datatype_of(params)}"
    for name, sparse in source.sparse.items():
        words[name] = "sparse" if sparse.modifier is None else f"sparse, {sparse.modifier.value}"
    return words
