"""Switches aliases to the target, and back."""

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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from colbert_qdrant.engines import Engine
    from colbert_qdrant.migrate.job import MigrationJob
    from colbert_qdrant.migrate.state import MigrationState
    from colbert_qdrant.points.digests import Snapshot


async def switch_alias(job: MigrationJob, alias: str, *, force: str | None) -> None:
    """Have an alias stand for the target; see `Migration.switch`."""
    if job.in_place:
        raise ConfigurationError("in place there is one collection, and nothing to switch: use it as it is")
    require_instance("alias", alias, str, "the name of an alias")
    alias, force = plain(alias), _reason(force, "no passed verification is needed")
    state = await job.read_state()
    if force is None:
        state.require_passed()
    engine, target = job.target_engine, job.plan.target
    previous = (await engine.get_aliases()).get(alias)
    if previous is None and await engine.collection_exists(alias):
        raise ConfigurationError(
            f"{alias!r} is a collection, and cannot be an alias too: choose another name and have applications use "
            f"that; once collection {alias!r} is deleted, its name is free"
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
    await write_migration(engine, replace(state, switches=switches, left=left))  # first, so that there is a way back
    await engine.update_aliases(_change(alias, previous, target))
    if snapshot is not None:
        await settle(job, snapshot)


async def roll_back(job: MigrationJob, *, force: str | None) -> None:
    """Have all aliases stand for what they stood for, or take added vectors away; see `Migration.rollback`."""
    force = _reason(force, "what only the target has is not needed")
    state, engine = await job.read_state(), job.target_engine
    if job.in_place:
        await remove_vectors(job, state)
        return
    changes = await _undo(engine, state)
    if changes:
        state = await _give_back(job, state, changes, force)
    elif state.switches and state.returned is None:
        state = replace(state, returned="an alias stood for the target until somebody moved it back")
    await write_migration(engine, replace(state, switches=(), left=None, overruled=()))
    if changes and state.returned is not None and force is None:
        raise MigrationError(
            f"the aliases are back, but {state.returned}: neither run() nor cleanup() deletes that; write to "
            f"{job.plan.source!r} what is not to be lost"
        )


async def _give_back(
    job: MigrationJob, state: MigrationState, changes: Sequence[models.AliasOperations], force: str | None
) -> MigrationState:
    """Take aliases back from a target that has nothing of its own, or for a reason; return the state after that."""
    compared = force is None and await job.source_engine.collection_exists(job.plan.source)
    if compared:
        job = await job.with_source()
        state = replace(state, wrote=await _require_same(job))
    state = replace(state, returned=force)
    await write_migration(job.target_engine, state)
    await job.target_engine.update_aliases(changes)
    return await _look_again(job, state) if compared else state


async def is_in_use(engine: Engine, target: str) -> bool:
    """Tell whether an alias stands for the target."""
    return target in (await engine.get_aliases()).values()


def _reason(force: str | None, why: str) -> str | None:
    force = plain(force)
    if force is not None and (not isinstance(force, str) or not force.strip()):
        raise ConfigurationError(f"force is the reason, which is kept: say why {why}")
    return force


async def _bring_up_to_date(job: MigrationJob, state: MigrationState) -> Snapshot | None:
    """Copy what was written to the source since the verification; ``None`` if nothing may be copied any more.

    Raises:
        MigrationError: Somebody wrote to the target, or to the source since an alias was switched.
    """
    if not await is_in_use(job.target_engine, job.plan.target):
        await _require_untouched(job, state)
        return await catch_up(job)
    now = await read_digest(job.source_engine, job.plan.source, chosen=job.plan.filter, vectors=job.sameness.vectors)
    if now.to_dict() != state.left and (found := await find_differences(job)):
        raise MigrationError(
            f"an alias stands for collection {job.plan.target!r} already, so nothing is copied to it, and there are "
            f"{found}: write what should be there yourself, or say with force='…' why not"
        )
    return None


async def _require_settled(job: MigrationJob, state: MigrationState, alias: str) -> None:
    """Raise an error if a switch ended before it copied what was written to the source while the alias moved."""
    unforced = any(each.alias == alias and each.forced is None for each in state.switches)
    if state.left is not None or not unforced or not await job.source_engine.collection_exists(job.plan.source):
        return
    if found := await find_differences(await job.with_source()):
        raise MigrationError(
            f"the alias is switched, but its switch did not come to its end, and there are {found}: compare them, and "
            f"write to {job.plan.target!r} what should be there"
        )


async def _require_untouched(job: MigrationJob, state: MigrationState) -> None:
    """Raise an error if somebody wrote to the target since it was verified."""
    verified = state.require_passed()
    changed = await _find_change(job, {name: verified.get(name) for name in ("points", "digest")})
    if changed is not None:
        raise MigrationError(
            f"collection {job.plan.target!r} was written to since it was verified{changed}: run() and verify() again, "
            "or say with force='…' why not"
        )


async def _find_change(job: MigrationJob, before: object) -> str | None:
    """Say how the target differs from the source; ``None`` if it is what it was, or what the source is."""
    if (await read_digest(job.target_engine, job.plan.target)).to_dict() == before:
        return None
    if not await job.source_engine.collection_exists(job.plan.source):
        return ""
    found = await find_differences(await job.with_source())
    return f", there are {found}" if found else None


async def _require_same(job: MigrationJob) -> Mapping[str, Any]:
    """Return the digest of ids and payloads, which is that of source and target.

    Raises:
        MigrationError: They are not the same.
    """
    found = await find_differences(job)
    if found:
        raise MigrationError(
            f"there are {found}: write to {job.plan.source!r} what is not to be lost, or say with force='…' why not; "
            f"then it stays in {job.plan.target!r}, and neither run() nor cleanup() deletes it"
        )
    return found.digest.to_dict()


async def _look_again(job: MigrationJob, state: MigrationState) -> MigrationState:
    """Return the state with what somebody wrote to the target while its aliases were taken back."""
    changed = await _find_change(job, state.wrote)
    if changed is None:
        return state
    return replace(state, returned=f"somebody wrote to the target meanwhile{changed}")


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
