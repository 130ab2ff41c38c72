"""Fits an encoding to its collection, stores its artifact, and adds the encoding to the points that lack it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from qdrant_client import models

from colbert_qdrant.collection import artefacts
from colbert_qdrant.collection.filling import fill, stored_documents
from colbert_qdrant.collection.having import has_encoding, has_tokens, lacks_encoding
from colbert_qdrant.collection.learn_queries import learn_from, require_learnable
from colbert_qdrant.collection.metadata import documents_only, require_writable
from colbert_qdrant.errors import (
    ArtefactError,
    AuthenticationError,
    ConfigurationError,
    InvalidDocumentError,
    RequestTooLargeError,
)
from colbert_qdrant.fde import Fitted, encoder_from_bytes, fit_encoder, learns_from_queries
from colbert_qdrant.points.texts import text_of
from colbert_qdrant.shown import counted, shown
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.collection.filling import Filled
    from colbert_qdrant.collection.learn_queries import CheckedQueries
    from colbert_qdrant.collection.opened import OpenCollection
    from colbert_qdrant.config import FdeConfig


class Fitter:
    """Fits the encoding of one open collection.

    All progress is read from the stored points, so an interrupted fit can be resumed. A fit has three steps:

    1. Store the artifact with the collection.
    2. Declare it in the metadata.
    3. Add the encoding to all points that lack it.

    A refit first stores the new artifact next to the old one. Only then does it withdraw the declaration and delete all
    encodings. If it is killed after that, the next write finds one of the two artifacts, and does steps 2 and 3 with
    it. The permissions of the key are checked before anything is trained or deleted.

    If the old artifact is lost, its remains are deleted before the declaration is withdrawn, since no encoding matches
    them. A fit that finds no artifact deletes all encodings before its own artifact becomes the current one.

    Args:
        collection: The open collection.
        queries: Real queries for an encoding that learns from queries.
    """

    def __init__(self, collection: OpenCollection, *, queries: CheckedQueries | None = None) -> None:
        self._collection = collection
        self._queries = queries
        self._engine = collection.engine
        self._name = collection.name

    async def is_due(self, *, last: bool) -> bool:
        """Tell whether a fit is due, or has to be resumed.

        Args:
            last: Whether an ingest ends here: then a fit is due for any number of documents.
        """
        collection, config = self._collection, self._collection.config
        if collection.complete or not config.encoding.needs_fit or collection.lost is not None:
            return False
        if collection.fde is not None:
            return True
        if last:
            return await collection.has_any(has_tokens(config))
        info = await self._engine.get_collection(self._name)
        enough = config.encoding.fit_documents
        return (info.points_count or 0) >= enough and await collection.count(has_tokens(config)) >= enough

    async def fit(
        self,
        *,
        config: FdeConfig | None = None,
        refit: bool = False,
        device: str = "cpu",
        progress: bool | ProgressReporter,
    ) -> None:
        """Fit to the stored documents, publish the artifact, and add the encoding to the points that lack it.

        Raises:
            ConfigurationError: If the encoding needs no fit, the collection is empty, or ``config`` does not suit it.
                Also if there are queries, and the encoding does not learn from them.
            ArtefactError: If the fitted encoding is lost and this is not a refit, or no token vectors are stored.
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

    async def check_queries(self, config: FdeConfig | None = None) -> None:
        """Check that the encoding of ``config``, or else the collection's own, learns from the queries, if any.

        Raises:
            ConfigurationError: If it does not learn from queries.
            InvalidQueryError: If the encoder encodes no texts, or the token vectors have other dimensions.
        """
        if self._queries is not None:
            own, compute = self._collection.config.encoding, self._engine.runtime.compute
            await compute(require_learnable, self._collection, config or own, self._queries)

    def require_used_queries(self) -> None:
        """Raise `ConfigurationError` if a fit would not learn from the queries, since there was one before."""
        if self._queries is not None and self._collection.fde is not None:
            raise ConfigurationError(
                f"collection {self._name!r} is fitted already, and learns from queries only in a fit: pass refit=True"
            )

    def warn_of_unused_queries(self) -> None:
        """Warn if no fit learned from the queries, neither now nor earlier from as many."""
        queries, fde = self._queries, self._collection.fde
        if queries is None or (isinstance(fde, Fitted) and fde.fitted_queries == len(queries)):
            return
        was, remedy = ("not", "fit(queries=…)") if fde is None else ("already", "fit(refit=True, queries=…)")
        self._collection.warned.once(
            "unused queries",
            f"collection {self._name!r} was {was} fitted, so this ingest did not learn from its "
            f"{counted(len(queries), 'query')}: call {remedy}",
        )

    async def _fit(
        self, config: FdeConfig | None, *, refit: bool, device: str, progress: bool | ProgressReporter
    ) -> None:
        collection = self._collection
        own = collection.config.encoding
        if not own.needs_fit:
            raise ConfigurationError(
                f"the encoding of collection {self._name!r} needs no fit: create a collection with "
                "CollectionConfig(fde=LemurConfig()) for a learned encoding"
            )
        if config is not None and not (refit and config.needs_fit and config.dim == own.dim):
            raise ConfigurationError(
                f"config={shown(config)} does not suit collection {self._name!r}: pass it with refit=True, for an "
                f"encoding that needs a fit and has dim={own.dim}; for any other encoding, create a new collection"
            )
        await self.check_queries(config)
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
                f"collection {self._name!r} is fitted, and {counted(len(filled.rejected), 'document')} cannot have an "
                f"encoding, so searches stay exact until you delete them: {filled.rejected[0].reason}"
            )

    async def _forget_lost(self) -> None:
        """Withdraw a lost fit if there are no documents to fit to; the next ingest fits again."""
        if await self._collection.has_any(has_encoding(self._collection.config)):
            raise ArtefactError(
                f"collection {self._name!r} has encodings, but neither their artifact nor token vectors to fit it "
                f"again: restore {await artefacts.location(self._engine, self._name)} from a backup or snapshot, or "
                "ingest the documents again and call repair()"
            )
        await artefacts.forget(self._engine, self._name)
        await self._collection.declare(None, self._collection.config)

    async def _rehearse(self) -> None:
        """Check the permissions that a fit needs, without changing anything, before it trains."""
        keeper = await artefacts.keeper_of(self._engine, self._name, self._collection.tokens_of)
        try:
            await keeper.prepare()
            await require_writable(self._engine, self._name)
        except AuthenticationError as error:
            raise AuthenticationError(
                f"collection {self._name!r} cannot be fitted with this key, because a fit writes to {keeper.place} and "
                "to the metadata: call fit() once with a key that has global access. The documents are stored, and "
                f"searches are exact until then. ({error})",
                operation=error.operation,
                collection=error.collection,
                attempts=error.attempts,
            ) from error
        await self._collection.has_any(lacks_encoding(self._collection.config))

    async def _fitted(self, config: FdeConfig, *, device: str, progress: bool | ProgressReporter) -> Fitted:
        real, compute = self._queries, self._engine.runtime.compute
        texts, documents = await self._sample(config)
        if not len(documents):
            raise ConfigurationError(f"collection {self._name!r} is empty: ingest documents first, then fit")
        queries = None
        if learns_from_queries(config):
            if len(documents) < config.dim:
                self._collection.warned.once(
                    "small fit",
                    f"collection {self._name!r} is fitted to only {counted(len(documents), 'document')}: call "
                    "fit(refit=True) when it has more",
                )
            self._warn_of_forgotten_queries()
            queries = await compute(learn_from, self._collection, real, texts, documents, config)
        fitted = await compute(fit_encoder, config, documents, query_tokens=queries, device=device, progress=progress)
        return fitted.fitted_to(fitted.fitted_documents, queries=None if real is None else len(real))

    def _warn_of_forgotten_queries(self) -> None:
        earlier = self._collection.fde
        if self._queries is None and isinstance(earlier, Fitted) and earlier.fitted_queries is not None:
            self._collection.warned.once(
                "forgotten queries",
                f"collection {self._name!r} was fitted to {earlier.fitted_queries:,} real queries, which are not "
                "stored, and is now fitted without them: call fit(refit=True, queries=…) to learn from real queries",
            )

    async def _publish(self, fitted: Fitted, *, refit: bool, stale: bool) -> None:
        """Store the artifact with the collection; ``stale`` tells that points have older encodings."""
        collection, compute = self._collection, self._engine.runtime.compute
        data = await compute(fitted.to_bytes)
        await compute(encoder_from_bytes, data)  # so that a broken fit fails before anything is changed
        await collection.notice()  # training takes a long time
        if collection.lost is not None:
            await artefacts.forget(self._engine, self._name)
        kept = await artefacts.publish(
            self._engine,
            self._name,
            data,
            encoder=collection.tokens_of,
            replace=refit,
            before=self._withdraw if stale else None,
        )
        await collection.adopt(kept)

    async def _withdraw(self) -> None:
        collection = self._collection
        await collection.declare(None, collection.config)
        names = [collection.config.fde_vector]
        everything = await documents_only(self._engine, self._name, None) or models.Filter()
        try:
            await self._engine.delete_vectors(self._name, vectors=names, points=everything)
        except RequestTooLargeError:  # a rate limit counts every point
            async for page in collection.id_pages(None):
                some = models.Filter(must=[models.HasIdCondition(has_id=page)])
                await self._engine.delete_vectors(self._name, vectors=names, points=some)

    async def _sample(self, config: FdeConfig) -> tuple[list[str], TokenEmbeddings]:
        """Return the texts and token embeddings of a random sample of documents; missing texts are omitted."""
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
