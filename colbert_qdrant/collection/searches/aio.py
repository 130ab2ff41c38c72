"""The asynchronous searches of an open collection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Self, Unpack

from colbert_qdrant._support.stays import StaysHere
from colbert_qdrant.collection import search
from colbert_qdrant.collection.opened import OpenCollection
from colbert_qdrant.config import CollectionConfig
from colbert_qdrant.documents import DocumentId, SearchGroup, SearchHits
from colbert_qdrant.encoders import LateInteractionEncoder
from colbert_qdrant.encoders.queries import one_query, several_queries
from colbert_qdrant.errors import ClosedError, ConfigurationError
from colbert_qdrant.fde import FixedDimensionalEncoder
from colbert_qdrant.search.options import (
    GroupOptions,
    SearchOptions,
    SimilarOptions,
    check_grouping,
    check_options,
    shows_options,
)
from colbert_qdrant.tokens import TokenEmbeddings


class AsyncSearches(StaysHere):
    """An open collection with its search methods."""

    _instead: ClassVar = "send its name, and open it with AsyncColbertCollection.open in the process that uses it"

    def __init__(self, opened: OpenCollection) -> None:
        """Only for `create` and `open`.

        Raises:
            ConfigurationError: If a user calls it instead of `create` or `open`.
        """
        if not isinstance(opened, OpenCollection):
            raise ConfigurationError(
                f"{type(self).__name__}(…) cannot be called directly: use {type(self).__name__}.open(name, client=…, "
                "encoder=…), create or open_or_create"
            )
        self._opened = opened
        self._closed = False

    @property
    def name(self) -> str:
        """The collection's name."""
        return self._opened.name

    @property
    def encoder(self) -> LateInteractionEncoder:
        """The encoder that makes token embeddings."""
        return self._opened.encoder

    @property
    def config(self) -> CollectionConfig:
        """The collection's settings; a refit may change the settings of the encoding."""
        return self._opened.config

    @property
    def fde(self) -> FixedDimensionalEncoder | None:
        """The fixed dimensional encoding; ``None`` until it is fitted."""
        return self._opened.fde

    @shows_options(SearchOptions)
    async def search(self, query: str | TokenEmbeddings, **options: Unpack[SearchOptions]) -> SearchHits:
        """Find the best documents for a query, in one request.

        If a filter uses a key without an index and the graph finds fewer than ``limit`` documents, the search is sent
        again without the graph.

        Hits are deterministic: engines return ties in any order, and this method sorts them by id. It requests ten
        extra hits on each side of the page to see the ties. If all ten are ties, the search is sent again for all
        candidates. The engine chooses which of several equal encodings become candidates. In the modes ``"fde"``,
        ``"bm25"`` and ``"exact"``, it also chooses which hits are found if more than ten are ties.

        Args:
            query: A text, or the token embeddings of one query.
            **options: See `SearchOptions`.

        Returns:
            Hits by descending score; ties by id.

        Raises:
            InvalidQueryError: If the query is empty, or is not a single query.
            ConfigurationError: If an option is out of range, ``candidates < limit``, or ``where`` is invalid.
        """
        checked = check_options("search", SearchOptions, options).for_one_query()
        return (await search.search(self._open, one_query(query), checked))[0]

    @shows_options(SearchOptions)
    async def search_batch(
        self, queries: Sequence[str] | TokenEmbeddings, **options: Unpack[SearchOptions]
    ) -> list[SearchHits]:
        """Find the best documents for several queries, which are encoded together and sent in few requests.

        Args:
            queries: Texts, or the token embeddings of queries.
            **options: See `SearchOptions`.

        Returns:
            One list of hits per query, in the order of the queries.

        Raises:
            InvalidQueryError: If a query is empty, or its vectors do not have the collection's dimensions.
            ConfigurationError: If an option is out of range, ``candidates < limit``, or ``where`` is invalid.
        """
        checked = check_options("search_batch", SearchOptions, options)
        return await search.search(self._open, several_queries(queries), checked)

    @shows_options(GroupOptions)
    async def search_groups(
        self, query: str | TokenEmbeddings, group_by: str, *, group_size: int = 3, **options: Unpack[GroupOptions]
    ) -> list[SearchGroup]:
        """Find the best documents of the best groups, such as passages of a book or pages of a site.

        Args:
            query: A text, or the token embeddings of one query.
            group_by: The payload key with the group of a document. It should have an index (``payload_indexes``).
            group_size: Maximum number of hits per group.
            **options: See `GroupOptions`.

        Returns:
            Groups by the score of their best hit, ties by key. The engine chooses which of several equal groups are
            found.

        Raises:
            InvalidQueryError: If the query is empty, or is not a single query.
            ConfigurationError: If an option is out of range, or the server's strict mode requires an index.
        """
        checked = check_options("search_groups", GroupOptions, options).for_one_query()
        group_by, group_size = check_grouping(group_by, group_size)
        return await search.search_groups(self._open, query, checked, group_by=group_by, group_size=group_size)

    @shows_options(SimilarOptions)
    async def more_like(self, id: DocumentId, **options: Unpack[SimilarOptions]) -> SearchHits:
        """Find the documents most similar to a stored one, by its stored token vectors; the model does not run.

        Args:
            id: The document's id; the document itself is not among the hits.
            **options: See `SimilarOptions`.

        Raises:
            InvalidQueryError: If the document does not exist.
        """
        return await search.more_like(self._open, id, check_options("more_like", SimilarOptions, options))

    def close(self) -> None:
        """Close this object for further use. The client stays open, because it belongs to the caller."""
        self._closed = True

    @property
    def _open(self) -> OpenCollection:
        if self._closed:
            raise ClosedError(f"collection {self.name!r} is closed: open it again")
        return self._opened

    def __repr__(self) -> str:
        fitted = "" if self.fde else ", not fitted"
        dims = f"fde_dim={self.config.encoding.dim}, token_dim={self.encoder.dim}"
        return f"{type(self).__name__}({self.name!r}, {dims}{fitted})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
