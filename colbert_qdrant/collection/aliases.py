"""Resolves aliases, which operations on points take and operations on whole collections do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from colbert_qdrant.errors import AuthenticationError

if TYPE_CHECKING:
    from colbert_qdrant.engines import Engine


async def real_name(engine: Engine, collection: str) -> str:
    """The collection that a name stands for: itself, unless it is an alias.

    A key that may not list aliases sees none: collections have to be opened by their own names then.
    """
    try:
        aliases = await engine.get_aliases()
    except AuthenticationError:
        return collection
    return aliases.get(collection, collection)
