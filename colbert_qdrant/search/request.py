"""Builds search requests from options and encoded queries, without I/O."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from qdrant_client import models

from colbert_qdrant.documents import SearchHits
from colbert_qdrant.search.fused import FusedHere
from colbert_qdrant.search.fusion import check_weights, fused_here, fusion_parts
from colbert_qdrant.search.hits import to_hits

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.config import CollectionConfig, FdeQuantization
    from colbert_qdrant.search.fusion import Fusion
    from colbert_qdrant.search.limits import Limits
    from colbert_qdrant.search.options import CheckedOptions

Part = TypeVar("Part", models.QueryRequest, models.Prefetch)

_MIN_HNSW_EF: Final = 128
_BINARY_OVERSAMPLING: Final = 4.0
_TIES: Final = 10
"""Extra hits requested before and after the page: engines return ties in any order, and here they are sorted by id."""
_DISTANCES: Final = ("euclid", "manhattan")
_SHARDS: Final = 16
"""In a cluster, each shard finds the number of candidates; more shards than this share the limit of all candidates."""


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """The requests for one query; converts their responses to hits.

    Attributes:
        main: The request that finds the hits; ``None`` if the query has no vector to search by, and so no hits. If the
            ranking is fused here, it finds all candidates by MaxSim.
        prefetches: Requests that show which vectors found each hit, if there are several vectors.
        fused: The ranking, if this process computes it from the responses of all requests; `ranked` does.
        start, limit: The requested slice of the hits that ``main`` finds. ``main`` also finds some hits around it,
            because engines return ties in any order.
        candidates: Maximum number of hits that ``main`` could find.
    """

    main: models.QueryRequest | None
    prefetches: Mapping[str, models.QueryRequest]
    fused: FusedHere | None = None
    start: int = 0
    limit: int = 0
    candidates: int = 0

    @property
    def parts(self) -> list[models.QueryRequest]:
        """All requests, in the order of their responses."""
        return [] if self.main is None else [self.main, *self.prefetches.values()]

    def ranked(self, responses: Sequence[models.QueryResponse], config: CollectionConfig) -> list[models.ScoredPoint]:
        """Return all candidates in the order of their ranking, from the responses of all ``parts``."""
        if self.fused is None:
            return responses[0].points
        lists = {name: each.points for name, each in zip(self.prefetches, responses[1:], strict=True)}
        return self.fused.rank(responses[0].points, lists, config)

    def hits(
        self, answers: Iterator[models.QueryResponse], config: CollectionConfig, *, with_payload: bool
    ) -> SearchHits:
        """Consume this query's responses from those of all queries, and return the hits."""
        if self.main is None:
            return SearchHits()
        main = next(answers)
        found_by = {name: {point.id for point in next(answers).points} for name in self.prefetches}
        hits = to_hits(main.points, config, with_payload=with_payload, found_by=found_by)
        return SearchHits(hits[self.start : self.start + self.limit])

    def without_graph(self, vector: str) -> SearchRequest:
        """Return the same search without the graph of a vector: it scans every FDE that matches the filter."""
        main = None if self.main is None else without_graph(self.main, vector)
        if self.fused is None:
            return replace(self, main=main)
        prefetches = {name: without_graph(each, vector) for name, each in self.prefetches.items()}
        return replace(self, main=main, prefetches=prefetches)

    def for_all_candidates(self, found: Sequence[models.ScoredPoint]) -> SearchRequest | None:
        """Return a search for all candidates if ties at the edges leave the requested hits undetermined."""
        main, end = self.main, self.start + self.limit
        if main is None or self.fused is not None or not found or (main.limit or 0) >= self.candidates:
            return None
        torn_before = bool(main.offset) and len(found) > self.start and found[0].score == found[self.start].score
        torn_after = len(found) == main.limit and len(found) > end and found[-1].score == found[end - 1].score
        if not (torn_before or torn_after):
            return None
        request = main.model_copy(update={"offset": None, "limit": self.candidates})
        return replace(self, main=request, start=self.start + (main.offset or 0))


@dataclass(frozen=True, kw_only=True)
class RequestBuilder:
    """Builds the requests of queries that share options.

    Args:
        options: The options, within the limits of the server.
        config: The collection's settings.
        capabilities: The capabilities of the engine.
        shard_key: The shard key to search; ``None`` for all shards.
        ties: The number of extra hits to request before and after the page.
        widen: Multiplies the limits of the vectors; for groups that are fused here.
        fields: Further payload fields of the candidates that are fused here.
    """

    options: CheckedOptions
    config: CollectionConfig
    capabilities: Capabilities
    shard_key: str | int | None = None
    ties: int = _TIES
    widen: int = 1
    fields: tuple[str, ...] = ()

    def build(
        self, tokens: NDArray[np.float32], vectors: Mapping[str, Any], *, tell_found_by: bool = True
    ) -> SearchRequest:
        """Build the requests of one query.

        Args:
            tokens: The query's token matrix, shape ``(n, dim)``; without rows if the search does not need it.
            vectors: The query's vector for each prefetch. If the FDE is requested but missing, MaxSim over every
                document replaces it.
            tell_found_by: Whether to add requests that show which vectors found each hit.

        Raises:
            CapabilityError: If the engine does not support the fusion.
        """
        asked = self.options.prefetch_limits(self.config)
        if asked and not vectors and self.config.fde_vector not in asked:
            return SearchRequest(main=None, prefetches={})
        fused = self._fused(asked)
        told = fused is not None or (tell_found_by and len(asked) > 1)
        found_by = self._prefetch_requests(vectors) if told else {}
        if fused is not None:
            return SearchRequest(
                main=self._all_candidates(tokens, vectors),
                prefetches=found_by,
                fused=fused,
                start=self.options.offset,
                limit=self.options.limit,
            )
        main, limit = self.request(tokens, vectors), self.options.limit
        candidates = 0 if main.prefetch is None else sum(asked.values())
        return SearchRequest(
            main=main,
            prefetches=found_by,
            start=self.options.offset - (main.offset or 0),
            limit=limit,
            candidates=min(candidates, self.options.limits.query_limit or candidates),
        )

    @property
    def fuses_here(self) -> bool:
        """Whether this process fuses the candidates, instead of the engine."""
        return fused_here(self._fusion, self.capabilities) is not None

    def request(self, tokens: NDArray[np.float32], vectors: Mapping[str, Any]) -> models.QueryRequest:
        """Build the one request that answers a query; see `build`."""
        return self._request(tokens, vectors, {**self._common(), **self._page(len(tokens))}, self._fusion)

    def _request(
        self, tokens: NDArray[np.float32], vectors: Mapping[str, Any], common: dict[str, Any], fusion: Fusion
    ) -> models.QueryRequest:
        options, config = self.options, self.config
        rank: dict[str, Any] = {"query": tokens.tolist(), "using": config.token_vector}
        asked = options.prefetch_limits(config)
        exact = not asked or (config.fde_vector in asked and config.fde_vector not in vectors)
        if exact:
            options.limits.check_exact()
            if fusion == "maxsim":
                return models.QueryRequest(**rank, **common)
        parts = self._parts(vectors)
        if exact:
            parts = {config.fde_vector: {**rank, "limit": self._limits[config.fde_vector]}, **parts}
        only = options.only_vector(config)
        if only is not None:
            return models.QueryRequest(**{**parts[only], **common})
        # wrapped, because servers merge it with the other stage's filter and then count each `min_should` twice
        inner = None if options.filter is None else models.Filter(must=[options.filter])
        prefetch = {name: models.Prefetch(**part, filter=inner) for name, part in parts.items()}
        if fusion == "maxsim":
            found = list(prefetch.values())
            return models.QueryRequest(prefetch=found if len(found) > 1 else found[0], **rank, **common)
        fuse = fusion_parts(
            fusion,
            prefetch,
            rank,
            first=config.fde_vector,
            limit=options.first_stage_limit,
            capabilities=self.capabilities,
        )
        return models.QueryRequest(**fuse, **common)

    @property
    def _fusion(self) -> Fusion:
        return self.options.ranking(self.config)

    def _fused(self, asked: Mapping[str, int]) -> FusedHere | None:
        """Return the ranking of the candidates that ``asked`` vectors find, if it is fused here."""
        fusion = fused_here(self._fusion, self.capabilities)
        if fusion is None or not asked:
            return None
        config = self.config
        check_weights(fusion, asked, first=config.fde_vector)
        return FusedHere(
            fusion=fusion,
            first=config.fde_vector,
            limits=self._limits,
            sparse=frozenset({config.bm25_vector, *config.sparse}),
            distances=frozenset(name for name, each in config.dense.items() if each.distance in _DISTANCES),
            threshold=self.options.score_threshold,
        )

    def _all_candidates(self, tokens: NDArray[np.float32], vectors: Mapping[str, Any]) -> models.QueryRequest:
        """Build the request for all candidates with their MaxSim scores, and only ``fields`` of their payload."""
        most = sum(self._limits.values()) * _SHARDS
        common = {
            **self._common(),
            "with_payload": [*self._ids, *self.fields] or False,
            "limit": min(most, self.options.limits.query_limit or most),
        }
        return self._request(tokens, vectors, common, "maxsim")

    def _prefetch_requests(self, vectors: Mapping[str, Any]) -> dict[str, models.QueryRequest]:
        """Build a request for the ids that each prefetch finds."""
        common = {**self._common(), "with_payload": False}
        return {name: models.QueryRequest(**{**common, **part}) for name, part in self._parts(vectors).items()}

    def _parts(self, vectors: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        fde, limits = self.config.fde_vector, self._limits
        params = self._params(limit=limits.get(fde, 0)) if self.capabilities.has("search_params") else None
        return {
            name: {
                "query": vectors[name],
                "using": name,
                "limit": limit,
                **({"params": params} if name == fde else {}),
            }
            for name, limit in limits.items()
            if name in vectors
        }

    @property
    def _limits(self) -> dict[str, int]:
        """The number of documents that each vector finds."""
        most = self.options.limits.query_limit
        asked = self.options.prefetch_limits(self.config)
        return {name: min(limit * self.widen, most or limit * self.widen) for name, limit in asked.items()}

    def _page(self, query_tokens: int) -> dict[str, Any]:
        """Build the parts of a request that select the page of hits."""
        options = self.options
        room = options.limits.query_limit or options.limit + 2 * self.ties
        before = min(options.offset, self.ties, max(0, room - options.limit))
        page: dict[str, Any] = {"limit": min(before + options.limit + self.ties, room)}
        if options.offset:
            self.capabilities.require("offset", what=f"offset={options.offset}", remedy="use a larger limit instead")
            page["offset"] = options.offset - before
        thresholds = [options.score_threshold, options.token_threshold and options.token_threshold * query_tokens]
        given = [threshold for threshold in thresholds if threshold is not None]
        if given:
            page["score_threshold"] = max(given)
        return page

    def _common(self) -> dict[str, Any]:
        return {
            "filter": self.options.filter,
            "limit": self.options.limit,
            "with_payload": self.options.with_payload or self._ids or False,
            "shard_key": self.shard_key,
        }

    @property
    def _ids(self) -> list[str]:
        """The part of the payload with the document's id, if the point's id is not the document's."""
        return [] if self.config.native else [self.config.id_key]

    def _params(self, *, limit: int) -> models.SearchParams:
        options = self.options
        if options.params is not None:
            return options.params
        hnsw_ef = max(_MIN_HNSW_EF, 2 * limit)
        params = models.SearchParams(hnsw_ef=min(hnsw_ef, options.limits.hnsw_ef or hnsw_ef))
        if options.filter is not None and self.capabilities.has("acorn"):
            params.acorn = models.AcornSearchParams(enable=True)
        if self.config.fde_quantization is not None:
            alone = options.mode == "fde"
            params.quantization = _quantization(self.config.fde_quantization, options.limits, alone=alone)
        return params


def without_graph(part: Part, vector: str) -> Part:
    """Return the same search, or part of one, without the graph: it scans every FDE that matches the filter."""
    changes: dict[str, Any] = {}
    if part.using == vector:
        changes["params"] = models.SearchParams(exact=True)
    if isinstance(part.prefetch, list):
        changes["prefetch"] = [without_graph(each, vector) for each in part.prefetch]
    elif part.prefetch is not None:
        changes["prefetch"] = without_graph(part.prefetch, vector)
    return part.model_copy(update=changes)


def _quantization(kind: FdeQuantization, limits: Limits, *, alone: bool) -> models.QuantizationSearchParams:
    """Build the parameters of a search in quantized FDEs; always explicit, because the engines' defaults differ.

    If MaxSim ranks the candidates, rescoring them by the full FDEs first gains nothing. Binary quantization is an
    exception: one bit per dimension is too coarse without oversampling and rescoring.
    """
    if kind == "binary":
        oversampling = min(_BINARY_OVERSAMPLING, limits.oversampling or _BINARY_OVERSAMPLING)
        return models.QuantizationSearchParams(rescore=True, oversampling=oversampling)
    return models.QuantizationSearchParams(rescore=alone)
