"""Finds documents that another program wrote with a text but no token vectors, and encodes them in place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

from colbert_qdrant._support.progress import reporting
from colbert_qdrant.collection.encoding import encode_again, encode_rows
from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.collection.opened import WRITE_SECONDS
from colbert_qdrant.collection.rows import Rejections, Row
from colbert_qdrant.collection.scroll import scroll_points
from colbert_qdrant.collection.update import update_vectors
from colbert_qdrant.collection.writer import MAX_BATCH_BYTES
from colbert_qdrant.documents import Document, DocumentId, RejectedDocument, id_sort_key
from colbert_qdrant.encoders.further import FurtherVectors
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.points.ids import canonical_id
from colbert_qdrant.points.origins import origin_name, origin_of
from colbert_qdrant.points.page_size import PageSize
from colbert_qdrant.points.point import Point, split_by_bytes, to_numbers
from colbert_qdrant.points.schema import named_vectors, stored_as_float16
from colbert_qdrant.points.texts import TextSource, text_source
from colbert_qdrant.shown import counted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.search.limits import Limits

_PAGE_POINTS: Final = 256
_LOOKED: Final = 1_024
"""The number of documents that are checked for a text; beyond that, the engine's count is used."""

_SHOWN: Final = 10
"""The number of documents that a message names."""

_ROUNDS: Final = 5
"""Maximum number of times that a document is encoded because another client changes its text in the meantime."""


async def count_without_tokens(engine: Engine, name: str, config: CollectionConfig, limits: Limits) -> int:
    """Count the documents that have a text but no token vectors; 0 if the engine cannot count them."""
    texts = _texts(config)
    if texts is None or not (await engine.capabilities()).has("has_vector"):
        return 0
    if not await count_documents(engine, name, _lacking(config)):
        return 0
    for chosen in _choices(config, texts, limits):
        count = await count_documents(engine, name, chosen)
        looked = found = 0
        async for page in _pages(engine, name, chosen, limits):
            looked += len(page)
            found += sum(texts.text(record.payload or {}) is not None for record in page)
            if looked >= _LOOKED:
                break
        if found:
            return found if looked >= count else count
    return 0


def say_without_tokens(count: int, config: CollectionConfig, *, opened: str | None = None) -> str:
    """Describe the documents without token vectors, with the remedy; ``opened`` is a collection to open first."""
    first = "" if opened is None else f"open collection {opened!r} with its encoder, and "
    return (
        f"{counted(count, 'document', 'have')} a text under {config.text_key!r} but no token vectors, because another "
        f"program wrote {'it' if count == 1 else 'them'}, so no search finds {'it' if count == 1 else 'them'}: "
        f"{first}call repair(), which encodes such documents or names the reason"
    )


def say_rejected(rejected: Sequence[RejectedDocument], consequence: str) -> str:
    """Describe the documents that cannot be encoded, with the reasons; empty if there are no such documents."""
    if not rejected:
        return ""
    more = "" if len(rejected) <= _SHOWN else "; …"
    reasons = "; ".join(f"{each.id!r}: {each.reason}" for each in rejected[:_SHOWN])
    return f" {counted(len(rejected), 'document')} cannot be encoded, {consequence} ({reasons}{more})."


async def encode_without_tokens(collection: OpenCollection, *, progress: bool | ProgressReporter) -> Encoded:
    """Add token vectors and encodings to the documents that have only a text.

    Every request completes some documents, so call it again to resume after an interruption.
    """
    texts, config = _texts(collection.config), collection.config
    if texts is None:
        return Encoded()
    await collection.refresh()
    collection.limits = await collection.read_limits()
    adding = await _Adding.make(collection, texts)
    count = await count_without_tokens(collection.engine, collection.name, config, collection.limits)
    try:
        with reporting(progress, label="repair", total=count) as report:
            async for page in _pages(collection.engine, collection.name, _lacking(config), collection.limits):
                report.advance(await adding.add(page))
    finally:
        if collection.fde is None:
            collection.wrote_unencoded()
    return adding.outcome()


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The outcome for the documents that had no token vectors.

    Attributes:
        count: The number of documents that now have token vectors.
        rejected: The documents that cannot be encoded.
        textless: The ids of some documents without a text.
        textless_count: The number of documents without a text.
        texts: A description of where the texts should be.
    """

    count: int = 0
    rejected: tuple[RejectedDocument, ...] = ()
    textless: tuple[DocumentId, ...] = ()
    textless_count: int = 0
    texts: str = ""

    def __str__(self) -> str:
        encoded = f"{counted(self.count, 'document')} with only a text {'was' if self.count == 1 else 'were'} encoded."
        sentences = [encoded + say_rejected(self.rejected, "and no search finds them")]
        if self.textless_count:
            shown = ", ".join(map(repr, self.textless)) + (", …" if self.textless_count > len(self.textless) else "")
            sentences.append(
                f"{counted(self.textless_count, 'document', 'have')} no text {self.texts} to encode: {shown}."
            )
        return " ".join(sentences)


class _Adding:
    """Adds vectors to documents, unless another client changes them in the meantime."""

    def __init__(
        self, collection: OpenCollection, texts: TextSource, bm25: FurtherVectors, *, origin: str | None
    ) -> None:
        self._collection = collection
        self._texts = texts
        self._bm25 = bm25
        self._origin = origin
        self._count = self._textless_count = 0
        self._textless: list[DocumentId] = []
        self._rejected: dict[Any, RejectedDocument] = {}

    @classmethod
    async def make(cls, collection: OpenCollection, texts: TextSource) -> _Adding:
        engine, origin = collection.engine, origin_name(collection.config.token_vector)
        only_bm25 = replace(collection.config, dense={}, sparse={})
        bm25 = await engine.runtime.compute(FurtherVectors, only_bm25, {}, await engine.capabilities())
        there = named_vectors(await engine.get_collection(collection.name))
        return cls(collection, texts, bm25, origin=origin if origin in there else None)

    def outcome(self) -> Encoded:
        """Return the outcome for all documents that were read."""
        return Encoded(
            count=self._count,
            rejected=tuple(self._rejected[id] for id in sorted(self._rejected, key=id_sort_key)),
            textless=tuple(self._textless),
            textless_count=self._textless_count,
            texts=str(self._texts),
        )

    async def add(self, records: Sequence[models.Record]) -> int:
        """Add vectors to the points that have a text; return the number of these points."""
        engine, name = self._collection.engine, self._collection.name
        textless = [canonical_id(each.id) for each in records if self._texts.text(each.payload or {}) is None]
        self._textless_count += len(textless)
        self._textless = (self._textless + textless)[:_SHOWN]
        changed, added = records, set[str | int]()
        for _ in range(_ROUNDS):
            points = await self._encoded(changed)
            if not points:
                break
            added.update(await self._write(points))
            now = await engine.retrieve(name, ids=[each.id for each in points], with_payload=True, with_vectors=False)
            made_of = {point.id: self._texts.text(point.payload) for point in points}
            changed = [each for each in now if self._texts.text(each.payload or {}) != made_of[canonical_id(each.id)]]
        self._count += len(added)
        return len(records) - len(textless)

    async def _encoded(self, records: Sequence[models.Record]) -> list[Point]:
        """Return points with vectors for the texts that can be encoded; record the others as rejected."""
        texts = [text for each in records if (text := self._texts.text(each.payload or {})) is not None]
        await self._collection.lengths.begin([Document(0, text) for text in texts])
        self._bm25.avg_len = self._collection.further.avg_len
        rejections = Rejections("skip")
        points = await self._collection.engine.runtime.compute(self._encode, records, rejections)
        self._rejected |= {each.id: each for each in rejections.found}
        return points

    def _encode(self, records: Sequence[models.Record], rejections: Rejections) -> list[Point]:
        collection, config = self._collection, self._collection.config
        found = [(record, self._texts.text(record.payload or {})) for record in records]
        rows = [
            Row(document=Document(canonical_id(record.id), text), payload=record.payload or {})
            for record, text in found
            if text is not None
        ]
        encoded = rejections.keep_good(
            encode_rows(collection, rows, collection.fde, self._bm25, rejections), self._within_limits
        )
        cut = [row.document.id for row in encoded if row.truncated]
        collection.warned.of_truncated_documents(f"collection {collection.name!r}", cut, among=len(encoded))
        points = []
        for row in encoded:
            vectors: dict[str, Any] = {config.token_vector: row.tokens, **row.further}
            if row.fde is not None:
                vectors[config.fde_vector] = row.fde
            if self._origin is not None:
                vectors[self._origin] = origin_of(row.document.text)
            id, float16 = canonical_id(row.document.id), stored_as_float16(config)
            points.append(Point(id=id, vectors=vectors, payload=row.payload, float16=float16))
        return points

    def _within_limits(self, row: Row) -> Row:
        self._collection.limits.check_sizes(row.document, len(row.tokens), row.further)
        return row

    async def _write(self, points: Sequence[Point]) -> set[str | int]:
        """Write vectors; return the ids of the points that now have vectors, or were deleted in the meantime."""
        collection, engine, fde = self._collection, self._collection.engine, self._collection.fde
        conditional = (await engine.capabilities()).has("update_filter") and collection.limits.unindexed_writes
        added = {point.id for point in points}
        for batch in split_by_bytes(
            points, MAX_BATCH_BYTES, binary=engine.binary, most=collection.limits.condition_size
        ):
            await collection.notice(seconds=WRITE_SECONDS)
            now = collection.fde  # a refit removes it first, and sets a new one at its end
            some = batch if now is fde else await engine.runtime.compute(encode_again, collection, batch, now)
            changes = [
                models.PointVectors.model_construct(
                    id=point.id, vector={name: to_numbers(vector) for name, vector in point.vectors.items()}
                )
                for point in some
            ]
            only = self._still_so(batch) if conditional else None
            float16 = stored_as_float16(collection.config)
            for refused in await update_vectors(engine, collection.name, changes, only=only, float16=float16):
                added.discard(refused.id)
                self._rejected[refused.id] = RejectedDocument(id=refused.id, reason=str(refused.error))
        return added

    def _still_so(self, points: Sequence[Point]) -> models.Filter:
        """Return a filter for the points that still have the text that was encoded."""
        conditions: list[models.Condition] = []
        for point in points:
            has_id, text = models.HasIdCondition(has_id=[point.id]), self._texts.is_still(point.payload)
            conditions.append(has_id if text is None else models.Filter(must=[has_id, text]))
        return models.Filter(should=conditions)


def _texts(config: CollectionConfig) -> TextSource | None:
    """Return the source of a collection's texts; ``None`` if it is unknown."""
    if config.native or config.text_key is None:
        return text_source(config.text_key)
    return TextSource(f'"{config.text_key}"')


def _lacking(config: CollectionConfig) -> models.Filter:
    return models.Filter(must_not=[models.HasVectorCondition(has_vector=config.token_vector)])


def _choices(config: CollectionConfig, texts: TextSource, limits: Limits) -> Iterator[models.Filter]:
    """Return filters for documents that may have a text: by its path, or by the path's first key if that holds JSON."""
    allowed = False
    for key in dict.fromkeys((texts.key, texts.first_key)):
        empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=key))
        chosen = models.Filter(must_not=[models.HasVectorCondition(has_vector=config.token_vector), empty])
        try:
            limits.check_filter(chosen)
        except ConfigurationError:
            continue
        allowed = True
        yield chosen
    if not allowed:
        yield _lacking(config)


async def _pages(
    engine: Engine, name: str, chosen: models.Filter, limits: Limits
) -> AsyncIterator[list[models.Record]]:
    size = PageSize(min(_PAGE_POINTS, limits.query_limit or _PAGE_POINTS))
    async for page in scroll_points(engine, name, chosen, limit=lambda: size.points, with_payload=True):
        size.learn(page)
        yield page
