"""Defines, documents and checks the options of searches."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field, replace
from typing import Any, Final, ForwardRef, Literal, TypeAlias, TypedDict, TypeVar, get_args

from qdrant_client import models

from colbert_qdrant._support.values import plain
from colbert_qdrant.config import CollectionConfig
from colbert_qdrant.config.checks import keep_plain, require_bool, require_int, require_number
from colbert_qdrant.config.names import require_path
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.search.filters import Where, combine_filters, compared_keys, word_keys
from colbert_qdrant.search.fusion import Fusion, check_fusion
from colbert_qdrant.search.limits import Limits, filter_keys
from colbert_qdrant.shown import shown

SearchMode = Literal["two-stage", "hybrid", "fde", "exact"]
"""``"two-stage"``: the nearest encodings are the candidates, MaxSim ranks them; ``"hybrid"``: so are the best of all
other vectors; ``"fde"``: the encodings alone; ``"exact"``: MaxSim over every document."""

PrefetchLimits: TypeAlias = Mapping[str, int] | Sequence[str]
"""The vectors that find candidates, by name, and how many each."""

Method = TypeVar("Method", bound=Callable[..., Any])

_MIN_CANDIDATES: Final = 100
_PLAIN: Final = (
    *("limit", "offset", "candidates", "mode", "with_payload", "prefetch", "fusion", "timings"),
    *("score_threshold", "token_threshold"),
)
"""The options that have values of built-in types."""


class AttachOptions(TypedDict, total=False):
    """Options of a search whose candidates are found by a request of the user's.

    Attributes:
        limit: Most hits; 10 by default.
        filter: A condition in Qdrant's own form that documents have to meet, in every stage.
        score_threshold: Lowest score of a hit.
        timings: Whether to say where the time went, in the ``timings`` of what is returned.
    """

    limit: int
    filter: models.Filter | None
    score_threshold: float | None
    timings: bool


class SimilarOptions(TypedDict, total=False):
    """Options of a search for documents like one that is stored.

    Attributes:
        limit: Most hits, and in `search_groups` most groups; 10 by default.
        candidates: Documents that the encodings hand on to MaxSim; by default 10 × ``limit``, at least 100. A cluster
            takes that many from each shard.
        where: Only documents whose payload matches, as in ``{"year": {"gte": 2020}, "lang": ["en", "de"]}``: see
            `Where`.
        filter: The same in Qdrant's own form; if both are given, both have to match.
        with_payload: Whether hits carry text and payload.
    """

    limit: int
    candidates: int | None
    where: Where | None
    filter: models.Filter | None
    with_payload: bool


class GroupOptions(SimilarOptions, total=False):
    """Options of a search for groups of documents; those of `SimilarOptions`, and these.

    Attributes:
        mode: ``"two-stage"`` (the nearest encodings, ranked by MaxSim), ``"hybrid"`` (the best of every vector, ranked
            by MaxSim), ``"fde"`` (the encodings alone) or ``"exact"`` (MaxSim over every document: slow, and the
            reference).
        params: Of the search over the encodings; by default ``hnsw_ef = max(128, 2 × candidates)``, and with a filter
            ACORN, where the engine has it.
        prefetch: The vectors that find candidates, in the place of those that the mode chooses: names, such as
            ``["fde", "bm25"]``, or names with how many documents each finds, such as ``{"fde": 100, "bm25": 50}``.
        fusion: How candidates of several vectors are ranked: ``"maxsim"`` ranks all of them by MaxSim, ``"rrf"`` (or
            `Rrf`), ``"dbsf"`` and a ``models.FormulaQuery`` fuse their rankings.
        score_threshold: Lowest score of a hit.
        token_threshold: Lowest score by MaxSim for each token of the query, which long and short queries have in
            common.
        vectors: Vectors of the query that are known already, by name, for those that no encoder makes. A batch takes a
            list with one for each query.
    """

    mode: SearchMode
    params: models.SearchParams | None
    prefetch: PrefetchLimits | None
    fusion: Fusion
    score_threshold: float | None
    token_threshold: float | None
    vectors: Mapping[str, Any] | None


class SearchOptions(GroupOptions, total=False):
    """Options of a search; those of `GroupOptions`, and these.

    Attributes:
        offset: Hits to leave out before the first, for pages; no page goes past the candidates, whose number has to be
            the same for all.
        timings: Whether to say where the time went, in the ``timings`` of what is returned; a batch has those of the
            whole.
    """

    offset: int
    timings: bool


@dataclass(frozen=True, kw_only=True)
class CheckedOptions:
    """Search options with their defaults, checked; see `SearchOptions`.

    Args:
        limits: The limits of the server, see `within`.
        words: Payload keys whose texts ``where`` looks for words in, and whether these have no spaces between them;
            what is given is added to.
        compared: Payload keys that ``where`` compares with numbers or times; what is given is added to.

    Raises:
        ConfigurationError: An unknown mode, ``limit < 1``, ``candidates < limit``, ``prefetch`` in a mode that has
            none, or ``where`` is not a `Where`.
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
    fusion: Fusion = "maxsim"
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
            raise ConfigurationError(f"unknown mode {shown(self.mode)}: use one of {', '.join(get_args(SearchMode))}")
        require_int("limit", self.limit, minimum=1)
        require_int("offset", self.offset, minimum=0)
        if self.candidates is not None:
            require_int("candidates", self.candidates, minimum=1)
        if self.candidates is not None and self.candidates < self.limit:
            raise ConfigurationError(
                f"candidates={self.candidates} is less than limit={self.limit}: the first stage must find at least "
                "as many documents as are to be returned; raise candidates"
            )
        self._check_offset()
        self._check_fusion()
        self._check_bounds()

    def _check_bounds(self) -> None:
        """Refuse what servers would: https://api.qdrant.tech/api-reference/search/query-points."""
        for name in ("score_threshold", "token_threshold"):
            if getattr(self, name) is not None:
                require_number(name, getattr(self, name))
        require_bool("with_payload", self.with_payload)
        require_bool("timings", self.timings)
        if not isinstance(self.vectors, Mapping | None):
            raise ConfigurationError(f"vectors={shown(self.vectors)}: give a dict, a vector for each name")
        if not isinstance(self.params, models.SearchParams | None):
            raise ConfigurationError(f"params must be a models.SearchParams, got {shown(self.params)}")
        if self.params is not None and self.params.hnsw_ef is not None:
            require_int("params.hnsw_ef", self.params.hnsw_ef, minimum=1)
        quantization = None if self.params is None else self.params.quantization
        if quantization is not None and quantization.oversampling is not None:
            require_number("params.quantization.oversampling", quantization.oversampling, minimum=1)

    def _check_offset(self) -> None:
        if self.offset and self.mode not in ("fde", "exact") and self.offset + self.limit > self.first_stage_limit:
            raise ConfigurationError(
                f"offset={self.offset} and limit={self.limit} go past the {self.first_stage_limit} candidates: raise "
                "candidates, to the same number for every page"
            )

    def _check_fusion(self) -> None:
        check_fusion(self.fusion)
        if self.token_threshold is not None and (self.mode == "fde" or self.fusion != "maxsim"):
            raise ConfigurationError("token_threshold is of scores by MaxSim: use score_threshold")
        if self.mode in ("fde", "exact") and (self.prefetch is not None or self.fusion != "maxsim"):
            raise ConfigurationError(
                f"mode={shown(self.mode)} has no candidates to fuse: leave out prefetch and fusion, or the mode"
            )
        named = isinstance(self.prefetch, Mapping | list | tuple | set | frozenset) and len(self.prefetch) > 0
        if self.prefetch is not None and not (named and all(isinstance(name, str) for name in self.prefetch)):
            raise ConfigurationError(
                f"prefetch={shown(self.prefetch)}: name at least one vector, in a list or with its limit"
            )

    @property
    def first_stage_limit(self) -> int:
        """How many documents each vector finds, if not said of each; then the most that one finds."""
        if self.mode == "fde":
            return self.limit
        if self.candidates is None and self.prefetch and isinstance(self.prefetch, Mapping):
            return max([self.limit, *(limit for limit in self.prefetch.values() if isinstance(limit, int))])
        return self.candidates or max(_MIN_CANDIDATES, 10 * self.limit)

    def prefetch_limits(self, config: CollectionConfig) -> dict[str, int]:
        """The vectors that find candidates, and how many each; none in an exact search.

        Raises:
            ConfigurationError: The collection has no such vector, or a limit is not a number of documents.
        """
        if self.mode == "exact":
            return {}
        chosen = self.prefetch
        if chosen is None:
            chosen = config.prefetch_vectors if self.mode == "hybrid" else (config.fde_vector,)
        if self.mode == "hybrid" and set(chosen) == {config.fde_vector}:
            others = " or ".join(map(repr, config.prefetch_vectors[1:]))
            raise ConfigurationError(
                f"mode='hybrid' needs a vector beside {config.fde_vector!r}, and the "
                + (
                    f"search prefetches by none: add {others} to prefetch="
                    if others
                    else "collection has none: create one with CollectionConfig(bm25=Bm25Config()), dense=… or sparse=…"
                )
                + ", or use mode='two-stage'"
            )
        limits = chosen if isinstance(chosen, Mapping) else dict.fromkeys(chosen, self.first_stage_limit)
        for name, limit in limits.items():
            if name not in config.prefetch_vectors:
                known = ", ".join(map(repr, config.prefetch_vectors))
                raise ConfigurationError(f"the collection has no vector {shown(name)} to prefetch by: it has {known}")
            if not isinstance(limit, int) or limit < 1:
                raise ConfigurationError(f"prefetch[{shown(name)}]={shown(limit)}: a vector finds at least 1 document")
        return dict(limits)

    def for_one_query(self) -> CheckedOptions:
        """The options of a batch of one query: each of its vectors in a list."""
        return replace(self, vectors={name: [vector] for name, vector in (self.vectors or {}).items()})

    def within(self, limits: Limits, config: CollectionConfig) -> CheckedOptions:
        """The same search where a server has limits: what was not asked for keeps to them.

        Raises:
            ConfigurationError: The options exceed a limit.
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
        candidates = None if self.mode == "exact" else self.first_stage_limit
        if limits.query_limit is not None and candidates is not None:
            candidates = min(candidates, limits.query_limit)
        return replace(self, candidates=candidates, limits=limits)

    def may_fall_short(self, config: CollectionConfig) -> bool:
        """Whether a graph may not lead to as many documents as match a filter, and everything may be looked at.

        Where all keys have an index the engine knows how many match, and looks at them one by one if they are few.
        """
        thresholds = (self.score_threshold, self.token_threshold)
        as_asked = self.params is not None or any(threshold is not None for threshold in thresholds)
        if self.mode == "exact" or as_asked or not self.limits.exact:
            return False
        return not set(filter_keys(self.filter)) <= set(config.indexes)


def check_grouping(group_by: str, group_size: int) -> tuple[str, int]:
    """Return the path that hits are grouped by, as every engine reads it, and the size of groups.

    Raises:
        ConfigurationError: The payload key is empty, or the size too small.
    """
    size = plain(group_size)
    require_int("group_size", size, minimum=1)
    return require_path("group_by", plain(group_by)), size


def check_options(method: str, kind: type, options: Mapping[str, Any]) -> CheckedOptions:
    """Check the options that a method was called with, against the kind of options that it takes.

    Raises:
        ConfigurationError: An option is out of range, or contradicts another.
        TypeError: The method has no such option.
    """
    unknown = next((name for name in options if name not in kind.__annotations__), None)
    if unknown is not None:
        known = ", ".join(kind.__annotations__)
        raise TypeError(f"{method}() got an unexpected keyword argument {shown(unknown)}: use {known}")
    return CheckedOptions(**options)


def shows_options(kind: type) -> Callable[[Method], Method]:
    """Have ``help()`` and signatures show the options of a method one by one, with their defaults and descriptions."""
    described = "".join(f"    {name}: {text}\n" for name, text in _descriptions(kind).items())
    defaults = inspect.signature(CheckedOptions).parameters
    options = [_parameter(name, hint, defaults[name].default) for name, hint in kind.__annotations__.items()]

    def show(method: Method) -> Method:
        signature = inspect.signature(method)
        own = [each for each in signature.parameters.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        method.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        text = inspect.cleandoc(method.__doc__ or "")
        method.__doc__ = text.replace(f"    **options: See `{kind.__name__}`.\n", described)
        return method

    return show


def _descriptions(kind: type) -> dict[str, str]:
    """The description of every option of a kind, from its docstring and those of the kinds that it extends."""
    found: dict[str, str] = {}
    for each in (AttachOptions, SimilarOptions, GroupOptions, SearchOptions, kind):
        text = inspect.cleandoc(each.__doc__ or "")
        found |= re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    return {name: found[name] for name in kind.__annotations__ if name in found}


def _parameter(name: str, hint: Any, default: Any) -> inspect.Parameter:
    written = hint.__forward_arg__ if isinstance(hint, ForwardRef) else hint
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=written)
