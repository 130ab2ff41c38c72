"""Implements `query_points_groups` with queries: finds groups of points with the same value of a payload field.

Without prefetches, a first search finds the best groups. It requests as many points as fill the groups, and four times
more each time until there are enough groups. If some groups are not full, a second search finds points of these groups
only. With prefetches, one search covers all their candidates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol, cast

from qdrant_client import models

from colbert_qdrant.edge.fields import as_list
from colbert_qdrant.edge.grouping import group_points, parse_path, selectable_field
from colbert_qdrant.edge.queries import DEFAULT_LIMIT
from colbert_qdrant.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from qdrant_client.conversions.common_types import PointId
    from qdrant_client.http.models import QueryResponse

    from colbert_qdrant.edge.grouping import Groups, Key

_OPERATION: Final = "query_points_groups"
_GROWTH: Final = 4
_MOST: Final = 2**40
"""The maximum number of points in a request: more than any collection has, but safe in the engine's arithmetic."""

_INTEGERS: Final = range(-(2**63), 2**63)
"""The integers that a filter can match."""


class PointSource(Protocol):
    """Runs the queries of a search for groups, and reads the points that they found."""

    def query_batch(self, operation: str, requests: Sequence[models.QueryRequest]) -> list[QueryResponse]:
        """Run queries; errors name the operation."""

    def retrieve(
        self, ids: Sequence[PointId], *, with_payload: models.WithPayloadInterface, with_vectors: bool | Sequence[str]
    ) -> list[models.Record]:
        """Read points by id; ids that do not exist are left out."""


class GroupSearch:
    """Searches for groups of points; the limit of the request is ignored.

    Raises:
        ConfigurationError: If `limit` or `group_size` is less than 1.
    """

    def __init__(
        self, source: PointSource, request: models.QueryRequest, *, group_by: str, limit: int, group_size: int
    ) -> None:
        for name, value in (("limit", limit), ("group_size", group_size)):
            if value < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {value}")
        self._source = source
        self._query = request
        self._field = group_by
        self._path = parse_path(group_by)
        self._limit = limit
        self._size = group_size

    def result(self) -> models.GroupsResult:
        """Search, and return the groups."""
        groups = self._find_groups()
        points = {point.id: point for hits in groups.values() for point in hits}
        records = self._source.retrieve(
            list(points),
            with_payload=cast("models.WithPayloadInterface", self._query.with_payload),
            with_vectors=cast("bool | list[str]", self._query.with_vector),
        )
        contents = {record.id: {"payload": record.payload, "vector": record.vector} for record in records}
        for id, point in points.items():  # a point may have been deleted in the meantime
            points[id] = point.model_copy(update=contents.get(id, {"payload": None}))
        # without validation, which would check every float
        return models.GroupsResult.model_construct(
            groups=[
                models.PointGroup.model_construct(id=key, hits=[points[hit.id] for hit in hits])
                for key, hits in groups.items()
            ]
        )

    def _find_groups(self) -> Groups:
        """Return the best groups, in the order of their best points."""
        request = self._first_request()
        found, exhausted = self._search(request, lambda groups: len(groups) >= self._limit)
        best = dict(list(found.items())[: self._limit])
        if exhausted or self._are_full(best, best):
            return best
        condition = group_condition(self._field, best)
        if condition is not None:
            # without a graph, which is slower and less exact for few points
            params = (request.params or models.SearchParams()).model_copy(update={"exact": True})
            request = _add_filter(request, models.Filter(must=[condition])).model_copy(update={"params": params})
        found, _ = self._search(request, lambda groups: self._are_full(groups, best))
        return {key: hits for key, hits in found.items() if key in best}

    def _search(self, request: models.QueryRequest, is_enough: Callable[[Groups], bool]) -> tuple[Groups, bool]:
        """Group the best points, in growing requests until the groups suffice; tells also if no points are left."""
        limit = request.limit or DEFAULT_LIMIT
        while True:
            attempt = request.model_copy(update={"limit": limit})
            points = self._source.query_batch(_OPERATION, [attempt])[0].points
            groups, exhausted = group_points(points, self._path, self._size), len(points) < limit
            if exhausted or is_enough(groups):
                return groups, exhausted
            limit *= _GROWTH

    def _are_full(self, groups: Groups, keys: Iterable[Key]) -> bool:
        return all(len(groups.get(key, ())) == self._size for key in keys)

    def _first_request(self) -> models.QueryRequest:
        """Return the first request, which reads only the grouping field of payloads."""
        changes = {
            "limit": min(self._limit * self._size, _MOST),
            "with_payload": models.PayloadSelectorInclude(include=[selectable_field(self._field)]),
            "with_vector": False,
        }
        prefetch = [widen(each, self._size) for each in as_list(self._query.prefetch) or []]
        if not prefetch:
            return self._query.model_copy(update=changes)
        candidates = sum(each.limit or 0 for each in prefetch)
        changes |= {"prefetch": prefetch, "limit": min(candidates + 1, _MOST)}
        without = models.IsEmptyCondition(is_empty=models.PayloadField(key=self._field))
        return _add_filter(self._query.model_copy(update=changes), models.Filter(must_not=[without]))


def widen(prefetch: models.Prefetch, group_size: int) -> models.Prefetch:
    """Multiply the limits of a prefetch by the group size, as a server does for groups."""
    inner = [widen(each, group_size) for each in as_list(prefetch.prefetch) or []]
    limit = DEFAULT_LIMIT if prefetch.limit is None else prefetch.limit
    return prefetch.model_copy(update={"limit": min(limit * group_size, _MOST), "prefetch": inner or None})


def group_condition(field: str, wanted: Iterable[Key]) -> models.FieldCondition | None:
    """Return a condition that matches the points of all groups; ``None`` if no condition can."""
    strings = [key for key in wanted if isinstance(key, str)]
    integers = [key for key in wanted if isinstance(key, int)]
    if (strings and integers) or not all(key in _INTEGERS for key in integers):
        return None
    return models.FieldCondition(key=field, match=models.MatchAny(any=strings or integers))


def _add_filter(request: models.QueryRequest, more: models.Filter) -> models.QueryRequest:
    both = more if request.filter is None else models.Filter(must=[request.filter, more])
    return request.model_copy(update={"filter": both})
