"""Rows that every kind of source can hold, and functions that read any source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colbert_qdrant.documents import Document
from colbert_qdrant.sources import BadRow, RowMapping, documents_from

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colbert_qdrant.sources import Item


def rows(count: int) -> list[dict[str, Any]]:
    """Rows with an id, a text and two more columns."""
    return [
        {"id": f"a/{n}", "text": f"Text {n}, “köln”.", "year": 2000 + n, "tags": ["x", f"t{n}"]} for n in range(count)
    ]


def items(source: Any, *, shard: tuple[int, int] | None = None, **mapping: Any) -> list[Item]:
    found: Iterator[Item] = documents_from(source, mapping=RowMapping(**mapping), shard=shard).items  # type: ignore[assignment]
    return list(found)


def documents(source: Any, *, shard: tuple[int, int] | None = None, **mapping: Any) -> list[Document]:
    """The documents of a source without errors."""
    return [plain(item) for item in items(source, shard=shard, **mapping)]


def plain(item: Item) -> Document:
    """A document without its row."""
    assert isinstance(item, Document), item
    return Document(item.id, item.text, item.payload, item.vectors, item.tokens)


def errors(source: Any, **mapping: Any) -> list[str]:
    return [str(item.error) for item in items(source, **mapping) if isinstance(item, BadRow)]


def good(found: list[Item]) -> list[bool]:
    return [isinstance(item, Document) for item in found]
