"""Says of a collection that is not there which ones are."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final

from colbert_qdrant.errors import CollectionNotFoundError, EngineError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.engines.base import Engine

_SHOWN: Final = 5


async def missing_collection(engine: Engine, name: str, remedy: str) -> CollectionNotFoundError:
    """Return the error that there is no such collection, with similar names and the remedy."""
    try:
        there = _named(name, [*await engine.collection_names(), *await engine.get_aliases()])
    except EngineError:
        there = ""  # the key may be for other collections alone
    return CollectionNotFoundError(f"there is no collection {name!r}{there}: {remedy}")


def _named(name: str, names: Sequence[str]) -> str:
    if not names:
        return ", nor any other"
    near = get_close_matches(name, names, n=_SHOWN)
    if not near and len(names) > _SHOWN:
        return ""
    return f", but {', '.join(map(repr, near or sorted(names)))}"
