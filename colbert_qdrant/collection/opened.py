"""Defines an open collection: its engine, its encoders and its stored state."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import replace
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeVar

import numpy as np
from qdrant_client import models

from colbert_qdrant._support.warned import Warned
from colbert_qdrant.collection import artefacts, lifecycle
from colbert_qdrant.collection.choosing import Sample, check_sample, chosen
from colbert_qdrant.collection.having import lacks_encoding
from colbert_qdrant.collection.indexes import make_missing_indexes
from colbert_qdrant.collection.lengths import Lengths
from colbert_qdrant.collection.metadata import count_documents, documents_only, read_current
from colbert_qdrant.collection.outgrown import say_outgrown
from colbert_qdrant.collection.scroll import scroll_points
from colbert_qdrant.collection.shards import Shards
from colbert_qdrant.collection.unbuilt import UnbuiltGraph
from colbert_qdrant.config import CollectionConfig
from colbert_qdrant.config.checks import require_instance
from colbert_qdrant.config.names import require_stored_name
from colbert_qdrant.encoders.further import FurtherVectors, require_encoders
from colbert_qdrant.encoders.queries import query_tokens, require_texts
from colbert_qdrant.encoders.ready import required_encoder
from colbert_qdrant.errors import (
    ArtefactError,
    AuthenticationError,
    CollectionExistsError,
    CollectionNotFoundError,
)
from colbert_qdrant.fde import encoder_from_bytes
from colbert_qdrant.search.execute import keep_to_limits
from colbert_qdrant.search.limits import Limits
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from colbert_qdrant.collection.lifecycle import Stored
    from colbert_qdrant.encoders import LateInteractionEncoder, VectorEncoder
    from colbert_qdrant.engines import Engine
    from colbert_qdrant.engines.base import PointId
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.search.options import CheckedOptions
    from colbert_qdrant.search.request import RequestBuilder, SearchRequest

READ_SECONDS: Final = 2.0
"""The interval at which searches check whether the name still refers to the collection that was opened."""
WRITE_SECONDS: Final = 0.1
"""The interval at which the requests of one write check that."""
_PAGE_IDS: Final = 256
_NO_TOKENS: Final = np.empty((0, 0), np.float32)

Checked = TypeVar("Checked")


class OpenCollection:
    """A collection with the encoders that it is used with.

    Args:
        stored: The stored state.
        name: The collection's name.
        engine: The engine with the collection.
        encoder: Text → token embeddings.
        further: Text → further vectors.

    Attributes:
        config: The collection's settings; a refit changes the settings of its encoding.
        fde: The encoding; ``None`` until it is fitted.
        limits: The limits of the server.
        complete: Whether every point is known to have an encoding.
        fitting: A lock that is held while a fit runs.
        points: The approximate number of points when the collection was last described, if known.
        is_fitting: Whether a fit is running, which changes the encoding step by step.
        lost: A message if the fitted encoding can no longer be read, with the remedy; ``None`` otherwise.
        lengths: The average length of the documents.
        shards: The collection's shards.
        unbuilt: Logs that the graph of an embedded store is missing.
        warned: The warnings that were already issued.
    """

    def __init__(
        self,
        stored: Stored,
        *,
        name: str,
        engine: Engine,
        encoder: LateInteractionEncoder,
        further: FurtherVectors,
    ) -> None:
        """See `make`, which also checks whether every point has its encoding."""
        self._use(stored)
        self.points = stored.points
        self.name = name
        self.engine = engine
        self.encoder = encoder
        self.further = further
        self.shards = Shards(name, engine, stored.config)
        self.unbuilt = UnbuiltGraph(name, engine)
        self._unencoded_writes = 0
        self.warned = Warned()
        self.lengths = Lengths(name, engine, further, self.warned)
        self.fitting = engine.runtime.lock()
        self.is_fitting = False
        self._sure = self._asked = time.monotonic()

    @classmethod
    async def make(
        cls,
        how: Literal["create", "open", "open_or_create"],
        name: str,
        *,
        engine: Engine,
        encoder: LateInteractionEncoder | None,
        config: CollectionConfig | None = None,
        vector_encoders: Mapping[str, VectorEncoder] | None = None,
        sample: Sample | None = None,
    ) -> Self:
        """Create or open a collection; see `ColbertCollection.create`, `open` and `open_or_create`."""
        require_stored_name(name)
        require_encoders(encoder, vector_encoders)
        require_instance("config", config, (CollectionConfig, NoneType), "a CollectionConfig")
        check_sample(sample)
        create = how == "create" or (how == "open_or_create" and not await engine.collection_exists(name))
        stored, encoders, compute = None, vector_encoders or {}, engine.runtime.compute
        settings = config or CollectionConfig()
        if create:
            maker = required_encoder(encoder)
            further = await compute(FurtherVectors, settings, encoders, await engine.capabilities())
            made, choice = await chosen(name, settings, sample, encoder=maker, engine=engine)
            creating = lifecycle.create(name, engine=engine, encoder=maker, config=made, choice=choice)
            try:
                stored = await engine.runtime.whole(creating)
            except CollectionExistsError:
                if how == "create":
                    raise  # for open_or_create, another client created it in the meantime
        if stored is None:
            if how == "open_or_create" and encoder is not None and not settings.is_auto:
                await lifecycle.finish(name, engine=engine, encoder=encoder, config=settings)
            stored = await lifecycle.open(name, engine=engine, encoder=encoder, config=config)
            further = await compute(FurtherVectors, stored.config, encoders, await engine.capabilities())
            await make_missing_indexes(engine, name, stored.missing_indexes)
        maker = lifecycle.encoder_of(stored.fingerprint) if encoder is None else encoder
        collection = cls(stored, name=name, engine=engine, encoder=maker, further=further)
        await collection._take(stored)
        return collection

    async def refresh(self) -> None:
        """Adopt an encoding that another writer, or a process that was killed, fitted in the meantime.

        Raises:
            FingerprintMismatchError: If the name now refers to another collection.
        """
        await self.notice()
        if self.lost is not None:
            await self._read()  # it may have been restored
        elif self.fde is None and self.config.encoding.needs_fit:
            try:
                data = await artefacts.fetch(self.engine, self.name, encoder=self.tokens_of)
            except AuthenticationError:
                return  # points without encodings get them from a fit with a key that may read it
            if data is not None:
                await self.adopt(data)

    async def notice(self, *, seconds: float = 0.0) -> None:
        """Check that the name still refers to this collection, and adopt an encoding that was declared since.

        Args:
            seconds: Skip the check if it succeeded within this number of seconds.

        Raises:
            CollectionNotFoundError: If the collection no longer exists.
            FingerprintMismatchError: If the name now refers to another collection.
        """
        now = time.monotonic()
        if now - self._sure < seconds:
            return
        self._asked = now
        try:
            await self._compare()
        except BaseException:
            self._asked = self._sure
            raise
        self._sure = now

    async def notice_at_times(self) -> None:
        """Call `notice` for a read: at most every 2 seconds, and not while another read is checking."""
        if time.monotonic() - self._asked >= READ_SECONDS:
            await self.notice()

    async def _compare(self) -> None:
        opened, (stored, points, length) = self._fingerprint, await read_current(self.engine, self.name)
        self.points = points
        self.lengths.use(length)
        if stored is not None:
            stored.require_unchanged(opened, collection=self.name)
            if self.is_fitting or not self.config.encoding.needs_fit:
                return
        if stored is None or stored.fde != opened.fde:
            await self._read(config=None if stored else self.config)
            return
        self._warn_if_outgrown(points)
        if self.fde is not None and not self.complete:
            await self.check_complete()

    async def adopt(self, data: bytes) -> None:
        """Use the encoding of a stored artifact, and declare it in the metadata.

        Raises:
            ArtefactError: If the encoding belongs to another collection.
        """
        fde = await self.engine.runtime.compute(encoder_from_bytes, data)
        if (fde.dim, fde.token_dim) != (self.config.encoding.dim, self.encoder.dim):
            raise ArtefactError(
                f"the fitted encoding of collection {self.name!r} has dim={fde.dim} and token_dim={fde.token_dim}, but "
                f"the collection has dim={self.config.encoding.dim} and token_dim={self.encoder.dim}, so it belongs to "
                "another collection: restore the right one, or fit again with fit(refit=True)"
            )
        await self.declare(fde, replace(self.config, fde=fde.config))

    async def declare(self, fde: FixedDimensionalEncoder | None, config: CollectionConfig) -> None:
        """Write the collection's encoding into the metadata; ``None`` declares that it is not fitted."""
        self._use(lifecycle.Stored(self.config, None, self.limits, self._fingerprint))  # while it is being written
        fingerprint = await lifecycle.declare(
            self.name,
            engine=self.engine,
            encoder=self.encoder,
            config=config,
            fde=fde,
            tokens_of=self.tokens_of,
        )
        await self._take(lifecycle.Stored(config, fde, self.limits, fingerprint))

    @property
    def tokens_of(self) -> Mapping[str, Any]:
        """The fingerprint of the encoder of the stored tokens; empty if unknown."""
        return self._fingerprint.encoder

    @property
    def fitted_digest(self) -> str | None:
        """The SHA-256 of the artifact; ``None`` if the encoding is not fitted, or needs no fit."""
        return self._fingerprint.fitted_digest

    async def check(self) -> None:
        """Compare the stored collection with this one; see `ColbertCollection.check`."""
        await self.notice()
        stored = await lifecycle.open(self.name, engine=self.engine, encoder=self.encoder, config=self.config)
        if self.lost is not None and stored.lost is None:
            await self._take(stored)

    async def drop(self) -> None:
        """Delete the collection and its artifact."""
        with contextlib.suppress(CollectionNotFoundError):
            await self.notice()
        await self.engine.runtime.whole(lifecycle.drop(self.name, engine=self.engine, config=self.config))

    def wrote_unencoded(self) -> None:
        """Record a write without encodings, which a fit that ended in the meantime may have missed."""
        self._unencoded_writes += 1
        self.complete = False

    async def check_complete(self) -> None:
        """Check whether every point has its encoding, and set `complete`."""
        writes = self._unencoded_writes
        fitted = self.fde is not None
        lacking = fitted and self.config.encoding.needs_fit and await self.has_any(lacks_encoding(self.config))
        self.complete = fitted and not lacking and writes == self._unencoded_writes

    async def has_any(self, filter: models.Filter) -> bool:
        """Tell whether any document matches a filter; this works even if a server forbids exact counts."""
        records, _ = await self.engine.scroll(
            self.name,
            scroll_filter=await documents_only(self.engine, self.name, filter),
            limit=1,
            offset=None,
            with_payload=False,
            with_vectors=False,
        )
        return bool(records)

    async def count(self, filter: models.Filter) -> int:
        """Count the documents that match a filter."""
        return await count_documents(self.engine, self.name, filter)

    async def allowed(self, check: Callable[[Limits], Checked]) -> Checked:
        """Return the result of a check of limits.

        If the check fails, the limits are read again, since they may have been lifted after the collection was opened.
        """

        async def work(limits: Limits) -> Checked:
            return check(limits)

        return await keep_to_limits(self, work)

    async def read_limits(self) -> Limits:
        """Ask the server for its limits."""
        return Limits.of(await self.engine.get_collection(self.name), self.config.token_vector)

    async def id_pages(self, chosen: models.Filter | None) -> AsyncIterator[list[PointId]]:
        """Read the ids of the documents that match a filter, in pages that fit into one write."""
        limits = self.limits = await self.read_limits()
        bounds = (limits.query_limit, limits.upsert_batch, limits.condition_size)
        size = min(_PAGE_IDS, *(bound or _PAGE_IDS for bound in bounds))
        async for page in scroll_points(self.engine, self.name, chosen, limit=lambda: size):
            yield [record.id for record in page]

    async def max_upsert(self) -> int | None:
        """Ask the server how many points it accepts in one request; ``None`` for any number."""
        self.limits = await self.read_limits()
        return self.limits.upsert_batch

    def encode_queries(
        self, queries: Sequence[str] | TokenEmbeddings, options: CheckedOptions
    ) -> tuple[TokenEmbeddings | None, list[dict[str, Any]]]:
        """Run the models: queries → token embeddings, if the search needs them, and the further vectors it needs."""
        tokens, texts = None, None if isinstance(queries, TokenEmbeddings) else queries
        if options.needs_tokens:
            tokens = query_tokens(queries, encoder=self.encoder, collection=self.name)
            self.warned.of_truncated_queries(f"collection {self.name!r}", tokens)
        elif texts is not None:
            require_texts(texts)
        names = options.prefetch_limits(self.config)
        if texts is not None and self.config.bm25_vector in names and any(map(self.further.counts_once, texts)):
            self.warned.of_repeated_words(self.name)
        return tokens, self.further.queries(texts, options.vectors or {}, names=names, count=len(queries))

    def build_requests(
        self,
        tokens: TokenEmbeddings | None,
        vectors: Sequence[Mapping[str, Any]],
        builder: RequestBuilder,
        *,
        tell_found_by: bool = True,
    ) -> list[SearchRequest]:
        """Encode each query as one vector, if the search needs that, and build the requests."""
        name = self.config.fde_vector
        by_fde = name in builder.options.prefetch_limits(self.config)
        encoded = [None] * len(vectors) if tokens is None or not by_fde else self._encodings(tokens)
        matrices = [_NO_TOKENS] * len(vectors) if tokens is None else tokens
        return [
            builder.build(
                matrix, others if fde is None else {name: fde.tolist(), **others}, tell_found_by=tell_found_by
            )
            for matrix, fde, others in zip(matrices, encoded, vectors, strict=True)
        ]

    def _encodings(self, tokens: TokenEmbeddings) -> Sequence[Any]:
        """Return the FDEs of queries; ``None`` for each while points lack theirs, so that the search is exact."""
        fde = self.fde  # a fit in another thread may remove it
        if fde is not None and self.complete:
            return list(fde.encode_queries(tokens))
        if self.lost is None:  # else a warning was issued already
            self.warned.once(
                "exact",
                f"collection {self.name!r} is not fitted yet, or some points lack their encoding, so searches run "
                "exact MaxSim, which is slow: ingest documents, or call fit(). This warning appears once.",
            )
        return [None] * len(tokens)

    async def _read(self, *, config: CollectionConfig | None = None) -> None:
        """Read the stored state again."""
        await self._take(await lifecycle.open(self.name, engine=self.engine, encoder=self.encoder, config=config))

    async def _take(self, stored: Stored) -> None:
        """Use a stored state that was just read."""
        self._use(stored)
        self.points = stored.points
        self.lengths.use(stored.length)
        if self.lost is not None:
            self.warned.once("lost artefact", self.lost)
        self._warn_if_outgrown(stored.points)
        await self.check_complete()

    def _warn_if_outgrown(self, points: int | None) -> None:
        said = say_outgrown(self.name, self.fde, points or 0)
        if said is not None:
            self.warned.once("outgrown fit", f"{said} This warning appears once.")

    def _use(self, stored: Stored) -> None:
        self.complete = False  # until it is known
        self.config, self.fde, self.limits = stored.config, stored.fde, stored.limits
        self._fingerprint, self.lost = stored.fingerprint, stored.lost
