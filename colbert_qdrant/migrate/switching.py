"""Which collection an alias stands for: switched in one request, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qdrant_client import models

from colbert_qdrant.errors import ConfigurationError, MigrationError
from colbert_qdrant.migrate.state import Switch, write_migration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colbert_qdrant.engines import Engine
    from colbert_qdrant.migrate.state import MigrationState


async def read_aliases(engine: Engine) -> Mapping[str, str]:
    """All aliases of an engine, and the collections that they stand for."""
    return await engine.get_aliases()


async def switch(engine: Engine, state: MigrationState, alias: str, *, at: str, forced: str | None) -> None:
    """Have an alias stand for the target. What it stood for is kept first, so that there is a way back.

    Raises:
        ConfigurationError: There is a collection of that name.
    """
    target, aliases = state.plan.target, await read_aliases(engine)
    previous = aliases.get(alias)
    if previous is None and await engine.collection_exists(alias):
        raise ConfigurationError(
            f"{alias!r} is a collection, and cannot be an alias too: choose another name and have applications use "
            f"that; once collection {alias!r} is deleted, its name is free"
        )
    if previous == target:
        return
    kept = tuple(each for each in state.switches if each.alias != alias)
    switches = (*kept, Switch(alias=alias, previous=previous, at=at, forced=forced))
    await write_migration(engine, replace(state, switches=switches))
    await engine.update_aliases(_operations(alias, previous, target))


async def rollback(engine: Engine, state: MigrationState) -> None:
    """Have all aliases stand for what they stood for; what was not switched, or is switched back, stays.

    Raises:
        MigrationError: A collection that an alias stood for is gone, or somebody else changed an alias since.
    """
    target, aliases = state.plan.target, await read_aliases(engine)
    operations: list[models.AliasOperations] = []
    for each in state.switches:
        current = aliases.get(each.alias)
        if current == target:
            if each.previous is not None and not await engine.collection_exists(each.previous):
                raise MigrationError(
                    f"alias {each.alias!r} cannot be given back to collection {each.previous!r}, which is gone: "
                    "restore it from a snapshot, or leave the alias where it is"
                )
            operations += _operations(each.alias, current, each.previous)
        elif current not in (None, each.previous):
            raise MigrationError(
                f"alias {each.alias!r} stands for collection {current!r} by now, not for {target!r}: somebody else "
                "changed it; see to it that it is what it should be, with client.update_collection_aliases"
            )
    if operations:
        await engine.update_aliases(operations)
    await write_migration(engine, replace(state, switches=()))


def _operations(alias: str, before: str | None, after: str | None) -> list[models.AliasOperations]:
    operations: list[models.AliasOperations] = []
    if before is not None:
        operations.append(models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)))
    if after is not None:
        new = models.CreateAlias(alias_name=alias, collection_name=after)
        operations.append(models.CreateAliasOperation(create_alias=new))
    return operations
