"""Fuses the candidates of several prefetches into one ranking."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, cast

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

    Ranks start at 0 and contribute ``weight / (rank + k)``. Qdrant itself weights ranks by another formula, with which
    weights lose their meaning at ``k=60``. So weighted ranks are fused in this process.

    Args:
        k: The smoothing constant: the larger, the less the first ranks stand out. It is 60 in the paper (Cormack,
            Clarke and Büttcher, 2009), and 2 by default in Qdrant.
        weights: Weight by vector name; 1 for vectors without an entry.

    Raises:
        ConfigurationError: If a value is out of range.
    """

    k: int = 60
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keep_plain(self)
        require_int("k", self.k, minimum=1)
        _require_weights(self.weights)


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Blends MaxSim with the scores of the other vectors, such as BM25's.

    The score of a document is ``alpha · z(MaxSim) + (1 − alpha) · max(z(BM25) − 1, 0)``. Here z subtracts the mean over
    the candidates of the query, and divides by their standard deviation. So BM25 counts only where it stands out, by
    more than one standard deviation: weak matches of common words are noise. With several other vectors, the mean of
    their terms takes BM25's place, weighted by ``weights``.

    MaxSim of every candidate is exact. If a vector did not find a candidate, only bounds of its score are known. For a
    sparse vector, they are 0 and the lowest score that it found, and the middle counts. For a dense vector, the lowest
    score counts. If a vector found fewer documents than its limit, a sparse score of the others is 0.

    Args:
        alpha: The weight of MaxSim, from 0 to 1.
        weights: The weights of the other vectors among themselves, by name; 1 for vectors without an entry.

    Raises:
        ConfigurationError: If a value is out of range.
    """

    alpha: float = 0.65
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keep_plain(self)
        require_number("alpha", self.alpha, minimum=0, maximum=1)
        _require_weights(self.weights)


def _require_weights(weights: object) -> None:
    require_instance("weights", weights, Mapping, "a dict of numbers, by name")
    for name, weight in cast("Mapping[str, float]", weights).items():
        require_number(f"weights[{shown(name)}]", weight, minimum=0)


Fusion: TypeAlias = Literal["maxsim", "blend", "rrf", "dbsf"] | Blend | Rrf | models.FormulaQuery
"""How candidates are ranked.

- ``"maxsim"``: MaxSim ranks all candidates.
- ``"blend"`` or `Blend`: a weighted mean of MaxSim and the scores of the other vectors.
- ``"rrf"`` or `Rrf`: reciprocal rank fusion; the FDE's candidates are ranked by MaxSim first.
- ``"dbsf"``: distribution-based score fusion: normalized scores are fused.
- A formula of the payload and of MaxSim, which is its ``$score``.
"""

_NAMES: Final = ("maxsim", "blend", "rrf", "dbsf")
_QDRANT_K: Final = 2
"""The default of servers."""


def check_fusion(fusion: Fusion) -> None:
    """Check a fusion.

    Raises:
        ConfigurationError: If the fusion is unknown, or a key in its formula is not a valid path.
    """
    named = isinstance(fusion, str) and holds(lambda: fusion in _NAMES)
    if not named and not isinstance(fusion, Blend | Rrf | models.FormulaQuery):
        names = ", ".join(map(repr, _NAMES))
        raise ConfigurationError(
            f"fusion={shown(fusion)}: use one of {names}, Blend(…), Rrf(…) or a models.FormulaQuery"
        )
    for key in formula_keys(fusion.formula) if isinstance(fusion, models.FormulaQuery) else ():
        require_path("fusion", key)


def fused_here(fusion: Fusion, capabilities: Capabilities) -> Blend | Rrf | None:
    """Return a fusion that this process computes, because the engine cannot; ``None`` for the others."""
    if fusion == "blend":
        return Blend()
    rrf = Rrf() if fusion == "rrf" else fusion
    if isinstance(rrf, Rrf) and not rrf.weights and (rrf.k == _QDRANT_K or capabilities.has("rrf_k")):
        return None
    return rrf if isinstance(rrf, Blend | Rrf) else None


def check_weights(fusion: Blend | Rrf, asked: Collection[str], *, first: str) -> None:
    """Check that the weights of a fusion are for vectors that the search prefetches by.

    ``first`` names the FDE, whose candidates are ranked by MaxSim.

    Raises:
        ConfigurationError: If a weight is for another vector, or `Blend` has no vector to blend MaxSim with.
    """
    others = [name for name in asked if name != first] if isinstance(fusion, Blend) else [*asked]
    if isinstance(fusion, Blend) and not others:
        raise ConfigurationError(
            "fusion='blend' needs a vector besides the FDE, but the search prefetches by none: use mode='hybrid', or "
            "name another vector in prefetch"
        )
    unknown = sorted(set(fusion.weights) - set(others))
    if unknown:
        also = " (alpha is the weight of MaxSim)" if first in unknown else ""
        raise ConfigurationError(f"weights has entries for {unknown}, but it fuses {others}: remove them{also}")


def fusion_parts(
    fusion: Fusion,
    prefetches: Mapping[str, models.Prefetch],
    rank: Mapping[str, Any],
    *,
    first: str,
    limit: int,
    capabilities: Capabilities,
) -> dict[str, Any]:
    """Build the parts of a request in which the engine fuses prefetches by ``fusion``, which is not ``"maxsim"``.

    ``first`` names the FDE vector, whose candidates ``rank`` ranks by MaxSim.

    Raises:
        CapabilityError: If the engine does not support the fusion.
    """
    if isinstance(fusion, models.FormulaQuery):
        capabilities.require("formula", what="a formula", remedy="use fusion='maxsim'")
        return {"prefetch": models.Prefetch(prefetch=list(prefetches.values()), limit=limit, **rank), "query": fusion}
    ranked = [
        models.Prefetch(prefetch=each, limit=each.limit, **rank) if name == first else each
        for name, each in prefetches.items()
    ]
    return {"prefetch": ranked, "query": _fusion(fusion, capabilities)}


def _fusion(fusion: Any, capabilities: Capabilities) -> models.Query:
    if fusion == "dbsf":
        capabilities.require("dbsf", what="fusion='dbsf'", remedy="use fusion='maxsim'")
        return models.FusionQuery(fusion=models.Fusion.DBSF)
    k = fusion.k if isinstance(fusion, Rrf) else Rrf().k
    return models.FusionQuery(fusion=models.Fusion.RRF) if k == _QDRANT_K else models.RrfQuery(rrf=models.Rrf(k=k))
