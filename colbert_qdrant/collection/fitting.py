"""Fits an encoding to its collection, stores what was fitted, and adds the encoding to the points that lack it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qdrant_client import models

from colbert_qdrant.collection import artefacts
from colbert_qdrant.collection.filling import fill, stored_documents
from colbert_qdrant.collection.having import has_encoding, has_tokens, lacks_encoding
from colbert_qdrant.collection.metadata import documents_only, require_writable
from colbert_qdrant.collection.spans import query_spans, token_spans
from colbert_qdrant.errors import (
    ArtefactError,
    AuthenticationError,
    ConfigurationError,
    InvalidDocumentError,
    RequestTooLargeError,
)
from colbert_qdrant.fde import encoder_from_bytes, fit_encoder, learns_from_queries
from colbert_qdrant.points.texts import text_of
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.filling import Filled
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.fde import Fitted


class Fitter:
    """Fits the encoding of one open collection.

    Everything is found out from what is stored, so work that was killed is resumed. The steps of a fit:

    1. The artefact is stored with the collection. 2. The metadata declare it. 3. Points that lack an encoding, which
    is how they are found, get one.

    A refit stores the new artefact beside the old one first. It takes back the declaration and all encodings only then.
    Killed after that, the next write finds the artefact that is there, the old one or the new one, and does steps 2 and
    3 with it. Whether the key allows all of this is found out before anything is trained or taken away.

    Where the old artefact is lost, what is left of it is deleted before the declaration is taken back: no encoding goes
    with it. A fit that finds no artefact takes all encodings back before its own is the collection's.

    Args:
        collection: The open collection.
    """

    def __init__(self, collection: OpenCollection) -> None:
        self._collection = collection
        self._engine = collection.engine
        self._name = collection.name

    async def is_due(self, *, last: bool) -> bool:
        """Tell whether it is time to fit, or to resume a fit.

        Args:
            last: Whether an ingest ends here: then it is time, however few documents there are.
        """
        collection, config = self._collection, self._collection.config
        if collection.complete or not config.fde.needs_fit or collection.lost is not None:
            return False
        if collection.fde is not None:
            return True
        if last:
            return await collection.has_any(has_tokens(config))
        info = await self._engine.get_collection(self._name)
        enough = config.fde.fit_documents
        return (info.points_count or 0) >= enough and await collection.count(has_tokens(config)) >= enough

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
            ArtefactError: What was fitted is lost, and this is no refit; or no token vectors are stored to fit it to.
        """
        async with self._running(refit=refit):
            await self._fit(config, refit=refit, device=device, progress=progress)

    async def fill(self, *, label: str, progress: bool | ProgressReporter) -> Filled:
        """Add the encoding that the collection has to the points that lack it."""
        async with self._running(refit=False):
            filled = await fill(self._collection, label=label, progress=progress)
            await self._collection.check_complete()
            return filled

    @contextlib.asynccontextmanager
    async def _running(self, *, refit: bool) -> AsyncIterator[None]:
        collection = self._collection
        async with collection.fitting:
            await self._begin(refit=refit)
            collection.is_fitting = True
            try:
                collection.limits = await collection.read_limits()
                yield
            finally:
                collection.is_fitting = False

    async def _begin(self, *, refit: bool) -> None:
        try:
            await self._collection.refresh()
        except ArtefactError:
            if not refit:
                raise
        if self._collection.lost is not None and not refit:
            raise ArtefactError(self._collection.lost)

    async def _fit(
        self, config: FdeConfig | None, *, refit: bool, device: str, progress: bool | ProgressReporter
    ) -> None:
        collection = self._collection
        own = collection.config.fde
        if not own.needs_fit:
            raise ConfigurationError(
                f"collection {self._name!r} has an encoding that needs no fit: create one with "
                "CollectionConfig(fde=LemurConfig()) to have one that is learned"
            )
        if config is not None and not (refit and config.needs_fit and config.dim == own.dim):
            raise ConfigurationError(
                f"a config is for fit(refit=True), and has to be of an encoding that is fitted and has dim={own.dim}, "
                f"which collection {self._name!r} was created with: for others create a new collection"
            )
        if collection.fde is None or refit:
            await self._rehearse()
            if collection.lost is not None and not await collection.has_any(has_tokens(collection.config)):
                await self._forget_lost()
                return
            stale = refit or await collection.has_any(has_encoding(collection.config))
            fitted = await self._fitted(config or own, device=device, progress=progress)
            await self._publish(fitted, refit=refit, stale=stale)
        filled = await fill(collection, label="encode", progress=progress)
        await collection.check_complete()
        if filled.rejected:
            raise InvalidDocumentError(
                f"collection {self._name!r} is fitted, and {len(filled.rejected):,} documents cannot have an encoding, "
                f"so searches stay exact until they are deleted: {filled.rejected[0].reason}"
            )

    async def _forget_lost(self) -> None:
        """Take a lost fit back where there is nothing to fit to; the next ingest fits anew."""
        if await self._collection.has_any(has_encoding(self._collection.config)):
            raise ArtefactError(
                f"collection {self._name!r} has encodings, but neither what they were fitted with nor token vectors to "
                f"fit to: restore {await artefacts.location(self._engine, self._name)} from a backup or snapshot, or "
                "ingest the documents again and call repair()"
            )
        await artefacts.forget(self._engine, self._name)
        await self._collection.declare(None, self._collection.config)

    async def _rehearse(self) -> None:
        """Do what a fit needs to be allowed to do, with nothing changed, before it trains."""
        keeper = await artefacts.keeper_of(self._engine, self._name, self._collection.tokens_of)
        try:
            await keeper.prepare()
            await require_writable(self._engine, self._name)
        except AuthenticationError as error:
            raise AuthenticationError(
                f"collection {self._name!r} cannot be fitted with this key: a fit is kept in {keeper.place} and named "
                "in the metadata, for which servers want a key with global access. Call fit() once with such a key; "
                f"what was written is stored, and is searched exactly until then. ({error})",
                operation=error.operation,
                collection=error.collection,
                attempts=error.attempts,
            ) from error
        await self._collection.has_any(lacks_encoding(self._collection.config))

    async def _fitted(self, config: FdeConfig, *, device: str, progress: bool | ProgressReporter) -> Fitted:
        compute = self._engine.runtime.compute
        texts, documents = await self._sample(config)
        if not len(documents):
            raise ConfigurationError(f"collection {self._name!r} is empty: ingest documents first, then fit")
        queries = None
        if learns_from_queries(config):
            if len(documents) < config.dim:
                self._collection.warned.once(
                    "small fit",
                    f"collection {self._name!r} is fitted to {len(documents):,} documents only: fit it again with "
                    "fit(refit=True) when there are more",
                )
            queries = await compute(self._learn_from, texts, documents, config.seed)
        return await compute(fit_encoder, config, documents, query_tokens=queries, device=device, progress=progress)

    async def _publish(self, fitted: Fitted, *, refit: bool, stale: bool) -> None:
        """Store what was fitted with the collection; what is ``stale`` are encodings that are there already."""
        collection, compute = self._collection, self._engine.runtime.compute
        data = await compute(fitted.to_bytes)
        await compute(encoder_from_bytes, data)  # a fit that went wrong is to fail before anything is changed
        await collection.notice()  # training takes long
        if collection.lost is not None:
            await artefacts.forget(self._engine, self._name)
        kept = await artefacts.publish(
            self._engine,
            self._name,
            data,
            encoder=collection.tokens_of,
            replace=refit,
            before=self._take_back if stale else None,
        )
        await collection.adopt(kept)

    async def _take_back(self) -> None:
        collection = self._collection
        await collection.declare(None, collection.config)
        names = [collection.config.fde_vector]
        everything = await documents_only(self._engine, self._name, None) or models.Filter()
        try:
            await self._engine.delete_vectors(self._name, vectors=names, points=everything)
        except RequestTooLargeError:  # a rate limit counts all points as one request
            async for page in collection.id_pages(None):
                some = models.Filter(must=[models.HasIdCondition(has_id=page)])
                await self._engine.delete_vectors(self._name, vectors=names, points=some)

    def _learn_from(self, texts: Sequence[str], documents: TokenEmbeddings, seed: int) -> TokenEmbeddings:
        """Token embeddings that stand for queries: of pieces of texts, or pieces of the documents' own."""
        spans = query_spans(texts, seed=seed)
        with contextlib.suppress(NotImplementedError):
            if spans:
                return self._collection.encoder.encode_queries(spans)
        return token_spans(documents, seed=seed)

    async def _sample(self, config: FdeConfig) -> tuple[list[str], TokenEmbeddings]:
        """The texts and token embeddings of a random sample of documents; one without a text has none there."""
        texts: list[str] = []
        batches = [TokenEmbeddings.from_matrices([], dim=self._collection.encoder.dim)]
        count = 0
        async for records, tokens in stored_documents(self._collection).sample(config.fit_documents, seed=config.seed):
            texts += [text for each in records if (text := text_of(each.payload or {}, self._collection.config))]
            batches.append(tokens)
            count += len(tokens)
            if count >= config.fit_documents:
                break
        return texts, TokenEmbeddings.concatenate(batches)
