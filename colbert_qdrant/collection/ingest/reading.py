"""Opens the source of an ingest, and the file for its rejected rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colbert_qdrant.collection.metadata import read_current
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.sources import RejectFile, RowMapping, documents_from
from colbert_qdrant.sources.paths import is_among

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.collection.ingest.options import CheckedIngest
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.collection.rows import OnError
    from colbert_qdrant.sources import DocumentSource, Source
    from colbert_qdrant.sources.exported import Export


async def require_same_tokens(collection: OpenCollection, exports: Sequence[Export]) -> None:
    """Check that the token vectors of exported files fit into a collection.

    Raises:
        FingerprintMismatchError: If another encoder made them.
    """
    if exports:
        stored = (await read_current(collection.engine, collection.name)).fingerprint
        if stored is not None:
            for export in exports:
                export.require_same_tokens(stored, collection=collection.name)


def open_source(source: DocumentSource, options: CheckedIngest) -> tuple[Source, RejectFile | None, OnError]:
    """Return the documents of a source, the file for rejected rows, and the treatment of documents after reading.

    Raises:
        ConfigurationError: If the source or the folder of the file does not exist, or the file or the journal is part
            of the source.
    """
    mapping = RowMapping(id=options.id, text=options.text, payload=options.payload)
    found = documents_from(source, mapping=mapping, shard=options.shard)
    if options.resume is not None and is_among(options.resume, found.files):
        raise ConfigurationError(
            f"resume is {str(options.resume)!r}, which is a file of the source: pass the path of a new file"
        )
    if options.rejects is None:
        return found, None, "skip" if options.on_error == "skip" else "raise"
    ids = ("id", "_id") if options.id is None or callable(options.id) else (options.id,)
    rejects = RejectFile(options.rejects, ids=ids)
    rejects.require_not_among(found.files)
    return found, rejects, "skip"
