"""Whether a target is what its source is, and can be searched: everything that can be looked at, is."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qdrant_client import models

from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.migrate.source import canonical, pages, read_points
from colbert_qdrant.migrate.verdict import Check
from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.points.schema import datatype_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from numpy.typing import NDArray

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.migrate.convert import Converter
    from colbert_qdrant.migrate.plan import MigrationPlan
    from colbert_qdrant.migrate.source import PointId, Source
    from colbert_qdrant.search.limits import Limits

_SHOWN: Final = 5
_TOLERANCES: Final[Mapping[str, float]] = {
    "float32": 1e-5,
    "float16": 2e-3,
    "uint8": 1e-6,
    "turbo8": 0.03,
    "turbo4": 0.25,
}
"""Of the norm of the difference, relative to that of the vector: what reading and writing again may cost."""

_RECOMPUTED: Final = 0.98
"""Cosine of an encoding and the one that is computed again, from token vectors that were rounded when they were
stored: a token on a hyperplane may come to its other side."""


@dataclass(kw_only=True)
class Contents:
    """Ids and payloads of a collection, told from others by a digest that does not depend on their order.

    Attributes:
        points: How many.
        total: Sum of the points' digests.
        texts: Points with a text.
        different: Points whose payload is another in the target.
        missing: Points that the target has not.
        sample: Some ids, chosen at random.
    """

    points: int = 0
    total: int = 0
    texts: int = 0
    different: list[PointId] = field(default_factory=list)
    missing: list[PointId] = field(default_factory=list)
    sample: list[PointId] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """In hexadecimal."""
        return f"{self.total % 2**256:064x}"

    def add(self, id: PointId, payload: str) -> None:
        """Count a point, whose payload is given as JSON."""
        text = f"{id!r} {payload}"
        self.points += 1
        self.total += int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")


async def read_contents(engine: Engine, source: Source) -> Contents:
    """Read all ids and payloads of a collection."""
    contents = Contents()
    async for page in pages(engine, source.name, source.filter, limits=source.limits, payload=True):
        for record in page:
            contents.add(record.id, canonical(record.payload))
    return contents


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A source beside its target.

    Args:
        reading, writing: The engines of source and target.
        source: The source.
        plan: What was to be done.
        limits: What the target's server allows.
        converter: With which it was done.
        sample: How many points are read with all vectors.
        seed: Chooses them.
    """

    reading: Engine
    writing: Engine
    source: Source
    plan: MigrationPlan
    limits: Limits
    converter: Converter
    sample: int
    seed: int = 0

    async def contents(self, report: ProgressReporter) -> Contents:
        """Read all ids and payloads of both, page by page.

        Args:
            report: Told of every page.
        """
        contents, random = Contents(), np.random.RandomState(self.seed)
        async for page in pages(
            self.reading, self.source.name, self.source.filter, limits=self.source.limits, payload=True
        ):
            stored = await self.writing.retrieve(
                self.plan.target, ids=[record.id for record in page], with_payload=True, with_vectors=False
            )
            payloads = {record.id: canonical(record.payload) for record in stored}
            contents.texts += sum(text is not None for text in self.converter.found_texts(page))
            report.advance(len(page))
            for record in page:
                payload = canonical(record.payload)
                contents.add(record.id, payload)
                if record.id not in payloads:
                    contents.missing.append(record.id)
                elif payloads[record.id] != payload:
                    contents.different.append(record.id)
                _choose(contents, record.id, self.sample, random)
        return contents

    async def check_contents(self, contents: Contents) -> AsyncIterator[Check]:
        """Counts, ids and payloads."""
        target = await count_documents(self.writing, self.plan.target)
        same = target == contents.points
        again = "" if same else "; run() again, if the source was written to meanwhile"
        yield Check(name="count", passed=same, detail=f"{contents.points:,} points, {target:,} in the target{again}")
        missing = contents.missing
        more = target - (contents.points - len(missing))
        found = [f"{len(missing):,} are missing{_some(missing)}"] if missing else []
        found += [f"{more:,} are not in the source"] if more else []
        yield Check(
            name="ids",
            passed=not found,
            detail=f"{', '.join(found)}; run() again" if found else "the same",
        )
        different = contents.different
        yield Check(
            name="payloads",
            passed=not different,
            detail=f"{len(different):,} points have another payload{_some(different)}; run() again"
            if different
            else f"equal, SHA-256 {contents.digest[:16]}…",
        )

    async def check_vectors(self, contents: Contents) -> AsyncIterator[Check]:
        """Every vector is there as often as in the source, and those that are added as often as there is a text."""
        can_count = all([(await each.capabilities()).has("has_vector") for each in (self.reading, self.writing)])
        if not can_count:
            yield Check(
                name="vectors", passed=None, detail="servers before 1.13 do not tell which points have a vector"
            )
            return
        own = (self.plan.config.token_vector, self.plan.config.fde_vector)
        wrong, counts = [], []
        for name in self.plan.kept:
            having = models.HasVectorCondition(has_vector=name)
            before = await count_documents(self.reading, self.source.name, self.source.chosen(having))
            after = await self._having(name)
            counts.append(f"{name!r} {after:,}")
            if before != after:
                wrong.append(f"{after:,} of {before:,} points have {name!r}")
        tokens, encodings = [await self._having(name) for name in own]
        counts += [
            f"{name!r} {count:,}"
            for name, count in zip(own, (tokens, encodings), strict=True)
            if name not in self.plan.kept
        ]
        if self.plan.tokens == "encoded" and tokens != contents.texts:
            wrong.append(f"{contents.texts:,} points have a text, and {tokens:,} token vectors")
        remedy = self._remedy
        if tokens != encodings:
            if self.plan.encoding == "stored" and not wrong:
                remedy = (
                    "so it is in the source; add them to the points there that lack them, or cleanup('target') and "
                    "plan with another encoding (fde=…), which all points get"
                )
            wrong.append(f"{tokens:,} points have token vectors, and {encodings:,} an encoding")
        detail = f"{'; '.join(wrong)}: {remedy}" if wrong else ", ".join(counts)
        yield Check(name="vectors", passed=not wrong, detail=detail)

    async def check_sample(self, ids: Sequence[PointId]) -> AsyncIterator[Check]:
        """Some points' vectors are those of the source, and those that are added are computed again."""
        if not ids:
            return
        source = {record.id: record for record in await read_points(self.reading, self.source.name, ids)}
        target = {record.id: record for record in await read_points(self.writing, self.plan.target, ids)}
        both = [id for id in ids if id in source and id in target]
        wrong = [
            f"{name!r} of point {id!r}"
            for id in both
            for name, vector in vectors_of(source[id]).items()
            if name in self.plan.kept and not self._same(name, vector, vectors_of(target[id]).get(name))
        ]
        yield Check(
            name="copied vectors",
            passed=not wrong,
            detail=f"other than in the source: {', '.join(wrong[:_SHOWN])}: {self._remedy}"
            if wrong
            else f"equal in {len(both)} points",
        )
        computed = await self.reading.runtime.compute(self.converter.points, [source[id] for id in both])
        worst, compared = 1.0, 0
        for point in computed:
            stored = vectors_of(target[point.id])
            for name in {*point.vectors} - {*self.plan.kept}:
                if name in stored and isinstance(point.vectors[name], np.ndarray):
                    worst = min(worst, _cosine(_flat(point.vectors[name]), _flat(stored[name])))
                    compared += 1
                elif name not in stored:
                    worst = 0.0
        if compared or worst < 1:
            yield Check(
                name="computed vectors",
                passed=worst >= _RECOMPUTED,
                detail=f"the least cosine of {compared} vectors that were computed again is {worst:.4f}"
                + ("" if worst >= _RECOMPUTED else f": another encoder, or altered; {self._remedy}"),
            )

    async def check_engine(self) -> AsyncIterator[Check]:
        """Whether the target has every payload index of the source, and its graphs are built."""
        info = await self.writing.get_collection(self.plan.target)
        if (await self.writing.capabilities()).has("payload_indexes"):
            yield self._indexes(info.payload_schema)
        else:
            yield Check(name="payload indexes", passed=None, detail="the client's local mode has none")
        status = info.status.value
        yield Check(
            name="index state",
            passed=status == "green",
            detail=f"{status}, {info.indexed_vectors_count or 0:,} vectors in graphs"
            + ("" if status == "green" else "; wait until it is green, and verify() again"),
        )

    def _indexes(self, there: Mapping[str, models.PayloadIndexInfo]) -> Check:
        wanted = self.source.info.payload_schema
        missing = [key for key, index in wanted.items() if key not in there or there[key].data_type != index.data_type]
        return Check(
            name="payload indexes",
            passed=not missing,
            detail=f"missing or of another type: {missing}; run() again"
            if missing
            else f"{len(wanted)} of {len(wanted)}",
        )

    @property
    def _remedy(self) -> str:
        """What to do about vectors: a run looks at ids and payloads only, in place at missing vectors only."""
        if self.plan.strategy == "in_place":
            return "run() again for those that are missing, for others rollback() first"
        return "delete these points from the target, or all of it, and run() again"

    async def _having(self, name: str) -> int:
        """Points of the target that have a vector."""
        having = models.Filter(must=[models.HasVectorCondition(has_vector=name)])
        return await count_documents(self.writing, self.plan.target, having)

    def _same(self, name: str, one: Any, other: Any) -> bool:
        if other is None:
            return False
        if name in self.source.sparse:
            return _entries(one) == _entries(other)
        config, tolerance = self.plan.config, _TOLERANCES[datatype_of(self.source.vectors[name])]
        stored = {config.token_vector: config.token_datatype, config.fde_vector: config.fde_datatype}
        if name in stored:
            tolerance = max(tolerance, _TOLERANCES[stored[name]])
        first, second = _flat(one), _flat(other)
        return first.shape == second.shape and bool(
            np.linalg.norm(first - second) <= tolerance * max(float(np.linalg.norm(first)), 1e-12)
        )


def _choose(contents: Contents, id: PointId, size: int, random: np.random.RandomState) -> None:
    """Keep every id with the same probability (reservoir sampling)."""
    if len(contents.sample) < size:
        contents.sample.append(id)
    elif (place := random.randint(contents.points)) < size:
        contents.sample[place] = id


def _entries(vector: models.SparseVector) -> dict[int, float]:
    """What a sparse vector holds, in the 32 bits that engines keep of a number."""
    return dict(zip(vector.indices, np.asarray(vector.values, np.float32).tolist(), strict=True))


def _flat(vector: Any) -> NDArray[np.float32]:
    return np.asarray(vector, np.float32).ravel()


def _cosine(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    if first.shape != second.shape:
        return 0.0
    norms = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / norms if norms else float(not first.any() and not second.any())


def _some(ids: Sequence[PointId]) -> str:
    return f" ({', '.join(map(repr, ids[:_SHOWN]))}{', …' if len(ids) > _SHOWN else ''})"
