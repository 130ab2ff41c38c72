"""Holds the methods of `EdgeClient` that read points: queries, lists, counts."""

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
    """The methods that read points, for `EdgeClient` to inherit."""

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
        """Searches a collection.

        Args:
            collection_name: The collection.
            query: A vector, a list of vectors (a multivector), a sparse vector, or a nearest, fusion, RRF or
                formula query; None lists points.
            using: The vector that is searched.
            prefetch: Searches whose results are the candidates of this one; they can be nested. A prefetch
                without a limit gives 10 points.
            query_filter: Only points that match are found, by the prefetches too.
            search_params: How the search is carried out.
            limit: The number of points to return.
            offset: The number of points to skip.
            with_payload: Whether to return payloads, or which fields of them.
            with_vectors: Whether to return vectors, or which.
            score_threshold: The score that a point needs to be returned.

        Returns:
            The points found, best first.

        Raises:
            CapabilityError: The embedded engine does not have the query or a parameter of it.
            SchemaMismatchError: The vector is not in the collection or has another size.
            ConfigurationError: A formula is nested too deep.
        """
        # Not validated: that looks at every float of the query, and the engine does it again.
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
        """Searches a collection for the best groups: points with the same value of a payload field.

        A point whose field is a list is in the group of each of its values. One without the field is in no group, nor
        is one with a value that is neither a string nor an integer. An index of the field makes it fast.

        All parameters but these are as for `query_points`.

        Args:
            group_by: The payload field; `a.b` is a field of an object, `a[].b` one of all objects in a list.
            prefetch: Searches whose results are the candidates of this one, the only points that are put into groups.
                Their limits are multiplied by the size of a group.
            limit: The number of groups.
            group_size: The most points of a group.

        Returns:
            The groups, in the order of their best points; in each the best points first.

        Raises:
            CapabilityError: The embedded engine does not have the query or a parameter of it.
            SchemaMismatchError: The vector is not in the collection or has another size.
            ConfigurationError: `limit` or `group_size` is less than 1, or a formula is nested too deep.
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
        """Answers several queries at once, which is faster than one by one.

        Raises:
            CapabilityError: The embedded engine does not have one of the queries.
            SchemaMismatchError: A vector is not in the collection or has another size.
            ConfigurationError: A formula is nested too deep.
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
        """Lists points by id, or by a payload field that has an index, page by page.

        Returns:
            The points, and the offset of the next page or None.
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
        """Reads points by id; ids that do not exist are left out."""
        return self._store.collection(collection_name).retrieve(
            ids, with_payload=with_payload, with_vectors=with_vectors
        )

    def count(
        self, collection_name: str, count_filter: models.Filter | None = None, *, exact: bool = True
    ) -> models.CountResult:
        """Counts points, all or those that match a filter."""
        return models.CountResult(count=self._store.collection(collection_name).count(count_filter, exact=exact))
