"""An encoding that is fitted to its collection: when, to what, and how it gets to the points that are stored."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from qdrant_client import models

from colbert_qdrant._support.progress import reporting
from colbert_qdrant.collection import artefacts
from colbert_qdrant.collection import lifecycle as opening
from colbert_qdrant.collection.metadata import count_documents, documents_only
from colbert_qdrant.collection.spans import query_spans, token_spans
from colbert_qdrant.collection.stored import StoredDocuments, has_tokens
from colbert_qdrant.collection.writer import DocumentWriter
from colbert_qdrant.errors import (
    ArtefactError,
    ConfigurationError,
    RequestError,
    RequestRefusedError,
)
from colbert_qdrant.fde import encoder_from_bytes, fit_encoder, learns_from_queries
from colbert_qdrant.points.texts import text_of
from colbert_qdrant.search.limits import Limits
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    import numpy as np
    from numpy.typing import NDArray

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.lifecycle import Opened
    from colbert_qdrant.collection.writer import Written
    from colbert_qdrant.config import CollectionConfig, FdeConfig
    from colbert_qdrant.documents import Document
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.encoders.vectors import Legs
    from colbert_qdrant.engines.connection import Connection
    from colbert_qdrant.fde import Fitted, FixedDimensionalEncoder

_LOG: Final = logging.getLogger(__name__)


class CollectionEncoding:
    """A collection's encoding, and what has been done of fitting it and of adding it to the points.

    Everything is found out from what is stored, so work that was killed is gone on with. The steps of a fit:

    1. The artefact is stored with the collection. 2. Metadata say which one it is. 3. Points that lack an encoding,
    which is how they are found, get one.

    A refit begins by taking back what metadata say, and all encodings. Killed after that, the next write finds the
    artefact that is there, the old one or the new one, and does steps 2 and 3 with it.

    Attributes:
        config: The collection's settings.
        fde: The encoding; ``None`` while it is not fitted.
        limits: What the server allows.
        legs: What makes further vectors.
        complete: Whether every point has one, as far as is known.
    """

    def __init__(
        self, opened: Opened, *, connection: Connection, collection: str, encoder: LateInteractionEncoder, legs: Legs
    ) -> None:
        """See `of`, which also finds out whether every point has its encoding."""
        self.config, self.fde, self.limits, self._tokens_of = opened
        self.legs = legs
        self.complete = False
        self._connection = connection
        self._client = connection.client
        self._collection = collection
        self._encoder = encoder
        self._has_warned = False
        self._unencoded_writes = 0
        self._described = opening.describe(self.config, encoder, self.fde)
        self._fitting = connection.runtime.lock()

    @classmethod
    async def of(
        cls, opened: Opened, *, connection: Connection, collection: str, encoder: LateInteractionEncoder, legs: Legs
    ) -> Self:
        """That of a collection.

        Args:
            opened: What is known of the collection.
            connection: To the engine.
            collection: The collection's name.
            encoder: The collection's encoder.
            legs: What makes further vectors.
        """
        encoding = cls(opened, connection=connection, collection=collection, encoder=encoder, legs=legs)
        await encoding._set(opened.fde)
        return encoding

    async def write(self, documents: Sequence[Document], progress: ProgressReporter) -> Written:
        """Write documents, with the encoding that the collection has now; see `DocumentWriter.write`."""
        await self._refresh()
        writer = DocumentWriter(
            connection=self._connection,
            collection=self._collection,
            encoder=self._encoder,
            fde=self.fde,
            legs=self.legs,
            config=self.config,
            limits=self.limits,
        )
        try:
            return await writer.write(documents, progress)
        finally:
            if writer.fde is None:  # and a fit that ended meanwhile may not have seen them
                self._unencoded_writes += 1
                self.complete = False

    async def read_limits(self) -> None:
        """Ask the server again for what it allows."""
        info = await self._client.get_collection(self._collection)
        self.limits = Limits.of(info, self.config.token_vector)

    def encode_queries(self, tokens: TokenEmbeddings) -> Sequence[NDArray[np.float32] | None]:
        """Queries' encodings; none while points lack theirs: a search has to be exact then."""
        fde = self.fde  # a fit in another thread may take it away
        if fde is not None and self.complete:
            return list(fde.encode_queries(tokens))
        if not self._has_warned:
            self._has_warned = True
            _LOG.warning(
                "collection %r is not fitted yet, or not all points have their encoding: searches run exact MaxSim, "
                "which is slow; ingest documents or call fit(). This is logged once.",
                self._collection,
            )
        return [None] * len(tokens)

    async def is_due(self, *, last: bool) -> bool:
        """Whether it is time to fit, or to go on with what was begun.

        Args:
            last: Whether an ingest ends here: then it is time, however few documents there are.
        """
        if self.complete or not self.config.fde.needs_fit:
            return False
        if self.fde is not None:
            return True
        stored = await self._count(has_tokens(self.config))
        return stored >= (1 if last else self.config.fde.fit_documents)

    async def fit(
        self,
        *,
        config: FdeConfig | None = None,
        refit: bool = False,
        device: str = "cpu",
        progress: bool | ProgressReporter,
    ) -> None:
        """Fit to what is stored, publish, and add the encoding to the points that lack it.

        Raises:
            ConfigurationError: The encoding needs no fit, nothing is stored, or ``config`` cannot be the collection's.
        """
        async with self._fitting:
            await self._fit(config, refit=refit, device=device, progress=progress)

    async def _fit(
        self, config: FdeConfig | None, *, refit: bool, device: str, progress: bool | ProgressReporter
    ) -> None:
        try:
            await self._refresh()
        except ArtefactError:
            if not refit:
                raise
        own = self.config.fde
        if not own.needs_fit:
            raise ConfigurationError(
                f"collection {self._collection!r} has an encoding that needs no fit: create one with "
                "CollectionConfig(fde=LemurConfig()) to have one that is learned"
            )
        if config is not None and not (refit and config.needs_fit and config.dim == own.dim):
            raise ConfigurationError(
                f"a config is for fit(refit=True), and has to be of an encoding that is fitted and has dim={own.dim}, "
                f"which collection {self._collection!r} was created with: for others create a new collection"
            )
        if self.fde is None or refit:
            fitted = await self._fitted(config or own, device=device, progress=progress)
            await self._publish(fitted, refit=refit)
        await self._fill(progress=progress)

    async def _set(self, fde: FixedDimensionalEncoder | None) -> None:
        self.fde, self.complete = fde, False
        self._described = opening.describe(self.config, self._encoder, fde)
        self.complete = fde is not None and await self._none_lacks()

    async def _refresh(self) -> None:
        """Take over what another writer, or a process that was killed, fitted in the meantime."""
        if not self.config.fde.needs_fit:
            return
        if await opening.declared(self._collection, connection=self._connection) != self._described:
            self.config, fde, self.limits, self._tokens_of = await opening.open(
                self._collection, connection=self._connection, encoder=self._encoder, config=None
            )
            await self._set(fde)
        if self.fde is None and (data := await artefacts.fetch(self._connection, self._collection)) is not None:
            await self._adopt(data)

    async def _fitted(self, config: FdeConfig, *, device: str, progress: bool | ProgressReporter) -> Fitted:
        texts, documents = await self._sample(config)
        if not len(documents):
            raise ConfigurationError(f"collection {self._collection!r} is empty: ingest documents first, then fit")
        queries = None
        if learns_from_queries(config):
            if len(documents) < config.dim:
                _LOG.warning(
                    "collection %r is fitted to %d documents only: fit it again with fit(refit=True) when there are "
                    "more",
                    self._collection,
                    len(documents),
                )
            queries = await self._connection.runtime.compute(self._learn_from, texts, documents, config.seed)
        return await self._connection.runtime.compute(
            fit_encoder, config, documents, query_tokens=queries, device=device, progress=progress
        )

    async def _publish(self, fitted: Fitted, *, refit: bool) -> None:
        data = fitted.to_bytes()
        encoder_from_bytes(data)  # a fit that went wrong is to fail before anything is changed
        if refit:
            await self._declare(None, self.config)
            names, everything = [self.config.fde_vector], documents_only(None)
            await self._client.delete_vectors(self._collection, vectors=names, points=everything, wait=True)
        await self._adopt(await artefacts.publish(self._connection, self._collection, data, replace=refit))

    async def _adopt(self, data: bytes) -> None:
        fde = encoder_from_bytes(data)
        if (fde.dim, fde.token_dim) != (self.config.fde.dim, self._encoder.dim):
            raise ArtefactError(
                f"the fitted encoding of collection {self._collection!r} has {fde.dim} dimensions for tokens of "
                f"{fde.token_dim}, but the collection has {self.config.fde.dim} for {self._encoder.dim}: it is another "
                "collection's; restore this one's, or fit anew with fit(refit=True)"
            )
        await self._declare(fde, replace(self.config, fde=fde.config))

    async def _declare(self, fde: FixedDimensionalEncoder | None, config: CollectionConfig) -> None:
        self.fde, self.complete = None, False  # until it is known to be written
        await opening.declare(
            self._collection,
            connection=self._connection,
            encoder=self._encoder,
            config=config,
            fde=fde,
            tokens_of=self._tokens_of,
        )
        self.config = config
        await self._set(fde)

    async def _fill(self, *, progress: bool | ProgressReporter) -> None:
        """Add the encoding to the points that lack it. One pass: who writes points meanwhile sees to them."""
        missing, fde = await self._count_lacking(), self.fde
        if fde is not None and missing:
            lacking = _lacks(self.config)
            # a document that was replaced since it was read has its own by now
            only = lacking if (await self._connection.capabilities()).has("update_filter") else None
            with reporting(progress, label="encode", total=missing) as report:
                async for records, tokens in self._stored.pages(lacking, payload=False):
                    encoded = await self._connection.runtime.compute(fde.encode_documents, tokens)
                    await self._add(records, encoded, only=only)
                    report.advance(len(records))
        self.complete = fde is not None and await self._none_lacks()

    async def _add(
        self, records: Sequence[models.Record], encoded: NDArray[np.float32], *, only: models.Filter | None
    ) -> None:
        points = [
            models.PointVectors(id=record.id, vector={self.config.fde_vector: vector.tolist()})
            for record, vector in zip(records, encoded, strict=True)
        ]
        try:
            await self._client.update_vectors(self._collection, points, wait=True, update_filter=only)
        except Exception as error:
            # one that was deleted since is an error to every engine, after it has written the others
            gone_wrong = isinstance(error, RequestError) and not isinstance(error, RequestRefusedError)
            ids = [point.id for point in points]
            stored = await self._client.retrieve(self._collection, ids=ids)
            if gone_wrong or len(stored) == len(points):
                raise

    def _learn_from(self, texts: Sequence[str], documents: TokenEmbeddings, seed: int) -> TokenEmbeddings:
        """What stands for queries: pieces of texts, or of the documents' tokens where nothing else is to be had."""
        spans = query_spans(texts, seed=seed)
        with contextlib.suppress(NotImplementedError):
            if spans:
                return self._encoder.encode_queries(spans)
        return token_spans(documents, seed=seed)

    async def _sample(self, config: FdeConfig) -> tuple[list[str], TokenEmbeddings]:
        """The texts and token embeddings of some documents, of all by chance; one without a text has none there."""
        texts: list[str] = []
        batches = [TokenEmbeddings.from_matrices([], dim=self._encoder.dim)]
        count = 0
        async for records, tokens in self._stored.sample(config.fit_documents, seed=config.seed):
            texts += [text for each in records if (text := text_of(each.payload or {}, self.config))]
            batches.append(tokens)
            count += len(tokens)
            if count >= config.fit_documents:
                break
        return texts, TokenEmbeddings.concatenate(batches)

    @property
    def _stored(self) -> StoredDocuments:
        return StoredDocuments(
            self._connection,
            self._collection,
            config=self.config,
            limits=self.limits,
            token_dim=self._encoder.dim,
        )

    async def _none_lacks(self) -> bool:
        writes = self._unencoded_writes
        return not await self._count_lacking() and writes == self._unencoded_writes

    async def _count_lacking(self) -> int:
        return await self._count(_lacks(self.config)) if self.config.fde.needs_fit else 0

    async def _count(self, filter: models.Filter) -> int:
        return await count_documents(self._connection, self._collection, filter)


def _lacks(config: CollectionConfig) -> models.Filter:
    return models.Filter(
        must=has_tokens(config).must,
        must_not=[models.HasVectorCondition(has_vector=config.fde_vector)],
    )
