"""Switches aliases to the target, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qdrant_client import models

from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.config.names import require_collection_name
from colbert_qdrant.errors import ConfigurationError, MigrationError
from colbert_qdrant.migrate.state import Switch, utc_now, write_migration
from colbert_qdrant.migrate.target import remove_vectors

if TYPE_CHECKING:
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.migrate.state import MigrationState


async def switch_alias(job: MigrationJob, alias: str, *, force: str | None) -> None:
    """Have an alias stand for the target; see `Migration.switch`."""
    if job.in_place:
        raise ConfigurationError("in place there is one collection, and nothing to switch: use it as it is")
    if force is not None and not force.strip():
        raise ConfigurationError("force is the reason, which is kept: say why no passed verification is needed")
    require_collection_name(alias, what="an alias")
    state = await job.read_state()
    if force is None:
        await require_verified(job, state)
    engine, target = job.target_engine, job.plan.target
    previous = (await engine.get_aliases()).get(alias)
    if previous is None and await engine.collection_exists(alias):
        raise ConfigurationError(
            f"{alias!r} is a collection, and cannot be an alias too: choose another name and have applications use "
            f"that; once collection {alias!r} is deleted, its name is free"
        )
    if previous == target:
        return
    kept = tuple(each for each in state.switches if each.alias != alias)
    switches = (*kept, Switch(alias=alias, previous=previous, at=utc_now(), forced=force))
    await write_migration(engine, replace(state, switches=switches))  # first, so that there is a way back
    await engine.update_aliases(_change(alias, previous, target))


async def roll_back(job: MigrationJob) -> None:
    """Have all aliases stand for what they stood for, or take added vectors away; see `Migration.rollback`."""
    state, engine = await job.read_state(), job.target_engine
    if job.in_place:
        await remove_vectors(job, state)
        return
    if changes := await _undo(engine, state):
        await engine.update_aliases(changes)
    await write_migration(engine, replace(state, switches=()))


async def require_verified(job: MigrationJob, state: MigrationState) -> None:
    """Raise an error unless the last verification passed, and as many points are there as were then.

    Raises:
        MigrationError: The verification did not pass, or points were added or deleted since, on either side.
    """
    verified, plan = state.require_passed(), job.plan
    sides: list[tuple[Engine, str, models.Filter | None]] = [(job.target_engine, plan.target, None)]
    if await job.source_engine.collection_exists(plan.source):  # else it was deleted after a switch
        sides.append((job.source_engine, plan.source, plan.filter))
    for engine, name, chosen in sides:
        count = await count_documents(engine, name, chosen)
        if count != verified.get("points"):
            raise MigrationError(
                f"collection {name!r} has {count:,} points, and had {verified.get('points'):,} when it was verified: "
                "run() and verify() again, or say with force='…' why not"
            )


async def _undo(engine: Engine, state: MigrationState) -> list[models.AliasOperations]:
    """Return the changes that undo all switches; an alias that was not switched, or is switched back, stays."""
    target, aliases = state.plan.target, await engine.get_aliases()
    changes: list[models.AliasOperations] = []
    for each in state.switches:
        current = aliases.get(each.alias)
        if current == target:
            if each.previous is not None and not await engine.collection_exists(each.previous):
                raise MigrationError(
                    f"alias {each.alias!r} cannot be given back to collection {each.previous!r}, which is gone: "
                    "restore it from a snapshot, or leave the alias where it is"
                )
            changes += _change(each.alias, current, each.previous)
        elif current not in (None, each.previous):
            raise MigrationError(
                f"alias {each.alias!r} stands for collection {current!r} by now, not for {target!r}: somebody else "
                "changed it; see to it that it is what it should be, with client.update_collection_aliases"
            )
    return changes


def _change(alias: str, before: str | None, after: str | None) -> list[models.AliasOperations]:
    changes: list[models.AliasOperations] = []
    if before is not None:
        changes.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
    if after is not None:
        new = models.CreateAlias(alias_name=alias, collection_name=after)
        changes.append(models.CreateAliasOperation(create_alias=new))
    return changes
