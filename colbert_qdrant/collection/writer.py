"""Encodes documents and writes them as points, in batches that fit into a request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from colbert_qdrant.collection.opened import WRITE_SECONDS
from colbert_qdrant.collection.upsert import upsert
from colbert_qdrant.documents import RejectedDocument
from colbert_qdrant.encoders.base import encode_and_check
from colbert_qdrant.errors import InvalidDocumentError, InvalidTokensError, RequestRefusedError
from colbert_qdrant.points.convert import check_documents, make_point, vectors_of
from colbert_qdrant.points.ids import canonical_id, point_id
from colbert_qdrant.points.point import split_by_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.collection.upsert import Refused
    from colbert_qdrant.documents import Document
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.points.point import Point
    from colbert_qdrant.tokens import TokenEmbeddings
    from colbert_qdrant.vectors import Vector

    Encoded = tuple[TokenEmbeddings, Sequence[NDArray[np.float32] | None], list[dict[str, Vector]]]

MAX_BATCH_BYTES: Final = 8 * 2**20
"""Of one request, as it is sent: over gRPC, in binary, it holds five times as many documents as over REST. Servers
refuse more than 32 MiB over REST by default (``service.max_request_size_mb``)."""


_MAX_FLOAT16: Final = float(np.finfo(np.float16).max)


@dataclass(frozen=True, kw_only=True)
class Written:
    """The documents and token vectors written, the documents truncated, and those that the server refused."""

    documents: int = 0
    tokens: int = 0
    truncated: int = 0
    rejected: tuple[RejectedDocument, ...] = ()

    def require_all(self, *, collection: str) -> None:
        """Raise if the server refused documents.

        Raises:
            RequestRefusedError: The server refused documents; the error names them.
        """
        if self.rejected:
            lines = "".join(f"\n  {each.id!r}: {each.reason}" for each in self.rejected)
            raise RequestRefusedError(
                f"all documents are stored but these, which the server refuses:{lines}",
                operation="upsert",
                collection=collection,
            )


class DocumentWriter:
    """Writes documents to one open collection: everything is checked and encoded before anything is sent.

    Args:
        collection: The open collection.
    """

    def __init__(self, collection: OpenCollection) -> None:
        self._collection = collection

    async def write(self, documents: Sequence[Document], progress: ProgressReporter) -> Written:
        """Write documents, and wait until the engine has them.

        Raises:
            InvalidDocumentError: A document cannot be stored; nothing was written.
            InvalidTokensError: The encoder gave token embeddings that cannot be stored; nothing was written.
        """
        await self._collection.refresh()
        fde = self._collection.fde
        try:
            return await self._write(documents, fde, progress) if documents else Written()
        finally:
            if fde is None:
                self._collection.wrote_unencoded()

    async def _write(
        self, documents: Sequence[Document], fde: FixedDimensionalEncoder | None, progress: ProgressReporter
    ) -> Written:
        collection, engine, config = self._collection, self._collection.engine, self._collection.config
        await collection.shards.require("write")
        payloads = check_documents(documents, config)
        tokens, encodings, further = await engine.runtime.compute(self._encode, documents, fde)
        await collection.allowed(lambda limits: limits.check_tokens(documents, tokens.lengths))
        await collection.allowed(lambda limits: limits.check_sparse(documents, further))
        await self._keep_vectors(documents, further)
        points = [
            make_point(document.id, payload, tokens=matrix, fde=encoding, further=others, config=config)
            for document, payload, matrix, encoding, others in zip(
                documents, payloads, tokens, encodings, further, strict=True
            )
        ]
        refused: list[Refused] = []
        for batch in split_by_bytes(points, MAX_BATCH_BYTES, binary=engine.binary, most=collection.limits.upsert_batch):
            await collection.notice(seconds=WRITE_SECONDS)
            refused += await upsert(
                engine,
                collection.name,
                batch,
                on_stored=progress.advance,
                most=collection.max_upsert,
                ordered=lambda: collection.limits.conditional_writes,
            )
        return _written(documents, points, tokens, refused)

    async def _keep_vectors(self, documents: Sequence[Document], further: Sequence[dict[str, Vector]]) -> None:
        """Add the stored vectors that no encoder makes and a document does not bring: a write replaces all of them."""
        collection, names = self._collection, self._collection.further.names_without_encoder
        lacking = {
            point_id(document.id, collection.config.id_scheme): vectors
            for document, vectors in zip(documents, further, strict=True)
            if not vectors.keys() >= {*names}
        }
        if not lacking:
            return
        stored = await collection.engine.retrieve(
            collection.name, ids=list(lacking), with_payload=False, with_vectors=names
        )
        for record in stored:
            vectors = lacking[canonical_id(record.id)]
            vectors.update({name: each for name, each in vectors_of(record).items() if name not in vectors})

    def _encode(self, documents: Sequence[Document], fde: FixedDimensionalEncoder | None) -> Encoded:
        texts = [document.text for document in documents]
        tokens = encode_and_check(self._collection.encoder, texts, InvalidDocumentError)
        encodings = [None] * len(tokens) if fde is None else list(fde.encode_documents(tokens))
        config = self._collection.config
        check_range(documents, tokens, "token_datatype", config.token_datatype)
        check_range(documents, encodings, "fde_datatype", config.fde_datatype)
        return tokens, encodings, self._collection.further.documents(documents)


def check_range(documents: Sequence[Document], vectors: Iterable[Any], setting: str, datatype: str) -> None:
    """Raise if float16 cannot store a document's numbers: engines would keep infinity, and scores without an order.

    Raises:
        InvalidTokensError: A number is too large.
    """
    if datatype != "float16":
        return
    for document, values in zip(documents, vectors, strict=True):
        worst = 0.0 if values is None else float(np.abs(values).max())
        if worst > _MAX_FLOAT16:
            raise InvalidTokensError(
                f"document {document.id!r} has a number of {worst:g} in its vectors, and float16 stores at most "
                f"{_MAX_FLOAT16:g}: have the encoder normalise its vectors, or create the collection with "
                f"{setting}='float32'"
            )


def _written(
    documents: Sequence[Document], points: Sequence[Point], tokens: TokenEmbeddings, refused: Sequence[Refused]
) -> Written:
    ids = {point.id: document.id for point, document in zip(points, documents, strict=True)}
    reasons = {each.point.id: str(each.error) for each in refused}
    stored = np.array([point not in reasons for point in ids])
    return Written(
        documents=int(stored.sum()),
        tokens=int(tokens.lengths[stored].sum()),
        truncated=int(tokens.truncated[stored].sum()),
        rejected=tuple(RejectedDocument(id=ids[point], reason=reason) for point, reason in reasons.items()),
    )
