"""Fuses the candidates of several prefetches into one ranking."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

from qdrant_client import models

from colbert_qdrant.capabilities import Capabilities
from colbert_qdrant.config.checks import keep_plain, require_instance, require_int, require_number
from colbert_qdrant.config.names import require_path
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.search.limits import formula_keys
from colbert_qdrant.shown import holds, shown


@dataclass(frozen=True, kw_only=True)
class Rrf:
    """Reciprocal rank fusion (RRF): sums the reciprocal ranks of a document over the prefetches.

    Ranks start at 0 and contribute ``1 / (rank + k)``. With a weight w, Qdrant computes
    ``1 / ((rank + 1) / w + k - 1)``: a weight of 2 halves the ranks of a vector.

    Args:
        k: The smoothing constant: the larger, the less the first ranks stand out. It is 60 in the paper (Cormack,
            Clarke and Büttcher, 2009), and 2 by default in Qdrant.
        weights: Weight by vector name; 1 for vectors without an entry. Needs Qdrant 1.17.

    Raises:
        ConfigurationError: If a value is out of range.
    """

    k: int = 60
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keep_plain(self)
        require_int("k", self.k, minimum=1)
        require_instance("weights", self.weights, Mapping, "a dict of numbers, by name")
        for name, weight in self.weights.items():
            require_number(f"weights[{shown(name)}]", weight, minimum=0)


Fusion: TypeAlias = Literal["maxsim", "rrf", "dbsf"] | Rrf | models.FormulaQuery
"""How candidates are ranked.

- ``"maxsim"``: MaxSim ranks all candidates.
- ``"rrf"`` or `Rrf`: reciprocal rank fusion; the FDE's candidates are ranked by MaxSim first.
- ``"dbsf"``: distribution-based score fusion: normalized scores are fused.
- A formula of the payload and of MaxSim, which is its ``$score``.
"""

_NAMES: Final = ("maxsim", "rrf", "dbsf")
_QDRANT_K: Final = 2
"""The default of servers."""


def check_fusion(fusion: Fusion) -> None:
    """Check a fusion.

    Raises:
        ConfigurationError: If the fusion is unknown, or a key in its formula is not a valid path.
    """
    named = isinstance(fusion, str) and holds(lambda: fusion in _NAMES)
    if not named and not isinstance(fusion, Rrf | models.FormulaQuery):
        names = ", ".join(map(repr, _NAMES))
        raise ConfigurationError(f"fusion={shown(fusion)}: use one of {names}, Rrf(…) or a models.FormulaQuery")
    for key in formula_keys(fusion.formula) if isinstance(fusion, models.FormulaQuery) else ():
        require_path("fusion", key)


def fusion_parts(
    fusion: Fusion,
    prefetches: Mapping[str, models.Prefetch],
    rank: Mapping[str, Any],
    *,
    first: str,
    asked: Collection[str],
    limit: int,
    capabilities: Capabilities,
) -> dict[str, Any]:
    """Build the parts of a request that fuse prefetches by ``fusion``, which is not ``"maxsim"``.

    ``first`` names the FDE vector, whose candidates ``rank`` ranks by MaxSim. A query may lack vectors of ``asked``.

    Raises:
        CapabilityError: If the engine does not support the fusion.
        ConfigurationError: If a weight is for a vector that the search does not prefetch by.
    """
    if isinstance(fusion, models.FormulaQuery):
        capabilities.require("formula", what="a formula", remedy="use fusion='maxsim'")
        return {"prefetch": models.Prefetch(prefetch=list(prefetches.values()), limit=limit, **rank), "query": fusion}
    ranked = {
        name: models.Prefetch(prefetch=each, limit=each.limit, **rank) if name == first else each
        for name, each in prefetches.items()
    }
    return {"prefetch": list(ranked.values()), "query": _fusion(fusion, list(ranked), asked, capabilities)}


def _fusion(fusion: Any, names: list[str], asked: Collection[str], capabilities: Capabilities) -> models.Query:
    if fusion == "dbsf":
        capabilities.require("dbsf", what="fusion='dbsf'", remedy="use fusion='maxsim'")
        return models.FusionQuery(fusion=models.Fusion.DBSF)
    rrf = Rrf() if fusion == "rrf" else fusion
    if not rrf.weights and rrf.k == _QDRANT_K:
        return models.FusionQuery(fusion=models.Fusion.RRF)
    if not rrf.weights:
        what = f"k={rrf.k} of reciprocal rank fusion"
        capabilities.require("rrf_k", what=what, remedy="use Rrf(k=2) or fusion='maxsim'")
        return models.RrfQuery(rrf=models.Rrf(k=rrf.k))
    unknown = sorted(set(rrf.weights) - set(asked))
    if unknown:
        raise ConfigurationError(
            f"weights has entries for {unknown}, but the search prefetches by {[*asked]}: remove them"
        )
    capabilities.require("rrf_weights", what="weights of reciprocal rank fusion", remedy="leave them out")
    return models.RrfQuery(rrf=models.Rrf(k=rrf.k, weights=[rrf.weights.get(name, 1.0) for name in names]))
