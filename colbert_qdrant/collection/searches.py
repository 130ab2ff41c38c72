"""What is searched for in a collection, in blocking calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from colbert_qdrant.collection.shell import CollectionShell
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.search.request import Groups, LegLimits, SearchMode, SearchPlan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qdrant_client import models

    from colbert_qdrant.documents import DocumentId, SearchGroup, SearchHits
    from colbert_qdrant.search.filters import Where
    from colbert_qdrant.search.fusion import Fusion
    from colbert_qdrant.tokens import TokenEmbeddings


class Searches(CollectionShell):
    """The searches of a `ColbertCollection`."""

    def search(
        self,
        query: str | TokenEmbeddings,
        *,
        limit: int = 10,
        offset: int = 0,
        candidates: int | None = None,
        mode: SearchMode = "two-stage",
        where: Where | None = None,
        filter: models.Filter | None = None,
        params: models.SearchParams | None = None,
        with_payload: bool = True,
        legs: LegLimits | None = None,
        fusion: Fusion = "maxsim",
        score_threshold: float | None = None,
        token_threshold: float | None = None,
        vectors: Mapping[str, Any] | None = None,
        timings: bool = False,
    ) -> SearchHits:
        """Find the best documents for a query, in one request.

        Where a search filtered by a key without an index finds fewer than ``limit`` through the graph, it is sent once
        more without it.

        Args:
            query: A text, or the token embeddings of one query.
            limit: Most hits.
            offset: Hits to leave out before them, for pages; no page goes past the candidates, whose number has to be
                the same for all.
            candidates: Documents that the encodings hand on to MaxSim; by default 10 × ``limit``, at least 100.
                A cluster takes that many from each shard.
            mode: ``"two-stage"`` (the nearest encodings, ranked by MaxSim), ``"hybrid"`` (the best of every leg,
                ranked by MaxSim), ``"fde"`` (the encodings alone) or ``"exact"`` (MaxSim over every document: slow, and
                the reference).
            where: Only documents whose payload matches, as in ``{"year": {"gte": 2020}, "lang": ["en", "de"]}``: see
                `Where`.
            filter: The same in Qdrant's own form; if both are given, both have to match.
            params: Of the search over the encodings; by default ``hnsw_ef = max(128, 2 × candidates)``, and with a
                filter ACORN, where the engine has it.
            with_payload: Whether hits carry text and payload.
            legs: The vectors that find candidates, in the place of those that the mode chooses: names, or names with
                how many each finds.
            fusion: How candidates of several legs are ranked: ``"maxsim"`` ranks all of them by MaxSim, ``"rrf"``
                (or `Rrf`), ``"dbsf"`` and a ``models.FormulaQuery`` fuse the legs.
            score_threshold: Lowest score of a hit.
            token_threshold: Lowest score by MaxSim for each token of the query, which long and short queries have in
                common.
            vectors: Vectors of the query that are at hand, for legs without an encoder, by name.
            timings: Whether to say where the time went, in the ``timings`` of what is returned.

        Returns:
            Hits by falling score; ties by id.

        Raises:
            InvalidQueryError: The query is empty, or not one query.
            ConfigurationError: A parameter is out of range, ``candidates < limit``, or ``where`` is not a `Where`.
        """
        plan = SearchPlan(
            limit=limit,
            offset=offset,
            score_threshold=score_threshold,
            token_threshold=token_threshold,
            candidates=candidates,
            mode=mode,
            legs=legs,
            fusion=fusion,
            where=where,
            filter=filter,
            params=params,
            with_payload=with_payload,
        )
        return run_blocking(self._operations.search(query, plan, vectors=vectors or {}, timings=timings))

    def search_batch(  # noqa: D417
        self,
        queries: Sequence[str] | TokenEmbeddings,
        *,
        limit: int = 10,
        offset: int = 0,
        candidates: int | None = None,
        mode: SearchMode = "two-stage",
        where: Where | None = None,
        filter: models.Filter | None = None,
        params: models.SearchParams | None = None,
        with_payload: bool = True,
        legs: LegLimits | None = None,
        fusion: Fusion = "maxsim",
        score_threshold: float | None = None,
        token_threshold: float | None = None,
        vectors: Mapping[str, Any] | None = None,
        timings: bool = False,
    ) -> list[SearchHits]:
        """Find the best documents for several queries, encoded together and sent in one request.

        All parameters but these are as for `search`.

        Args:
            queries: Texts, or the token embeddings of queries.
            vectors: As for `search`, with one vector for each query.
            timings: Whether to say where the time of the whole batch went.

        Returns:
            One list of hits per query, in the order of the queries.

        Raises:
            InvalidQueryError: A query is empty, or its vectors are not of this collection's dimensions.
            ConfigurationError: A parameter is out of range, ``candidates < limit``, or ``where`` is not a `Where`.
        """
        plan = SearchPlan(
            limit=limit,
            offset=offset,
            score_threshold=score_threshold,
            token_threshold=token_threshold,
            candidates=candidates,
            mode=mode,
            legs=legs,
            fusion=fusion,
            where=where,
            filter=filter,
            params=params,
            with_payload=with_payload,
        )
        return run_blocking(self._operations.search_batch(queries, plan, vectors=vectors or {}, timings=timings))

    def search_groups(  # noqa: D417
        self,
        query: str | TokenEmbeddings,
        group_by: str,
        *,
        group_size: int = 3,
        limit: int = 10,
        candidates: int | None = None,
        mode: SearchMode = "two-stage",
        where: Where | None = None,
        filter: models.Filter | None = None,
        params: models.SearchParams | None = None,
        with_payload: bool = True,
        legs: LegLimits | None = None,
        fusion: Fusion = "maxsim",
        score_threshold: float | None = None,
        token_threshold: float | None = None,
        vectors: Mapping[str, Any] | None = None,
    ) -> list[SearchGroup]:
        """Find the best documents for a query, so many of each group: passages of a book, pages of a site.

        All parameters but these are as for `search`.

        Args:
            query: A text, or the token embeddings of one query.
            group_by: The payload key that says which group a document belongs to. It should have an index
                (``payload_indexes``).
            group_size: Most hits of a group.
            limit: Most groups.

        Returns:
            Groups by the score of their best hit.

        Raises:
            InvalidQueryError: The query is empty, or not one query.
            ConfigurationError: A parameter is out of range, or the server's strict mode wants an index.
        """
        plan = SearchPlan(
            limit=limit,
            score_threshold=score_threshold,
            token_threshold=token_threshold,
            candidates=candidates,
            mode=mode,
            legs=legs,
            fusion=fusion,
            where=where,
            filter=filter,
            params=params,
            with_payload=with_payload,
        )
        groups = Groups(by=group_by, size=group_size)
        return run_blocking(self._operations.search_groups(query, plan, groups=groups, vectors=vectors or {}))

    def more_like(
        self,
        id: DocumentId,
        *,
        limit: int = 10,
        candidates: int | None = None,
        where: Where | None = None,
        filter: models.Filter | None = None,
        with_payload: bool = True,
    ) -> SearchHits:
        """Find the documents that are most like one that is stored, by its stored token vectors: no model is needed.

        Args:
            id: The document's id; it is not among the hits.
            limit: Most hits.
            candidates: As for `search`.
            where: Only documents whose payload matches, as for `search`.
            filter: Likewise.
            with_payload: Whether hits carry text and payload.

        Raises:
            InvalidQueryError: There is no such document.
        """
        plan = SearchPlan(limit=limit, candidates=candidates, where=where, filter=filter, with_payload=with_payload)
        return run_blocking(self._operations.more_like(id, plan))
