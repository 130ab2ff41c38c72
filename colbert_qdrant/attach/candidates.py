"""Builds the requests that find candidates from searches of the user's own, without I/O."""

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
"""The search that brings a query's candidates, or what makes it of the query's text."""

BatchCandidates: TypeAlias = Sequence[models.QueryRequest] | Callable[[str], models.QueryRequest]
"""One search for each query, or what makes it of a query's text."""


def own_requests(queries: Sequence[str], by: BatchCandidates) -> list[models.QueryRequest]:
    """Return the user's search for each query.

    Raises:
        ConfigurationError: The number of searches is not that of queries.
    """
    made: Any = [by(query) for query in queries] if callable(by) and not isinstance(by, type) else by
    if not isinstance(made, list | tuple) or len(made) != len(queries):
        given = f"{len(made)} requests" if isinstance(made, list | tuple) else type(made).__name__
        raise ConfigurationError(
            f"got {given} for {len(queries)} queries: give a list of one models.QueryRequest for each, or a function "
            "that makes one of a query's text"
        )
    for each in made:
        if not isinstance(each, models.QueryRequest):
            raise ConfigurationError(
                "candidates are found by a models.QueryRequest, or a function that makes one of the query's text, "
                f"not by {type(each).__name__}"
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
    """Return a copy of a user's search with what ranking needs; without a limit it finds `SearchOptions`' default.

    Raises:
        ConfigurationError: It finds fewer candidates than hits are wanted, ``limit < 1``, or a limit of the server is
            exceeded.
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
            f"the request finds {candidates} candidates (its limit), fewer than limit={limit}: raise the request's "
            "limit; those that MaxSim does not see cannot be found"
        )
    changed: dict[str, Any] = {
        "limit": candidates,
        "with_payload": True,
        "with_vector": None,
        "shard_key": shard_key if own.shard_key is None else own.shard_key,
    }
    if filter is not None:
        # not joined: servers carry it to each prefetch, and join their conditions there
        changed["filter"] = models.Filter(must=[each for each in (own.filter, filter) if each is not None])
    limits.check_filter(changed.get("filter", own.filter))
    return own.model_copy(update=changed)
