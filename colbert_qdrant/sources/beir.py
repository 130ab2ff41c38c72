"""Reads the corpus of a BEIR folder, in which a document's text is its title and its text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from colbert_qdrant.shown import holds
from colbert_qdrant.sources.jsonl import jsonl_rows
from colbert_qdrant.sources.paths import File

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colbert_qdrant.sources.item import SourceRow
    from colbert_qdrant.sources.shard import Shard


def beir_corpus(source: object) -> File | None:
    """Return the corpus file of a BEIR folder; ``None`` if a source is not such a folder."""
    for name in ("corpus.jsonl", "corpus.jsonl.gz"):
        path = Path(source) / name if isinstance(source, str | Path) else None
        if path is not None and holds(path.is_file):
            return File(path, "jsonl", name)
    return None


def beir_rows(corpus: File, shard: Shard) -> Iterator[SourceRow]:
    """Yield the rows of a corpus; their text is title and text, joined by a space as BEIR does."""
    for row in jsonl_rows(corpus, shard):
        value = row.value
        if isinstance(value, dict) and isinstance(text := value.get("text"), str):
            yield replace(row, value=value | {"text": titled(value.get("title"), text)})
        else:
            yield row


def titled(title: object, text: str, separator: str = " ") -> str:
    """Return a title and a text as one text; only the text if there is no title."""
    return f"{title}{separator}{text}".strip() if isinstance(title, str) and title else text
