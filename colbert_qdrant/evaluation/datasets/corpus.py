"""Reads the documents of a test collection, again and again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from colbert_qdrant.documents import Document
from colbert_qdrant.errors import DatasetError
from colbert_qdrant.evaluation.datasets.columns import identifier
from colbert_qdrant.shown import kind_of
from colbert_qdrant.sources.beir import titled
from colbert_qdrant.sources.item import BadRow, RowDocument, row_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Facts about documents, found in one pass.

    Attributes:
        count: The number of documents with a text.
        empty: The number of documents without one.
        digest: A fingerprint of the ids and texts, in their order.
        missing: The ids that were asked for, and no document has.
    """

    count: int
    empty: int
    digest: str
    missing: frozenset[str]


class Corpus:
    """The documents of a test collection; each iteration opens their source again, and holds one document at a time.

    Documents without text are left out, because there is nothing to encode. Ids are strings.

    Args:
        items: Opens the source: documents, and bad rows.
        separator: The text between a document's title and its text.
    """

    def __init__(self, items: Callable[[], Iterable[Any]], separator: str) -> None:
        self._items = items
        self._separator = separator
        self._scan: Scan | None = None

    def __iter__(self) -> Iterator[Document]:
        return filter(_is_full, self._documents())

    def __len__(self) -> int:
        return self.scan().count

    def scan(self, ids: Iterable[str] = ()) -> Scan:
        """Read all documents once, and look for ids among them; the other facts are kept."""
        wanted = {*ids}
        if self._scan is None or wanted:
            self._scan = scan(self._documents(), wanted)
        return self._scan

    def _documents(self) -> Iterator[Document]:
        return map(self._document, self._items())

    def _document(self, item: Any) -> Document:
        if isinstance(item, BadRow):
            raise DatasetError(str(item.error))
        row = row_of(item)
        id = identifier(str(item.id) if isinstance(item.id, UUID) else item.id, row)
        if not isinstance(item, RowDocument) or isinstance(row.value, Document):
            return cast("Document", item if id is item.id else replace(item, id=id))
        text = "" if item.text is None else item.text
        if not isinstance(text, str):
            raise DatasetError(f"{row.where}: the text of document {id!r} is {kind_of(text)}: use a string")
        return Document(id, titled(item.payload.get("title"), text, self._separator))


def scan(documents: Iterable[Document], ids: Iterable[str] = ()) -> Scan:
    """Read all documents once, and look for ids among them."""
    count, empty, missing, digest = 0, 0, {*ids}, hashlib.blake2b(digest_size=16)
    for document in documents:
        id = str(document.id)
        missing.discard(id)
        if not _is_full(document):
            empty += 1
            continue
        count += 1
        digest.update(f"{len(id)} {len(document.text)} {id}{document.text}".encode(errors="surrogatepass"))
    return Scan(count=count, empty=empty, digest=digest.hexdigest(), missing=frozenset(missing))


def _is_full(document: Document) -> bool:
    return document.has_text or document.tokens is not None
