"""Documents → encoder → FDE → points → batches that fit into a request, acknowledged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from colbert_qdrant.documents import RejectedDocument
from colbert_qdrant.encoders.base import encoded_documents
from colbert_qdrant.engines.writing import upsert
from colbert_qdrant.errors import ConfigurationError, InvalidDocumentError, RequestRefusedError
from colbert_qdrant.points.convert import check_documents, make_point, split_by_bytes
from colbert_qdrant.points.ids import point_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.documents import Document
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.encoders.vectors import Legs
    from colbert_qdrant.engines.connection import Connection
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.points.convert import Payload, Point, Vector
    from colbert_qdrant.search.limits import Limits
    from colbert_qdrant.tokens import TokenEmbeddings

    Encoded = tuple[TokenEmbeddings, NDArray[np.float32] | None, list[dict[str, Vector]]]

MAX_BATCH_BYTES: Final = 8 * 2**20
"""Of one request, as it is sent: over gRPC, in binary, it holds five times as many documents as over REST. Servers
refuse more than 32 MiB over REST by default (``service.max_request_size_mb``)."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """Documents and token vectors written, documents that lost their end, and those that the server refused."""

    documents: int = 0
    tokens: int = 0
    truncated: int = 0
    rejected: tuple[RejectedDocument, ...] = ()

    def require_all(self, *, collection: str) -> None:
        """Raise if some were refused.

        Raises:
            RequestRefusedError: Names them, and what the server said.
        """
        if self.rejected:
            lines = "".join(f"\n  {each.id!r}: {each.reason}" for each in self.rejected)
            raise RequestRefusedError(
                f"all documents are stored but these, which the server refuses:{lines}",
                operation="upsert",
                collection=collection,
            )


@dataclass(frozen=True, kw_only=True)
class DocumentWriter:
    """Writes documents to one collection: everything is checked and encoded before anything is sent.

    Args:
        connection: To the engine.
        collection: The collection's name.
        encoder: Text → token embeddings.
        fde: Token embeddings → encoding; ``None`` while that is not fitted: points are written without one.
        legs: Text → further vectors.
        config: The collection's settings.
        limits: What the server allows.
    """

    connection: Connection
    collection: str
    encoder: LateInteractionEncoder
    fde: FixedDimensionalEncoder | None
    legs: Legs
    config: CollectionConfig
    limits: Limits

    async def write(self, documents: Sequence[Document], progress: ProgressReporter) -> Written:
        """Write documents, and wait until the engine has them.

        Args:
            documents: Documents with distinct ids.
            progress: Told about every acknowledged batch.

        Returns:
            What was written.

        Raises:
            InvalidDocumentError: A document cannot be stored; nothing was written.
            InvalidTokensError: The encoder gave token embeddings that cannot be stored; nothing was written.
        """
        if not documents:
            return Written()
        if self.config.sharding == "custom" and self.connection.shard_key is None:
            raise ConfigurationError(
                f"collection {self.collection!r} has shard keys of its own: open it with shard_key=… to write into the "
                "shards of one"
            )
        payloads = check_documents(documents, self.config)
        tokens, encoded, legs = await self.connection.runtime.compute(self._encode, documents)
        self.limits.check_tokens(documents, tokens.lengths)
        points = self._points(documents, payloads, tokens, encoded, legs)
        refused = [
            each
            for batch in split_by_bytes(
                points,
                MAX_BATCH_BYTES,
                binary=self.connection.binary,
                most=self.limits.upsert_batch,
            )
            for each in await upsert(self.connection, self.collection, batch, on_stored=progress.advance)
        ]
        ids = {point_id(document.id, self.config.id_scheme): document.id for document in documents}
        reasons = {each.point.id: str(each.error) for each in refused}
        stored = np.array([point not in reasons for point in ids])
        return Written(
            documents=int(stored.sum()),
            tokens=int(tokens.lengths[stored].sum()),
            truncated=int(tokens.truncated[stored].sum()),
            rejected=tuple(RejectedDocument(id=ids[point], reason=reason) for point, reason in reasons.items()),
        )

    def _encode(self, documents: Sequence[Document]) -> Encoded:
        texts = [document.text for document in documents]
        tokens = encoded_documents(self.encoder, texts, InvalidDocumentError)
        encoded = None if self.fde is None else self.fde.encode_documents(tokens)
        return tokens, encoded, self.legs.documents(documents)

    def _points(
        self,
        documents: Sequence[Document],
        payloads: Sequence[Payload],
        tokens: TokenEmbeddings,
        encoded: NDArray[np.float32] | None,
        legs: Sequence[Mapping[str, Vector]],
    ) -> Iterator[Point]:
        encodings = [None] * len(tokens) if encoded is None else encoded
        for document, payload, matrix, fde, others in zip(documents, payloads, tokens, encodings, legs, strict=True):
            yield make_point(document.id, payload, tokens=matrix, fde=fde, legs=others, config=self.config)
