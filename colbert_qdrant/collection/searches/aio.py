"""The searches of an open collection, as coroutines."""

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
    """An open collection, and its searches."""

    _instead: ClassVar = "send its name, and open it with AsyncColbertCollection.open in the process that uses it"

    def __init__(self, opened: OpenCollection) -> None:
        """Used by `create` and `open`.

        Raises:
            ConfigurationError: It is called in their place.
        """
        if not isinstance(opened, OpenCollection):
            raise ConfigurationError(
                f"{type(self).__name__}(…) opens nothing: use {type(self).__name__}.open(name, client=…, encoder=…), "
                "create or open_or_create"
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
        """The collection's settings; a refit may change those of its encoding."""
        return self._opened.config

    @property
    def fde(self) -> FixedDimensionalEncoder | None:
        """The encoding; ``None`` while it has to be fitted."""
        return self._opened.fde

    @shows_options(SearchOptions)
    async def search(self, query: str | TokenEmbeddings, **options: Unpack[SearchOptions]) -> SearchHits:
        """Find the best documents for a query, in one request.

        Where a search filtered by a key without an index finds fewer than ``limit`` through the graph, it is sent once
        more without it.

        The same query brings the same hits: engines return equal scores in any order, and here ids decide which are
        among the first. Ten hits more on each side tell which are equal; where all ten are, the search is sent once
        more for all candidates. Which of equal encodings become candidates is the engine's choice, and so is which of
        equal hits are found in the modes ``"fde"`` and ``"exact"`` where more than ten are.

        Args:
            query: A text, or the token embeddings of one query.
            **options: See `SearchOptions`.

        Returns:
            Hits by falling score; ties by id.

        Raises:
            InvalidQueryError: The query is empty, or not one query.
            ConfigurationError: An option is out of range, ``candidates < limit``, or ``where`` is not a `Where`.
        """
        checked = check_options("search", SearchOptions, options).for_one_query()
        return (await search.search(self._open, one_query(query), checked))[0]

    @shows_options(SearchOptions)
    async def search_batch(
        self, queries: Sequence[str] | TokenEmbeddings, **options: Unpack[SearchOptions]
    ) -> list[SearchHits]:
        """Find the best documents for several queries, encoded together, and sent in as few requests as possible.

        Args:
            queries: Texts, or the token embeddings of queries.
            **options: See `SearchOptions`.

        Returns:
            One list of hits per query, in the order of the queries.

        Raises:
            InvalidQueryError: A query is empty, or its vectors are not of this collection's dimensions.
            ConfigurationError: An option is out of range, ``candidates < limit``, or ``where`` is not a `Where`.
        """
        checked = check_options("search_batch", SearchOptions, options)
        return await search.search(self._open, several_queries(queries), checked)

    @shows_options(GroupOptions)
    async def search_groups(
        self, query: str | TokenEmbeddings, group_by: str, *, group_size: int = 3, **options: Unpack[GroupOptions]
    ) -> list[SearchGroup]:
        """Find the best documents of the best groups: passages of a book, pages of a site.

        Args:
            query: A text, or the token embeddings of one query.
            group_by: The payload key that says which group a document belongs to. It should have an index
                (``payload_indexes``).
            group_size: Most hits of a group.
            **options: See `GroupOptions`.

        Returns:
            Groups by the score of their best hit, ties by key. Which of equal groups are found is the engine's choice.

        Raises:
            InvalidQueryError: The query is empty, or not one query.
            ConfigurationError: An option is out of range, or the server's strict mode wants an index.
        """
        checked = check_options("search_groups", GroupOptions, options).for_one_query()
        group_by, group_size = check_grouping(group_by, group_size)
        return await search.search_groups(self._open, query, checked, group_by=group_by, group_size=group_size)

    @shows_options(SimilarOptions)
    async def more_like(self, id: DocumentId, **options: Unpack[SimilarOptions]) -> SearchHits:
        """Find the documents that are most like one that is stored, by its stored token vectors: no model is needed.

        Args:
            id: The document's id; it is not among the hits.
            **options: See `SimilarOptions`.

        Raises:
            InvalidQueryError: There is no such document.
        """
        return await search.more_like(self._open, id, check_options("more_like", SimilarOptions, options))

    def close(self) -> None:
        """Refuse further use. The client stays open: it is the caller's."""
        self._closed = True

    @property
    def _open(self) -> OpenCollection:
        if self._closed:
            raise ClosedError(f"collection {self.name!r} is closed: open it again")
        return self._opened

    def __repr__(self) -> str:
        fitted = "" if self.fde else ", not fitted"
        return (
            f"{type(self).__name__}({self.name!r}, fde_dim={self.config.fde.dim}, token_dim={self.encoder.dim}{fitted})"
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
