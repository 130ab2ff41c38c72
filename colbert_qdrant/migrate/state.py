"""What a migration keeps in the metadata of its target, so that any machine can go on with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Self

from colbert_qdrant.collection.metadata import read_metadata, write_metadata
from colbert_qdrant.config.checks import require_known_fields
from colbert_qdrant.errors import ConfigurationError, MigrationError
from colbert_qdrant.migrate.plan import MigrationPlan

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colbert_qdrant.engines import Engine

KEY: Final = "colbert_qdrant_migration"
"""A migration's entry in the metadata of its target."""

FORMAT: Final = 1


@dataclass(frozen=True, kw_only=True)
class Switch:
    """An alias that was given to the target.

    Attributes:
        alias: The alias.
        previous: What it stood for before; ``None``: there was none.
        at: When, in UTC.
        forced: Why that was done without a passed verification; ``None``: there was one.
    """

    alias: str
    previous: str | None
    at: str
    forced: str | None = None


@dataclass(frozen=True, kw_only=True)
class MigrationState:
    """How far a migration is.

    Attributes:
        plan: What it does.
        before: In place: the points and the digest of ids and payloads before anything was added.
        copied: When all points were written, in UTC; ``None``: they are not yet.
        verified: The last verdict, shortened; ``None``: there is none.
        switches: Aliases that were given to the target and not taken back.
    """

    plan: MigrationPlan
    before: Mapping[str, Any] | None = None
    copied: str | None = None
    verified: Mapping[str, Any] | None = None
    switches: tuple[Switch, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """The state as JSON values."""
        switches = [asdict(switch) for switch in self.switches]
        return {"format": FORMAT, **vars(self), "plan": self.plan.to_dict(), "switches": switches}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`.

        Raises:
            MigrationError: It is none, or of a newer version.
        """
        if data.get("format") != FORMAT:
            raise MigrationError(
                f"the state of a migration has format {data.get('format')!r:.40}, this version reads {FORMAT}: upgrade "
                "colbert-qdrant"
            )
        try:
            values = require_known_fields(cls, {name: value for name, value in data.items() if name != "format"})
            values["plan"] = MigrationPlan.from_dict(values["plan"])
            values["switches"] = tuple(Switch(**require_known_fields(Switch, each)) for each in values["switches"])
            return cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError, ConfigurationError) as error:
            raise MigrationError(
                f"the state of a migration cannot be read ({error}): it was changed by hand; restore the collection's "
                f"metadata, or delete the key {KEY!r} of it"
            ) from error

    def after_writing(self) -> MigrationState:
        """The state when points are about to be written: whatever was verified does not count any more."""
        return replace(self, copied=None, verified=None)


async def read_migration(engine: Engine, collection: str) -> MigrationState | None:
    """The state that is kept in a collection; ``None``: there is no such collection, or it is no migration's target."""
    if not await engine.collection_exists(collection):
        return None
    entry = (await read_metadata(engine, collection)).get(KEY)
    return MigrationState.from_dict(entry) if isinstance(entry, dict) else None


async def write_migration(engine: Engine, state: MigrationState) -> None:
    """Keep a state in the target."""
    await write_metadata(engine, state.plan.target, {KEY: state.to_dict()})
