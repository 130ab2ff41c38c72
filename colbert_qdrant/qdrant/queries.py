"""Searches as requests: pure builders, no I/O."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from qdrant_client import models

from colbert_qdrant.errors import ConfigurationError, InvalidQueryError
from colbert_qdrant.qdrant.limits import Limits
from colbert_qdrant.qdrant.where import Where, joined
from colbert_qdrant.tokens import TokenEmbeddings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from colbert_qdrant.config import CollectionConfig, FdeQuantization
    from colbert_qdrant.encoders import LateInteractionEncoder

SearchMode = Literal["two-stage", "fde", "exact"]
"""``"two-stage"``: the nearest encodings are the candidates, MaxSim ranks them; ``"fde"``: the encodings alone;
``"exact"``: MaxSim over every document."""

_MIN_CANDIDATES: Final = 100
_MIN_HNSW_EF: Final = 128
_BINARY_OVERSAMPLING: Final = 4.0


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """A checked search without its query.

    Args:
        limit: Hits to return.
        candidates: Documents that the first stage hands to MaxSim, per shard; by default 10 × ``limit``, and at
            least 100.
        mode: Which stages run.
        filter: Applied to both stages.
        params: Of the search over the encodings. By default ``hnsw_ef = max(128, 2 × candidates)``: with the
            server's own default the graph misses several of the nearest hundred encodings.
        with_payload: Whether hits carry text and payload.
        limits: What the server allows, see `within`.
        where: Becomes a part of ``filter``.

    Raises:
        ConfigurationError: An unknown mode, ``limit < 1``, ``candidates < limit``, or ``where`` is not a `Where`.
    """

    limit: int
    candidates: int | None = None
    mode: SearchMode = "two-stage"
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

    @property
    def first_stage_limit(self) -> int:
        """How many encodings the first stage looks for."""
        if self.mode == "fde":
            return self.limit
        return self.candidates or max(_MIN_CANDIDATES, 10 * self.limit)

    def within(self, limits: Limits) -> SearchPlan:
        """The same search where a server has limits: what was not asked for keeps to them.

        Raises:
            ConfigurationError: What was asked for does not.
        """
        limits.check_query_limit(limit=self.limit, candidates=self.candidates or 0)
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
        fde: NDArray[np.float32] | None,
        send_params: bool,
        shard_key: str | int | None = None,
    ) -> models.QueryRequest:
        """The one request that answers a query.

        Args:
            config: The collection's settings.
            tokens: The query's token matrix.
            fde: The query's encoding; without one the search is exact.
            send_params: Whether the engine knows search parameters.
            shard_key: Which shards are searched; ``None``: all.
        """
        params = self._params(config) if send_params else None
        common: dict[str, Any] = {
            "filter": self.filter,
            "limit": self.limit,
            "with_payload": True if self.with_payload else [config.id_key],
            "shard_key": shard_key,
        }
        rank: dict[str, Any] = {"query": tokens.tolist(), "using": config.token_vector, **common}
        if self.mode == "exact" or fde is None:
            self.limits.check_exact()
            return models.QueryRequest(**rank)
        if self.mode == "fde":
            return models.QueryRequest(query=fde.tolist(), using=config.fde_vector, params=params, **common)
        prefetch = models.Prefetch(
            query=fde.tolist(),
            using=config.fde_vector,
            # not as it is: servers join it with the other stage's, and their `min_should` count every condition twice
            filter=None if self.filter is None else models.Filter(must=[self.filter]),
            params=params,
            limit=self.first_stage_limit,
        )
        return models.QueryRequest(prefetch=prefetch, **rank)

    def _params(self, config: CollectionConfig) -> models.SearchParams:
        if self.params is not None:
            return self.params
        hnsw_ef = max(_MIN_HNSW_EF, 2 * self.first_stage_limit)
        params = models.SearchParams(hnsw_ef=min(hnsw_ef, self.limits.hnsw_ef or hnsw_ef))
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
