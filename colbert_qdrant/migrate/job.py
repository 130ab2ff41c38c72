"""Holds a plan with the engines, the encoder and the encoding that execute it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from colbert_qdrant._support.warned import Warned
from colbert_qdrant.collection.metadata import AverageLength, read_metadata
from colbert_qdrant.collection.opened import OpenCollection
from colbert_qdrant.encoders.further import FurtherVectors
from colbert_qdrant.encoders.ready import ReadyTokens
from colbert_qdrant.errors import MigrationError
from colbert_qdrant.migrate.convert import Converter
from colbert_qdrant.migrate.sameness import Sameness
from colbert_qdrant.migrate.source import read_source, show
from colbert_qdrant.migrate.state import read_migration
from colbert_qdrant.points.schema import datatype_of, stored_as_float16

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.migrate.plan import MigrationPlan
    from colbert_qdrant.migrate.source import Source
    from colbert_qdrant.migrate.state import MigrationState
    from colbert_qdrant.points.texts import TextSource


@dataclass(frozen=True, kw_only=True)
class MigrationJob:
    """A plan with the objects that execute it.

    Attributes:
        source_engine: The engine of the source.
        target_engine: The engine of the target.
        source: The source at the time of the plan.
        plan: The plan.
        texts: The source of the texts; ``None`` if no text is needed, or if the source is unknown.
        encoder: The user's encoder, if there is one.
        fde: The FDE encoder; ``None`` until it is fitted.
        warned: The warnings that were already given.
    """

    source_engine: Engine
    target_engine: Engine
    source: Source
    plan: MigrationPlan
    texts: TextSource | None
    encoder: LateInteractionEncoder | None
    fde: FixedDimensionalEncoder | None
    warned: Warned = field(default_factory=Warned, compare=False)

    @property
    def in_place(self) -> bool:
        """Whether the source is the target."""
        return self.plan.strategy == "in_place"

    @property
    def same_engine(self) -> bool:
        """Whether source and target are in the same server or store."""
        return self.source_engine.client is self.target_engine.client

    @property
    def sameness(self) -> Sameness:
        """The comparison of points of source and target."""
        return Sameness(source=self.source, plan=self.plan)

    @property
    def target_encoder(self) -> LateInteractionEncoder:
        """The encoder that opens the target; a placeholder if the user gave no encoder."""
        return self.encoder or ReadyTokens(dim=self.plan.token_dim, model=self.plan.encoder)

    async def with_source(self) -> MigrationJob:
        """Return the job with the current state of the source.

        Raises:
            CollectionNotFoundError: If the source is gone.
        """
        return replace(self, source=await read_source(self.source_engine, self.plan.source, self.plan.filter))

    async def with_fde(self) -> MigrationJob:
        """Return the job with the current state of the source, and with the fitted encoding."""
        job = await self.with_source()
        return replace(job, fde=(await job.open_target()).fde) if job.plan.encoding == "fitted" else job

    def require_encoder(self, ids: Sequence[PointId] = ()) -> None:
        """Raise an error if texts have to be encoded, of some points or all, and cannot be.

        Raises:
            MigrationError: If there is no encoder, or if the source of the texts is unknown.
        """
        where = f"of points{show(ids)} in" if ids else "of"
        if self.plan.tokens == "encoded" and self.encoder is None:
            raise MigrationError(f"texts {where} collection {self.plan.source!r} have to be encoded: pass encoder=…")
        if self.plan.tokens == "encoded" and self.texts is None:
            raise MigrationError(
                f"the migration was started with a function that returns the texts {where} collection "
                f"{self.plan.source!r}: pass text=…"
            )

    async def make_converter(self) -> Converter:
        """Build the converter, which adds FDEs and token vectors to points."""
        plan, config = self.plan, self.plan.config
        bm25 = None
        if config.bm25 is not None and config.bm25_vector not in plan.kept:
            capabilities = await self.target_engine.capabilities()
            only_bm25 = replace(config, dense={}, sparse={})
            bm25 = await self.target_engine.runtime.compute(FurtherVectors, only_bm25, {}, capabilities)
            if bm25.measures_length and await self.target_engine.collection_exists(plan.target):
                length = AverageLength.of(await read_metadata(self.target_engine, plan.target))
                bm25.avg_len = None if length is None else length.words
        return Converter(
            kept=() if self.in_place else plan.kept,
            token_vector=config.token_vector,
            fde_vector=config.fde_vector,
            encoder=self.encoder if plan.tokens == "encoded" else None,
            fde=None if plan.encoding == "stored" else self.fde,
            texts=self.texts,
            bm25=bm25,
            origin_vector=plan.origin_vector if self.in_place and plan.written else None,
            narrowed=self._narrowed(),
            float16=stored_as_float16(config),
        )

    def _narrowed(self) -> dict[str, tuple[str, str]]:
        config, stored = self.plan.config, self.source.vectors
        wanted = {
            config.token_vector: ("token_datatype", config.token_datatype),
            config.fde_vector: ("fde_datatype", config.fde_datatype),
        }
        return {
            name: each
            for name, each in wanted.items()
            if name not in self.plan.kept or name not in stored or datatype_of(stored[name]) != each[1]
        }

    async def open_target(self) -> OpenCollection:
        """Open the target as a collection of this library."""
        return await OpenCollection.make(
            "open", self.plan.target, engine=self.target_engine, encoder=self.target_encoder
        )

    async def read_state(self) -> MigrationState:
        """Read the state of the migration.

        Raises:
            MigrationError: If the migration was not started, or if the target belongs to another migration.
        """
        state = await read_migration(self.target_engine, self.plan.target)
        if state is None:
            raise MigrationError(f"the migration to collection {self.plan.target!r} was not started: run() it first")
        if not state.plan.same_as(self.plan):
            raise MigrationError(
                f"collection {self.plan.target!r} is the target of another migration: resume that one, or plan with "
                "another target"
            )
        return state
