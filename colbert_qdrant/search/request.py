"""Searches as requests: pure builders, no I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar, get_args

from qdrant_client import models

from colbert_qdrant.config.checks import require_int
from colbert_qdrant.documents import SearchHits
from colbert_qdrant.errors import ConfigurationError, InvalidQueryError
from colbert_qdrant.points.convert import to_hits
from colbert_qdrant.search.filters import Where, joined
from colbert_qdrant.search.fusion import Fusion, check_fusion, fused
from colbert_qdrant.search.limits import Limits, filter_keys
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from colbert_qdrant.capabilities import Capabilities
    from colbert_qdrant.config import CollectionConfig, FdeQuantization
    from colbert_qdrant.encoders import LateInteractionEncoder

SearchMode = Literal["two-stage", "hybrid", "fde", "exact"]
"""``"two-stage"``: the nearest encodings are the candidates, MaxSim ranks them; ``"hybrid"``: so are the best of all
other legs; ``"fde"``: the encodings alone; ``"exact"``: MaxSim over every document."""

LegLimits: TypeAlias = "Mapping[str, int] | Sequence[str]"
"""The vectors that find candidates, by name, and how many each."""

Part = TypeVar("Part", models.QueryRequest, models.Prefetch)

_MIN_CANDIDATES: Final = 100
_MIN_HNSW_EF: Final = 128
_BINARY_OVERSAMPLING: Final = 4.0


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """A checked search without its query.

    Args:
        limit: Hits to return.
        offset: Hits to leave out before them.
        score_threshold: Lowest score of a hit.
        token_threshold: Lowest score of a hit, for each token of the query.
        candidates: Documents that each leg hands on, per shard; by default 10 × ``limit``, and at least 100.
        mode: Which stages run.
        legs: The vectors that find candidates, in the place of those that the mode chooses.
        fusion: How candidates of several legs are ranked.
        filter: Applied to every stage.
        params: Of the search over the encodings. By default ``hnsw_ef = max(128, 2 × candidates)``: with the
            server's own default the graph misses several of the nearest hundred encodings.
        with_payload: Whether hits carry text and payload.
        limits: What the server allows, see `within`.
        where: Becomes a part of ``filter``.

    Raises:
        ConfigurationError: An unknown mode, ``limit < 1``, ``candidates < limit``, legs in a mode that has none, or
            ``where`` is not a `Where`.
    """

    limit: int
    offset: int = 0
    score_threshold: float | None = None
    token_threshold: float | None = None
    candidates: int | None = None
    mode: SearchMode = "two-stage"
    legs: LegLimits | None = None
    fusion: Fusion = "maxsim"
    filter: models.Filter | None = None
    params: models.SearchParams | None = None
    with_payload: bool = True
    limits: Limits = field(default_factory=Limits)
    where: InitVar[Where | None] = None

    def __post_init__(self, where: Where | None) -> None:
        object.__setattr__(self, "filter", joined(self.filter, where))
        if self.mode not in get_args(SearchMode):
            raise ConfigurationError(f"unknown mode {self.mode!r}: use one of {', '.join(get_args(SearchMode))}")
        if self.limit < 1:
            raise ConfigurationError(f"limit must be at least 1, got {self.limit}")
        if self.candidates is not None and self.candidates < self.limit:
            raise ConfigurationError(
                f"candidates={self.candidates} is less than limit={self.limit}: the first stage must find at least "
                "as many documents as are to be returned; raise candidates"
            )
        if self.offset < 0:
            raise ConfigurationError(f"offset must be at least 0, got {self.offset}")
        if self.offset and self.mode not in ("fde", "exact") and self.offset + self.limit > self.first_stage_limit:
            raise ConfigurationError(
                f"offset={self.offset} and limit={self.limit} go past the {self.first_stage_limit} candidates: raise "
                "candidates, to the same number for every page"
            )
        check_fusion(self.fusion)
        if self.token_threshold is not None and (self.mode == "fde" or self.fusion != "maxsim"):
            raise ConfigurationError("token_threshold is of scores by MaxSim: use score_threshold")
        if self.mode in ("fde", "exact") and (self.legs is not None or self.fusion != "maxsim"):
            raise ConfigurationError(f"mode={self.mode!r} has no legs to fuse: leave out legs and fusion, or the mode")
        if self.legs is not None and (isinstance(self.legs, str) or not self.legs):
            raise ConfigurationError(f"legs={self.legs!r}: name at least one vector, in a list or with its limit")

    @property
    def first_stage_limit(self) -> int:
        """How many documents a leg looks for, if not said of each: then the most that one looks for."""
        if self.mode == "fde":
            return self.limit
        if self.candidates is None and self.legs and isinstance(self.legs, Mapping):
            return max([self.limit, *(limit for limit in self.legs.values() if isinstance(limit, int))])
        return self.candidates or max(_MIN_CANDIDATES, 10 * self.limit)

    def leg_limits(self, config: CollectionConfig) -> dict[str, int]:
        """The legs of the search, and how many candidates each may find; none in an exact search.

        Raises:
            ConfigurationError: The collection has no such leg, or a limit is none.
        """
        if self.mode == "exact":
            return {}
        chosen = self.legs
        if chosen is None:
            chosen = config.legs if self.mode == "hybrid" else (config.fde_vector,)
        limits = chosen if isinstance(chosen, Mapping) else dict.fromkeys(chosen, self.first_stage_limit)
        for name, limit in limits.items():
            if name not in config.legs:
                known = ", ".join(map(repr, config.legs))
                raise ConfigurationError(f"the collection has no leg {name!r}: it has {known}")
            if not isinstance(limit, int) or limit < 1:
                raise ConfigurationError(f"legs[{name!r}]={limit!r}: a leg finds at least 1 document")
        return dict(limits)

    def within(self, limits: Limits, config: CollectionConfig) -> SearchPlan:
        """The same search where a server has limits: what was not asked for keeps to them.

        Raises:
            ConfigurationError: What was asked for does not.
        """
        asked = self.leg_limits(config) if isinstance(self.legs, Mapping) else {}
        limits.check_query_limit(limit=self.limit, candidates=self.candidates or 0)
        limits.check_query_limit(**{f"legs[{name!r}]": limit for name, limit in asked.items()})
        limits.check_filter(self.filter)
        if self.mode == "exact":
            limits.check_exact()
        candidates = None if self.mode == "exact" else self.first_stage_limit
        if limits.query_limit is not None and candidates is not None:
            candidates = min(candidates, limits.query_limit)
        return replace(self, candidates=candidates, limits=limits)

    def request(
        self,
        config: CollectionConfig,
        *,
        tokens: NDArray[np.float32],
        vectors: Mapping[str, Any],
        capabilities: Capabilities,
        shard_key: str | int | None = None,
    ) -> models.QueryRequest:
        """The one request that answers a query.

        Args:
            config: The collection's settings.
            tokens: The query's token matrix.
            vectors: What each leg searches for; without the encodings', if they are asked for, MaxSim over every
                document is in their place.
            capabilities: What the engine can do.
            shard_key: Which shards are searched; ``None``: all.

        Raises:
            CapabilityError: The engine does not know the fusion.
        """
        common = {**self._common(config, shard_key), **self._page(len(tokens), capabilities)}
        rank: dict[str, Any] = {"query": tokens.tolist(), "using": config.token_vector}
        asked = self.leg_limits(config)
        exact = not asked or (config.fde_vector in asked and config.fde_vector not in vectors)
        if exact:
            self.limits.check_exact()
            if self.fusion == "maxsim":
                return models.QueryRequest(**rank, **common)
        legs = self._legs(config, vectors, capabilities)
        if exact:
            legs = {config.fde_vector: {**rank, "limit": asked[config.fde_vector]}, **legs}
        if self.mode == "fde":
            return models.QueryRequest(**{**legs[config.fde_vector], **common})
        # not as it is: servers join it with the other stage's, and their `min_should` count every condition twice
        inner = None if self.filter is None else models.Filter(must=[self.filter])
        prefetch = {name: models.Prefetch(**leg, filter=inner) for name, leg in legs.items()}
        if self.fusion == "maxsim":
            found = list(prefetch.values())
            return models.QueryRequest(prefetch=found if len(found) > 1 else found[0], **rank, **common)
        parts = fused(
            self.fusion,
            prefetch,
            rank,
            first=config.fde_vector,
            asked=asked,
            limit=self.first_stage_limit,
            capabilities=capabilities,
        )
        return models.QueryRequest(**parts, **common)

    def may_fall_short(self, config: CollectionConfig) -> bool:
        """Whether a graph may not lead to as many documents as match a filter, and everything may be looked at.

        Where all keys have an index the engine knows how many match, and looks at them one by one if they are few.
        """
        thresholds = (self.score_threshold, self.token_threshold)
        as_asked = self.params is not None or any(threshold is not None for threshold in thresholds)
        if self.mode == "exact" or as_asked or not self.limits.exact:
            return False
        return not set(filter_keys(self.filter)) <= set(config.indexes)

    def leg_requests(
        self,
        config: CollectionConfig,
        *,
        vectors: Mapping[str, Any],
        capabilities: Capabilities,
        shard_key: str | int | None = None,
    ) -> dict[str, models.QueryRequest]:
        """What tells which legs brought a hit: the best of each leg, without anything of them but their ids."""
        common = {**self._common(config, shard_key), "with_payload": False}
        return {
            name: models.QueryRequest(**{**common, **leg})
            for name, leg in self._legs(config, vectors, capabilities).items()
        }

    def _legs(
        self, config: CollectionConfig, vectors: Mapping[str, Any], capabilities: Capabilities
    ) -> dict[str, dict[str, Any]]:
        limits = self.leg_limits(config)
        params = None
        if capabilities.has("search_params"):
            params = self._params(config, capabilities, limit=limits.get(config.fde_vector, 0))
        return {
            name: {
                "query": vectors[name],
                "using": name,
                "limit": limit,
                **({"params": params} if name == config.fde_vector else {}),
            }
            for name, limit in limits.items()
            if name in vectors
        }

    def _page(self, query_tokens: int, capabilities: Capabilities) -> dict[str, Any]:
        """Which of the hits are wanted."""
        page: dict[str, Any] = {}
        if self.offset:
            capabilities.require("offset", what=f"offset={self.offset}", remedy="ask for more hits at once")
            page["offset"] = self.offset
        thresholds = [self.score_threshold, self.token_threshold and self.token_threshold * query_tokens]
        given = [threshold for threshold in thresholds if threshold is not None]
        if given:
            page["score_threshold"] = max(given)
        return page

    def _common(self, config: CollectionConfig, shard_key: str | int | None) -> dict[str, Any]:
        ids: list[str] | bool = False if config.native else [config.id_key]
        return {
            "filter": self.filter,
            "limit": self.limit,
            "with_payload": self.with_payload or ids,
            "shard_key": shard_key,
        }

    def _params(self, config: CollectionConfig, capabilities: Capabilities, *, limit: int) -> models.SearchParams:
        if self.params is not None:
            return self.params
        hnsw_ef = max(_MIN_HNSW_EF, 2 * limit)
        params = models.SearchParams(hnsw_ef=min(hnsw_ef, self.limits.hnsw_ef or hnsw_ef))
        if self.filter is not None and capabilities.has("acorn"):
            params.acorn = models.AcornSearchParams(enable=True)
        if config.fde_quantization is not None:
            params.quantization = _quantization(config.fde_quantization, self.limits, alone=self.mode == "fde")
        return params


def _quantization(kind: FdeQuantization, limits: Limits, *, alone: bool) -> models.QuantizationSearchParams:
    """Whether what the quantized copy finds is ranked by the full encodings: always said, as defaults differ.

    Where MaxSim ranks what is found, reading the full encodings to rank it before gains nothing; but one bit a
    dimension is so coarse that more has to be found, of which the full encodings choose.
    """
    if kind == "binary":
        oversampling = min(_BINARY_OVERSAMPLING, limits.oversampling or _BINARY_OVERSAMPLING)
        return models.QuantizationSearchParams(rescore=True, oversampling=oversampling)
    return models.QuantizationSearchParams(rescore=alone)


@dataclass(frozen=True, kw_only=True)
class Groups:
    """How hits are grouped.

    Args:
        by: The payload key whose values make the groups.
        size: Most hits of a group.

    Raises:
        ConfigurationError: The key is empty, or the size too small.
    """

    by: str
    size: int

    def __post_init__(self) -> None:
        if not isinstance(self.by, str) or not self.by:
            raise ConfigurationError(f"group_by={self.by!r}: name a payload key")
        require_int("group_size", self.size, minimum=1)

    def arguments(self, request: models.QueryRequest) -> dict[str, Any]:
        """Arguments of ``query_points_groups`` for a search."""
        return {
            "group_by": self.by,
            "group_size": self.size,
            "query": request.query,
            "using": request.using,
            "prefetch": request.prefetch,
            "query_filter": request.filter,
            "search_params": request.params,
            "limit": request.limit,
            "with_payload": request.with_payload,
            "score_threshold": request.score_threshold,
        }


@dataclass(frozen=True, kw_only=True)
class Search:
    """The requests of one query, and what becomes of their answers.

    Attributes:
        main: Finds the hits; ``None``: there is nothing to search for, and nothing is found.
        legs: Tell which legs brought them, if there are several.
    """

    main: models.QueryRequest | None
    legs: Mapping[str, models.QueryRequest]

    @classmethod
    def of(
        cls,
        plan: SearchPlan,
        config: CollectionConfig,
        *,
        tokens: NDArray[np.float32],
        vectors: Mapping[str, Any],
        capabilities: Capabilities,
        shard_key: str | int | None,
        tell_legs: bool,
    ) -> Search:
        """See `SearchPlan.request`; without ``tell_legs`` nobody wants to know which legs brought a hit."""
        asked = plan.leg_limits(config)
        if asked and not vectors and config.fde_vector not in asked:
            return cls(main=None, legs={})
        given: dict[str, Any] = {"vectors": vectors, "capabilities": capabilities, "shard_key": shard_key}
        legs = plan.leg_requests(config, **given) if tell_legs and len(asked) > 1 else {}
        return cls(main=plan.request(config, tokens=tokens, **given), legs=legs)

    @property
    def requests(self) -> list[models.QueryRequest]:
        """All of them, in the order that their answers come in."""
        return [] if self.main is None else [self.main, *self.legs.values()]

    def hits(
        self, answers: Iterator[models.QueryResponse], config: CollectionConfig, *, with_payload: bool
    ) -> SearchHits:
        """What was found. Takes its own answers from those of all queries."""
        if self.main is None:
            return SearchHits()
        main = next(answers)
        legs = {name: {point.id for point in next(answers).points} for name in self.legs}
        return to_hits(main.points, config, with_payload=with_payload, legs=legs)


def scanned(part: Part, vector: str) -> Part:
    """The same search, or part of one, with every encoding that matches the filter looked at instead of a graph."""
    changes: dict[str, Any] = {}
    if part.using == vector:
        changes["params"] = models.SearchParams(exact=True)
    if isinstance(part.prefetch, list):
        changes["prefetch"] = [scanned(each, vector) for each in part.prefetch]
    elif part.prefetch is not None:
        changes["prefetch"] = scanned(part.prefetch, vector)
    return part.model_copy(update=changes)


def query_tokens(
    queries: Sequence[str] | TokenEmbeddings, *, encoder: LateInteractionEncoder, collection: str
) -> TokenEmbeddings:
    """Queries, encoded if they are texts, and checked.

    Raises:
        InvalidQueryError: One is empty, or its vectors are not of the collection's dimensions.
    """
    if isinstance(queries, str):
        raise InvalidQueryError("search_batch takes a list of queries, got one string: use search")
    if not isinstance(queries, TokenEmbeddings):
        for number, query in enumerate(queries):
            if not isinstance(query, str) or not query.strip():
                raise InvalidQueryError(f"query {number} is {query!r}: a query is a text that is not empty")
        queries = encoder.encode_queries(queries)
    if queries.dim != encoder.dim:
        raise InvalidQueryError(
            f"the query's token vectors have {queries.dim} dimensions, those of collection {collection!r} have "
            f"{encoder.dim}: encode it with the collection's encoder"
        )
    return queries
