"""Encodes documents and writes them as points, in batches that fit into a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.collection.encoding import encode_again, encode_rows
from colbert_qdrant.collection.opened import WRITE_SECONDS
from colbert_qdrant.collection.rows import Rejections, Row
from colbert_qdrant.collection.upsert import upsert
from colbert_qdrant.documents import RejectedDocument
from colbert_qdrant.errors import InvalidDocumentError, RequestRefusedError
from colbert_qdrant.points.convert import check_document, make_point, vectors_of
from colbert_qdrant.points.ids import canonical_id, point_id
from colbert_qdrant.points.point import split_by_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.collection.rows import OnError
    from colbert_qdrant.collection.upsert import Refused
    from colbert_qdrant.documents import Document
    from colbert_qdrant.fde import FixedDimensionalEncoder

MAX_BATCH_BYTES: Final = 8 * 2**20
"""Maximum size of a serialized request. Over gRPC, which is binary, it holds five times as many documents as over REST.
By default, servers refuse more than 32 MiB over REST (``service.max_request_size_mb``)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Written:
    """The outcome of a write: the documents that were written, in order, and all others.

    Attributes:
        points: Hashes of the point ids of the documents that were written.
        tokens: The number of token vectors of each.
        truncated: Whether the encoder truncated each.
        replaced: The number of documents that a later one in the same call replaced.
        refused: The documents that the server refused.
        rejected: The documents that were skipped.
    """

    points: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    tokens: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    truncated: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    replaced: int = 0
    refused: tuple[RejectedDocument, ...] = ()
    rejected: tuple[RejectedDocument, ...] = ()

    def require_all(self, *, collection: str) -> None:
        """Check that the server refused no document.

        Raises:
            RequestRefusedError: If the server refused documents; the error names them.
        """
        if self.refused:
            lines = "".join(f"\n  {each.id!r}: {each.reason}" for each in self.refused)
            raise RequestRefusedError(
                f"the server refused {len(self.refused)} documents, and all others are stored: correct or omit "
                f"these:{lines}",
                operation="upsert",
                collection=collection,
            )


class DocumentWriter:
    """Writes documents to one open collection; checks and encodes all of a batch before it sends any.

    Args:
        collection: The open collection.
        on_error: How to treat a document that cannot be stored.
    """

    def __init__(self, collection: OpenCollection, on_error: OnError = "raise") -> None:
        self._collection = collection
        self._on_error = on_error

    def check(self, document: Document) -> Row:
        """Check everything about a document that can be checked before encoding.

        Raises:
            InvalidDocumentError: If the document cannot be stored.
        """
        payload, nan = check_document(document, self._collection.config)
        self._collection.further.own_vectors(document)
        if nan is not None:
            self._collection.warned.of_nan(self._collection.name, document.id, nan)
        return Row(document=document, payload=payload)

    async def write(self, documents: Sequence[Document], progress: ProgressReporter) -> Written:
        """Write documents, the last of several with the same id, and wait for the engine's acknowledgment.

        Raises:
            InvalidDocumentError: If a document cannot be stored; nothing was written.
            InvalidTokensError: If the encoder returned token embeddings that cannot be stored; nothing was written.
        """
        await self._collection.refresh()
        fde = self._collection.fde
        try:
            return await self._write(documents, fde, progress) if documents else Written()
        finally:
            if fde is None or self._collection.fde is not fde:
                self._collection.wrote_unencoded()

    async def _write(
        self, documents: Sequence[Document], fde: FixedDimensionalEncoder | None, progress: ProgressReporter
    ) -> Written:
        collection, engine, config = self._collection, self._collection.engine, self._collection.config
        rejections = Rejections(self._on_error)
        await collection.shards.require("write")
        checked = rejections.keep_good(documents, self.check)
        encoded = await engine.runtime.compute(encode_rows, collection, checked, fde, collection.further, rejections)
        allowed = await self._within_limits(encoded, rejections)
        rows = {point_id(row.document.id, config.id_scheme): row for row in allowed}  # the last one wins
        await self._keep_vectors(rows)
        collection.warned.of_truncated_documents(
            f"collection {collection.name!r}",
            [row.document.id for row in rows.values() if row.truncated],
            among=len(rows),
        )
        if config.bm25 is not None:
            unsplit = [row.document.id for row in rows.values() if not config.bm25.splits(row.document.text)]
            collection.warned.of_unsplit_documents(
                collection.name, unsplit, among=len(rows), language=config.bm25.language
            )
        points = [
            make_point(row.document.id, row.payload, tokens=row.tokens, fde=row.fde, further=row.further, config=config)
            for row in rows.values()
        ]
        refused: list[Refused] = []
        for batch in split_by_bytes(points, MAX_BATCH_BYTES, binary=engine.binary, most=collection.limits.upsert_batch):
            await collection.notice(seconds=WRITE_SECONDS)
            now = collection.fde  # a refit removes it first, and sets a new one at its end
            refused += await upsert(
                engine,
                collection.name,
                batch if now is fde else await engine.runtime.compute(encode_again, collection, batch, now),
                on_stored=progress.advance,
                most=collection.max_upsert,
                ordered=lambda: collection.limits.conditional_writes,
            )
        return _written(rows, refused, rejections, replaced=len(allowed) - len(rows))

    async def _within_limits(self, rows: list[Row], rejections: Rejections) -> list[Row]:
        """Return the rows that the server's limits allow."""
        collection = self._collection

        def check(row: Row) -> Row:
            collection.limits.check_sizes(row.document, len(row.tokens), row.further)
            return row

        try:
            await collection.allowed(lambda _: list(map(check, rows)))
        except InvalidDocumentError:  # the limits were read again just now
            return rejections.keep_good(rows, check)
        return rows

    async def _keep_vectors(self, rows: Mapping[str | int, Row]) -> None:
        """Add stored vectors that have no encoder and that a document lacks, because a write replaces all vectors."""
        collection, names = self._collection, self._collection.further.names_without_encoder
        lacking = {point: row.further for point, row in rows.items() if not row.further.keys() >= {*names}}
        if not lacking:
            return
        stored = await collection.engine.retrieve(
            collection.name, ids=list(lacking), with_payload=False, with_vectors=names
        )
        for record in stored:
            vectors = lacking[canonical_id(record.id)]
            vectors.update({name: each for name, each in vectors_of(record).items() if name not in vectors})


def _written(
    rows: Mapping[str | int, Row], refused: Sequence[Refused], rejections: Rejections, *, replaced: int
) -> Written:
    reasons = {each.point.id: str(each.error) for each in refused}
    stored = {point: row for point, row in rows.items() if point not in reasons}
    return Written(
        points=np.array([hash(point) for point in stored], np.int64),
        tokens=np.array([len(row.tokens) for row in stored.values()], np.int64),
        truncated=np.array([row.truncated for row in stored.values()], np.bool_),
        replaced=replaced,
        refused=tuple(RejectedDocument(id=rows[id].document.id, reason=reason) for id, reason in reasons.items()),
        rejected=tuple(rejections.found),
    )
