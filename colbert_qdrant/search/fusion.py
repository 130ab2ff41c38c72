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
    """Reciprocal rank fusion: the sum of what a document's rank in each prefetch is worth.

    Ranks count from 0 and are worth ``1 / (rank + k)``. With a weight w it is ``1 / ((rank + 1) / w + k - 1)``, as
    Qdrant has it: a vector of weight 2 has its ranks halved.

    Args:
        k: How little the first ranks stand out; 60 in the paper (Cormack, Clarke and Büttcher, 2009), 2 in Qdrant.
        weights: How much a vector counts, by name; others 1. Servers know them since 1.17.

    Raises:
        ConfigurationError: A value is out of range.
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
"""``"maxsim"``: MaxSim ranks all candidates; ``"rrf"``, `Rrf`: their ranks are fused, with the encodings' candidates
ranked by MaxSim; ``"dbsf"``: their normalised scores are fused; a formula: of MaxSim, its ``$score``, and of the
payload."""

_NAMES: Final = ("maxsim", "rrf", "dbsf")
_QDRANT_K: Final = 2
"""What servers take where nothing is said."""


def check_fusion(fusion: Fusion) -> None:
    """Raise unless a fusion is known.

    Raises:
        ConfigurationError: The fusion is unknown, or a formula of a key that is no path.
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

    ``first`` names the encodings, whose candidates ``rank`` ranks by MaxSim. A query may lack vectors of ``asked``.

    Raises:
        CapabilityError: The engine does not know the fusion.
        ConfigurationError: A weight is for a vector that the search does not prefetch by.
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
            f"there are weights for {unknown}, but the search prefetches by {[*asked]}: leave them out"
        )
    capabilities.require("rrf_weights", what="weights of reciprocal rank fusion", remedy="leave them out")
    return models.RrfQuery(rrf=models.Rrf(k=rrf.k, weights=[rrf.weights.get(name, 1.0) for name in names]))
