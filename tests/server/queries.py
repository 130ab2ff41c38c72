"""Queries as they come in JSON, as the engine takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import qdrant_edge as edge
from qdrant_client import models

from colbert_qdrant.edge.formulas import to_formula
from colbert_qdrant.edge.points import to_selector
from colbert_qdrant.edge.queries import to_order
from tests.server.refusals import bad_format, no_variant, too_small
from tests.server.vectors import vector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    VectorOf = Callable[[Any, str], Any]
    FilterOf = Callable[[Any], edge.Filter | None]

LIMIT: Final = 10
RRF_K: Final = 2


def engine_request(body: dict[str, Any], vector_of: VectorOf, filter_of: FilterOf) -> edge.QueryRequest:
    """Returns a query as the engine takes it.

    Args:
        body: The JSON.
        vector_of: Gives the stored vector of a point, by its id and the vector's name.
        filter_of: Gives a filter as the engine takes it.
    """
    _check(body)
    return edge.QueryRequest(
        **_shared(body, vector_of, filter_of),
        offset=body.get("offset") or 0,
        with_vector=with_vector(body.get("with_vector")),
        with_payload=with_payload(body.get("with_payload"), default=False),
    )


def prefetches(body: dict[str, Any]) -> list[dict[str, Any]]:
    found = body.get("prefetch") or []
    return found if isinstance(found, list) else [found]


def levels(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields a query's prefetches, from the innermost, and the query itself."""
    for each in prefetches(body):
        yield from levels(each)
    yield body


def ids_in(query: Any) -> list[int | str]:
    """Returns the points that a query names, which are not found by it."""
    if isinstance(query, dict):
        recommend = query.get("recommend") or {}
        named = [query.get("nearest"), *(recommend.get("positive") or []), *(recommend.get("negative") or [])]
        return [each for each in named if isinstance(each, (int, str))]
    return [query] if isinstance(query, (int, str)) else []


def with_payload(value: Any, *, default: bool) -> Any:
    if value is None:
        return default
    if isinstance(value, dict):
        kind = models.PayloadSelectorInclude if "include" in value else models.PayloadSelectorExclude
        return to_selector(kind(**value))
    return value


def with_vector(value: Any) -> bool | list[str]:
    return False if value is None else [value] if isinstance(value, str) else value


def _check(body: dict[str, Any]) -> None:
    for each in levels(body):
        limit = each.get("limit", 1)
        if not isinstance(limit, int) or limit < 0:
            raise bad_format(f"invalid value: integer `{limit}`, expected usize")
        if limit == 0:
            raise too_small("internal.limit", 0, 1)
        if (each.get("params") or {}).get("hnsw_ef") == 0:
            raise too_small("internal.params.hnsw_ef", 0, 1)


def _shared(body: dict[str, Any], vector_of: VectorOf, filter_of: FilterOf) -> dict[str, Any]:
    limit = body.get("limit", LIMIT)
    query, using = body.get("query"), body.get("using") or ""
    return {
        "limit": limit,
        "query": _query(query, using, limit, vector_of),
        "prefetches": [edge.Prefetch(**_shared(each, vector_of, filter_of)) for each in prefetches(body)],
        "filter": filter_of(_without(ids_in(query), body.get("filter"))),
        "params": _params(body["params"], filter_of) if body.get("params") else None,
        "score_threshold": body.get("score_threshold"),
    }


def _without(ids: list[int | str], wanted: dict[str, Any] | None) -> dict[str, Any] | None:
    return {"must": [wanted] if wanted else [], "must_not": [{"has_id": ids}]} if ids else wanted


def _query(query: Any, using: str, limit: int, vector_of: VectorOf) -> Any:
    if query is None:
        return None
    if not isinstance(query, dict) or query.keys() & {"indices", "text"}:
        return edge.Query.Nearest(_vector(query, using, vector_of), using or None)
    for name, make in _QUERIES.items():
        if name in query:
            return make(query, using, limit, vector_of)
    raise no_variant("QueryInterface")


def _vector(value: Any, using: str, vector_of: VectorOf) -> Any:
    if isinstance(value, (int, str)):
        return vector_of(value, using)
    return vector(value, "query", "query", query=True)


def _nearest(query: dict[str, Any], using: str, limit: int, vector_of: VectorOf) -> Any:
    found, mmr = _vector(query["nearest"], using, vector_of), query.get("mmr")
    if not mmr:
        return edge.Query.Nearest(found, using or None)
    diversity = 0.5 if mmr.get("diversity") is None else mmr["diversity"]
    return edge.Mmr(found, 1.0 - diversity, mmr.get("candidates_limit") or limit, using or None)


def _fusion(query: dict[str, Any], *_: Any) -> Any:
    return edge.Fusion.Dbsf() if query["fusion"] == "dbsf" else edge.Fusion.Rrf(k=RRF_K)


def _recommend(query: dict[str, Any], using: str, limit: int, vector_of: VectorOf) -> Any:
    wanted = query["recommend"]
    likes, dislikes = (
        [np.asarray(_vector(each, using, vector_of)) for each in wanted.get(side) or []]
        for side in ("positive", "negative")
    )
    if likes[0].ndim > 1:  # tokens: those of all examples
        return edge.Query.Nearest(np.concatenate([*likes, *(-each for each in dislikes)]).tolist(), using or None)
    mean = np.mean(likes, axis=0)
    return edge.Query.Nearest((2 * mean - np.mean(dislikes, axis=0) if dislikes else mean).tolist(), using or None)


_QUERIES: Final[dict[str, Callable[..., Any]]] = {
    "nearest": _nearest,
    "fusion": _fusion,
    "rrf": lambda query, *_: edge.Fusion.Rrf(**{"k": RRF_K, **query["rrf"]}),
    "formula": lambda query, *_: to_formula(models.FormulaQuery(**query)),
    "order_by": lambda query, *_: order(query["order_by"]),
    "sample": lambda query, *_: edge.Sample.Random,
    "recommend": _recommend,
}


def unset_variable(body: dict[str, Any]) -> str:
    """The first payload key in a formula that has no default."""
    query = body.get("query")
    formula, defaults = (query.get("formula"), query.get("defaults") or {}) if isinstance(query, dict) else (None, {})
    return next((each for each in _strings(formula) if not each.startswith("$") and each not in defaults), "")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _strings(each)


def order(value: Any) -> edge.OrderBy:
    return to_order(value if isinstance(value, str) else models.OrderBy(**value))


def _params(value: dict[str, Any], filter_of: FilterOf) -> edge.SearchParams:
    made = {name: value[name] for name in ("hnsw_ef", "exact", "indexed_only") if value.get(name) is not None}
    if value.get("quantization"):
        made["quantization"] = edge.QuantizationSearchParams(**value["quantization"])
    if value.get("acorn"):
        made["acorn"] = edge.AcornSearchParams(**value["acorn"])
    if value.get("idf"):
        corpus = value["idf"].get("corpus") if isinstance(value["idf"], dict) else None
        made["idf"] = edge.IdfParams(corpus=filter_of(corpus)) if corpus else edge.IdfParams()
    return edge.SearchParams(**made)
