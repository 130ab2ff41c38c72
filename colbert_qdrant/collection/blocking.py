"""A collection of documents for late interaction: created, filled and searched."""

from __future__ import annotations

from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Self

from colbert_qdrant.collection.operations import CollectionOperations, Encoders
from colbert_qdrant.collection.searches import Searches
from colbert_qdrant.engines.connection import Connection
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from qdrant_client import models

    from colbert_qdrant._support.progress import ProgressReporter
    from colbert_qdrant.capabilities import Client
    from colbert_qdrant.collection.info import CollectionState
    from colbert_qdrant.config import CollectionConfig, FdeConfig, RetryConfig
    from colbert_qdrant.documents import Document, DocumentId, IngestReport
    from colbert_qdrant.encoders import LateInteractionEncoder, VectorEncoder
    from colbert_qdrant.search.filters import Where


class ColbertCollection(Searches):
    """A Qdrant collection whose points hold a document's encoding and its token embeddings.

    Made with `create`, `open` or `open_or_create`. The client stays the caller's: it is never closed here.

    Example:
        >>> from qdrant_client import QdrantClient
        >>> from colbert_qdrant import ColbertCollection, Document, ColbertEncoder
        >>> def index(path):
        ...     encoder = ColbertEncoder.from_pretrained(path)
        ...     with ColbertCollection.create("docs", client=QdrantClient(":memory:"), encoder=encoder) as docs:
        ...         docs.upsert([Document("a", "How to parse a date")])
        ...         return docs.search("dates", limit=1)
    """

    @classmethod
    def create(
        cls,
        name: str,
        *,
        client: Client,
        encoder: LateInteractionEncoder,
        config: CollectionConfig | None = None,
        retry: RetryConfig | None = None,
        shard_key: str | int | None = None,
        vector_encoders: Mapping[str, VectorEncoder] | None = None,
    ) -> Self:
        """Create an empty collection.

        Args:
            name: The collection's name.
            client: A ``QdrantClient`` (server, ``path=`` or ``":memory:"``) or an `EdgeClient`.
            encoder: Makes the token embeddings of documents and queries.
            config: Layout and FDE; the defaults are `CollectionConfig`'s.
            retry: What is done about failing requests.
            shard_key: Which shards all requests are for, in a collection with ``sharding="custom"``; without one,
                everything is searched and nothing can be written.
            vector_encoders: Encoders of the vectors in ``config.dense`` and ``config.sparse``, by name; without one
                they are brought by documents and queries.

        Raises:
            CollectionExistsError: There is a collection of that name already.
            CapabilityError: The server is too old.
        """
        connection = Connection.blocking(client, retry=retry, shard_key=shard_key)
        return cls(
            run_blocking(
                CollectionOperations.create(
                    name, connection=connection, encoders=Encoders(encoder, vector_encoders or {}), config=config
                )
            )
        )

    @classmethod
    def open(
        cls,
        name: str,
        *,
        client: Client,
        encoder: LateInteractionEncoder,
        config: CollectionConfig | None = None,
        retry: RetryConfig | None = None,
        shard_key: str | int | None = None,
        vector_encoders: Mapping[str, VectorEncoder] | None = None,
    ) -> Self:
        """Open a collection, and make sure that it was built with this encoder and these settings.

        Args:
            name: The collection's name.
            client: The client of the engine it is in.
            encoder: The encoder that it was built with.
            config: Only to insist on settings; without it the stored ones are used.
            retry: What is done about failing requests.
            shard_key: Which shards all requests are for, in a collection with ``sharding="custom"``; without one,
                everything is searched and nothing can be written.
            vector_encoders: Encoders of the vectors in ``config.dense`` and ``config.sparse``, by name; without one
                they are brought by documents and queries.

        Raises:
            CollectionNotFoundError: There is no such collection.
            SchemaMismatchError: Its vectors are laid out in another way, or it is not one of this library's.
            FingerprintMismatchError: It was built with another encoder or other settings.
            ArtefactError: It was fitted, but what was fitted is missing or altered.
        """
        connection = Connection.blocking(client, retry=retry, shard_key=shard_key)
        return cls(
            run_blocking(
                CollectionOperations.open(
                    name, connection=connection, encoders=Encoders(encoder, vector_encoders or {}), config=config
                )
            )
        )

    @classmethod
    def open_or_create(
        cls,
        name: str,
        *,
        client: Client,
        encoder: LateInteractionEncoder,
        config: CollectionConfig | None = None,
        retry: RetryConfig | None = None,
        shard_key: str | int | None = None,
        vector_encoders: Mapping[str, VectorEncoder] | None = None,
    ) -> Self:
        """Open the collection if there is one, else create it; arguments and errors are those of the two."""
        connection = Connection.blocking(client, retry=retry, shard_key=shard_key)
        return cls(
            run_blocking(
                CollectionOperations.open_or_create(
                    name, connection=connection, encoders=Encoders(encoder, vector_encoders or {}), config=config
                )
            )
        )

    def upsert(self, documents: Iterable[Document]) -> None:
        """Store documents; one that is stored under the same id is replaced whole.

        All of them are checked and encoded before the first is written, so they are held in memory: use `ingest`
        for many.

        Raises:
            InvalidDocumentError: A document cannot be stored; nothing was written.
            InvalidTokensError: A document's token embeddings cannot be stored; nothing was written.
            RequestError: The server could not be reached, or refused documents; all others are stored.
        """
        run_blocking(self._operations.upsert(list(documents)))

    def ingest(self, documents: Iterable[Document], *, progress: bool | ProgressReporter = False) -> IngestReport:
        """Stream documents of any number into the collection, in bounded memory.

        Documents are read, encoded and written some hundred at a time, and each request is acknowledged before
        the next. A document is replaced by a later one with the same id.

        Args:
            documents: Any iterable.
            progress: ``True`` for a live bar where stderr is a terminal (needs the ``progress`` extra), or an
                object of your own that is told of every acknowledged batch.

        Returns:
            What was written.

        Raises:
            ConfigurationError: The documents have to be awaited.
            InvalidDocumentError: A document cannot be stored; those acknowledged before it are.
            InvalidTokensError: A document's token embeddings cannot be stored; likewise.
            RequestError: The server failed for good, or refuses everything; those acknowledged before are stored.
        """
        if isinstance(documents, AsyncIterable):
            raise ConfigurationError("the documents come asynchronously: use AsyncColbertCollection, or a list of them")
        return run_blocking(self._operations.ingest(documents, progress=progress))

    def fit(
        self,
        *,
        refit: bool = False,
        config: FdeConfig | None = None,
        device: str = "cpu",
        progress: bool | ProgressReporter = False,
    ) -> None:
        """Fit the encoding to the documents that are stored, and add it to those that lack it.

        `ingest` does so by itself; by hand it is for collections filled with `upsert`, and to fit again. When it is
        killed, the next write or fit goes on from what is stored.

        Args:
            refit: Fit anew although the collection is fitted: with more documents, or in another way. All encodings are
                made anew from the stored tokens; searches are exact until it is done. Nobody else may write meanwhile,
                and who has the collection open for searching has to open it again.
            config: What to fit with from now on, of the same ``dim``; only with ``refit``.
            device: Where torch trains.
            progress: As for `ingest`.

        Raises:
            ConfigurationError: The encoding needs no fit, there are no documents, or ``config`` has another ``dim``.
        """
        run_blocking(self._operations.fit(refit=refit, config=config, device=device, progress=progress))

    def get(self, ids: DocumentId | Iterable[DocumentId]) -> list[Document]:
        """Fetch documents.

        Args:
            ids: One id or several.

        Returns:
            The documents in the order of their ids, with the ``vectors`` that no encoder makes; those that are not
            stored are left out.
        """
        return run_blocking(self._operations.get(ids))

    def delete(
        self,
        *,
        ids: DocumentId | Iterable[DocumentId] | None = None,
        where: Where | None = None,
        filter: models.Filter | None = None,
    ) -> None:
        """Delete documents, by their ids or by their payload; what is not stored is no error.

        Args:
            ids: One id or several.
            where: Those whose payload matches, see `search`.
            filter: See `search`.

        Raises:
            ConfigurationError: Neither is given, or ids and one of the others; or ``where`` is not a `Where`.
        """
        run_blocking(self._operations.delete(ids=ids, where=where, filter=filter))

    def count(self, *, where: Where | None = None, filter: models.Filter | None = None) -> int:
        """The exact number of documents, or of those whose payload matches; see `search`."""
        return run_blocking(self._operations.count(where=where, filter=filter))

    def check(self) -> None:
        """Make sure that the stored collection still is the one that was opened.

        Raises:
            CollectionNotFoundError: It is gone.
            SchemaMismatchError: Its vectors are laid out in another way.
            FingerprintMismatchError: It was built with another encoder or other settings.
        """
        run_blocking(self._operations.check())

    def info(self) -> CollectionState:
        """What is really in force: status, sizes, how vectors are stored, indexes, and the limits of strict mode."""
        return run_blocking(self._operations.info())

    def wait_until_ready(self, *, timeout: float = 600) -> CollectionState:
        """Wait until the graphs over everything written are built, at most ``timeout`` seconds.

        Raises:
            NotReadyError: It was not in time, or will not be by itself; says what to do.
            EngineError: The engine gave up building.
        """
        return run_blocking(self._operations.wait_until_ready(timeout))

    def optimize(self) -> None:
        """Build the graphs of an embedded store now, and wait for it; servers do so by themselves."""
        run_blocking(self._operations.optimize())

    def drop(self) -> None:
        """Delete the collection with all its documents, and close it."""
        run_blocking(self._operations.drop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
