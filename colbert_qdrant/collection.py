"""A collection of documents for late interaction: created, filled and searched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self
from uuid import UUID

from qdrant_client import models

from colbert_qdrant.config import CollectionConfig, RetryConfig
from colbert_qdrant.errors import ClosedError, ConfigurationError, InvalidQueryError
from colbert_qdrant.ingest import CollectionEncoding, ingest
from colbert_qdrant.progress import Silence
from colbert_qdrant.qdrant import opening
from colbert_qdrant.qdrant.capabilities import Capabilities
from colbert_qdrant.qdrant.edge import EdgeClient
from colbert_qdrant.qdrant.ids import point_id
from colbert_qdrant.qdrant.metadata import documents_only
from colbert_qdrant.qdrant.points import to_document, to_hits
from colbert_qdrant.qdrant.queries import SearchMode, SearchPlan, query_tokens
from colbert_qdrant.qdrant.retry import Result, run
from colbert_qdrant.qdrant.state import read_state, wait_until_ready

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from types import TracebackType

    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.documents import Document, DocumentId, IngestReport, SearchHit
    from colbert_qdrant.encoders import LateInteractionEncoder
    from colbert_qdrant.fde import FixedDimensionalEncoder
    from colbert_qdrant.progress import ProgressReporter
    from colbert_qdrant.qdrant.capabilities import Client
    from colbert_qdrant.qdrant.state import CollectionState
    from colbert_qdrant.tokens import TokenEmbeddings


class ColbertCollection:
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

    def __init__(
        self,
        name: str,
        *,
        client: Client,
        encoder: LateInteractionEncoder,
        config: CollectionConfig,
        fde: FixedDimensionalEncoder | None,
        retry: RetryConfig | None = None,
    ) -> None:
        """Used by `create` and `open`, which make sure that the collection is as ``config`` says."""
        self.name = name
        self.encoder = encoder
        self._open_client = client
        self._retry = retry or RetryConfig()
        self._encoding = CollectionEncoding(
            client=client, collection=name, encoder=encoder, config=config, fde=fde, retry=self._retry
        )
        self._send_params = Capabilities.of(client).has("search_params")
        self._closed = False

    @classmethod
    def create(
        cls,
        name: str,
        *,
        client: Client,
        encoder: LateInteractionEncoder,
        config: CollectionConfig | None = None,
        retry: RetryConfig | None = None,
    ) -> Self:
        """Create an empty collection.

        Args:
            name: The collection's name.
            client: A ``QdrantClient`` (server, ``path=`` or ``":memory:"``) or an `EdgeClient`.
            encoder: Makes the token embeddings of documents and queries.
            config: Layout and FDE; the defaults are `CollectionConfig`'s.
            retry: What is done about failing requests.

        Raises:
            CollectionExistsError: There is a collection of that name already.
            CapabilityError: The server is too old.
        """
        config = config or CollectionConfig()
        fde = opening.create(name, client=client, encoder=encoder, config=config)
        return cls(name, client=client, encoder=encoder, config=config, fde=fde, retry=retry)

    @classmethod
    def open(
        cls,
        name: str,
        *,
        client: Client,
        encoder: LateInteractionEncoder,
        config: CollectionConfig | None = None,
        retry: RetryConfig | None = None,
    ) -> Self:
        """Open a collection, and make sure that it was built with this encoder and these settings.

        Args:
            name: The collection's name.
            client: The client of the engine it is in.
            encoder: The encoder that it was built with.
            config: Only to insist on settings; without it the stored ones are used.
            retry: What is done about failing requests.

        Raises:
            CollectionNotFoundError: There is no such collection.
            SchemaMismatchError: Its vectors are laid out in another way, or it is not one of this library's.
            FingerprintMismatchError: It was built with another encoder or other settings.
            ArtefactError: It was fitted, but what was fitted is missing or altered.
        """
        stored, fde = opening.open(name, client=client, encoder=encoder, config=config)
        return cls(name, client=client, encoder=encoder, config=stored, fde=fde, retry=retry)

    @classmethod
    def open_or_create(
        cls,
        name: str,
        *,
        client: Client,
        encoder: LateInteractionEncoder,
        config: CollectionConfig | None = None,
        retry: RetryConfig | None = None,
    ) -> Self:
        """Open the collection if there is one, else create it; arguments and errors are those of the two."""
        method = cls.open if client.collection_exists(name) else cls.create
        return method(name, client=client, encoder=encoder, config=config, retry=retry)

    def upsert(self, documents: Iterable[Document]) -> None:
        """Store documents; one that is stored under the same id is replaced whole.

        All of them are checked and encoded before the first is written, so they are held in memory: use `ingest`
        for many.

        Raises:
            InvalidDocumentError: A document cannot be stored; nothing was written.
            InvalidTokensError: A document's token embeddings cannot be stored; nothing was written.
            RequestError: The server could not be reached, or refused documents; all others are stored.
        """
        self._check_open()
        written = self._encoding.writer().write(list(documents), Silence())
        if self._encoding.is_due(last=False):
            self._encoding.fit(progress=False)
        written.require_all(collection=self.name)

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
            InvalidDocumentError: A document cannot be stored; those acknowledged before it are.
            InvalidTokensError: A document's token embeddings cannot be stored; likewise.
            RequestError: The server failed for good, or refuses everything; those acknowledged before are stored.
        """
        self._check_open()
        return ingest(self._encoding, documents, progress=progress)

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
        self._check_open()
        self._encoding.fit(config=config, refit=refit, device=device, progress=progress)

    def get(self, ids: DocumentId | Iterable[DocumentId]) -> list[Document]:
        """Fetch documents.

        Args:
            ids: One id or several.

        Returns:
            The documents in the order of their ids; those that are not stored are left out.
        """
        points = [point_id(id) for id in _as_ids(ids)]
        records = self._tried("get", lambda: self._client.retrieve(self.name, ids=points, with_payload=True))
        found = {str(record.id): record.payload for record in records}
        return [to_document(payload, self.config) for point in points if (payload := found.get(point)) is not None]

    def delete(
        self, *, ids: DocumentId | Iterable[DocumentId] | None = None, filter: models.Filter | None = None
    ) -> None:
        """Delete documents, by their ids or by a filter on their payload; what is not stored is no error.

        Raises:
            ConfigurationError: Not exactly one of the two is given.
        """
        if (ids is None) == (filter is None):
            raise ConfigurationError("delete needs either ids=… or filter=…, and not both")
        selector: models.PointsSelector = models.FilterSelector(filter=documents_only(filter))
        if ids is not None:
            selector = models.PointIdsList(points=[point_id(id) for id in _as_ids(ids)])
        self._tried("delete", lambda: self._client.delete(self.name, points_selector=selector, wait=True))

    def count(self, *, filter: models.Filter | None = None) -> int:
        """The exact number of documents, or of those that match a filter."""
        chosen = documents_only(filter)
        return self._tried("count", lambda: self._client.count(self.name, count_filter=chosen, exact=True)).count

    def search(
        self,
        query: str | TokenEmbeddings,
        *,
        limit: int = 10,
        candidates: int | None = None,
        mode: SearchMode = "two-stage",
        filter: models.Filter | None = None,
        params: models.SearchParams | None = None,
        with_payload: bool = True,
    ) -> list[SearchHit]:
        """Find the best documents for a query, in one request.

        Args:
            query: A text, or the token embeddings of one query.
            limit: Most hits.
            candidates: Documents that the encodings hand on to MaxSim; by default 10 × ``limit``, at least 100.
                A cluster takes that many from each shard.
            mode: ``"two-stage"`` (the nearest encodings, ranked by MaxSim), ``"fde"`` (the encodings alone) or
                ``"exact"`` (MaxSim over every document: slow, and the reference).
            filter: Only documents whose payload matches; passed on as it is.
            params: Of the search over the encodings; by default ``hnsw_ef = max(128, 2 × candidates)``.
            with_payload: Whether hits carry text and payload.

        Returns:
            Hits by falling score; ties by id.

        Raises:
            InvalidQueryError: The query is empty, or not one query.
            ConfigurationError: A parameter is out of range, or ``candidates < limit``.
        """
        if not isinstance(query, str) and len(query) != 1:
            raise InvalidQueryError(f"search takes one query, got {len(query)}: use search_batch")
        return self.search_batch(
            [query] if isinstance(query, str) else query,
            limit=limit,
            candidates=candidates,
            mode=mode,
            filter=filter,
            params=params,
            with_payload=with_payload,
        )[0]

    def search_batch(
        self,
        queries: Sequence[str] | TokenEmbeddings,
        *,
        limit: int = 10,
        candidates: int | None = None,
        mode: SearchMode = "two-stage",
        filter: models.Filter | None = None,
        params: models.SearchParams | None = None,
        with_payload: bool = True,
    ) -> list[list[SearchHit]]:
        """Find the best documents for several queries, encoded together and sent in one request.

        Args:
            queries: Texts, or the token embeddings of queries.
            limit: As for `search`, and so are the others.
            candidates: See `search`.
            mode: See `search`.
            filter: See `search`.
            params: See `search`.
            with_payload: See `search`.

        Returns:
            One list of hits per query, in the order of the queries.

        Raises:
            InvalidQueryError: A query is empty, or its vectors are not of this collection's dimensions.
            ConfigurationError: A parameter is out of range, or ``candidates < limit``.
        """
        plan = SearchPlan(
            limit=limit,
            candidates=candidates,
            mode=mode,
            filter=filter,
            params=params,
            with_payload=with_payload,
        )
        tokens = query_tokens(queries, encoder=self.encoder, collection=self.name)
        if not len(tokens):
            return []
        encoded = [None] * len(tokens) if plan.mode == "exact" else self._encoding.encode_queries(tokens)
        requests = [
            plan.request(self.config, tokens=matrix, fde=fde, send_params=self._send_params)
            for matrix, fde in zip(tokens, encoded, strict=True)
        ]
        responses = self._tried("search", lambda: self._client.query_batch_points(self.name, requests=requests))
        return [to_hits(response.points, self.config, with_payload=with_payload) for response in responses]

    def check(self) -> None:
        """Make sure that the stored collection still is the one that was opened.

        Raises:
            CollectionNotFoundError: It is gone.
            SchemaMismatchError: Its vectors are laid out in another way.
            FingerprintMismatchError: It was built with another encoder or other settings.
        """
        opening.open(self.name, client=self._client, encoder=self.encoder, config=self.config)

    def info(self) -> CollectionState:
        """What is really in force: status, sizes, how vectors are stored, indexes, and the limits of strict mode."""
        return read_state(self._client, self.name, self.config)

    def wait_until_ready(self, *, timeout: float = 600) -> CollectionState:
        """Wait until the graphs over everything written are built, at most ``timeout`` seconds.

        Raises:
            NotReadyError: It was not in time, or will not be by itself; says what to do.
            EngineError: The engine gave up building.
        """
        return wait_until_ready(self._client, self.name, self.config, timeout=timeout)

    def optimize(self) -> None:
        """Build the graphs of an embedded store now, and wait for it; servers do so by themselves."""
        if isinstance(self._client, EdgeClient):
            self._client.optimize(self.name)

    def drop(self) -> None:
        """Delete the collection with all its documents, and close it."""
        opening.drop(self.name, client=self._client, config=self.config)
        self.close()

    def close(self) -> None:
        """Refuse further use. The client stays open: it is the caller's."""
        self._closed = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        fitted = "" if self.fde else ", not fitted"
        return (
            f"{type(self).__name__}({self.name!r}, fde_dim={self.config.fde.dim}, token_dim={self.encoder.dim}{fitted})"
        )

    @property
    def config(self) -> CollectionConfig:
        """The collection's settings; a refit may change those of its encoding."""
        return self._encoding.config

    @property
    def fde(self) -> FixedDimensionalEncoder | None:
        """The encoding; ``None`` while it has to be fitted."""
        return self._encoding.fde

    @property
    def _client(self) -> Client:
        self._check_open()
        return self._open_client

    def _tried(self, operation: str, request: Callable[[], Result]) -> Result:
        return run(request, operation=operation, collection=self.name, config=self._retry)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"collection {self.name!r} is closed: open it again")


def _as_ids(ids: DocumentId | Iterable[DocumentId]) -> list[DocumentId]:
    return [ids] if isinstance(ids, str | int | UUID) else list(ids)
