"""Finds documents that have a text and no token vectors, as other programs write them, and encodes them in place."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

from colbert_qdrant._support.progress import reporting
from colbert_qdrant.collection.metadata import count_documents
from colbert_qdrant.collection.opened import WRITE_SECONDS
from colbert_qdrant.collection.scroll import scroll_points
from colbert_qdrant.collection.writer import MAX_BATCH_BYTES
from colbert_qdrant.documents import Document
from colbert_qdrant.encoders.base import encode_and_check
from colbert_qdrant.encoders.further import FurtherVectors
from colbert_qdrant.errors import (
    ConfigurationError,
    InvalidDocumentError,
    RequestError,
    RequestRefusedError,
)
from colbert_qdrant.points.ids import canonical_id
from colbert_qdrant.points.origins import origin_name, origin_of
from colbert_qdrant.points.page_size import PageSize
from colbert_qdrant.points.point import Point, split_by_bytes, to_numbers
from colbert_qdrant.points.ranges import check_range
from colbert_qdrant.points.schema import named_vectors
from colbert_qdrant.points.texts import TextSource, text_source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.search.limits import Limits

_PAGE_POINTS: Final = 256
_LOOKED: Final = 1_024
"""The documents that are looked at for a text; of more the engine's count is taken."""

_ROUNDS: Final = 5
"""How often a document is encoded again, at most, because somebody else gives it another text meanwhile."""


async def count_without_tokens(engine: Engine, name: str, config: CollectionConfig, limits: Limits) -> int:
    """Count the documents that have a text and no token vectors; 0 where the server cannot tell."""
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


async def encode_without_tokens(collection: OpenCollection, *, progress: bool | ProgressReporter) -> int:
    """Give token vectors and encodings to the documents that have a text only; return how many got them."""
    texts, config = _texts(collection.config), collection.config
    if texts is None:
        return 0
    await collection.refresh()
    adding = await _Adding.make(collection, texts)
    count = await count_without_tokens(collection.engine, collection.name, config, collection.limits)
    with reporting(progress, label="repair", total=count) as report:
        async for page in _pages(collection.engine, collection.name, _lacking(config), collection.limits):
            report.advance(await adding.add(page))
    if collection.fde is None:
        collection.wrote_unencoded()
    return adding.points


class _Adding:
    """Adds vectors to documents, and leaves alone what somebody else changes meanwhile."""

    def __init__(
        self, collection: OpenCollection, texts: TextSource, bm25: FurtherVectors, *, origin: str | None
    ) -> None:
        self._collection = collection
        self._texts = texts
        self._bm25 = bm25
        self._origin = origin
        self.points = 0

    @classmethod
    async def make(cls, collection: OpenCollection, texts: TextSource) -> _Adding:
        engine, origin = collection.engine, origin_name(collection.config.token_vector)
        only_bm25 = replace(collection.config, dense={}, sparse={})
        bm25 = await engine.runtime.compute(FurtherVectors, only_bm25, {}, await engine.capabilities())
        there = named_vectors(await engine.get_collection(collection.name))
        return cls(collection, texts, bm25, origin=origin if origin in there else None)

    async def add(self, records: Sequence[models.Record]) -> int:
        """Add vectors to those of some points that have a text; return how many have."""
        engine, name = self._collection.engine, self._collection.name
        points = await engine.runtime.compute(self._encode, records)
        count = len(points)
        for _ in range(_ROUNDS):
            if not points:
                break
            await self._write(points)
            ids = [point.id for point in points]
            now = await engine.retrieve(name, ids=ids, with_payload=True, with_vectors=False)
            made_of = {point.id: self._texts.text(point.payload) for point in points}
            changed = [each for each in now if self._texts.text(each.payload or {}) != made_of[canonical_id(each.id)]]
            points = await engine.runtime.compute(self._encode, changed)
        self.points += count
        return count

    def _encode(self, records: Sequence[models.Record]) -> list[Point]:
        config, fde, encoder = self._collection.config, self._collection.fde, self._collection.encoder
        found = [(record, self._texts.text(record.payload or {})) for record in records]
        documents = [Document(record.id, text) for record, text in found if text is not None]
        if not documents:
            return []
        tokens = encode_and_check(encoder, [each.text for each in documents], InvalidDocumentError)
        self._collection.limits.check_tokens(documents, tokens.lengths)
        cut = [each.id for each, truncated in zip(documents, tokens.truncated, strict=True) if truncated]
        self._collection.warned.of_truncated_documents(self._collection.name, cut, among=len(documents))
        encodings = [None] * len(tokens) if fde is None else list(fde.encode_documents(tokens))
        ids = [document.id for document in documents]
        check_range(ids, tokens, setting="token_datatype", datatype=config.token_datatype)
        check_range(ids, encodings, setting="fde_datatype", datatype=config.fde_datatype)
        points = []
        payloads = [record.payload or {} for record, text in found if text is not None]
        further = self._bm25.documents(documents)
        for document, payload, matrix, encoding, others in zip(
            documents, payloads, tokens, encodings, further, strict=True
        ):
            vectors: dict[str, Any] = {config.token_vector: matrix, **others}
            if encoding is not None:
                vectors[config.fde_vector] = encoding
            if self._origin is not None:
                vectors[self._origin] = origin_of(document.text)
            points.append(Point(id=canonical_id(document.id), vectors=vectors, payload=payload))
        return points

    async def _write(self, points: Sequence[Point]) -> None:
        collection, engine = self._collection, self._collection.engine
        conditional = (await engine.capabilities()).has("update_filter") and collection.limits.unindexed_writes
        for batch in split_by_bytes(
            points, MAX_BATCH_BYTES, binary=engine.binary, most=collection.limits.condition_size
        ):
            changes = [
                models.PointVectors.model_construct(
                    id=point.id, vector={name: to_numbers(vector) for name, vector in point.vectors.items()}
                )
                for point in batch
            ]
            await collection.notice(seconds=WRITE_SECONDS)
            try:
                only = self._still_so(batch) if conditional else None
                await engine.update_vectors(collection.name, changes, update_filter=only)
            except Exception as error:
                # one that was deleted since is an error to every engine, after it has written the others
                gone_wrong = isinstance(error, RequestError) and not isinstance(error, RequestRefusedError)
                there = await engine.retrieve(collection.name, ids=[point.id for point in batch], with_payload=False)
                if gone_wrong or len(there) == len(batch):
                    raise

    def _still_so(self, points: Sequence[Point]) -> models.Filter:
        """Return a filter for those of some points that have still the text that was encoded."""
        conditions: list[models.Condition] = []
        for point in points:
            has_id, text = models.HasIdCondition(has_id=[point.id]), self._texts.is_still(point.payload)
            conditions.append(has_id if text is None else models.Filter(must=[has_id, text]))
        return models.Filter(should=conditions)


def _texts(config: CollectionConfig) -> TextSource | None:
    """Return where the texts of a collection are; ``None`` if nobody knows."""
    if config.native or config.text_key is None:
        return text_source(config.text_key)
    return TextSource(f'"{config.text_key}"')


def _lacking(config: CollectionConfig) -> models.Filter:
    return models.Filter(must_not=[models.HasVectorCondition(has_vector=config.token_vector)])


def _choices(config: CollectionConfig, texts: TextSource, limits: Limits) -> Iterator[models.Filter]:
    """Return filters for documents that may have a text: by its path, by the path's first key if that holds JSON."""
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
