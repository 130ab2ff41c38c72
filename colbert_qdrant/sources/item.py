"""Defines the rows of a source, and the items that a mapping makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from colbert_qdrant.documents import Document
    from colbert_qdrant.errors import InvalidDocumentError

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
class Row:
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


@dataclass(slots=True, eq=False)
class Item:
    """A document of a source, or the error that a row has instead.

    Attributes:
        row: The row that it was made of.
        document: The document; ``None`` if there is an error.
        error: The error, which names the row.
    """

    row: Row
    document: Document | None
    error: InvalidDocumentError | None = None

    @property
    def where(self) -> str:
        """The place of the row, for messages; empty for a `Document`, which is known by its id."""
        return "" if self.row.value is self.document and not self.row.origin.name else self.row.where
