"""Runs requests on the local mode of ``qdrant_client``, in memory or in files."""

from __future__ import annotations

from typing import ClassVar, Final

from qdrant_client import AsyncQdrantClient, QdrantClient

from colbert_qdrant.capabilities import Capabilities
from colbert_qdrant.engines.client import ClientEngine

LOCAL: Final = Capabilities(
    engine="local",
    lacks=frozenset(
        {"bm25_inference", "sharding", "shard_keys", "strict_mode", "search_params", "acorn", "payload_indexes"}
    ),
)
"""The capabilities of local mode."""


class LocalEngine(ClientEngine):
    """A ``QdrantClient(":memory:")`` or ``QdrantClient(path=…)``."""

    NAME = "local"
    BLOCKING: ClassVar = (QdrantClient,)
    AWAITED: ClassVar = (AsyncQdrantClient,)

    @classmethod
    def accepts(cls, client: object) -> bool:
        if not isinstance(client, QdrantClient | AsyncQdrantClient):
            return False
        return client.init_options.get("location") == ":memory:" or client.init_options.get("path") is not None

    async def capabilities(self) -> Capabilities:
        return LOCAL
