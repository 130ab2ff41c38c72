"""Builds the requests that find candidates from the user's own searches, without I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from qdrant_client import models

from colbert_qdrant.config.checks import require_int
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.search.options import CheckedOptions

if TYPE_CHECKING:
    from colbert_qdrant.search.limits import Limits

Candidates: TypeAlias = models.QueryRequest | Callable[[str], models.QueryRequest]
"""The search for a query's candidates, or a function that makes it from the query's text."""

BatchCandidates: TypeAlias = Sequence[models.QueryRequest] | Callable[[str], models.QueryRequest]
"""One search for each query, or a function that makes it from a query's text."""


def own_requests(queries: Sequence[str], by: BatchCandidates) -> list[models.QueryRequest]:
    """Return the user's search for each query.

    Raises:
        ConfigurationError: If the numbers of searches and queries differ, or a search is not a ``QueryRequest``.
    """
    made: Any = [by(query) for query in queries] if callable(by) and not isinstance(by, type) else by
    if not isinstance(made, list | tuple) or len(made) != len(queries):
        given = f"{len(made)} requests" if isinstance(made, list | tuple) else type(made).__name__
        raise ConfigurationError(
            f"by: got {given} for {len(queries)} queries: pass a list of one models.QueryRequest per query, or a "
            "function that makes one from a query's text"
        )
    for each in made:
        if not isinstance(each, models.QueryRequest):
            raise ConfigurationError(
                f"by: got {type(each).__name__}: pass a models.QueryRequest, or a function that makes one from the "
                "query's text"
            )
    return list(made)


def candidates_request(
    own: models.QueryRequest,
    *,
    limit: int,
    filter: models.Filter | None,
    shard_key: str | int | None,
    limits: Limits,
) -> models.QueryRequest:
    """Return a copy of a user's search with the payload; without a limit, it gets the default of `SearchOptions`.

    Raises:
        ConfigurationError: If its limit is less than ``limit``, ``limit < 1``, or it exceeds a limit of the server.
    """
    usual = CheckedOptions(limit=limit).first_stage_limit
    if own.limit is not None:
        require_int("the request's limit", own.limit, minimum=1)
    limits.check_query_limit(limit=limit, **{"the request's limit": own.limit or 0})
    limits.check_params(own.params)
    usual = min(usual, limits.query_limit or usual)
    candidates = usual if own.limit is None else own.limit
    if candidates < limit:
        raise ConfigurationError(
            f"the request's limit of {candidates} candidates is less than limit={limit}: raise the request's limit"
        )
    changed: dict[str, Any] = {
        "limit": candidates,
        "with_payload": True,
        "with_vector": None,
        "shard_key": shard_key if own.shard_key is None else own.shard_key,
    }
    if filter is not None:
        # nested, because servers merge it with the filter of each prefetch
        changed["filter"] = models.Filter(must=[each for each in (own.filter, filter) if each is not None])
    limits.check_filter(changed.get("filter", own.filter))
    return own.model_copy(update=changed)
