"""Deletes the collection that a migration no longer needs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal

from qdrant_client import models

from colbert_qdrant.collection import artefacts
from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.config.checks import require_one_of
from colbert_qdrant.errors import ConfigurationError, MigrationError
from colbert_qdrant.migrate.differences import find_differences, read_digest, require_no_own
from colbert_qdrant.migrate.source import read_pages, show
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from colbert_qdrant.engines import Engine
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.migrate.state import MigrationState

Side = Literal["source", "target"]
"""One of a migration's two collections."""


def ask(question: str) -> bool:
    """Ask in the terminal; only ``yes`` confirms.

    Raises:
        ConfigurationError: If there is no terminal.
    """
    try:
        return input(f"{question} [yes/no] ").strip().lower() == "yes"
    except EOFError:
        raise ConfigurationError(
            "cleanup() cannot ask for confirmation without a terminal: pass confirm=…, a function that returns whether "
            "to delete"
        ) from None


async def clean_up(job: MigrationJob, what: Side | None, *, confirm: Callable[[str], bool]) -> str | None:
    """Delete the collection that is no longer needed; see `Migration.cleanup`."""
    if what is not None:
        require_one_of("what", what, ("source", "target"))
    if not callable(confirm):
        raise ConfigurationError(f"confirm is {shown(confirm)}: pass a function that returns whether to delete")
    if job.in_place:
        raise ConfigurationError(
            "cleanup() has nothing to delete after a migration in place: use rollback() to remove the added vectors"
        )
    state, plan = await job.read_state(), job.plan
    aliases = await _aliases_of(job.target_engine, plan.target)
    if what is None:
        what = _choose(job, state, aliases)
    if what == "target":
        require = partial(_require_target_unneeded, job, state)
        return await _delete(job.target_engine, plan.target, confirm, "nothing uses it", require)
    why = f"its migrated copy {plan.target!r} is verified"
    if state.overruled:
        why += f", but has other versions of points{show(state.overruled)}, written during the switch"
    return await _delete(job.source_engine, plan.source, confirm, why, partial(_require_source_unneeded, job, state))


def _choose(job: MigrationJob, state: MigrationState, aliases: Sequence[str]) -> Side:
    """Return the side that is not needed: the source after a switch, the target otherwise.

    Raises:
        ConfigurationError: If source and target are in different engines, or if another client changed the aliases.
    """
    if not job.same_engine:
        raise ConfigurationError(
            "source and target are in different engines: choose with cleanup('source') or cleanup('target')"
        )
    if state.switches and not aliases:
        raise ConfigurationError(
            f"aliases {sorted(each.alias for each in state.switches)} were switched to collection {job.plan.target!r}, "
            "but no longer point at it: choose with cleanup('source') or cleanup('target')"
        )
    return "source" if aliases else "target"


async def _require_target_unneeded(job: MigrationJob, state: MigrationState) -> None:
    source, target = job.plan.source, job.plan.target
    if aliases := await _aliases_of(job.target_engine, target):
        raise MigrationError(f"aliases {aliases} point at collection {target!r}: call rollback() first")
    if not await job.source_engine.collection_exists(source):
        raise MigrationError(
            f"collection {source!r} is gone, and {target!r} is its only copy: to delete it anyway, call "
            "client.delete_collection"
        )
    await require_no_own(await job.with_source(), state)


async def _require_source_unneeded(job: MigrationJob, state: MigrationState) -> None:
    engine, source, target = job.source_engine, job.plan.source, job.plan.target
    if job.same_engine and not await _aliases_of(engine, target):
        raise MigrationError(f"no alias points at collection {target!r}: switch() one first")
    state.require_passed("delete the source with client.delete_collection")
    if left := await _aliases_of(engine, source):
        raise MigrationError(f"aliases {left} still point at collection {source!r}: switch() them, or delete them")
    if await engine.collection_exists(source):  # an interrupted cleanup may have deleted it
        job = await job.with_source()
        await _require_none_filtered(job)
        await _require_copied(job, state)


async def _require_none_filtered(job: MigrationJob) -> None:
    """Raise an error if the source has points that the plan's filter excluded."""
    source = job.source
    if source.filter is None:
        return
    others = models.Filter(must_not=[source.filter])
    async for page in read_pages(job.source_engine, source.name, others, limits=source.limits):
        count = await count_documents(job.source_engine, source.name, others)
        raise MigrationError(
            f"collection {source.name!r} has {count:,} points that the filter excluded"
            f"{show([record.id for record in page])}: migrate them, or delete the collection with "
            "client.delete_collection"
        )


async def _require_copied(job: MigrationJob, state: MigrationState) -> None:
    """Raise an error if the source has data that was never copied to the target."""
    source, vectors = job.source, job.sameness.vectors
    now = await read_digest(job.source_engine, source.name, chosen=source.filter, vectors=vectors)
    if now.to_dict() == state.left:  # applications may have changed the target since
        return
    found = await find_differences(job)
    if found.missing or found.different:
        found.more.clear()
        since = "was written to after the switch" if state.left else "differs from its target"
        raise MigrationError(
            f"collection {source.name!r} {since}, with {found}: write the points that you need to "
            f"{job.plan.target!r}, then delete the source with client.delete_collection"
        )


async def _delete(
    engine: Engine, name: str, confirm: Callable[[str], bool], why: str, require: Callable[[], Awaitable[None]]
) -> str | None:
    """Delete a collection after confirmation; check before and after the question that it is not needed."""
    await require()
    question = f"Delete collection {name!r} with {await _count(engine, name):,} points ({why})?"
    if not await engine.runtime.compute(confirm, question):
        return None
    await require()
    await engine.delete_collection(name)
    await artefacts.delete(engine, name)
    return name


async def _count(engine: Engine, name: str) -> int:
    """Count the points of a collection; 0 if an interrupted cleanup deleted it."""
    return await count_documents(engine, name) if await engine.collection_exists(name) else 0


async def _aliases_of(engine: Engine, collection: str) -> list[str]:
    return [alias for alias, name in (await engine.get_aliases()).items() if name == collection]
