"""A migration's steps, as coroutines."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from qdrant_client import models

from colbert_qdrant._support.progress import Silence, reporting
from colbert_qdrant.collection import artefacts
from colbert_qdrant.collection import lifecycle as opening
from colbert_qdrant.collection.fitting import Fitter
from colbert_qdrant.collection.info import wait_until_ready
from colbert_qdrant.collection.metadata import to_metadata, write_metadata
from colbert_qdrant.collection.opened import OpenCollection
from colbert_qdrant.errors import ConfigurationError, MigrationError
from colbert_qdrant.migrate import cleaning, switching, target
from colbert_qdrant.migrate.convert import StoredTokens
from colbert_qdrant.migrate.quality import check_quality, sample_queries
from colbert_qdrant.migrate.running import MigrationReport, Pace, Run
from colbert_qdrant.migrate.source import read_points, read_source
from colbert_qdrant.migrate.state import MigrationState, read_migration, write_migration
from colbert_qdrant.migrate.verdict import Check, Verdict
from colbert_qdrant.migrate.verifying import Comparison, read_contents
from colbert_qdrant.search.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.migrate.cleaning import Side
    from colbert_qdrant.migrate.planning import Planned


class MigrationOperations:
    """One planned migration. Methods are those of `Migration`, where they are described."""

    def __init__(self, planned: Planned) -> None:
        self.plan = planned.plan
        self._planned = planned
        self._reading, self._writing = planned.reading, planned.writing
        self._encoder = planned.encoder or StoredTokens(dim=planned.plan.token_dim, facts=planned.plan.encoder)

    async def run(self, *, progress: bool | ProgressReporter, points_per_second: float | None) -> MigrationReport:
        """See `Migration.run`."""
        self.plan.require_possible()
        self._planned.require_encoder()
        started = time.perf_counter()
        await self._prepare()
        info = await self._writing.get_collection(self.plan.target)
        run = Run(
            reading=self._reading,
            writing=self._writing,
            source=self._planned.source,
            target=self.plan.target,
            limits=Limits.of(info, self.plan.config.token_vector),
            converter=await self._planned.converter(),
            pace=Pace(rate=points_per_second),
            report=Silence(),
        )
        removed = 0
        with reporting(progress, label="migrate", total=self._planned.source.points) as report:
            run.report = report
            if self._planned.in_place:
                await run.add()
            else:
                await run.copy()
                removed = await run.remove_gone()
        if self.plan.encoding == "fitted":
            await self._fit(progress=progress)
        elif self._planned.in_place:
            await self._declare(self._planned.fde)
        await self._copy_limits()
        await write_migration(self._writing, replace(await self._stored(), copied=_now()))
        return MigrationReport(
            points=run.written,
            present=run.present,
            removed=removed,
            without_tokens=run.without_tokens,
            seconds=time.perf_counter() - started,
        )

    async def verify(
        self, *, sample: int, queries: int, min_recall: float, progress: bool | ProgressReporter
    ) -> Verdict:
        """See `Migration.verify`."""
        self._planned.require_encoder()
        state = await self._stored()
        source = await read_source(self._reading, self.plan.source, self.plan.filter)
        info = await self._writing.get_collection(self.plan.target)
        converter = await self._planned.converter()
        if self.plan.encoding == "fitted":
            converter = replace(converter, fde=(await self._opened()).fde)
        comparison = Comparison(
            reading=self._reading,
            writing=self._writing,
            source=source,
            plan=self.plan,
            limits=Limits.of(info, self.plan.config.token_vector),
            converter=converter,
            sample=sample,
        )
        with reporting(progress, label="verify", total=source.points) as report:
            contents = await comparison.contents(report)
        checks = [
            _copied(state),
            *([] if state.before is None else [_untouched(state, contents.points, contents.digest)]),
        ]
        checks += [check async for check in comparison.check_contents(contents)]
        checks += [check async for check in comparison.check_vectors(contents)]
        checks += [check async for check in comparison.check_sample(contents.sample)]
        checks += [check async for check in comparison.check_engine()]
        recall = None
        if all(check.passed is not False for check in checks):
            records = await read_points(self._writing, self.plan.target, contents.sample) if contents.sample else []
            searched = await self._writing.runtime.compute(
                sample_queries, converter, self._planned.encoder, records, count=queries, seed=0
            )
            check, recall = await check_quality(
                self._writing, self.plan.target, encoder=self._encoder, queries=searched, min_recall=min_recall
            )
            checks.append(check)
        verdict = Verdict(
            source=self.plan.source,
            target=self.plan.target,
            at=_now(),
            points=contents.points,
            digest=contents.digest,
            recall=recall,
            checks=tuple(checks),
        )
        short = {"at": verdict.at, "passed": verdict.passed, "points": verdict.points, "digest": verdict.digest}
        state = await self._stored()  # an alias may have been switched meanwhile
        await write_migration(self._writing, replace(state, verified=short))
        return verdict

    async def switch(self, alias: str, *, force: str | None) -> None:
        """See `Migration.switch`."""
        if self._planned.in_place:
            raise ConfigurationError("in place there is one collection, and nothing to switch: use it as it is")
        if force is not None and not force.strip():
            raise ConfigurationError("force is the reason, which is kept: say why no passed verification is needed")
        state = await self._stored()
        if force is None:
            await cleaning.require_verified(self._planned, state)
        await switching.switch(self._writing, state, alias, at=_now(), forced=force)

    async def rollback(self) -> None:
        """See `Migration.rollback`."""
        state = await self._stored()
        if self._planned.in_place:
            await target.remove_vectors(self._writing, self.plan)
        else:
            await switching.rollback(self._writing, state)

    async def cleanup(self, what: Side | None, *, confirm: Callable[[str], bool]) -> str | None:
        """See `Migration.cleanup`."""
        if self._planned.in_place:
            raise ConfigurationError(
                "in place there is one collection, and nothing to delete: rollback() takes vectors away"
            )
        return await cleaning.cleanup(self._planned, await self._stored(), what, confirm=confirm)

    async def _prepare(self) -> None:
        """Make the target ready for points."""
        state = await read_migration(self._writing, self.plan.target) or MigrationState(plan=self.plan)
        if self._planned.in_place and not state.plan.same_as(self.plan):
            raise MigrationError(
                f"another migration began to add vectors to collection {self.plan.target!r} since this one was "
                "planned: Migration.resume() that one, or have it rollback() and plan again"
            )
        await self._require_unused(state)
        before = None if state.copied else state.before  # others may have written since a run that ended
        state = replace(state.after_writing(), plan=self.plan, before=before)
        if self._planned.in_place:
            await self._prepare_in_place(state)
            return
        await target.create_target(
            self._writing,
            self._planned.source,
            state,
            encoder=self._encoder,
            fde=self._planned.fde,
            same_engine=self._planned.same_engine,
        )
        await write_migration(self._writing, state)
        await self._copy_artefact()

    async def _require_unused(self, state: MigrationState) -> None:
        """Raise if applications may write to the target: whatever the source has not would be deleted again."""
        in_use = {each.alias for each in state.switches}
        if not self._planned.in_place:
            aliases = await switching.read_aliases(self._writing)
            in_use |= {alias for alias, name in aliases.items() if name == self.plan.target}
        if in_use:
            raise MigrationError(
                f"aliases {sorted(in_use)} were switched to collection {self.plan.target!r}, which may be written to "
                "by now: rollback() first, or delete them, or plan a migration to another target"
            )

    async def _prepare_in_place(self, state: MigrationState) -> None:
        if state.before is None:
            contents = await read_contents(self._reading, self._planned.source)
            state = replace(state, before={"points": contents.points, "digest": contents.digest})
        await write_migration(self._writing, state)
        await target.add_vectors(self._writing, self.plan)
        await wait_until_ready(self._writing, self.plan.target, self.plan.config, timeout=600)
        if self.plan.encoding == "fitted":
            await self._declare(None)  # searches are exact until it is fitted

    async def _copy_artefact(self) -> None:
        """A stored encoding that was fitted needs what it was fitted with."""
        if self.plan.encoding != "stored" or not self.plan.config.fde.needs_fit:
            return
        data = await artefacts.fetch(self._reading, self._planned.source.name)
        if data is not None and await artefacts.publish(self._writing, self.plan.target, data) != data:
            raise MigrationError(
                f"collection {self.plan.source!r} was fitted anew since the migration to {self.plan.target!r} was "
                "begun: cleanup('target'), then plan again"
            )

    async def _opened(self) -> OpenCollection:
        return await OpenCollection.make("open", self.plan.target, engine=self._writing, encoder=self._encoder)

    async def _fit(self, *, progress: bool | ProgressReporter) -> None:
        fitter = Fitter(await self._opened())
        if await fitter.is_due(last=True):
            await fitter.fit(progress=progress)

    async def _declare(self, fde: FixedDimensionalEncoder | None) -> None:
        fingerprint = opening.fingerprint_of(self.plan.config, self._encoder, fde, tokens_of=self.plan.encoder)
        await write_metadata(self._writing, self.plan.target, to_metadata(fingerprint))

    async def _copy_limits(self) -> None:
        strict = self._planned.source.info.config.strict_mode_config  # of another class than what is sent
        if strict is None or self._planned.in_place or not (await self._writing.capabilities()).has("strict_mode"):
            return
        limits = models.StrictModeConfig(**strict.model_dump(exclude_none=True))
        await self._writing.update_collection(self.plan.target, strict_mode_config=limits)

    async def _stored(self) -> MigrationState:
        state = await read_migration(self._writing, self.plan.target)
        if state is None:
            raise MigrationError(f"the migration to collection {self.plan.target!r} was not begun: run() it first")
        if not state.plan.same_as(self.plan):
            raise MigrationError(f"collection {self.plan.target!r} is another migration's target: plan that one again")
        return state


def _copied(state: MigrationState) -> Check:
    done = state.copied is not None
    return Check(name="run", passed=done, detail=f"ended {state.copied}" if done else "it did not end: run() again")


def _untouched(state: MigrationState, points: int, digest: str) -> Check:
    same = state.before == {"points": points, "digest": digest}
    detail = (
        "ids and payloads are what they were"
        if same
        else "ids or payloads are others than before run(): run() and verify() again if somebody wrote meanwhile, else "
        "restore the snapshot"
    )
    return Check(name="untouched", passed=same, detail=detail)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
