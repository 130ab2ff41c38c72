"""Stores a migration's state in the metadata of its target, so that any machine can resume it."""

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
"""The key of a migration's state in the metadata of its target."""

FORMAT: Final = 1


@dataclass(frozen=True, kw_only=True)
class Switch:
    """An alias that was switched to the target.

    Attributes:
        alias: The alias.
        previous: The collection that it pointed at before; ``None`` if the alias is new.
        at: The time, in UTC.
        forced: The user's reason to switch without a passed verification; ``None`` after a passed one.
    """

    alias: str
    previous: str | None
    at: str
    forced: str | None = None


@dataclass(frozen=True, kw_only=True)
class MigrationState:
    """The state of a migration.

    Attributes:
        plan: The plan.
        before: In place, the number of points and the digest of ids and payloads before anything was added.
        added: In place, the vectors that this migration created; `rollback` deletes no others.
        copied: The time, in UTC, when all points were written; ``None`` until then.
        wrote: The number of points and the digest of ids and payloads that the last run or switch left in the target.
            It is ``None`` if the run did not finish. If the target differs, another client wrote to it.
        verified: The last verdict, shortened; ``None`` before the first.
        switches: The aliases that were switched to the target and not switched back.
        left: The number of points and the digest of the source, vectors included, after the switch had copied all late
            writes; ``None`` if it is unknown.
        overruled: Some of the points that were written on both sides during a switch; the target keeps its versions.
        returned: The reason for a rollback from a target that has data that the source lacks.
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
        """Build a state from the output of `to_dict`.

        Raises:
            MigrationError: If the values are not a state, or if a newer version wrote them.
        """
        if data.get("format") != FORMAT:
            raise MigrationError(
                f"the state of a migration has format {data.get('format')!r:.40}, but this version reads {FORMAT}: "
                "upgrade colbert-qdrant"
            )
        try:
            values = require_known_fields(cls, {name: value for name, value in data.items() if name != "format"})
            values["plan"] = plan = MigrationPlan.from_dict(values["plan"])
            unrecorded = [name for name in plan.added if name not in plan.vectors]  # 0.1.0 did not store them
            values["added"] = tuple(values.get("added", unrecorded))
            values["overruled"] = tuple(values.get("overruled", ()))
            values["switches"] = tuple(Switch(**require_known_fields(Switch, each)) for each in values["switches"])
            return cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError, ConfigurationError) as error:
            raise MigrationError(
                f"the state of a migration was changed outside this library and cannot be read ({error}): restore the "
                f"collection's metadata, or delete its key {KEY!r}"
            ) from error

    def before_run(self, plan: MigrationPlan) -> MigrationState:
        """Return the state at the start of a run, which invalidates earlier verifications."""
        before = None if self.copied else self.before  # other clients may have written since the last complete run
        return replace(self, plan=plan, before=before, copied=None, wrote=None, verified=None, returned=None)

    def require_passed(self, otherwise: str = "pass the reason not to as force='…'") -> Mapping[str, Any]:
        """Return the last verdict, shortened; the error names ``otherwise`` as the alternative.

        Raises:
            MigrationError: If the target was not verified since points were written, or did not pass.
        """
        if self.verified is not None and self.verified.get("passed"):
            return self.verified
        found = "was not verified" if self.verified is None else "did not pass its verification"
        raise MigrationError(f"collection {self.plan.target!r} {found}: call verify() first, or {otherwise}")


async def read_migration(engine: Engine, collection: str) -> MigrationState | None:
    """Read the state that a collection stores; ``None`` if it does not exist or is not the target of a migration."""
    if not await engine.collection_exists(collection):
        return None
    entry = (await read_metadata(engine, collection)).get(KEY)
    return MigrationState.from_dict(entry) if isinstance(entry, dict) else None


async def write_migration(engine: Engine, state: MigrationState) -> None:
    """Store a state in the target's metadata."""
    await write_metadata(engine, state.plan.target, {KEY: state.to_dict()})


def utc_now() -> str:
    """Return the current time in UTC, as an ISO 8601 string."""
    return datetime.now(UTC).isoformat(timespec="seconds")
