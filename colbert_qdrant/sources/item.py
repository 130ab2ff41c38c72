"""Defines the rows of a source, and the items that a mapping makes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from colbert_qdrant.documents import Document
from colbert_qdrant.errors import InvalidDocumentError, InvalidTokensError

Unit: TypeAlias = Literal["line", "row"]


@dataclass(frozen=True, slots=True)
class Origin:
    """A file, a table or another part of a source.

    Attributes:
        name: The path of a file; empty for objects in memory.
        unit: The name of one numbered part.
    """

    name: str = ""
    unit: Unit = "row"


@dataclass(slots=True, eq=False)
class SourceRow:
    """One row of a source, before it is a document.

    Attributes:
        value: A dict, a tuple or a `Document`; ``None`` if the row could not be read.
        origin: The part of the source that it is from.
        number: Its number there, from 1; 0 if the origin is one document.
        problem: The reason why the row could not be read, and the remedy.
        raw: The bytes that could not be read.
    """

    value: Any
    origin: Origin
    number: int = 0
    problem: str | None = None
    raw: bytes | None = None

    @property
    def where(self) -> str:
        """The place of the row, for messages."""
        numbered = f"{self.origin.unit} {self.number}" if self.number else ""
        return ", ".join(filter(None, (self.origin.name, numbered)))


@dataclass(frozen=True, kw_only=True)
class RowDocument(Document):
    """A document with the row that it was made of.

    Attributes:
        row: The row, for messages about the document.
    """

    row: SourceRow = field(repr=False, compare=False)


@dataclass(frozen=True)
class BadRow:
    """Takes the place of a document in a stream, if none can be made of a row.

    Attributes:
        row: The row.
        error: The error, which names the row.
        document: The document of the row, if it was made before the error.
    """

    row: SourceRow
    error: InvalidDocumentError | InvalidTokensError
    document: Document | None = None

    @property
    def id(self) -> Any:
        """The id of the row, if it is a document; ``None`` if it is unknown."""
        found = self.document or self.row.value
        return found.id if isinstance(found, Document) else None


Item: TypeAlias = Document | BadRow


def row_of(item: object) -> SourceRow:
    """Return the row that an item was made of, or a row without a place."""
    return item.row if isinstance(item, RowDocument | BadRow) else SourceRow(item, Origin())


def where(item: object) -> str:
    """Return the place of an item in its source, for messages; empty if it has no other name than its id."""
    return item.row.where if isinstance(item, RowDocument | BadRow) else ""
