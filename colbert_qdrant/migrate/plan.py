"""Describes a migration before anything is written: what it does, what it costs, and what can go wrong."""

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
"""The target is a new collection, which an alias is switched to; or the source, whose points get more vectors."""

SourceKind = Literal["colbert_qdrant", "fastembed_muvera", "multivector", "dense", "hybrid", "sparse", "payload"]
"""What a collection has: this library's layout; FastEmbed's encodings and token vectors; token vectors; dense vectors;
dense and sparse vectors; sparse vectors; nothing but payload."""

Tokens = Literal["stored", "encoded"]
"""The origin of token vectors: the collection has them, or its texts are encoded."""

Encoding = Literal["stored", "computed", "fitted"]
"""The origin of encodings: the collection has them, they are computed, or they are fitted when all tokens are there."""


@dataclass(frozen=True, kw_only=True)
class Risk:
    """Something that can go wrong.

    Attributes:
        blocks: Whether the migration cannot be run because of it.
        problem: The problem, in words.
        remedy: The remedy, in words.
    """

    blocks: bool
    problem: str
    remedy: str


@dataclass(frozen=True, kw_only=True)
class Costs:
    """The costs of one point, measured on a sample.

    Attributes:
        sample: The number of points that were measured.
        read_bytes: The bytes of payload and vectors, as they are read.
        written_bytes: The bytes of payload and vectors, as they are written.
        disk_bytes: The bytes that the point takes in the target, without graphs and payload indexes.
        tokens: The number of token vectors.
        longest: The number of token vectors of the point of the sample that has most.
        truncated: The number of those measured whose text is longer than the encoder takes.
        read_seconds: The time that reading takes.
        compute_seconds: The time that encoding the text, if need be, and computing the encoding take.
        write_seconds: The time that writing takes.
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
        """About the time that one point takes."""
        return self.read_seconds + self.compute_seconds + self.write_seconds


@dataclass(frozen=True, kw_only=True)
class MigrationPlan:
    """Everything that a migration does.

    Attributes:
        source: The collection that is read, by its own name.
        target: The collection that is written; in place, the same.
        strategy: Whether the target is another collection, or the source itself.
        kind: What the source has.
        points: The number of points to migrate.
        present: The number of those that the target has already.
        filter: The points to migrate; ``None`` for all.
        vectors: The source's vectors, in words, by name.
        kept: The vectors that are copied as they are.
        tokens: The origin of token vectors.
        encoding: The origin of encodings.
        encoder: The encoder's fingerprint; empty if nobody said which one made the stored token vectors.
        token_dim: The dimensions of a token vector.
        text: The path of the texts; ``None`` if a function finds them, or nobody needs them.
        config: The target's settings.
        indexes: The payload keys with an index.
        costs: The costs of one point.
        risks: Everything that can go wrong.
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
        """The vector that says, in place, what the added vectors of a point were made of."""
        return origin_name(self.config.token_vector)

    @property
    def written(self) -> tuple[str, ...]:
        """The vectors that are made of a point's text or token vectors and written with it."""
        fde = (self.config.fde_vector,) if self.encoding == "computed" else ()
        return fde + ((self.config.token_vector,) if self.tokens == "encoded" else ())

    @property
    def added(self) -> tuple[str, ...]:
        """The vectors that are added to the source in place, the one that is taken away first first."""
        own = tuple(name for name in (self.config.fde_vector, self.config.token_vector) if name not in self.kept)
        return ((self.origin_vector,) if self.written else ()) + own

    @property
    def blocked(self) -> tuple[Risk, ...]:
        """The risks because of which the plan cannot be run."""
        return tuple(risk for risk in self.risks if risk.blocks)

    @property
    def seconds(self) -> float:
        """About the time that the rest takes."""
        return (self.points - self.present) * self.costs.seconds

    @property
    def disk_bytes(self) -> float:
        """About the bytes that the target takes, without graphs and payload indexes."""
        return self.points * self.costs.disk_bytes

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps, in words."""
        return tuple(self._steps())

    def require_possible(self) -> None:
        """Raise an error if something is in the way.

        Raises:
            MigrationError: A risk blocks the migration; the message names all that do, with the remedies.
        """
        if self.blocked:
            lines = "".join(f"\n  {risk.problem}: {risk.remedy}" for risk in self.blocked)
            raise MigrationError(f"collection {self.source!r} cannot be migrated as planned:{lines}")

    def same_as(self, other: MigrationPlan) -> bool:
        """Tell whether another plan makes the same target of the same source."""
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
        """Make a plan of what `to_dict` returned.

        Raises:
            MigrationError: The values are no plan, or one of a newer version.
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
                f"the plan of a migration cannot be read ({error}): it was changed by hand, or written by a newer "
                "version of colbert-qdrant"
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
        source = {"stored": "as stored", "encoded": f"encoded from the text {self._where()}"}[self.tokens]
        yield f"{config.token_vector!r}: token vectors of {self.token_dim} dimensions, {source}"
        how = {
            "stored": "as stored",
            "computed": "computed from the token vectors",
            "fitted": "fitted to the token vectors, once all are there",
        }[self.encoding]
        yield f"{config.fde_vector!r}: encodings of {config.fde.dim:,} dimensions, {how}"
        others = [name for name in self.kept if name not in (config.token_vector, config.fde_vector)]
        if others and self.strategy == "blue_green":
            yield f"copied as they are: ids, payloads, and the vectors {others}"
        elif self.strategy == "blue_green":
            yield "copied as they are: ids and payloads"
        yield "verify(), then switch(alias)" if self.strategy == "blue_green" else "verify()"

    def _where(self) -> str:
        return "that text= finds" if self.text is None else f"under {self.text!r}"

    def _lines(self) -> Iterator[str]:
        costs = self.costs
        yield f"Migration of collection {self.source!r} ({self.kind}) to {self.target!r} ({self.strategy})"
        yield f"  points     {self.points:,}" + (f", of which {self.present:,} are there" if self.present else "")
        for name, words in self.vectors.items():
            yield f"  vector     {name!r}: {words}"
        for number, step in enumerate(self.steps, start=1):
            yield f"  step {number}     {step}"
        if costs.sample:
            yield (
                f"  per point  {costs.read_bytes:,.0f} bytes read, {costs.written_bytes:,.0f} written, "
                f"{costs.tokens:,.0f} token vectors, {1e3 * costs.seconds:,.1f} ms (from {costs.sample} points)"
            )
            disk = f"{self.disk_bytes / 2**20:,.0f} MiB of disk, and its graphs"
            fit = ", and the time of a fit" if self.encoding == "fitted" else ""
            times = (
                f"{_duration(self.seconds / 3)} to {_duration(3 * self.seconds)}, for nothing is written to measure it"
            )
            yield f"  in all     about {_duration(self.seconds)} ({times}){fit}; {disk}"
        for risk in self.risks:
            yield f"  {'BLOCKED' if risk.blocks else 'risk'}: {risk.problem}: {risk.remedy}"


def without_label(fingerprint: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is compared of an encoder's fingerprint: all but its label and what decides queries alone."""
    return {name: value for name, value in fingerprint.items() if name not in ("name", "query")}


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 5_400 else f"{seconds / 3_600:,.1f} h"
