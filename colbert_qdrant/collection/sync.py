# Generated from colbert_qdrant/collection/aio.py by .ci/generate_sync.py: change it, and run `make generate`.

"""A collection for late interaction: created, filled, fitted and searched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Self

from qdrant_client import models

from colbert_qdrant._support import telemetry
from colbert_qdrant._support.progress import ProgressReporter
from colbert_qdrant.collection import documents as stored_documents
from colbert_qdrant.collection.fitting import Fitter
from colbert_qdrant.collection.info import CollectionState, read_state
from colbert_qdrant.collection.ingest import ingest, upsert
from colbert_qdrant.collection.opened import OpenCollection
from colbert_qdrant.collection.repair import find_problems, repair
from colbert_qdrant.collection.rows import OnError
from colbert_qdrant.collection.searches.sync import Searches
from colbert_qdrant.collection.waiting import build_graphs, wait_until_ready
from colbert_qdrant.config import CollectionConfig, FdeConfig, RetryConfig
from colbert_qdrant.documents import Document, DocumentId, IngestReport
from colbert_qdrant.encoders import LateInteractionEncoder, VectorEncoder
from colbert_qdrant.engines import Client, blocking_engine
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.search.filters import Where


class ColbertCollection(Searches):
    """A Qdrant collection whose points hold a document's encoding and its token embeddings.

    Made with `create`, `open` or `open_or_create`. The client stays the caller's: it is never closed here.

    Example:
        >>> from qdrant_client import QdrantClient
        >>> from colbert_qdrant import ColbertCollection, ColbertEncoder, Document
        >>> def index(path):
        ...     encoder, client = ColbertEncoder.from_pretrained(path), QdrantClient(":memory:")
        ...     with ColbertCollection.create("docs", client=client, encoder=encoder) as docs:
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
        engine = blocking_engine(client, retry=retry, shard_key=shard_key)
        making = OpenCollection.make(
            "create", name, engine=engine, encoder=encoder, config=config, vector_encoders=vector_encoders
        )
        return cls(run_blocking(making))

    @classmethod
    def open(  # noqa: D417
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

        Its name may come to mean another collection: an alias is switched, or it is deleted and made anew. Every write
        asks first, a search asks at most every 2 seconds: `FingerprintMismatchError` says to open it again.

        A collection whose fitted encoding is lost or damaged opens with a warning: searches are exact until `repair`
        fits it again.

        All parameters but these are as for `create`.

        Args:
            name: The collection's name.
            client: The client of the engine it is in.
            encoder: The encoder that it was built with.
            config: Only to insist on settings; without it the stored ones are used. Its payload indexes may be others:
                those that are missing are made. Settings of graph, storage and copies change no stored vector: a
                warning names those that differ, and the collection keeps its own.

        Raises:
            CollectionNotFoundError: There is no such collection.
            SchemaMismatchError: Its vectors are laid out in another way, or it is not one of this library's.
            FingerprintMismatchError: It was built with another encoder or other settings.
            ArtefactError: It was fitted by another version.
        """
        engine = blocking_engine(client, retry=retry, shard_key=shard_key)
        making = OpenCollection.make(
            "open", name, engine=engine, encoder=encoder, config=config, vector_encoders=vector_encoders
        )
        return cls(run_blocking(making))

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
        engine = blocking_engine(client, retry=retry, shard_key=shard_key)
        making = OpenCollection.make(
            "open_or_create", name, engine=engine, encoder=encoder, config=config, vector_encoders=vector_encoders
        )
        return cls(run_blocking(making))

    def upsert(self, documents: Iterable[Document], *, on_error: OnError = "raise") -> IngestReport:
        """Store documents; one that is stored under the same id is replaced, but for vectors that no encoder makes.

        All of them are checked and encoded before the first is written, so they are held in memory: use `ingest`
        for many. Of several with the same id the last one is stored.

        Args:
            documents: Any iterable.
            on_error: ``"raise"`` for a document that cannot be stored, and nothing is; or ``"skip"`` it, and report it
                in the ``rejected``.

        Returns:
            What was written.

        Raises:
            InvalidDocumentError: A document cannot be stored; nothing was written.
            InvalidTokensError: A document's token embeddings cannot be stored; nothing was written.
            RequestError: The server could not be reached, or refused documents; all others are stored.
        """
        return run_blocking(upsert(self._open, documents, on_error=on_error))

    def ingest(
        self,
        documents: Iterable[Document],
        *,
        on_error: OnError = "raise",
        progress: bool | ProgressReporter = False,
    ) -> IngestReport:
        """Stream documents of any number into the collection, in bounded memory.

        Documents are read, encoded and written some hundred at a time, and each request is acknowledged before
        the next. A document is replaced by a later one with the same id. The documents of a list are checked before
        the first is encoded.

        Args:
            documents: Any iterable.
            on_error: ``"raise"`` for a document that cannot be stored, which ends the ingest; or ``"skip"`` it, and
                report it, with its id and the reason, in the ``rejected``.
            progress: ``True`` for a live bar in a terminal (needs the ``progress`` extra) or a notebook, and lines in
                the log elsewhere; or an object of your own that is told of every acknowledged batch.

        Returns:
            What was written.

        Raises:
            ConfigurationError: The documents have to be awaited.
            InvalidDocumentError: A document cannot be stored; those acknowledged before it are.
            InvalidTokensError: A document's token embeddings cannot be stored; likewise.
            RequestError: The server failed for good, or refuses everything; those acknowledged before are stored.
        """
        return run_blocking(ingest(self._open, documents, on_error=on_error, progress=progress))

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
        killed, the next write or fit resumes from what is stored.

        Args:
            refit: Fit anew although the collection is fitted: with more documents, or in another way. All encodings are
                made anew from the stored tokens; searches are exact until it is done. Nobody else may write meanwhile.
                What else searches the collection notices within 2 seconds, and uses the new encoding once it is whole.
            config: What to fit with from now on, of the same ``dim``; only with ``refit``.
            device: Where torch trains.
            progress: As for `ingest`.

        Raises:
            ConfigurationError: The encoding needs no fit, there are no documents, or ``config`` has another ``dim``.
            ArtefactError: What was fitted is lost, and ``refit`` is not given.
        """
        with telemetry.operation("fit", refit=refit):
            run_blocking(Fitter(self._open).fit(config=config, refit=refit, device=device, progress=progress))

    def get(self, ids: DocumentId | Iterable[DocumentId]) -> list[Document]:
        """Fetch documents.

        Args:
            ids: One id or several.

        Returns:
            The documents in the order of their ids, with the ``vectors`` that no encoder makes; those that are not
            stored are left out.
        """
        return run_blocking(stored_documents.get(self._open, ids))

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
            ConfigurationError: Neither is given, or ids and one of the others; ``where`` is not a `Where`, or
                ``filter`` has no condition.
        """
        run_blocking(stored_documents.delete(self._open, ids=ids, where=where, filter=filter))

    def count(self, *, where: Where | None = None, filter: models.Filter | None = None) -> int:
        """The exact number of documents, or of those whose payload matches; see `search`."""
        return run_blocking(stored_documents.count(self._open, where=where, filter=filter))

    def check(self) -> tuple[str, ...]:
        """Make sure that the stored collection still is the one that was opened.

        Returns:
            A sentence for each thing that `repair` mends, such as missing payload indexes, or documents that another
            program wrote without token vectors or encodings; nothing is written.

        Raises:
            CollectionNotFoundError: It is gone.
            SchemaMismatchError: Its vectors are laid out in another way.
            FingerprintMismatchError: It was built with another encoder or other settings.
        """
        run_blocking(self._open.check())
        return run_blocking(find_problems(self._open))

    def repair(self, *, on_error: OnError = "skip", progress: bool | ProgressReporter = False) -> tuple[str, ...]:
        """Mend what `check` finds; what is interrupted goes on when it is called again.

        A fitted encoding that is lost is fitted again, as by ``fit(refit=True)``: nobody else may write meanwhile.

        Args:
            on_error: What is done about documents that cannot be encoded, after all others are: ``"skip"`` names them
                in a sentence, with the reasons; ``"raise"`` raises an error that does.
            progress: As for `ingest`.

        Returns:
            A sentence for each thing that was done.

        Raises:
            InvalidDocumentError: Documents cannot be encoded, and ``on_error`` is ``"raise"``.
            ColbertQdrantError: Something cannot be mended: see `check`.
        """
        run_blocking(self._open.check())
        return run_blocking(repair(self._open, on_error=on_error, progress=progress))

    def info(self) -> CollectionState:
        """What is really in force: status, sizes, how vectors are stored, indexes, and the limits of strict mode."""
        state = run_blocking(read_state(self._open.engine, self.name, self.config))
        return replace(state, warnings=state.warnings + run_blocking(find_problems(self._open)))

    def wait_until_ready(
        self,
        *,
        timeout: float = 600,
        progress: bool | ProgressReporter = False,
    ) -> CollectionState:
        """Wait until the graphs over everything written are built, at most ``timeout`` seconds.

        An embedded store has nobody else to build them: it does so now, as by `optimize`, however long that takes.
        Copies of shards on nodes that are down are not waited for: ``inactive_copies`` and ``warnings`` name them.

        Args:
            timeout: The seconds to wait.
            progress: As for `ingest`, of the documents that are built; servers tell since 1.17, over REST.

        Raises:
            NotReadyError: It was not in time, or will not be by itself; says what to do.
            EngineError: The engine gave up building.
        """
        return run_blocking(
            wait_until_ready(self._open.engine, self.name, self.config, timeout=timeout, progress=progress)
        )

    def optimize(self, *, progress: bool | ProgressReporter = False) -> None:
        """Build the graphs of an embedded store now, and wait for it; servers do so by themselves.

        Ctrl-C, or a task's cancellation, ends it: the collection is then as it was, or has some of its graphs.

        Args:
            progress: As for `ingest`; it shows that work goes on, not how far it is.
        """
        run_blocking(build_graphs(self._open.engine, self.name, progress=progress))

    def drop(self) -> None:
        """Delete the collection with all its documents, and close it."""
        run_blocking(self._open.drop())
        self.close()
