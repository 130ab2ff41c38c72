"""Decides which modes of search a collection can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.search.limits import Limits
from colbert_qdrant.search.options import CheckedOptions, SearchMode
from colbert_qdrant.shown import listed, shown

if TYPE_CHECKING:
    from colbert_qdrant.config import CollectionConfig

MODES: Final[tuple[SearchMode, ...]] = ("exact", "two-stage", "fde", "hybrid", "bm25")
"""All modes, in the order of the tables."""


@dataclass(frozen=True, kw_only=True)
class Abilities:
    """The facts that decide which modes a collection can do.

    Attributes:
        config: The collection's settings.
        limits: The limits of its server.
        fitted: Whether its encoding is fitted.
        encodes: Whether it has an encoder of queries.
        without_encoder: Names of the vectors that no encoder makes of a query.
    """

    config: CollectionConfig
    limits: Limits = field(default_factory=Limits)
    fitted: bool = True
    encodes: bool = True
    without_encoder: Sequence[str] = ()


def check_modes(modes: Sequence[SearchMode] | SearchMode | None) -> tuple[SearchMode, ...] | None:
    """Return the modes that the user named, each once; ``None`` for all.

    Raises:
        ConfigurationError: If there is no such mode, or none is named.
    """
    if modes is None:
        return None
    named = [modes] if isinstance(modes, str) else listed(modes)
    if not named or any(not isinstance(each, str) or each not in MODES for each in named):
        raise ConfigurationError(f"modes={shown(modes)}: use a list of {', '.join(map(repr, MODES))}")
    return tuple(dict.fromkeys(named))


def choose_modes(
    asked: Sequence[SearchMode] | None, abilities: Abilities, *, candidates: int, depth: int
) -> tuple[list[SearchMode], dict[str, str]]:
    """Return the modes to measure, and the reasons for which the others are left out.

    Raises:
        ConfigurationError: If the user asked for a mode that the collection cannot do.
    """
    modes: list[SearchMode] = []
    skipped: dict[str, str] = {}
    for mode in MODES if asked is None else asked:
        try:
            _check(mode, abilities, candidates=candidates, depth=depth)
        except ConfigurationError as error:
            if asked is not None:
                raise
            skipped[mode] = str(error)
        else:
            modes.append(mode)
    if not modes:
        raise ConfigurationError("no mode can be measured: " + "; ".join(dict.fromkeys(skipped.values())))
    return modes, skipped


def need_tokens(modes: Sequence[SearchMode]) -> bool:
    """Tell whether a mode needs the token vectors of queries."""
    return any(CheckedOptions(mode=mode).needs_tokens for mode in modes)


def _check(mode: SearchMode, abilities: Abilities, *, candidates: int, depth: int) -> None:
    config = abilities.config
    options = CheckedOptions(mode=mode, limit=depth, candidates=candidates)
    vectors: Mapping[str, int] = options.prefetch_limits(config)
    if options.needs_tokens and not abilities.encodes:
        raise ConfigurationError(
            "the collection was opened without an encoder, which queries need: open it with encoder=…"
        )
    if config.fde_vector in vectors and not abilities.fitted:
        raise ConfigurationError(
            f"mode={mode!r} needs the encoding, which is not fitted yet: ingest documents, or call fit()"
        )
    if lacking := [name for name in vectors if name in abilities.without_encoder]:
        raise ConfigurationError(
            f"mode={mode!r} needs query vectors {lacking}, which no encoder makes: pass a collection that was opened "
            "with vector_encoders=…"
        )
    options.within(abilities.limits, config)
