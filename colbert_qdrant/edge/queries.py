"""Converts qdrant-client's queries to Edge's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

import qdrant_edge as edge
from qdrant_client import models

from colbert_qdrant.edge.fields import as_list, read_fields, same_member, unsupported_error
from colbert_qdrant.edge.filters import to_filter
from colbert_qdrant.edge.formulas import to_formula
from colbert_qdrant.edge.points import to_names, to_selector, to_vector

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_LIMIT = 10
"""The server's default limit of a request or a prefetch."""

DEFAULT_DIVERSITY = 0.5
RRF_K = 2
_SHARED_FIELDS = ("prefetch", "query", "using", "filter", "params", "score_threshold", "limit")


def to_request(value: models.QueryRequest) -> edge.QueryRequest:
    """Convert a query with its prefetches and filters; raises `CapabilityError` if Edge does not support a part."""
    values = read_fields(value, *_SHARED_FIELDS, "offset", "with_vector", "with_payload")
    return edge.QueryRequest(
        **_shared_fields(values),
        offset=values.get("offset"),
        with_vector=to_names(values.get("with_vector", False)),
        with_payload=to_selector(values.get("with_payload", False)),
    )


def _prefetch(value: models.Prefetch) -> edge.Prefetch:
    return edge.Prefetch(**_shared_fields(read_fields(value, *_SHARED_FIELDS)))


def _shared_fields(values: dict[str, Any]) -> dict[str, Any]:
    limit = values.get("limit", DEFAULT_LIMIT)
    return {
        "limit": limit,
        "query": to_query(values.get("query"), using=values.get("using"), limit=limit),
        "prefetches": [_prefetch(prefetch) for prefetch in as_list(values.get("prefetch")) or []],
        "filter": to_filter(values["filter"]) if "filter" in values else None,
        "params": _params(values["params"]) if "params" in values else None,
        "score_threshold": values.get("score_threshold"),
    }


def to_query(value: Any, *, using: str | None, limit: int) -> edge.ScoringQueryType | None:
    """Convert a query, which is a vector or one of the query models; None lists points by id.

    The limit of the request is the default number of candidates of MMR.
    """
    kind = type(value).__name__
    if value is None:
        return None
    if kind in _RESCORING:
        return _RESCORING[kind](value)
    if isinstance(value, models.NearestQuery):
        parts = read_fields(value, "nearest", "mmr")
        if "mmr" in parts:
            return _mmr(to_vector(parts["nearest"]), parts["mmr"], using, limit)
        value = parts["nearest"]
    if isinstance(value, (int, str, UUID)):
        raise unsupported_error("queries by point id (retrieve the point's vector and search with that)")
    if isinstance(value, (list, models.SparseVector)) or hasattr(value, "tolist"):
        return edge.Query.Nearest(to_vector(value), using)
    raise unsupported_error(f"`{type(value).__name__}` as a query")


def _mmr(vector: edge.NamedVector, mmr: models.Mmr, using: str | None, limit: int) -> edge.Mmr:
    values = read_fields(mmr, "diversity", "candidates_limit")
    diversity = values.get("diversity", DEFAULT_DIVERSITY)
    return edge.Mmr(vector, 1.0 - diversity, values.get("candidates_limit", limit), using)


def _fusion(value: models.FusionQuery) -> edge.ScoringQueryType:
    if value.fusion is models.Fusion.RRF:
        return _scoring(edge.Fusion.Rrf(k=RRF_K))
    if value.fusion is models.Fusion.DBSF:
        return _scoring(edge.Fusion.Dbsf())
    raise unsupported_error(f"`{value.fusion}`")


def _rrf(value: models.RrfQuery) -> edge.ScoringQueryType:
    return _scoring(edge.Fusion.Rrf(**({"k": RRF_K} | read_fields(value.rrf, "k", "weights"))))


def _sample(value: models.SampleQuery) -> edge.ScoringQueryType:
    return _scoring(same_member(edge.Sample, value.sample))


def _scoring(value: Any) -> edge.ScoringQueryType:
    # In the type stub, the kinds of fusion are not subclasses of `Fusion`, nor samples of `Sample`.
    query: edge.ScoringQueryType = value
    return query


_RESCORING: dict[str, Callable[[Any], edge.ScoringQueryType]] = {
    "FusionQuery": _fusion,
    "RrfQuery": _rrf,
    "FormulaQuery": to_formula,
    "SampleQuery": _sample,
}


def _params(value: models.SearchParams) -> edge.SearchParams:
    values = read_fields(value, "hnsw_ef", "exact", "quantization", "indexed_only", "acorn", "idf")
    for name in values.keys() & _PARAM_PARTS.keys():
        values[name] = _PARAM_PARTS[name](values[name])
    return edge.SearchParams(**values)


def _idf(value: Any) -> edge.IdfParams:
    if type(value).__name__ == "IdfCorpusParams":
        return edge.IdfParams(corpus=to_filter(read_fields(value, "corpus")["corpus"]))
    if getattr(value, "value", None) == "global":
        return edge.IdfParams()
    raise unsupported_error(f"`{value!r}` as the corpus of IDF")


_PARAM_PARTS: dict[str, Callable[[Any], Any]] = {
    "quantization": lambda v: edge.QuantizationSearchParams(**read_fields(v, "ignore", "rescore", "oversampling")),
    "acorn": lambda v: edge.AcornSearchParams(**read_fields(v, "enable", "max_selectivity")),
    "idf": _idf,
}


def to_order(value: str | models.OrderBy) -> edge.OrderBy:
    """Convert `order_by` of a scroll."""
    if isinstance(value, str):
        return edge.OrderBy(value)
    values = read_fields(value, "key", "direction", "start_from")
    if "direction" in values:
        values["direction"] = same_member(edge.Direction, values["direction"])
    if hasattr(values.get("start_from"), "isoformat"):
        values["start_from"] = values["start_from"].isoformat()
    return edge.OrderBy(**values)
