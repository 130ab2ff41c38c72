"""Switches aliases to the target, and rolls back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qdrant_client import models

from colbert_qdrant._support.values import plain
from colbert_qdrant.config.checks import require_instance
from colbert_qdrant.errors import ConfigurationError, MigrationError
from colbert_qdrant.migrate.catch_up import catch_up, settle
from colbert_qdrant.migrate.contents import check_found
from colbert_qdrant.migrate.differences import find_differences, read_digest
from colbert_qdrant.migrate.state import Switch, utc_now, write_migration
from colbert_qdrant.migrate.target import remove_vectors
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colbert_qdrant.engines import Engine
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.migrate.state import MigrationState
    from colbert_qdrant.points.digests import Snapshot


async def switch_alias(job: MigrationJob, alias: str, *, force: str | None) -> None:
    """Point an alias at the target; see `Migration.switch`."""
    if job.in_place:
        raise ConfigurationError(
            "switch() has nothing to do after a migration in place: open the source with ColbertCollection"
        )
    require_instance("alias", alias, str, "the name of an alias")
    alias, force = plain(alias), _reason(force, "to switch without a passed verification")
    state = await job.read_state()
    if force is None:
        state.require_passed()
    engine, target = job.target_engine, job.plan.target
    previous = (await engine.get_aliases()).get(alias)
    if previous is None and await engine.collection_exists(alias):
        raise ConfigurationError(
            f"{alias!r} is the name of a collection, and cannot be an alias too: choose another alias for your "
            f"applications, or delete collection {alias!r} first"
        )
    if previous == target:
        await _require_settled(job, state, alias)
        return
    snapshot = None
    if force is None and await job.source_engine.collection_exists(job.plan.source):
        job = await job.with_fde()
        snapshot = await _bring_up_to_date(job, state)
        await check_found(job)  # which warns
    elif force is None and not await is_in_use(engine, target):
        await _require_untouched(job, state)
    state = await job.read_state()
    kept = tuple(each for each in state.switches if each.alias != alias)
    switches = (*kept, Switch(alias=alias, previous=previous, at=utc_now(), forced=force))
    left = state.left if snapshot is None else None
    await write_migration(engine, replace(state, switches=switches, left=left))  # first, so that rollback is possible
    await engine.update_aliases(_change(alias, previous, target))
    if snapshot is not None:
        await settle(job, snapshot)


async def roll_back(job: MigrationJob, *, force: str | None) -> None:
    """Point all aliases back, or remove the added vectors; see `Migration.rollback`."""
    force = _reason(force, "to roll back although the target has data that the source lacks")
    state, engine = await job.read_state(), job.target_engine
    if job.in_place:
        await remove_vectors(job, state)
        return
    changes = await _undo(engine, state)
    if changes:
        state = await _give_back(job, state, changes, force)
    elif state.switches and state.returned is None:
        state = replace(state, returned="an alias pointed at the target until another client moved it back")
    await write_migration(engine, replace(state, switches=(), left=None, overruled=()))
    if changes and state.returned is not None and force is None:
        raise MigrationError(
            f"the aliases are switched back, but {state.returned}: write the points that you need to "
            f"{job.plan.source!r}; neither run() nor cleanup() deletes the target's points"
        )


async def _give_back(
    job: MigrationJob, state: MigrationState, changes: Sequence[models.AliasOperations], force: str | None
) -> MigrationState:
    """Switch aliases back if the source has all data of the target, or if forced; return the new state."""
    compared = force is None and await job.source_engine.collection_exists(job.plan.source)
    if compared:
        job = await job.with_source()
        state = replace(state, wrote=await _require_same(job))
    state = replace(state, returned=force)
    await write_migration(job.target_engine, state)
    await job.target_engine.update_aliases(changes)
    return await _look_again(job, state) if compared else state


async def is_in_use(engine: Engine, target: str) -> bool:
    """Tell whether an alias points at the target."""
    return target in (await engine.get_aliases()).values()


def _reason(force: str | None, purpose: str) -> str | None:
    force = plain(force)
    if force is not None and (not isinstance(force, str) or not force.strip()):
        raise ConfigurationError(f"force is {shown(force)}: pass the reason {purpose}, as a text")
    return force


async def _bring_up_to_date(job: MigrationJob, state: MigrationState) -> Snapshot | None:
    """Copy all writes to the source since the verification; ``None`` if the target is in use and nothing is copied.

    Raises:
        MigrationError: If another client wrote to the target, or to the source since an alias was switched.
    """
    if not await is_in_use(job.target_engine, job.plan.target):
        await _require_untouched(job, state)
        return await catch_up(job)
    now = await read_digest(job.source_engine, job.plan.source, chosen=job.plan.filter, vectors=job.sameness.vectors)
    if now.to_dict() != state.left and (found := await find_differences(job)):
        raise MigrationError(
            f"an alias already points at collection {job.plan.target!r}, so that nothing is copied to it, and the two "
            f"collections differ, with {found}: write the missing points, or pass the reason not to as force='…'"
        )
    return None


async def _require_settled(job: MigrationJob, state: MigrationState, alias: str) -> None:
    """Raise an error if a switch was interrupted before it copied the writes that arrived while the alias moved."""
    unforced = any(each.alias == alias and each.forced is None for each in state.switches)
    if state.left is not None or not unforced or not await job.source_engine.collection_exists(job.plan.source):
        return
    if found := await find_differences(await job.with_source()):
        raise MigrationError(
            f"alias {alias!r} moved, but its switch was interrupted, and the two collections differ, with {found}: "
            f"compare these points, and write the missing ones to {job.plan.target!r}"
        )


async def _require_untouched(job: MigrationJob, state: MigrationState) -> None:
    """Raise an error if another client wrote to the target since it was verified."""
    verified = state.require_passed()
    changed = await _find_change(job, {name: verified.get(name) for name in ("points", "digest")})
    if changed is not None:
        raise MigrationError(
            f"collection {job.plan.target!r} was written to since it was verified{changed}: call run() and verify() "
            "again, or pass the reason not to as force='…'"
        )


async def _find_change(job: MigrationJob, before: object) -> str | None:
    """Describe how the target differs from the source; ``None`` if it is unchanged or equals the source."""
    if (await read_digest(job.target_engine, job.plan.target)).to_dict() == before:
        return None
    if not await job.source_engine.collection_exists(job.plan.source):
        return ""
    found = await find_differences(await job.with_source())
    return f", with {found}" if found else None


async def _require_same(job: MigrationJob) -> Mapping[str, Any]:
    """Return the digest of ids and payloads that source and target have in common.

    Raises:
        MigrationError: If source and target differ.
    """
    found = await find_differences(job)
    if found:
        raise MigrationError(
            f"collections {job.plan.source!r} and {job.plan.target!r} differ, with {found}: write the points that you "
            f"need to {job.plan.source!r}, or pass the reason not to as force='…', which keeps them in "
            f"{job.plan.target!r}"
        )
    return found.digest.to_dict()


async def _look_again(job: MigrationJob, state: MigrationState) -> MigrationState:
    """Return the state with a note of writes to the target while its aliases were switched back."""
    changed = await _find_change(job, state.wrote)
    if changed is None:
        return state
    return replace(state, returned=f"another client wrote to the target during the rollback{changed}")


async def _undo(engine: Engine, state: MigrationState) -> list[models.AliasOperations]:
    """Return the changes that undo all switches, except those that were never made or are already undone."""
    target, aliases = state.plan.target, await engine.get_aliases()
    changes: list[models.AliasOperations] = []
    for each in state.switches:
        current = aliases.get(each.alias)
        if current == target:
            if each.previous is not None and not await engine.collection_exists(each.previous):
                raise MigrationError(
                    f"alias {each.alias!r} cannot be switched back to collection {each.previous!r}, which is gone: "
                    "restore it from a snapshot, or leave the alias unchanged"
                )
            changes += _change(each.alias, current, each.previous)
        elif current not in (None, each.previous):
            raise MigrationError(
                f"alias {each.alias!r} points at collection {current!r} instead of {target!r}, since another client "
                "changed it: correct it with client.update_collection_aliases"
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
