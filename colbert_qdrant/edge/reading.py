"""Implements the methods of `EdgeClient` that read points: queries, scrolls and counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from qdrant_client import models
from qdrant_client.conversions.common_types import PointId
from qdrant_client.http.models import QueryResponse

from colbert_qdrant.edge.names import cannot_travel
from colbert_qdrant.edge.types import AnyQuery, WithVectors

if TYPE_CHECKING:
    from colbert_qdrant.edge.store import Store


class ReadMethods:
    """Base class of `EdgeClient` with the methods that read points."""

    if TYPE_CHECKING:
        _store: Store

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(cannot_travel(type(self).__name__))

    def query_points(
        self,
        collection_name: str,
        query: AnyQuery | None = None,
        *,
        using: str | None = None,
        prefetch: models.Prefetch | list[models.Prefetch] | None = None,
        query_filter: models.Filter | None = None,
        search_params: models.SearchParams | None = None,
        limit: int = 10,
        offset: int | None = None,
        with_payload: models.WithPayloadInterface = True,
        with_vectors: WithVectors = False,
        score_threshold: float | None = None,
    ) -> QueryResponse:
        """Search a collection.

        Args:
            collection_name: The collection.
            query: A vector, a list of vectors (a multivector), a sparse vector, or a nearest, fusion, RRF or
                formula query; None lists points.
            using: The vector to search.
            prefetch: Searches that find the candidates of this search; they can be nested. The default limit of a
                prefetch is 10 points.
            query_filter: The filter that points have to match, also in prefetches.
            search_params: Parameters of the search, such as `hnsw_ef` and `exact`.
            limit: The number of points to return.
            offset: The number of points to skip.
            with_payload: Whether to return payloads, or which payload fields to return.
            with_vectors: Whether to return vectors, or which vectors to return.
            score_threshold: The minimum score of a returned point.

        Returns:
            The points found, best first.

        Raises:
            CapabilityError: If the embedded engine does not support the query or one of its parameters.
            SchemaMismatchError: If the vector is not in the collection or has a different size.
            ConfigurationError: If a formula is nested too deeply.
        """
        # Without validation, which would check every float of the query; the engine checks them anyway.
        request = models.QueryRequest.model_construct(
            query=query,
            using=using,
            prefetch=prefetch,
            filter=query_filter,
            params=search_params,
            limit=limit,
            offset=offset,
            with_payload=with_payload,
            with_vector=with_vectors,
            score_threshold=score_threshold,
        )
        return self._store.collection(collection_name).query_batch("query_points", [request])[0]

    def query_points_groups(  # noqa: D417
        self,
        collection_name: str,
        group_by: str,
        query: AnyQuery | None = None,
        *,
        using: str | None = None,
        prefetch: models.Prefetch | list[models.Prefetch] | None = None,
        query_filter: models.Filter | None = None,
        search_params: models.SearchParams | None = None,
        limit: int = 10,
        group_size: int = 3,
        with_payload: models.WithPayloadInterface = True,
        with_vectors: WithVectors = False,
        score_threshold: float | None = None,
    ) -> models.GroupsResult:
        """Search a collection for the best groups of points with the same value of a payload field.

        A point whose field is a list is in the group of each value. A point is in no group if it lacks the field, or
        has a value that is neither a string nor an integer. An index on the field speeds up the search.

        All other parameters are those of `query_points`.

        Args:
            group_by: The payload field; `a.b` is a field of an object, and `a[].b` a field of all objects in a list.
            prefetch: Searches that find the candidates; only candidates are grouped. Their limits are multiplied by
                `group_size`.
            limit: The number of groups.
            group_size: The maximum number of points in a group.

        Returns:
            The groups in the order of their best points; each group has its best points first.

        Raises:
            CapabilityError: If the embedded engine does not support the query or one of its parameters.
            SchemaMismatchError: If the vector is not in the collection or has a different size.
            ConfigurationError: If `limit` or `group_size` is less than 1, or a formula is nested too deeply.
        """
        request = models.QueryRequest.model_construct(
            query=query,
            using=using,
            prefetch=prefetch,
            filter=query_filter,
            params=search_params,
            with_payload=with_payload,
            with_vector=with_vectors,
            score_threshold=score_threshold,
        )
        return self._store.collection(collection_name).query_groups(
            request, group_by=group_by, limit=limit, group_size=group_size
        )

    def query_batch_points(self, collection_name: str, requests: Sequence[models.QueryRequest]) -> list[QueryResponse]:
        """Run several queries at once, which is faster than one by one.

        Raises:
            CapabilityError: If the embedded engine does not support one of the queries.
            SchemaMismatchError: If a vector is not in the collection or has a different size.
            ConfigurationError: If a formula is nested too deeply.
        """
        return self._store.collection(collection_name).query_batch("query_batch_points", requests)

    def scroll(
        self,
        collection_name: str,
        scroll_filter: models.Filter | None = None,
        limit: int = 10,
        order_by: str | models.OrderBy | None = None,
        offset: PointId | None = None,
        *,
        with_payload: models.WithPayloadInterface = True,
        with_vectors: WithVectors = False,
    ) -> tuple[list[models.Record], int | str | None]:
        """List points by id, or by an indexed payload field, page by page.

        Returns:
            The points, and the offset of the next page or, after the last page, None.
        """
        return self._store.collection(collection_name).scroll(
            scroll_filter,
            limit=limit,
            order_by=order_by,
            offset=offset,
            with_payload=with_payload,
            with_vectors=with_vectors,
        )

    def retrieve(
        self,
        collection_name: str,
        ids: Sequence[PointId],
        *,
        with_payload: models.WithPayloadInterface = True,
        with_vectors: WithVectors = False,
    ) -> list[models.Record]:
        """Read points by id; ids that do not exist are left out."""
        return self._store.collection(collection_name).retrieve(
            ids, with_payload=with_payload, with_vectors=with_vectors
        )

    def count(
        self, collection_name: str, count_filter: models.Filter | None = None, *, exact: bool = True
    ) -> models.CountResult:
        """Count all points, or the points that match a filter."""
        return models.CountResult(count=self._store.collection(collection_name).count(count_filter, exact=exact))
