"""Measures the average length again when a collection has grown, and computes BM25's weights for the new length."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qdrant_client import models

from colbert_qdrant._support.progress import reporting
from colbert_qdrant.collection.metadata import AverageLength, documents_only
from colbert_qdrant.collection.opened import WRITE_SECONDS
from colbert_qdrant.collection.scroll import scroll_points
from colbert_qdrant.collection.stored import draw_ids
from colbert_qdrant.collection.update import update_vectors
from colbert_qdrant.documents import Document
from colbert_qdrant.encoders.bm25_weights import counts_of, same_weights, weights_of
from colbert_qdrant.points.convert import vectors_of
from colbert_qdrant.points.digests import entries
from colbert_qdrant.points.ids import canonical_id
from colbert_qdrant.points.page_size import PageSize
from colbert_qdrant.points.point import to_numbers
from colbert_qdrant.points.texts import text_of
from colbert_qdrant.vectors import SparseVector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from numpy.typing import NDArray

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.config import Bm25Config

_TIMES: Final = 2
"""The growth of a collection after which its average length is measured again."""

_TIMES_AT_END: Final = 1.1
"""The same at the end of an ingest, where it is measured only once."""

_TOLERATED: Final = 1.1
"""The factor by which the average length may differ: on ten test collections, it changed nDCG@10 by at most .008."""

_SAMPLE: Final = 1_024
_PAGE_POINTS: Final = 256


@dataclass(frozen=True, kw_only=True)
class _Weighed:
    """A stored document with its BM25 vector, and with the weights for the length that the metadata have."""

    record: models.Record
    words: NDArray[np.uint32]
    weights: NDArray[np.float32]
    wanted: NDArray[np.float32]
    length: float

    @property
    def is_stale(self) -> bool:
        """Whether the vector was computed for another average length."""
        return not same_weights(self.weights, self.wanted)


class Reweigher:
    """Keeps the average length of one open collection up to date.

    The new length is declared before any vector changes, together with the earlier one. So all writers use it from
    then on, and after a kill the next ingest completes the change, or `repair`. The weights themselves show which
    vectors are stale, so the vectors are the progress.

    Args:
        collection: The open collection.
        stopping: Tells whether to end early.
    """

    def __init__(self, collection: OpenCollection, stopping: Callable[[], bool] = lambda: False) -> None:
        self._collection = collection
        self._engine = collection.engine
        self._name = collection.name
        self._vector = collection.config.bm25_vector
        self._stopping = stopping

    @property
    def interrupted(self) -> bool:
        """Whether vectors may still have weights for an earlier length."""
        return self._is_possible and self._earlier is not None

    async def keep(self, *, last: bool = False, written: int = 0, progress: bool | ProgressReporter = False) -> None:
        """Measure again if the collection has grown; compute new weights if its average length has changed.

        Args:
            last: Whether an ingest ends here: then less growth is enough, and an interrupted change is completed.
            written: The number of points that may have been added since the collection was last described.
            progress: Whether, or to which reporter, to report the computation.
        """
        length = self._collection.lengths.now
        if length is None or not self._is_possible:
            return
        enough = max(1.0, (_TIMES_AT_END if last else _TIMES) * length.documents)
        known = (self._collection.points or 0) + written
        if not last and known < enough:
            return
        points = (await self._engine.get_collection(self._name)).points_count or 0
        if points >= enough:
            length = await self._measured(length, points)
        if length is not None and length.earlier is not None:
            await self._reweigh(length, points, progress=progress)

    async def complete(self, *, progress: bool | ProgressReporter) -> None:
        """Complete an interrupted change."""
        length = self._collection.lengths.now
        if length is not None and self.interrupted:
            await self._reweigh(length, self._collection.points or 0, progress=progress)

    @property
    def _is_possible(self) -> bool:
        """Whether this collection's length is measured, from all of its documents, and stale texts can be noticed."""
        collection = self._collection
        one_client_sees_all = collection.config.sharding != "custom"
        return collection.lengths.is_kept and one_client_sees_all and collection.config.text_key is not None

    @property
    def _earlier(self) -> float | None:
        length = self._collection.lengths.now
        return None if length is None else length.earlier

    async def _measured(self, length: AverageLength, points: int) -> AverageLength | None:
        """Measure a sample, and declare the outcome; ``None`` if it cannot be declared."""
        found = [each async for page in self._sample() for each in await self._weighed(page)]
        if not found:
            return length
        mean = float(np.mean([each.length for each in found]))
        new = replace(length, documents=points)
        if abs(math.log(mean / length.words)) > math.log(_TOLERATED):
            new = AverageLength(words=mean, documents=points, earlier=length.words)
        elif any(each.is_stale for each in found):
            new = replace(new, earlier=length.earlier or length.words)
        return new if await self._collection.lengths.declare(new) else None

    async def _reweigh(self, length: AverageLength, points: int, *, progress: bool | ProgressReporter) -> None:
        """Compute the weights of all stale vectors anew, and declare that none is left."""
        collection = self._collection
        collection.limits = await collection.read_limits()
        with reporting(progress, label="bm25", total=points) as report:
            async for page in self._pages():
                stale = [each for each in await self._weighed(page) if each.is_stale]
                await collection.notice(seconds=WRITE_SECONDS)
                if self._stopping() or collection.lengths.now != length:
                    return  # another writer has measured since, and changes all vectors
                await self._replace(stale)
                report.advance(len(page))
        await collection.lengths.declare(replace(length, earlier=None))

    async def _replace(self, stale: Sequence[_Weighed]) -> None:
        """Write new weights; where another writer has changed the text in the meantime, those of its text."""
        made: dict[Any, tuple[str | None, SparseVector | None]] = {
            each.record.id: (self._text(each.record), SparseVector(indices=each.words, values=each.wanted))
            for each in stale
        }
        while made:
            changes = [
                models.PointVectors.model_construct(id=id, vector={self._vector: to_numbers(vector)})
                for id, (_, vector) in made.items()
                if vector is not None
            ]
            if changes:
                await update_vectors(self._engine, self._name, changes, only=None)
            if without := [id for id, (_, vector) in made.items() if vector is None]:
                points = models.Filter(must=[models.HasIdCondition(has_id=without)])
                await self._engine.delete_vectors(self._name, vectors=[self._vector], points=points)
            now = await self._engine.retrieve(
                self._name, ids=list(made), with_payload=self._payload, with_vectors=False
            )
            changed = {each.id: text for each in now if (text := self._text(each)) != made[each.id][0]}
            made = await self._engine.runtime.compute(self._of_texts, changed)

    def _of_texts(self, texts: dict[Any, str | None]) -> dict[Any, tuple[str | None, Any]]:
        documents = [Document(canonical_id(id), text or "") for id, text in texts.items()]
        made = self._collection.further.documents(documents, only=self._vector)
        return {id: (texts[id], vectors.get(self._vector)) for id, vectors in zip(texts, made, strict=True)}

    async def _weighed(self, records: Sequence[models.Record]) -> list[_Weighed]:
        length, config = self._collection.lengths.now, self._collection.config.bm25
        if length is None or config is None:
            return []
        return await self._engine.runtime.compute(self._weigh, records, length, config)

    def _weigh(self, records: Sequence[models.Record], length: AverageLength, config: Bm25Config) -> list[_Weighed]:
        lengths = [length.words] if length.earlier is None else [length.words, length.earlier]
        found = []
        for record in records:
            stored = entries(vectors_of(record)[self._vector]) if self._vector in vectors_of(record) else {}
            weights = np.fromiter(stored.values(), np.float32, len(stored))
            counts = counts_of(weights, config, lengths)
            if counts is not None:
                found.append(
                    _Weighed(
                        record=record,
                        words=np.fromiter(stored, np.uint32, len(stored)),
                        weights=weights,
                        wanted=weights_of(counts, config, length.words),
                        length=float(counts.sum()),
                    )
                )
        return found

    def _text(self, record: models.Record) -> str | None:
        return text_of(record.payload or {}, self._collection.config)

    async def _sample(self) -> AsyncIterator[list[models.Record]]:
        read = 0
        if not self._collection.config.native:  # point ids are hashes, so the first ones are a random sample
            async for page in self._pages():
                yield page
                if (read := read + len(page)) >= _SAMPLE:
                    return
            return
        chosen = await documents_only(self._engine, self._name, None)
        ids = await draw_ids(self._engine, self._name, chosen, most=_SAMPLE, limits=self._collection.limits, seed=0)
        for start in range(0, len(ids), _PAGE_POINTS):
            some = ids[start : start + _PAGE_POINTS]
            yield await self._engine.retrieve(self._name, ids=some, with_payload=False, with_vectors=[self._vector])

    async def _pages(self) -> AsyncIterator[list[models.Record]]:
        limits = self._collection.limits
        size = PageSize(min(bound for bound in (_PAGE_POINTS, limits.query_limit, limits.upsert_batch) if bound))
        async for page in scroll_points(
            self._engine,
            self._name,
            None,
            limit=lambda: size.points,
            with_payload=self._payload,
            with_vectors=[self._vector],
        ):
            size.learn(page)
            yield page

    @property
    def _payload(self) -> bool | list[str]:
        # Qdrant's path syntax cannot express every text_key of a native collection
        config = self._collection.config
        return True if config.native else [str(config.text_key)]
