"""Turns a stream of documents into a stream of their passages, and deletes passages that a document has lost."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from qdrant_client import models

from colbert_qdrant._support.values import plain
from colbert_qdrant.collection.ingest.lookup import find_stored
from colbert_qdrant.documents import Document
from colbert_qdrant.errors import ColbertQdrantError, ConfigurationError, InvalidDocumentError, InvalidTokensError
from colbert_qdrant.points.ids import check_id, passage_id, point_id
from colbert_qdrant.shown import shown
from colbert_qdrant.sources import BadRow, RowDocument, row_of, where
from colbert_qdrant.sources.chunking import Passage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.config.collection import IdScheme
    from colbert_qdrant.documents import DocumentId
    from colbert_qdrant.sources import Item
    from colbert_qdrant.sources.chunking import Chunker
    from colbert_qdrant.sources.item import SourceRow

PARENT_KEY: Final = "parent_id"
PASSAGE_KEY: Final = "passage"
_DELETED: Final = 1_000
"""Passages that one request deletes."""

_PROBED: Final = (4, 64)
"""Passages after a document's last one that are looked up: first, and again while there are any. Several are, because
single passages may be missing, if the server refused them."""


@dataclass(frozen=True, kw_only=True)
class PassageDocument(RowDocument):
    """A passage on its way into the collection, with the row of its whole document.

    Attributes:
        parent: The id of the passage's document.
        number: Its number in the document, from 0.
        last: Whether it is the last one.
    """

    parent: DocumentId
    number: int
    last: bool


class PassageStream:
    """Makes passages of documents.

    Args:
        collection: The open collection.
        chunker: Divides a document.
    """

    def __init__(self, collection: OpenCollection, chunker: Chunker) -> None:
        self._runtime = collection.engine.runtime
        self._scheme: IdScheme = collection.config.id_scheme
        self._chunker = chunker

    async def of(self, documents: Iterable[Item] | AsyncIterable[Item]) -> AsyncGenerator[Any, None]:
        """Yield the passages of documents, in order, and a bad row for a document that cannot be divided."""
        if isinstance(documents, AsyncIterable):
            async for document in documents:
                for passage in await self._runtime.compute(self._divide, document):
                    yield passage
        else:
            for document in documents:
                for passage in await self._runtime.compute(self._divide, document):
                    yield passage

    def first(self, document: Document) -> Document:
        """Return a substitute for all passages of a document, for checks before it is divided.

        Raises:
            InvalidDocumentError: If passages cannot be made of the document.
        """
        _check(document)
        return self._passage(document, Passage(text=document.text, start=0, end=0), row_of(document), last=True)

    def _divide(self, item: Item) -> Sequence[Item]:
        if isinstance(item, BadRow):
            return [item]
        try:
            return self._passages(item)
        except (InvalidDocumentError, InvalidTokensError) as error:
            place = where(item)
            return [BadRow(row_of(item), type(error)(f"{place}: {error}") if place else error, item)]

    def _passages(self, document: Document) -> list[PassageDocument]:
        _check(document)
        try:
            passages = list(self._chunker.chunk(document))
        except ColbertQdrantError:
            raise
        except Exception as error:
            raise InvalidDocumentError(
                f"document {shown(document.id)} cannot be divided by {type(self._chunker).__name__} "
                f"({type(error).__name__}: {error}): leave it out, or correct the chunker"
            ) from error
        for each in passages:
            if not isinstance(each, Passage):
                raise ConfigurationError(
                    f"{type(self._chunker).__name__} returned {shown(each, 60)} as a passage: make it return "
                    "Passage(text=…, start=…, end=…)"
                )
            if each.end > len(document.text):
                raise ConfigurationError(
                    f"{type(self._chunker).__name__} returned a passage that ends at {each.end:,}, but the text of "
                    f"document {shown(document.id)} has {len(document.text):,} characters: correct the chunker"
                )
        if not passages:
            raise InvalidDocumentError(f"document {shown(document.id)} has no text, so it has no passage: leave it out")
        row = row_of(document)
        return [
            self._passage(document, each, row, number=number, last=number == len(passages) - 1)
            for number, each in enumerate(passages)
        ]

    def _passage(
        self, document: Document, passage: Passage, row: SourceRow, *, number: int = 0, last: bool
    ) -> PassageDocument:
        parent = plain(document.id)
        keys = {
            PARENT_KEY: str(parent) if isinstance(parent, UUID) else parent,
            PASSAGE_KEY: {"number": number, "start": passage.start, "end": passage.end},
        }
        return PassageDocument(
            id=passage_id(parent, number, self._scheme),
            text=passage.text,
            payload={**document.payload, **keys},
            row=row,
            parent=parent,
            number=number,
            last=last,
        )


async def delete_leftovers(collection: OpenCollection, written: Sequence[Document]) -> None:
    """Delete passages of earlier versions of documents, after the passages of the new versions were written."""
    counts: dict[DocumentId, int] = {}
    for each in written:
        if isinstance(each, PassageDocument):
            counts.pop(each.parent, None)  # passages of another version follow
            if each.last:
                counts[each.parent] = each.number + 1
    if not counts:
        return
    engine, scheme = collection.engine, collection.config.id_scheme

    async def stored(numbers: Iterable[tuple[DocumentId, int]]) -> dict[str | int, DocumentId]:
        points = {point_id(passage_id(parent, number, scheme), scheme): parent for parent, number in numbers}
        return {point: points[point] for point in await find_stored(collection, list(points))}

    few, many = _PROBED
    nearest = await stored((parent, count + more) for parent, count in counts.items() for more in range(few))
    farther: dict[str | int, DocumentId] = {}
    waiting, start = {*nearest.values()}, few
    while waiting:
        found = await stored((each, counts[each] + start + more) for each in waiting for more in range(many))
        farther |= found
        waiting, start = {*found.values()}, start + many
    for points in (farther, nearest):  # the nearest last, because they lead to all others after a crash
        ids, most = iter(points), collection.limits.upsert_batch or _DELETED
        while some := list(islice(ids, most)):
            await engine.delete(collection.name, points_selector=models.PointIdsList(points=[*some]))


def _check(document: Document) -> None:
    """Check that passages can be made of a document.

    Raises:
        InvalidDocumentError: If they cannot.
    """
    if not isinstance(document, Document):
        raise InvalidDocumentError(
            f"expected a colbert_qdrant.Document, got {type(document).__name__}: use Document(id=…, text=…)"
        )
    check_id(document.id)
    name = f"document {shown(document.id)}"
    if document.tokens is not None or not isinstance(document.vectors, Mapping | None) or document.vectors:
        raise InvalidDocumentError(
            f"{name} has ready tokens or vectors, which belong to its whole text: leave them out, or ingest it without "
            "a chunker"
        )
    if not isinstance(document.text, str) or not isinstance(document.payload, Mapping):
        raise InvalidDocumentError(f"{name}: its text must be a string, and its payload a dict: correct it")
    if taken := {PARENT_KEY, PASSAGE_KEY} & {*document.payload}:
        raise InvalidDocumentError(
            f"{name}: its payload has {sorted(taken)}, which the payload of a passage uses itself: rename them"
        )
