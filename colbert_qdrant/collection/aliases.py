"""Resolves aliases, which the engine accepts for operations on points only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colbert_qdrant.errors import AuthenticationError

if TYPE_CHECKING:
    from colbert_qdrant.engines import Engine


async def real_name(engine: Engine, collection: str) -> str:
    """Return the collection that an alias points to, or the name itself if it is not an alias.

    A key without permission to list aliases sees no aliases. With such a key, open collections by their own names.
    """
    try:
        aliases = await engine.get_aliases()
    except AuthenticationError:
        return collection
    return aliases.get(collection, collection)
