"""When a collection of a migration is not needed any more, and deleting it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from colbert_qdrant.collection import artefacts
from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.errors import ConfigurationError, MigrationError
from colbert_qdrant.migrate import switching

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from qdrant_client import models

    from colbert_qdrant.engines import Engine
    from colbert_qdrant.migrate.planning import Planned
    from colbert_qdrant.migrate.state import MigrationState

Side = Literal["source", "target"]
"""Which of a migration's collections."""


async def cleanup(
    planned: Planned, state: MigrationState, what: Side | None, *, confirm: Callable[[str], bool]
) -> str | None:
    """See `Migration.cleanup`."""
    plan = planned.plan
    aliases = await _aliases(planned.writing, plan.target)
    if what is None:
        what = _unneeded(planned, state, aliases)
    if what == "target":
        await _require_target_unneeded(planned, aliases)
        return await _delete(planned.writing, plan.target, confirm, "nothing uses it")
    await _require_source_unneeded(planned, state, aliases)
    why = f"its migrated copy {plan.target!r} is verified"
    return await _delete(planned.reading, plan.source, confirm, why)


async def require_verified(planned: Planned, state: MigrationState) -> None:
    """Raise unless the last verification passed, and as many points are there as were then.

    Raises:
        MigrationError: It did not, or points were added or deleted since, on either side.
    """
    verified, plan = _passed(state), planned.plan
    sides: list[tuple[Engine, str, models.Filter | None]] = [(planned.writing, plan.target, None)]
    if await planned.reading.collection_exists(plan.source):  # else it was deleted after a switch
        sides.append((planned.reading, plan.source, plan.filter))
    for engine, name, chosen in sides:
        count = await count_documents(engine, name, chosen)
        if count != verified.get("points"):
            raise MigrationError(
                f"collection {name!r} has {count:,} points, and had {verified.get('points'):,} when it was verified: "
                "run() and verify() again, or say with force='…' why not"
            )


def _unneeded(planned: Planned, state: MigrationState, aliases: Sequence[str]) -> Side:
    """After a switch the source, else the target.

    Raises:
        ConfigurationError: That cannot be known.
    """
    target = planned.plan.target
    if not planned.same_engine:
        raise ConfigurationError(
            "source and target are in two engines: say which one is to be deleted, cleanup('source') or 'target'"
        )
    if state.switches and not aliases:
        raise ConfigurationError(
            f"aliases {sorted(each.alias for each in state.switches)} were switched to collection {target!r}, and "
            "stand for others by now: say which one is to be deleted, cleanup('source') or 'target'"
        )
    return "source" if aliases else "target"


async def _require_target_unneeded(planned: Planned, aliases: Sequence[str]) -> None:
    source, target = planned.plan.source, planned.plan.target
    if aliases:
        raise MigrationError(f"aliases {aliases} stand for collection {target!r}: rollback() first")
    if not await planned.reading.collection_exists(source):
        raise MigrationError(
            f"collection {source!r} is gone, and {target!r} its only copy: if that is to go, too, delete it yourself, "
            "with client.delete_collection"
        )


async def _require_source_unneeded(planned: Planned, state: MigrationState, aliases: Sequence[str]) -> None:
    source, target = planned.plan.source, planned.plan.target
    if planned.same_engine and not aliases:
        raise MigrationError(f"no alias stands for collection {target!r}: switch() one first")
    migrated = _passed(state)["points"]
    there = await planned.reading.collection_exists(source)
    count = await count_documents(planned.reading, source) if there else 0
    if count > migrated:  # others than the filter's, or later ones
        raise MigrationError(
            f"collection {source!r} has {count:,} points, of which {migrated:,} were migrated: migrate the others, "
            "too, or delete it yourself, with client.delete_collection"
        )
    if all(each.forced for each in state.switches):  # else it is in use since, and may be written to
        await require_verified(planned, state)
    if left := await _aliases(planned.reading, source):
        raise MigrationError(f"aliases {left} stand for collection {source!r} still: switch() them, or delete them")


async def _delete(engine: Engine, name: str, confirm: Callable[[str], bool], why: str) -> str | None:
    there = await engine.collection_exists(name)  # else an earlier cleanup did not come to its end
    points = await count_documents(engine, name) if there else 0
    if not confirm(f"Delete collection {name!r} with {points:,} points ({why})?"):
        return None
    await engine.delete_collection(name)
    await artefacts.delete(engine, name)
    return name


async def _aliases(engine: Engine, collection: str) -> list[str]:
    aliases = await switching.read_aliases(engine)
    return [alias for alias, name in aliases.items() if name == collection]


def _passed(state: MigrationState) -> Mapping[str, int]:
    if state.verified is not None and state.verified.get("passed"):
        return state.verified
    found = "was not verified" if state.verified is None else "did not pass its verification"
    raise MigrationError(f"collection {state.plan.target!r} {found}: verify() it first, or say with force='…' why not")
