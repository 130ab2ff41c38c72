"""Defines, documents and checks the options of searches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, TypedDict, get_args

from qdrant_client import models

from colbert_qdrant._support.signatures import Method, require_options
from colbert_qdrant._support.signatures import shows_options as shows
from colbert_qdrant._support.values import plain
from colbert_qdrant.config import CollectionConfig
from colbert_qdrant.config.checks import keep_plain, require_bool, require_int, require_number
from colbert_qdrant.config.names import require_path
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.search.filters import Where, combine_filters, compared_keys, word_keys
from colbert_qdrant.search.fusion import Fusion, check_fusion
from colbert_qdrant.search.limits import Limits, filter_keys
from colbert_qdrant.shown import shown

SearchMode = Literal["two-stage", "hybrid", "fde", "bm25", "exact"]
"""How documents are found.

- ``"two-stage"``: the FDE finds candidates, and MaxSim ranks them.
- ``"hybrid"``: the FDE and all other vectors find candidates. A blend of MaxSim and BM25 ranks them, or MaxSim if there
  is no BM25 vector.
- ``"fde"``: the FDE alone finds and ranks.
- ``"bm25"``: BM25 alone finds and ranks; the model does not run.
- ``"exact"``: MaxSim over every document.
"""

PrefetchLimits: TypeAlias = Mapping[str, int] | Sequence[str]
"""The names of the vectors that find candidates, optionally with the number that each finds."""

_MIN_CANDIDATES: Final = 100
_ONE_STAGE: Final = ("fde", "bm25", "exact")
"""The modes in which the documents that are found are ranked already."""
_PLAIN: Final = (
    *("limit", "offset", "candidates", "mode", "with_payload", "prefetch", "fusion", "timings"),
    *("score_threshold", "token_threshold"),
)
"""The options whose values are converted to built-in types."""


class AttachOptions(TypedDict, total=False):
    """Options of a search whose candidates come from the user's own request.

    Attributes:
        limit: Maximum number of hits; 10 by default.
        filter: A Qdrant filter that documents must match in every stage.
        score_threshold: Minimum score of a hit.
        timings: Whether to measure each stage; see `SearchHits.timings`.
    """

    limit: int
    filter: models.Filter | None
    score_threshold: float | None
    timings: bool


class SimilarOptions(TypedDict, total=False):
    """Options of a search for documents similar to a stored one.

    Attributes:
        limit: Maximum number of hits, or of groups in `search_groups`; 10 by default.
        candidates: Number of documents that the FDE passes to MaxSim; by default 10 × ``limit``, at least 100. In a
            cluster, each shard returns this number.
        where: A condition that the payload must match, such as ``{"year": {"gte": 2020}, "lang": ["en", "de"]}``; see
            `Where`.
        filter: A Qdrant filter that documents must match, in addition to ``where``.
        with_payload: Whether hits include text and payload.
    """

    limit: int
    candidates: int | None
    where: Where | None
    filter: models.Filter | None
    with_payload: bool


class GroupOptions(SimilarOptions, total=False):
    """Options of a search for groups of documents, in addition to those of `SimilarOptions`.

    Attributes:
        mode: ``"two-stage"`` (FDE candidates, ranked by MaxSim), ``"hybrid"`` (candidates of every vector, ranked by
            MaxSim and BM25), ``"fde"``, ``"bm25"`` or ``"exact"`` (MaxSim over every document). ``"fde"`` and
            ``"bm25"`` rank by one vector alone. Exact search is slow; use it as the reference.
        params: Search parameters for the FDE; by default ``hnsw_ef = max(128, 2 × candidates)``, and ACORN if there is
            a filter and the engine supports it.
        prefetch: The vectors that find candidates; by default, the mode chooses them. Pass names, such as
            ``["fde", "bm25"]``, or names with limits, such as ``{"fde": 100, "bm25": 50}``.
        fusion: How candidates of several vectors are ranked. ``"maxsim"`` ranks them by MaxSim, and ``"blend"`` (or
            `Blend`) by a mean of MaxSim and the vectors' scores. ``"rrf"`` (or `Rrf`), ``"dbsf"`` and a
            ``models.FormulaQuery`` fuse rankings. The default is ``"blend"`` in the mode ``"hybrid"`` with BM25, and
            ``"maxsim"`` otherwise.
        score_threshold: Minimum score of a hit.
        token_threshold: Minimum MaxSim score per query token, so that it suits queries of any length.
        vectors: Query vectors by name, for vectors without an encoder. A batch takes a list per name, with one vector
            for each query.
    """

    mode: SearchMode
    params: models.SearchParams | None
    prefetch: PrefetchLimits | None
    fusion: Fusion | None
    score_threshold: float | None
    token_threshold: float | None
    vectors: Mapping[str, Any] | None


class SearchOptions(GroupOptions, total=False):
    """Options of a search, in addition to those of `GroupOptions`.

    Attributes:
        offset: Number of hits to skip, for pagination. Pages end at the last candidate, so use the same number of
            candidates for all pages.
        timings: Whether to measure each stage; see `SearchHits.timings`. In a batch, they are those of the whole batch.
    """

    offset: int
    timings: bool


@dataclass(frozen=True, kw_only=True)
class CheckedOptions:
    """Checked search options with their defaults; see `SearchOptions`.

    Args:
        limits: The limits of the server; see `within`.
        words: Payload keys that are tested with ``match``, and whether those words lack spaces; the keys of ``where``
            are added.
        compared: Payload keys that are compared with numbers or times; the keys of ``where`` are added.

    Raises:
        ConfigurationError: If an option is invalid or contradicts another: an unknown mode, ``limit < 1``,
            ``candidates < limit``, ``prefetch`` in a mode without candidates, or an invalid ``where``.
    """

    limit: int = 10
    offset: int = 0
    candidates: int | None = None
    mode: SearchMode = "two-stage"
    where: InitVar[Where | None] = None
    filter: models.Filter | None = None
    params: models.SearchParams | None = None
    with_payload: bool = True
    prefetch: PrefetchLimits | None = None
    fusion: Fusion | None = None
    score_threshold: float | None = None
    token_threshold: float | None = None
    vectors: Mapping[str, Any] | None = None
    timings: bool = False
    limits: Limits = field(default_factory=Limits)
    words: frozenset[tuple[str, bool]] = frozenset()
    compared: frozenset[tuple[str, str]] = frozenset()

    def __post_init__(self, where: Where | None) -> None:
        object.__setattr__(self, "filter", combine_filters(self.filter, where))
        object.__setattr__(self, "words", self.words | word_keys(where))
        object.__setattr__(self, "compared", self.compared | compared_keys(where))
        keep_plain(self, *_PLAIN)
        if not isinstance(self.mode, str) or self.mode not in get_args(SearchMode):
            raise ConfigurationError(f"mode={shown(self.mode)}: use one of {', '.join(get_args(SearchMode))}")
        require_int("limit", self.limit, minimum=1)
        require_int("offset", self.offset, minimum=0)
        if self.candidates is not None:
            require_int("candidates", self.candidates, minimum=1)
        if self.candidates is not None and self.candidates < self.limit:
            raise ConfigurationError(
                f"candidates={self.candidates} is less than limit={self.limit}: raise candidates to at least limit"
            )
        self._check_offset()
        self._check_fusion()
        self._check_bounds()

    def _check_bounds(self) -> None:
        """Reject values that servers reject: https://api.qdrant.tech/api-reference/search/query-points."""
        for name in ("score_threshold", "token_threshold"):
            if getattr(self, name) is not None:
                require_number(name, getattr(self, name))
        require_bool("with_payload", self.with_payload)
        require_bool("timings", self.timings)
        if not isinstance(self.vectors, Mapping | None):
            raise ConfigurationError(f"vectors={shown(self.vectors)}: pass a dict of vectors by name")
        if not isinstance(self.params, models.SearchParams | None):
            raise ConfigurationError(f"params must be a models.SearchParams, got {shown(self.params)}")
        if self.params is not None and self.params.hnsw_ef is not None:
            require_int("params.hnsw_ef", self.params.hnsw_ef, minimum=1)
        quantization = None if self.params is None else self.params.quantization
        if quantization is not None and quantization.oversampling is not None:
            require_number("params.quantization.oversampling", quantization.oversampling, minimum=1)

    def _check_offset(self) -> None:
        if self.offset and self.mode not in _ONE_STAGE and self.offset + self.limit > self.first_stage_limit:
            raise ConfigurationError(
                f"offset={shown(self.offset)} and limit={self.limit} exceed the {self.first_stage_limit} candidates: "
                "raise candidates, to the same number for every page"
            )

    def _check_fusion(self) -> None:
        if self.fusion is not None:
            check_fusion(self.fusion)
        fused = self.fusion not in (None, "maxsim")
        if self.token_threshold is not None and (self.mode in ("fde", "bm25") or fused):
            raise ConfigurationError(
                f"token_threshold={shown(self.token_threshold)} needs MaxSim scores, but mode={shown(self.mode)} with "
                f"fusion={shown(self.fusion)} has others: use score_threshold"
            )
        if self.mode in _ONE_STAGE and (self.prefetch is not None or fused):
            raise ConfigurationError(
                f"mode={shown(self.mode)} has no candidates to fuse: omit prefetch and fusion, or omit mode"
            )
        named = isinstance(self.prefetch, Mapping | list | tuple | set | frozenset) and len(self.prefetch) > 0
        if self.prefetch is not None and not (named and all(isinstance(name, str) for name in self.prefetch)):
            raise ConfigurationError(
                f"prefetch={shown(self.prefetch)}: pass a list of vector names, or a dict of limits by vector name"
            )

    @property
    def first_stage_limit(self) -> int:
        """The number of documents that each vector finds; the largest limit if each vector has its own."""
        if self.mode in ("fde", "bm25"):
            return self.limit
        if self.candidates is None and self.prefetch and isinstance(self.prefetch, Mapping):
            return max([self.limit, *(limit for limit in self.prefetch.values() if isinstance(limit, int))])
        return self.candidates or max(_MIN_CANDIDATES, 10 * self.limit)

    @property
    def needs_tokens(self) -> bool:
        """Whether the search needs a query's token embeddings."""
        return self.mode != "bm25"

    def only_vector(self, config: CollectionConfig) -> str | None:
        """Return the name of the one vector that both finds and ranks; ``None`` if MaxSim or a fusion ranks."""
        return {"fde": config.fde_vector, "bm25": config.bm25_vector}.get(self.mode)

    def ranking(self, config: CollectionConfig) -> Fusion:
        """Return how the candidates are ranked.

        Raises:
            ConfigurationError: If there is a threshold of MaxSim scores, but candidates are blended by default.
        """
        if self.fusion is not None:
            return self.fusion
        if self.mode != "hybrid" or config.bm25 is None or config.bm25_vector not in self.prefetch_limits(config):
            return "maxsim"
        for name in ("score_threshold", "token_threshold"):
            if getattr(self, name) is not None:
                raise ConfigurationError(
                    f"{name}={getattr(self, name)} is ambiguous, because mode='hybrid' blends MaxSim with BM25: pass "
                    "fusion='maxsim' for MaxSim scores, or fusion='blend' for a score_threshold of blended scores"
                )
        return "blend"

    def prefetch_limits(self, config: CollectionConfig) -> dict[str, int]:
        """Return the vectors that find documents, each with its limit; empty in an exact search.

        Raises:
            ConfigurationError: If the collection has no such vector, or a limit is not a positive integer.
        """
        if self.mode == "exact":
            return {}
        if self.mode == "bm25" and config.bm25 is None:
            raise ConfigurationError(
                "mode='bm25' needs a BM25 vector, which the collection does not have: create a collection with "
                "CollectionConfig(bm25=Bm25Config()), or migrate this one to such a config"
            )
        chosen = self.prefetch
        if self.mode == "bm25":
            chosen = (config.bm25_vector,)
        elif chosen is None:
            chosen = config.prefetch_vectors if self.mode == "hybrid" else (config.fde_vector,)
        if self.mode == "hybrid" and set(chosen) == {config.fde_vector}:
            others = " or ".join(map(repr, config.prefetch_vectors[1:]))
            raise ConfigurationError(
                f"mode='hybrid' needs a second vector besides {config.fde_vector!r}, but "
                + (
                    f"prefetch names no other: add {others} to prefetch="
                    if others
                    else "the collection has no other: create one with CollectionConfig(bm25=Bm25Config()), dense=… or "
                    "sparse=…"
                )
                + ", or use mode='two-stage'"
            )
        limits = chosen if isinstance(chosen, Mapping) else dict.fromkeys(chosen, self.first_stage_limit)
        for name, limit in limits.items():
            if name not in config.prefetch_vectors:
                known = ", ".join(map(repr, config.prefetch_vectors))
                raise ConfigurationError(
                    f"prefetch names the vector {shown(name)}, which the collection does not have: use {known}"
                )
            if not isinstance(limit, int) or limit < 1:
                raise ConfigurationError(f"prefetch[{shown(name)}]={shown(limit)}: use an integer of at least 1")
        return dict(limits)

    def for_one_query(self) -> CheckedOptions:
        """Return the options for a batch of this one query, with each of its vectors in a list."""
        return replace(self, vectors={name: [vector] for name, vector in (self.vectors or {}).items()})

    def within(self, limits: Limits, config: CollectionConfig) -> CheckedOptions:
        """Return the options with defaults lowered to the limits of a server.

        Raises:
            ConfigurationError: If an explicit option exceeds a limit.
        """
        asked = self.prefetch_limits(config) if isinstance(self.prefetch, Mapping) else {}
        limits.check_query_limit(limit=self.limit, candidates=self.candidates or 0)
        limits.check_query_limit(**{f"prefetch[{shown(name)}]": limit for name, limit in asked.items()})
        limits.check_filter(self.filter)
        limits.check_params(self.params)
        if isinstance(self.fusion, models.FormulaQuery):
            limits.check_formula(self.fusion)
        if self.mode == "exact":
            limits.check_exact()
        self.ranking(config)
        candidates = None if self.mode == "exact" else self.first_stage_limit
        if limits.query_limit is not None and candidates is not None:
            candidates = min(candidates, limits.query_limit)
        return replace(self, candidates=candidates, limits=limits)

    def may_fall_short(self, config: CollectionConfig) -> bool:
        """Tell whether the graph may miss documents that match the filter, and a full scan is allowed instead.

        If all keys have an index, the engine knows how many documents match. It scans them if they are few.
        """
        thresholds = (self.score_threshold, self.token_threshold)
        as_asked = self.params is not None or any(threshold is not None for threshold in thresholds)
        if self.mode in ("bm25", "exact") or as_asked or not self.limits.exact:
            return False
        return not set(filter_keys(self.filter)) <= set(config.indexes)


def check_grouping(group_by: str, group_size: int) -> tuple[str, int]:
    """Return the payload path to group by, in the form that every engine reads, and the group size.

    Raises:
        ConfigurationError: If the payload key is empty, or the size is less than 1.
    """
    size = plain(group_size)
    require_int("group_size", size, minimum=1)
    return require_path("group_by", plain(group_by)), size


def check_options(method: str, kind: type, options: Mapping[str, Any]) -> CheckedOptions:
    """Check the options that a method was called with.

    Raises:
        ConfigurationError: If an option is out of range, or contradicts another.
        TypeError: If the method has no such option.
    """
    require_options(method, kind, options)
    return CheckedOptions(**options)


def shows_options(kind: type) -> Callable[[Method], Method]:
    """List every option of a search, with its default and description, in ``help()`` and the method's signature."""
    return shows(kind, among=(AttachOptions, SimilarOptions, GroupOptions, SearchOptions), checked=CheckedOptions)
