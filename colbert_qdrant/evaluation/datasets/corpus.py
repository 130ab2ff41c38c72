"""Reads the documents of a test collection, again and again."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import numpy as np

from colbert_qdrant.collection.ingest.content import content
from colbert_qdrant.documents import Document
from colbert_qdrant.errors import DatasetError
from colbert_qdrant.evaluation.datasets.table_files import identifier
from colbert_qdrant.shown import kind_of, shown
from colbert_qdrant.sources.beir import titled
from colbert_qdrant.sources.item import BadRow, Origin, RowDocument, SourceRow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Facts about documents, found in one pass.

    Attributes:
        count: The number of documents with a text.
        empty: The number of documents without one.
        digest: A fingerprint of the documents, in their order.
        missing: The ids that were asked for, and no document has.
        repeated: The hashes of ids that occur several times.
    """

    count: int
    empty: int
    digest: str
    missing: frozenset[str]
    repeated: frozenset[int] = frozenset()


class Corpus:
    """The documents of a test collection; each iteration opens their source again, and holds one document at a time.

    Documents without text are left out, because there is nothing to encode. Ids are strings.

    Args:
        items: Opens the source: documents, and bad rows.
        separator: The text between a title and a text, for rows.
    """

    def __init__(self, items: Callable[[], Iterable[Any]], separator: str = " ") -> None:
        self._items = items
        self._separator = separator
        self._scan: Scan | None = None
        self._wanted: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[Document]:
        return filter(_is_full, self._documents())

    def __len__(self) -> int:
        return self.scan().count

    def scan(self, ids: Iterable[str] = ()) -> Scan:
        """Read all documents once, and look for ids among them; the facts are kept for the same or fewer ids.

        Raises:
            DatasetError: If a row is damaged, or two documents with different texts have the same id.
        """
        wanted = frozenset(ids)
        if self._scan is None or not wanted <= self._wanted:
            self._scan, self._wanted = _scanned(self._documents(), {*wanted}), wanted
            if self._scan.repeated:
                self._compare(self._scan.repeated)
        return self._scan

    def _compare(self, repeated: frozenset[int]) -> None:
        texts: dict[str, str] = {}
        for item in self._items():
            document = self._document(item)
            id = str(document.id)
            if hash(id) in repeated and texts.setdefault(id, document.text) != document.text:
                raise DatasetError(
                    f"{_row(item).where}: document {shown(id)} has another text before: rename or remove one"
                )

    def _documents(self) -> Iterator[Document]:
        return map(self._document, self._items())

    def _document(self, item: Any) -> Document:
        if isinstance(item, BadRow):
            raise DatasetError(_described(item))
        row = _row(item)
        id = identifier(str(item.id) if isinstance(item.id, UUID) else item.id, row)
        if not isinstance(item, RowDocument) or isinstance(row.value, Document):
            return cast("Document", item if id is item.id else replace(item, id=id))
        text = "" if item.text is None else item.text
        if not isinstance(text, str):
            raise DatasetError(f"{row.where}: the text of document {shown(id)} is {kind_of(text)}: use a string")
        return Document(id, titled(item.payload.get("title"), text, self._separator))


def _scanned(documents: Iterable[Document], missing: set[str]) -> Scan:
    count, empty, digest, hashes = 0, 0, hashlib.blake2b(digest_size=16), array("q")
    for document in documents:
        id = str(document.id)
        missing.discard(id)
        hashes.append(hash(id))
        if not _is_full(document):
            empty += 1
            continue
        count += 1
        digest.update(f"{len(id)} {len(document.text)} {id}{document.text}".encode(errors="surrogatepass"))
        if document.payload or document.vectors or document.tokens is not None:
            digest.update(content(document))
    return Scan(
        count=count,
        empty=empty,
        digest=digest.hexdigest(),
        missing=frozenset(missing),
        repeated=_repeated(np.frombuffer(hashes, np.int64) if hashes else np.empty(0, np.int64)),
    )


def _repeated(hashes: NDArray[np.int64]) -> frozenset[int]:
    """Return the numbers that occur several times; an array has a tenth of the size of a set."""
    hashes.sort()
    return frozenset(hashes[1:][hashes[1:] == hashes[:-1]].tolist())


def _row(item: object) -> SourceRow:
    return item.row if isinstance(item, RowDocument) else SourceRow(item, Origin("the corpus"))


def _described(row: BadRow) -> str:
    value = row.row.value
    missing = "no text" if isinstance(value, dict) and "text" not in value else ""
    if isinstance(value, dict) and not ({"id", "_id"} & {*value}):
        missing = "no _id"
    if not missing:
        return str(row.error)
    columns = ", ".join(shown(name, 60) for name in [*value][:30]) or "none"
    return f"{row.row.where}: there is {missing}, and the columns are {columns}: name the columns '_id' and 'text'"


def _is_full(document: Document) -> bool:
    return document.has_text or document.tokens is not None
