"""Describes a migration before anything is written: its steps, costs and risks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

from qdrant_client import models

from colbert_qdrant.config import CollectionConfig
from colbert_qdrant.config.checks import require_known_fields
from colbert_qdrant.errors import MigrationError
from colbert_qdrant.points.origins import origin_name

Strategy = Literal["blue_green", "in_place"]
"""``"blue_green"``: the target is a new collection, to which an alias is switched. ``"in_place"``: the source's points
get more vectors."""

SourceKind = Literal["colbert_qdrant", "fastembed_muvera", "multivector", "dense", "hybrid", "sparse", "payload"]
"""The contents of a source: this library's layout; FastEmbed's FDEs and token vectors; token vectors; dense vectors;
dense and sparse vectors; sparse vectors; only payloads."""

Tokens = Literal["stored", "encoded"]
"""The origin of token vectors: stored in the source, or encoded from its texts."""

Encoding = Literal["stored", "computed", "fitted"]
"""The origin of FDEs: stored in the source, computed, or fitted once all token vectors are written."""


@dataclass(frozen=True, kw_only=True)
class Risk:
    """A risk of a migration.

    Attributes:
        blocks: Whether the risk prevents the migration from running.
        problem: A description of the problem.
        remedy: A description of the remedy.
    """

    blocks: bool
    problem: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Costs:
    """The costs of one point, measured on a sample.

    Attributes:
        sample: The number of points in the sample.
        read_bytes: The bytes of payload and vectors that are read.
        written_bytes: The bytes of payload and vectors that are written.
        disk_bytes: The bytes on the target's disk, without graphs and payload indexes.
        tokens: The mean number of token vectors.
        longest: The largest number of token vectors of any point in the sample.
        truncated: The number of points in the sample whose text is longer than the encoder accepts.
        read_seconds: The seconds to read the point.
        compute_seconds: The seconds to encode the text, if necessary, and to compute the FDE.
        write_seconds: The seconds to write the point.
    """

    sample: int = 0
    read_bytes: float = 0
    written_bytes: float = 0
    disk_bytes: float = 0
    tokens: float = 0
    longest: int = 0
    truncated: int = 0
    read_seconds: float = 0
    compute_seconds: float = 0
    write_seconds: float = 0

    @property
    def seconds(self) -> float:
        """The estimated seconds for one point."""
        return self.read_seconds + self.compute_seconds + self.write_seconds


@dataclass(frozen=True, kw_only=True)
class MigrationPlan:
    """The plan of a migration.

    Attributes:
        source: The name of the source; never an alias.
        target: The name of the target; the source's if the migration is in place.
        strategy: Whether the target is another collection or the source itself.
        kind: The contents of the source.
        points: The number of points to migrate.
        present: The number of these points that the target already has.
        filter: The filter for the points to migrate; ``None`` for all.
        vectors: A description of each of the source's vectors, by name.
        kept: The vectors that are copied unchanged.
        tokens: The origin of the token vectors.
        encoding: The origin of the FDEs.
        encoder: The encoder's fingerprint; empty if the encoder of stored token vectors is unknown.
        token_dim: The dimensions of a token vector.
        text: The path of the texts; ``None`` if a function returns them, or if no text is needed.
        config: The target's settings.
        indexes: The payload keys with an index.
        costs: The costs of one point.
        risks: All risks, blocking or not.
    """

    source: str
    target: str
    strategy: Strategy
    kind: SourceKind
    points: int
    present: int = 0
    filter: models.Filter | None = None
    vectors: Mapping[str, str]
    kept: tuple[str, ...]
    tokens: Tokens
    encoding: Encoding
    encoder: Mapping[str, Any]
    token_dim: int
    text: str | None
    config: CollectionConfig
    indexes: tuple[str, ...] = ()
    costs: Costs
    risks: tuple[Risk, ...] = ()

    @property
    def origin_vector(self) -> str:
        """The vector with the digest of each point's text or token vectors; used in place."""
        return origin_name(self.config.token_vector)

    @property
    def written(self) -> tuple[str, ...]:
        """The vectors that are derived from a point's text or token vectors, and written with the point."""
        fde = (self.config.fde_vector,) if self.encoding == "computed" else ()
        return fde + ((self.config.token_vector,) if self.tokens == "encoded" else ())

    @property
    def added(self) -> tuple[str, ...]:
        """The vectors that are added to the source in place, in the order in which a rollback removes them."""
        own = tuple(name for name in (self.config.fde_vector, self.config.token_vector) if name not in self.kept)
        return ((self.origin_vector,) if self.written else ()) + own

    @property
    def blocked(self) -> tuple[Risk, ...]:
        """The risks that prevent the plan from running."""
        return tuple(risk for risk in self.risks if risk.blocks)

    @property
    def seconds(self) -> float:
        """The estimated seconds for the points that the target lacks."""
        return (self.points - self.present) * self.costs.seconds

    @property
    def disk_bytes(self) -> float:
        """The estimated bytes of the target on disk, without graphs and payload indexes."""
        return self.points * self.costs.disk_bytes

    @property
    def steps(self) -> tuple[str, ...]:
        """A description of each step."""
        return tuple(self._steps())

    def require_possible(self) -> None:
        """Raise an error if a risk blocks the migration.

        Raises:
            MigrationError: If a risk blocks the migration. The message names every such risk and its remedy.
        """
        if self.blocked:
            lines = "".join(f"\n  {risk.problem}: {risk.remedy}" for risk in self.blocked)
            raise MigrationError(f"collection {self.source!r} cannot be migrated as planned:{lines}")

    def same_as(self, other: MigrationPlan) -> bool:
        """Tell whether another plan builds the same target from the same source."""
        return isinstance(other, MigrationPlan) and self._identity() == other._identity()

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        filter = None if self.filter is None else self.filter.model_dump(mode="json", exclude_none=True, by_alias=True)
        plain = {name: value for name, value in vars(self).items() if name not in ("filter", "config")}
        plain |= {"costs": asdict(self.costs), "risks": [asdict(risk) for risk in self.risks]}
        plain |= {"kept": list(self.kept), "indexes": list(self.indexes), "vectors": dict(self.vectors)}
        return {**plain, "filter": filter, "config": self.config.to_dict()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Build a plan from the output of `to_dict`.

        Raises:
            MigrationError: If the values are not a plan, or if a newer version wrote them.
        """
        try:
            values = require_known_fields(cls, data)
            values["filter"] = None if values["filter"] is None else models.Filter(**values["filter"])
            values["config"] = CollectionConfig.from_dict(values["config"])
            values["costs"] = Costs(**require_known_fields(Costs, values["costs"]))
            values["risks"] = tuple(Risk(**require_known_fields(Risk, risk)) for risk in values["risks"])
            values |= {name: tuple(values[name]) for name in ("kept", "indexes")}
            return cls(**values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise MigrationError(
                f"the stored plan of a migration cannot be read ({error}): upgrade colbert-qdrant if a newer version "
                "wrote it, or restore the collection's metadata if it was changed outside this library"
            ) from error

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _identity(self) -> str:
        names = ("source", "target", "strategy", "filter", "kept", "tokens", "encoding", "token_dim", "config")
        plain = self.to_dict()
        encoder = without_label(self.encoder)
        return json.dumps({**{name: plain[name] for name in names}, "encoder": encoder}, sort_keys=True)

    def _steps(self) -> Iterator[str]:
        config = self.config
        if self.strategy == "blue_green":
            indexes = f", with the payload indexes {list(self.indexes)}" if self.indexes else ""
            yield f"create collection {self.target!r}{indexes}"
        else:
            yield f"add vectors to collection {self.source!r}"
        source = {"stored": "as stored", "encoded": f"encoded from the texts {self._where()}"}[self.tokens]
        yield f"{config.token_vector!r}: token vectors of {self.token_dim} dimensions, {source}"
        how = {
            "stored": "as stored",
            "computed": "computed from the token vectors",
            "fitted": "fitted to the token vectors once all are written",
        }[self.encoding]
        yield f"{config.fde_vector!r}: FDEs of {config.encoding.dim:,} dimensions, {how}"
        others = [name for name in self.kept if name not in (config.token_vector, config.fde_vector)]
        if others and self.strategy == "blue_green":
            yield f"copy ids, payloads and the vectors {others} unchanged"
        elif self.strategy == "blue_green":
            yield "copy ids and payloads unchanged"
        yield "verify(), then switch(alias)" if self.strategy == "blue_green" else "verify()"

    def _where(self) -> str:
        return "returned by text=" if self.text is None else f"under {self.text!r}"

    def _lines(self) -> Iterator[str]:
        costs = self.costs
        yield f"Migration of collection {self.source!r} ({self.kind}) to {self.target!r} ({self.strategy})"
        yield f"  points     {self.points:,}" + (f", of which the target has {self.present:,}" if self.present else "")
        for name, words in self.vectors.items():
            yield f"  vector     {name!r}: {words}"
        for number, step in enumerate(self.steps, start=1):
            yield f"  step {number}     {step}"
        if costs.sample:
            yield (
                f"  per point  {costs.read_bytes:,.0f} bytes read, {costs.written_bytes:,.0f} written, "
                f"{costs.tokens:,.0f} token vectors, {1e3 * costs.seconds:,.1f} ms (from {costs.sample} points)"
            )
            disk = f"{self.disk_bytes / 2**20:,.0f} MiB on disk, plus graphs"
            fit = ", plus the time of a fit" if self.encoding == "fitted" else ""
            times = f"{_duration(self.seconds / 3)} to {_duration(3 * self.seconds)}, since writes are only estimated"
            yield f"  total      about {_duration(self.seconds)} ({times}){fit}; {disk}"
        for risk in self.risks:
            yield f"  {'BLOCKED' if risk.blocks else 'risk'}: {risk.problem}: {risk.remedy}"


def without_label(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of an encoder's fingerprint to compare: all except its label and its query settings."""
    return {name: value for name, value in fingerprint.items() if name not in ("name", "query")}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 5_400 else f"{seconds / 3_600:,.1f} h"
