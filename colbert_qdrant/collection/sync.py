# Generated from colbert_qdrant/collection/aio.py by .ci/generate_sync.py: change it, and run `make generate`.

"""The collection for late interaction: create, open, ingest, fit and search it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike
from typing import Self

from colbert_qdrant._support import telemetry
from colbert_qdrant._support.progress import ProgressReporter
from colbert_qdrant.collection.backup import backup, restore
from colbert_qdrant.collection.choosing import Sample
from colbert_qdrant.collection.fitting import Fitter
from colbert_qdrant.collection.info import CollectionState, read_state
from colbert_qdrant.collection.learn_queries import checked_queries
from colbert_qdrant.collection.opened import OpenCollection
from colbert_qdrant.collection.repair import find_problems, repair
from colbert_qdrant.collection.rows import OnError
from colbert_qdrant.collection.waiting import build_graphs, wait_until_ready
from colbert_qdrant.collection.writes.sync import Writes
from colbert_qdrant.config import CollectionConfig, FdeConfig, RetryConfig
from colbert_qdrant.encoders import LateInteractionEncoder, VectorEncoder
from colbert_qdrant.engines import Client, blocking_engine
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.tokens import TokenEmbeddings


class ColbertCollection(Writes):
    """A Qdrant collection with an FDE and token embeddings in every point.

    Use `create`, `open` or `open_or_create` to make one. It never closes the client.

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
        sample: Sample | None = None,
    ) -> Self:
        """Create an empty collection.

        Args:
            name: The collection's name.
            client: A ``QdrantClient`` (server, ``path=`` or ``":memory:"``) or an `EdgeClient`.
            encoder: The model that makes token embeddings of documents and queries, or a `ReadyTokens` if they are made
                elsewhere.
            config: The layout and the FDE; by default, ``CollectionConfig()``.
            retry: The retry policy for failing requests.
            shard_key: The shard key of all requests, in a collection with ``sharding="custom"``. Without one, searches
                cover all shards, and nothing can be written.
            vector_encoders: Encoders for the vectors in ``config.dense`` and ``config.sparse``, by name. Documents and
                queries must provide the vectors that have no encoder.
            sample: Documents or texts, for ``config.fde="auto"``, which measures up to 500 and stores none. Pass at
                least 100 that represent the collection.

        Raises:
            CollectionExistsError: If a collection of that name already exists.
            CapabilityError: If the server is too old.
            ConfigurationError: If ``config.fde`` is ``"auto"`` without a ``sample``, or the other way round.
        """
        engine = blocking_engine(client, retry=retry, shard_key=shard_key)
        making = OpenCollection.make(
            "create",
            name,
            engine=engine,
            encoder=encoder,
            config=config,
            vector_encoders=vector_encoders,
            sample=sample,
        )
        return cls(run_blocking(making))

    @classmethod
    def open(  # noqa: D417
        cls,
        name: str,
        *,
        client: Client,
        encoder: LateInteractionEncoder | None = None,
        config: CollectionConfig | None = None,
        retry: RetryConfig | None = None,
        shard_key: str | int | None = None,
        vector_encoders: Mapping[str, VectorEncoder] | None = None,
    ) -> Self:
        """Open a collection, and check that it was built with this encoder and these settings.

        Its name can later refer to another collection: an alias is switched, or the collection is recreated. Every
        write checks for that, and a search checks at most every 2 seconds. They raise `FingerprintMismatchError`, and
        you have to open the collection again.

        If the fitted encoding is lost or damaged, the collection opens with a warning. Searches are exact until
        `repair` fits it again.

        All other parameters are those of `create`.

        Args:
            name: The collection's name.
            client: The client of the engine with the collection.
            encoder: The encoder that the collection was built with. Without one, the collection takes documents with
                ready ``tokens`` and queries as `TokenEmbeddings`.
            config: The settings that the collection must have; by default, the stored settings are used. Payload
                indexes in it that are missing are created. Different settings of graph, storage and replication do not
                affect stored vectors: a warning names them, and the collection keeps its own settings.

        Raises:
            CollectionNotFoundError: If the collection does not exist.
            SchemaMismatchError: If its vectors have another layout, or this library did not create it.
            FingerprintMismatchError: If it was built with another encoder or other settings.
            ArtefactError: If it was fitted by an incompatible version.
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
        sample: Sample | None = None,
    ) -> Self:
        """Open the collection if it exists, else create it; arguments and errors are those of `open` and `create`."""
        engine = blocking_engine(client, retry=retry, shard_key=shard_key)
        making = OpenCollection.make(
            "open_or_create",
            name,
            engine=engine,
            encoder=encoder,
            config=config,
            vector_encoders=vector_encoders,
            sample=sample,
        )
        return cls(run_blocking(making))

    @classmethod
    def restore(
        cls,
        path: str | PathLike[str],
        *,
        client: Client,
        encoder: LateInteractionEncoder | None = None,
        name: str | None = None,
        aliases: bool | None = None,
        retry: RetryConfig | None = None,
        vector_encoders: Mapping[str, VectorEncoder] | None = None,
        progress: bool | ProgressReporter = False,
    ) -> Self:
        """Make a collection of a backup, and open it; its searches return the same hits as when the backup was made.

        The whole backup is checked first. If a step fails, nothing remains of the restored collection.

        Args:
            path: The folder that `backup` wrote.
            client: A client of the same kind of engine, an embedded store or a server.
            encoder: See `open`.
            name: Another name for the collection.
            aliases: Whether to set the aliases that the collection had; by default, only if it keeps its name.
            retry: See `create`.
            vector_encoders: See `create`.
            progress: See `ingest`; it shows activity, but no percentage.

        Raises:
            BackupError: If the backup is incomplete or altered; the message names a file.
            CollectionExistsError: If a collection or an alias of that name already exists.
            CapabilityError: If the backup is of another kind of engine.
            FingerprintMismatchError: If the collection was built with another encoder; nothing is restored.
        """
        engine = blocking_engine(client, retry=retry)
        encoders = (encoder, vector_encoders)
        restored = run_blocking(restore(engine, path, name=name, aliases=aliases, encoders=encoders, progress=progress))
        making = OpenCollection.make("open", restored, engine=engine, encoder=encoder, vector_encoders=vector_encoders)
        return cls(run_blocking(making))

    def backup(self, path: str | PathLike[str], *, progress: bool | ProgressReporter = False) -> None:
        """Copy the collection with its fitted encoding and its aliases into a new folder, for `restore`.

        The folder appears when it is complete. Writes to an embedded store wait until the copy is made. A server makes
        a snapshot, which is downloaded and then deleted there; searches and writes continue.

        Args:
            path: The folder, which must not exist yet.
            progress: See `ingest`; it shows activity, but no percentage.

        Raises:
            BackupError: If the folder exists, or the encoding was fitted in the meantime.
            ArtefactError: If the fitted encoding is lost.
            CapabilityError: If the engine is the client's local mode, or the shards are on several nodes.
            DiskFullError: If the disk has no room for the backup.
        """
        with telemetry.operation("backup"):
            run_blocking(backup(self._open, path, progress=progress))

    def fit(
        self,
        *,
        queries: Iterable[str] | TokenEmbeddings | None = None,
        refit: bool = False,
        config: FdeConfig | None = None,
        device: str = "cpu",
        progress: bool | ProgressReporter = False,
    ) -> None:
        """Fit the encoding to the stored documents, and add it to the points that lack it.

        `ingest` fits automatically, at its end at the latest. `upsert` fits as soon as ``fit_documents`` documents are
        stored. Call `fit` to fit earlier, or to fit again. If a fit is interrupted, the next write or fit resumes it.

        LEMUR learns from queries, too, and ranks best if they resemble those of your users. It makes queries up from
        documents unless you pass real ones. A fit keeps token vectors of some queries in its artifact, but no text.

        Args:
            queries: Real queries, as texts or their token embeddings. A query that is asked often should be listed
                often. 4,096 random ones of a longer list are used. Pass them again to a refit, and after a fit that
                was interrupted while it learned.
            refit: Fit again although the collection is fitted: to more documents, or with other settings. All encodings
                are recomputed from the stored tokens, and searches are exact until then. Do not write to the collection
                in the meantime. Other processes that search it notice within 2 seconds, and use the new encoding when
                it is complete.
            config: The new settings of the encoding, with the same ``dim``; only with ``refit``.
            device: The torch device to train on.
            progress: See `ingest`.

        Raises:
            ConfigurationError: If the encoding needs no fit, there are no documents, or ``config`` has another ``dim``.
                If there are ``queries``, but the encoding does not learn from them, or is fitted and ``refit`` is
                ``False``.
            InvalidQueryError: If a query is not a text, is blank, or has token vectors of other dimensions.
            ArtefactError: If the fitted encoding is lost, and ``refit`` is ``False``.
        """
        with telemetry.operation("fit", refit=refit):
            fitter = Fitter(self._open, queries=None if queries is None else checked_queries(queries))
            if not refit:
                fitter.require_used_queries()
            run_blocking(fitter.fit(config=config, refit=refit, device=device, progress=progress))

    def check(self) -> tuple[str, ...]:
        """Check that the stored collection is still the one that was opened, and look for problems; write nothing.

        Returns:
            A sentence for each problem that `repair` fixes, such as missing payload indexes, or documents that another
            program wrote without token vectors or encodings.

        Raises:
            CollectionNotFoundError: If the collection no longer exists.
            SchemaMismatchError: If its vectors have another layout.
            FingerprintMismatchError: If it was built with another encoder or other settings.
        """
        run_blocking(self._open.check())
        return run_blocking(find_problems(self._open))

    def repair(self, *, on_error: OnError = "skip", progress: bool | ProgressReporter = False) -> tuple[str, ...]:
        """Fix the problems that `check` finds; call it again to resume an interrupted repair.

        A lost fitted encoding is fitted again, as with ``fit(refit=True)``: do not write to the collection in the
        meantime.

        Args:
            on_error: How to report documents that cannot be encoded, after all others are: ``"skip"`` names them in a
                sentence, ``"raise"`` raises an error that names them. Both give the reasons.
            progress: See `ingest`.

        Returns:
            A sentence for each fix.

        Raises:
            InvalidDocumentError: If documents cannot be encoded, and ``on_error`` is ``"raise"``.
            ColbertQdrantError: If a problem cannot be fixed; see `check`.
        """
        run_blocking(self._open.check())
        return run_blocking(repair(self._open, on_error=on_error, progress=progress))

    def info(self) -> CollectionState:
        """Return the state in force: status, sizes, storage of vectors, indexes, and the limits of strict mode."""
        state = run_blocking(read_state(self._open.engine, self.name, self.config))
        return replace(state, warnings=state.warnings + run_blocking(find_problems(self._open)))

    def wait_until_ready(
        self,
        *,
        timeout: float = 600,
        progress: bool | ProgressReporter = False,
    ) -> CollectionState:
        """Wait until all writes are applied and their graphs are built, for at most ``timeout`` seconds.

        An embedded store has no background process: the call builds the graphs, as `optimize` does, without a timeout.
        Replicas on nodes that are down are not waited for: ``inactive_copies`` and ``warnings`` name them.

        Args:
            timeout: Maximum number of seconds to wait.
            progress: See `ingest`; it counts indexed documents, which servers report since 1.17, over REST.

        Raises:
            NotReadyError: If the timeout expires, or the server waits for a write; the error says what to do.
            EngineError: If the engine failed to build the graphs.
        """
        return run_blocking(
            wait_until_ready(self._open.engine, self.name, self.config, timeout=timeout, progress=progress)
        )

    def optimize(self, *, progress: bool | ProgressReporter = False) -> None:
        """Build the graphs of an embedded store now, and wait for them; servers build graphs in the background.

        Ctrl-C, or a task's cancellation, stops it: the collection is then unchanged, or has some of its graphs.

        Args:
            progress: See `ingest`; it shows activity, but no percentage.
        """
        run_blocking(build_graphs(self._open.engine, self.name, progress=progress))

    def drop(self) -> None:
        """Delete the collection with all its documents, and close this object."""
        run_blocking(self._open.drop())
        self.close()
