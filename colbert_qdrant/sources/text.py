"""Reads text and Markdown files, each as one document."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colbert_qdrant.sources.item import Origin, SourceRow
from colbert_qdrant.sources.jsonl import not_utf8
from colbert_qdrant.sources.paths import DAMAGE, open_file, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colbert_qdrant.sources.paths import File
    from colbert_qdrant.sources.shard import Shard


def text_rows(file: File, shard: Shard) -> Iterator[SourceRow]:
    """Yield the one row of a file, with ``id``, ``text`` and ``path``; files of other shards are not opened."""
    if not shard.takes():
        return
    origin, raw = Origin(str(file.path)), None
    try:
        with open_file(file.path) as stream:
            raw = stream.read()
        text = raw.decode("utf-8-sig")
    except DAMAGE as error:
        yield SourceRow(None, origin, 0, unreadable(error, "at its start"))
    except UnicodeDecodeError as error:
        yield SourceRow(None, origin, 0, not_utf8(error), raw)
    else:
        yield SourceRow({"id": file.id, "text": text, "path": file.id}, origin)
