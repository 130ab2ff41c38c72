"""Collections as others write them: each kind by its real writer, with vectors that need no model.

``WRITERS["langchain-dense"](client, "docs")`` writes one and says what is in it. ``Written.search`` asks it as its own
application would, by the collection's name or an alias of it: what it shows must stay the same after a migration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.writers import by_hand, fastembed, haystack, langchain, llama_index
from tests.writers.common import Written

if TYPE_CHECKING:
    from tests.writers.common import Writer

__all__ = ["WRITERS", "Written"]

WRITERS: dict[str, Writer] = {
    "langchain-dense": langchain.dense,
    "langchain-from-documents": langchain.from_documents,
    "langchain-named": langchain.named,
    "langchain-hybrid": langchain.hybrid,
    "langchain-own-keys": langchain.own_keys,
    "llama-index-dense": llama_index.dense,
    "llama-index-hybrid": llama_index.hybrid,
    "haystack-dense": haystack.dense,
    "haystack-sparse": haystack.sparse,
    "fastembed-cosine": fastembed.cosine,
    "fastembed-dot": fastembed.dot,
    "by-hand-unnamed": by_hand.unnamed,
    "by-hand-multivector": by_hand.multivector,
    "by-hand-sparse": by_hand.sparse,
    "by-hand-settings": by_hand.settings,
    "by-hand-gaps": by_hand.gaps,
}
