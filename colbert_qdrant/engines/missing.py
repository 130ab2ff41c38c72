"""Names existing collections in the error for a missing one."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from colbert_qdrant.errors import CollectionNotFoundError, EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.engines.base import Engine

_SHOWN: Final = 5


async def missing_collection(engine: Engine, name: str, remedy: str) -> CollectionNotFoundError:
    """Return the error for a collection that does not exist, with similar names and the remedy."""
    try:
        there = _named(name, [*await engine.collection_names(), *await engine.get_aliases()])
    except EngineError:
        there = ""  # the key may not list collections
    return CollectionNotFoundError(f"collection {name!r} does not exist{there}: {remedy}")


def _named(name: str, names: Sequence[str]) -> str:
    if not names:
        return " (there are no collections)"
    near = get_close_matches(name, names, n=_SHOWN)
    if not near and len(names) > _SHOWN:
        return ""
    return f" (existing names: {', '.join(map(repr, near or sorted(names)))})"
