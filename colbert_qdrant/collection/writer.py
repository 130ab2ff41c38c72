"""Encodes documents and writes them as points, in batches that fit into a request."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.collection.encoding import complete_rows, encode_again, encode_tokens, weigh_again
from colbert_qdrant.collection.ingest.passages import delete_leftovers
from colbert_qdrant.collection.opened import WRITE_SECONDS
from colbert_qdrant.collection.rows import Rejections, Row, ready_row
from colbert_qdrant.collection.upsert import upsert
from colbert_qdrant.documents import RejectedDocument
from colbert_qdrant.errors import InvalidDocumentError, RequestRefusedError
from colbert_qdrant.points.convert import check_document, make_point, vectors_of
from colbert_qdrant.points.ids import canonical_id, point_id
from colbert_qdrant.points.point import split_by_bytes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.encoding import Encoded
    from colbert_qdrant.collection.ingest.conflicts import Conflicts
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.collection.rows import OnError
    from colbert_qdrant.collection.upsert import Refused
    from colbert_qdrant.documents import Document
    from colbert_qdrant.fde import FixedDimensionalEncoder

MAX_BATCH_BYTES: Final = 8 * 2**20
"""Maximum size of a serialized request. Over gRPC, which is binary, it holds twice as many documents as over REST.
By default, servers refuse more than 32 MiB over REST (``service.max_request_size_mb``)."""

_SAMPLE: Final = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Written:
    """The outcome of a write: the documents that were written, in order, and all others.

    Attributes:
        points: Hashes of the point ids of the documents that were written.
        tokens: The number of token vectors of each.
        truncated: Whether the encoder truncated each.
        sample: Some of the point ids of the documents that were written.
        replaced: The number of documents that a later one in the same call replaced.
        unchanged: The number of documents that are stored with the same content.
        refused: The documents that the server refused.
        rejected: The documents that were skipped.
        items: The items of both, each with its reason.
    """

    points: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    tokens: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    truncated: NDArray[np.bool_] = field(default_factory=lambda: np.empty(0, np.bool_))
    sample: tuple[str | int, ...] = ()
    replaced: int = 0
    unchanged: int = 0
    refused: tuple[RejectedDocument, ...] = ()
    rejected: tuple[RejectedDocument, ...] = ()
    items: tuple[tuple[object, str], ...] = ()

    @property
    def documents(self) -> int:
        """The number of all documents, written or not."""
        return len(self.points) + self.replaced + self.unchanged + len(self.refused) + len(self.rejected)

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


class Chunk:
    """Documents on their way into the collection, with the outcome of the stages so far.

    Args:
        documents: The documents, in the order of their source.
        rejections: Treats those that cannot be stored.
        rows: The documents that passed the checks.

    Attributes:
        encoded: The rows that the encoder could encode, with their tokens.
        fde: The encoding of the rows' tokens.
        avg_len: The average length that BM25's weights are computed with.
        bytes: The size of the vectors that are held in memory until they are written.
        points: The ids of the points that it writes, as far as `resolve` needed them.
        replaced: The number of unchanged documents that a later one in the chunk replaced.
        unchanged: The number of documents that are stored with the same content.
        end: The number of items of the source up to its end.
        begun: The number of its first documents that an earlier call began to write.
    """

    def __init__(self, documents: Sequence[Document], rejections: Rejections, rows: list[Row]) -> None:
        self.documents = documents
        self.rejections = rejections
        self.rows = rows
        self.encoded: Encoded = []
        self.fde: FixedDimensionalEncoder | None = None
        self.avg_len: float | None = None
        self.bytes = 0
        self.points: Collection[str | int] = ()
        self.replaced = self.unchanged = self.end = self.begun = 0

    def release(self) -> None:
        """Free the vectors."""
        self.rows, self.encoded, self.bytes = [], [], 0


class DocumentWriter:
    """Writes documents to one open collection, in stages: check, encode, complete, store.

    `write` runs all stages of a batch in sequence. An ingest runs them beside each other, for one chunk each.

    Args:
        collection: The open collection.
        on_error: How to treat a document that cannot be stored.
        conflicts: How to treat a document whose id is stored; by default, it is replaced.
    """

    def __init__(
        self,
        collection: OpenCollection,
        on_error: OnError = "raise",
        conflicts: Conflicts | None = None,
    ) -> None:
        self._collection = collection
        self._on_error = on_error
        self._conflicts = conflicts

    async def write(self, documents: Sequence[Document], progress: ProgressReporter) -> Written:
        """Write documents, the last of several with the same id, and wait for the engine's acknowledgment.

        Raises:
            InvalidDocumentError: If a document cannot be stored; nothing was written.
            InvalidTokensError: If the encoder returned token embeddings that cannot be stored; nothing was written.
        """
        await self.prepare()
        if not documents:
            return Written()
        chunk = self.checked(documents)
        await self.measure(chunk)
        await self.encode(chunk)
        await self.complete(chunk)
        return await self.store(chunk, progress)

    async def prepare(self) -> None:
        """Check that the collection is the one that was opened, and adopt an encoding that was fitted elsewhere."""
        await self._collection.refresh()
        await self._collection.shards.require("write")

    def check(self, document: Document) -> Row:
        """Check everything about a document that can be checked before encoding.

        Raises:
            InvalidDocumentError: If the document cannot be stored.
            InvalidTokensError: If the ready token embeddings that it brings cannot be stored.
        """
        payload, nan = check_document(document, self._collection.config)
        self._collection.further.own_vectors(document)
        if nan is not None:
            self._collection.warned.of_nan(self._collection.name, document.id, nan)
        return ready_row(document, payload, encoder=self._collection.encoder, config=self._collection.config)

    def checked(self, documents: Sequence[Document]) -> Chunk:
        """Check documents, and return the chunk of those that passed."""
        rejections = Rejections(self._on_error)
        return Chunk(documents, rejections, rejections.keep_good(documents, self.check))

    async def resolve(self, chunk: Chunk, before: Sequence[Chunk]) -> None:
        """Leave out documents that are stored already, if they are unchanged or must not be replaced.

        Args:
            chunk: The chunk.
            before: The chunks that were read before it, and are not written yet.
        """
        if self._conflicts is not None:
            await self._conflicts.resolve(chunk, before)

    async def measure(self, chunk: Chunk) -> None:
        """Measure the average length of the documents, if BM25 needs it and it is not known yet."""
        await self._collection.lengths.begin([row.document for row in chunk.rows])

    async def encode(self, chunk: Chunk) -> None:
        """Run the encoder."""
        collection = self._collection
        chunk.encoded = await collection.engine.runtime.compute(encode_tokens, collection, chunk.rows, chunk.rejections)
        one = collection.config.encoding.dim * np.dtype(np.float32).itemsize
        chunk.bytes = sum(tokens.values.nbytes + len(rows) * one for rows, tokens in chunk.encoded)

    async def complete(self, chunk: Chunk) -> None:
        """Compute the encoding of the tokens, and all further vectors."""
        collection = self._collection
        chunk.fde, chunk.avg_len = collection.fde, collection.further.avg_len
        chunk.rows = await collection.engine.runtime.compute(
            complete_rows, collection, chunk.encoded, chunk.fde, collection.further, chunk.rejections
        )

    async def store(self, chunk: Chunk, progress: ProgressReporter) -> Written:
        """Write the points of a chunk, with the encoding that the collection has now."""
        fde = self._collection.fde
        try:
            return await self._store(chunk, progress)
        finally:
            if fde is None or self._collection.fde is not fde:
                self._collection.wrote_unencoded()

    async def _store(self, chunk: Chunk, progress: ProgressReporter) -> Written:
        collection, engine, config = self._collection, self._collection.engine, self._collection.config
        allowed = await self._within_limits(chunk.rows, chunk.rejections)
        rows = {point_id(row.document.id, config.id_scheme): row for row in allowed}  # the last one wins
        if chunk.avg_len != collection.further.avg_len:
            await engine.runtime.compute(weigh_again, collection, list(rows.values()))
        await self._keep_vectors(rows)
        self._warn(rows.values())
        points = [
            make_point(row.document.id, row.payload, tokens=row.tokens, fde=row.fde, further=row.further, config=config)
            for row in rows.values()
        ]
        refused: list[Refused] = []
        insert_only = self._conflicts is not None and await self._conflicts.announce(chunk)
        for batch in split_by_bytes(points, MAX_BATCH_BYTES, binary=engine.binary, most=collection.limits.upsert_batch):
            await collection.notice(seconds=WRITE_SECONDS)
            now = collection.fde  # a refit removes it first, and sets a new one at its end
            refused += await upsert(
                engine,
                collection.name,
                batch if now is chunk.fde else await engine.runtime.compute(encode_again, collection, batch, now),
                on_stored=progress.advance,
                most=collection.max_upsert,
                ordered=lambda: collection.limits.conditional_writes,
                insert_only=insert_only,
            )
        await delete_leftovers(collection, chunk.documents)
        return _written(rows, refused, chunk, replaced=chunk.replaced + len(allowed) - len(rows))

    def _warn(self, rows: Collection[Row]) -> None:
        collection, bm25 = self._collection, self._collection.config.bm25
        truncated = [row.document.id for row in rows if row.truncated]
        collection.warned.of_truncated_documents(f"collection {collection.name!r}", truncated, among=len(rows))
        if bm25 is not None:
            texts = [row.document for row in rows if row.document.has_text]
            unsplit = [each.id for each in texts if not bm25.splits(each.text)]
            collection.warned.of_unsplit_documents(collection.name, unsplit, among=len(rows), language=bm25.language)

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


def _written(rows: Mapping[str | int, Row], refused: Sequence[Refused], chunk: Chunk, *, replaced: int) -> Written:
    reasons = {each.point.id: str(each.error) for each in refused}
    stored = {point: row for point, row in rows.items() if point not in reasons}
    refusals = tuple(chunk.rejections.refused(rows[id].document, reason) for id, reason in reasons.items())
    return Written(
        points=np.array([hash(point) for point in stored], np.int64),
        tokens=np.array([len(row.tokens) for row in stored.values()], np.int64),
        truncated=np.array([row.truncated for row in stored.values()], np.bool_),
        sample=tuple(islice(stored, _SAMPLE)),
        replaced=replaced,
        unchanged=chunk.unchanged,
        refused=refusals,
        rejected=tuple(chunk.rejections.found),
        items=tuple(chunk.rejections.items),
    )
