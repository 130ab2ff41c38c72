"""Keeps a migration's state in the metadata of its target, so that any machine can go on with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

from colbert_qdrant.collection.metadata import read_metadata, write_metadata
from colbert_qdrant.config.checks import require_known_fields
from colbert_qdrant.errors import ConfigurationError, MigrationError
from colbert_qdrant.migrate.plan import MigrationPlan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colbert_qdrant.engines import Engine
    from colbert_qdrant.engines.base import PointId

KEY: Final = "colbert_qdrant_migration"
"""A migration's entry in the metadata of its target."""

FORMAT: Final = 1


@dataclass(frozen=True, kw_only=True)
class Switch:
    """An alias that was given to the target.

    Attributes:
        alias: The alias.
        previous: The collection that it stood for before; ``None`` if there was no such alias.
        at: The time, in UTC.
        forced: The reason to do without a passed verification; ``None`` if there was one.
    """

    alias: str
    previous: str | None
    at: str
    forced: str | None = None


@dataclass(frozen=True, kw_only=True)
class MigrationState:
    """How far a migration is.

    Attributes:
        plan: The plan.
        before: In place, the number of points and the digest of ids and payloads before anything was added.
        added: In place, the vectors that this migration made, and nobody else: `rollback` deletes no others.
        copied: The time, in UTC, when all points were written; ``None`` until then.
        wrote: The number of points and the digest of ids and payloads that the last run, or catching up, left in the
            target; ``None`` if it did not end. Somebody else wrote to a target that has others.
        verified: The last verdict, shortened; ``None`` if there is none.
        switches: The aliases that were given to the target and not taken back.
        left: The number of points and the digest of the source, vectors included, when all had been caught up with
            after a switch; ``None`` if nobody knows.
        overruled: Some of the points that were written on both sides while an alias moved; the target keeps its own.
        returned: The reason for which aliases were taken back from a target that has what the source has not.
    """

    plan: MigrationPlan
    before: Mapping[str, Any] | None = None
    added: tuple[str, ...] = ()
    copied: str | None = None
    wrote: Mapping[str, Any] | None = None
    verified: Mapping[str, Any] | None = None
    switches: tuple[Switch, ...] = ()
    left: Mapping[str, Any] | None = None
    overruled: tuple[PointId, ...] = ()
    returned: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the state as JSON values."""
        switches = [asdict(switch) for switch in self.switches]
        return {"format": FORMAT, **vars(self), "plan": self.plan.to_dict(), "switches": switches}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Make a state of what `to_dict` returned.

        Raises:
            MigrationError: The values are no state, or one of a newer version.
        """
        if data.get("format") != FORMAT:
            raise MigrationError(
                f"the state of a migration has format {data.get('format')!r:.40}, this version reads {FORMAT}: upgrade "
                "colbert-qdrant"
            )
        try:
            values = require_known_fields(cls, {name: value for name, value in data.items() if name != "format"})
            values["plan"] = plan = MigrationPlan.from_dict(values["plan"])
            unrecorded = [name for name in plan.added if name not in plan.vectors]  # by version 0.1.0
            values["added"] = tuple(values.get("added", unrecorded))
            values["overruled"] = tuple(values.get("overruled", ()))
            values["switches"] = tuple(Switch(**require_known_fields(Switch, each)) for each in values["switches"])
            return cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError, ConfigurationError) as error:
            raise MigrationError(
                f"the state of a migration cannot be read ({error}): it was changed by hand; restore the collection's "
                f"metadata, or delete the key {KEY!r} of it"
            ) from error

    def before_run(self, plan: MigrationPlan) -> MigrationState:
        """Return the state of a run that is about to write points: no earlier verification counts any more."""
        before = None if self.copied else self.before  # others may have written since a run that ended
        return replace(self, plan=plan, before=before, copied=None, wrote=None, verified=None, returned=None)

    def require_passed(self, otherwise: str = "say with force='…' why not") -> Mapping[str, Any]:
        """Return the last verdict, shortened; the error says what else can be done.

        Raises:
            MigrationError: The target was not verified since points were written, or did not pass.
        """
        if self.verified is not None and self.verified.get("passed"):
            return self.verified
        found = "was not verified" if self.verified is None else "did not pass its verification"
        raise MigrationError(f"collection {self.plan.target!r} {found}: verify() it first, or {otherwise}")


async def read_migration(engine: Engine, collection: str) -> MigrationState | None:
    """Read the state that is kept in a collection; ``None`` if there is no such collection, or it is no target."""
    if not await engine.collection_exists(collection):
        return None
    entry = (await read_metadata(engine, collection)).get(KEY)
    return MigrationState.from_dict(entry) if isinstance(entry, dict) else None


async def write_migration(engine: Engine, state: MigrationState) -> None:
    """Keep a state in the target."""
    await write_metadata(engine, state.plan.target, {KEY: state.to_dict()})


def utc_now() -> str:
    """Return the time, in UTC, as it is kept."""
    return datetime.now(UTC).isoformat(timespec="seconds")
