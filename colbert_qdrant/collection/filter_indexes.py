"""Checks that a collection has the payload indexes that a filter needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from colbert_qdrant.collection.opened import OpenCollection


async def require_indexes(
    collection: OpenCollection, words: frozenset[tuple[str, bool]], compared: frozenset[tuple[str, str]]
) -> None:
    """Check that payload keys have the indexes that the words, numbers and times in a filter need.

    Raises:
        ConfigurationError: If a key lacks a full-text index that it needs. Also if a key with an index of times is
            compared with numbers, or vice versa.
        CapabilityError: If the engine cannot search for words that have no spaces between them.
    """
    await collection.allowed(lambda limits: limits.check_compared(compared, collection.config.indexes))
    keys = frozenset(key for key, _ in words)
    unspaced = frozenset(key for key, lacks_spaces in words if lacks_spaces)
    capabilities = await collection.engine.capabilities()
    if unspaced:
        what = "'match' in a where with words of a language without spaces"
        capabilities.require("payload_indexes", what=what, remedy="store the words as a list, and compare with 'in'")
        await collection.allowed(lambda limits: limits.check_unspaced(unspaced))
    if keys and not capabilities.has("unindexed_words"):
        await collection.allowed(lambda limits: limits.check_words(keys))
