"""Checks that a collection with custom sharding has the shards that a request targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

from colbert_qdrant.errors import ConfigurationError

if TYPE_CHECKING:
    from qdrant_client import models

    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.engines import Engine

Use: TypeAlias = Literal["read", "search", "write"]
"""A search without any shards crashes in the server; a read without shards finds nothing."""


class Shards:
    """The shards of an open collection, whose keys are read before the first request that needs one.

    Args:
        collection: The collection's name.
        engine: The engine with the collection.
        config: The collection's settings.
    """

    def __init__(self, collection: str, engine: Engine, config: CollectionConfig) -> None:
        self._collection = collection
        self._engine = engine
        self._known = config.sharding != "custom"
        self._custom = config.sharding == "custom"

    async def require(self, use: Use) -> None:
        """Check that there are shards for a request; until there are, each request checks again.

        Raises:
            ConfigurationError: If there is no shard key yet, the given one does not exist, or a write has no shard key.
        """
        wanted, name = self._engine.shard_key, self._collection
        if self._custom and use == "write" and wanted is None:
            raise ConfigurationError(
                f"collection {name!r} has sharding='custom', and a write needs a shard key: open it with shard_key=…; "
                f"client.create_shard_key({name!r}, …) creates a key"
            )
        if self._known or (use == "read" and wanted is None):
            return
        cluster = await self._engine.cluster_info(name)
        if cluster is not None:  # else the key may not read it
            shards: list[models.LocalShardInfo | models.RemoteShardInfo] = [
                *cluster.local_shards,
                *cluster.remote_shards,
            ]
            self._check({shard.shard_key for shard in shards})
        self._known = True

    def _check(self, keys: set[str | int | None]) -> None:
        wanted, name = self._engine.shard_key, self._collection
        if wanted is not None and wanted not in keys:
            others = ", ".join(sorted(repr(key) for key in keys)) or "none"
            raise ConfigurationError(
                f"collection {name!r} has no shard key {wanted!r} (it has {others}): create it with "
                f"client.create_shard_key({name!r}, {wanted!r}), or open the collection with another shard_key=…"
            )
        if not keys:
            raise ConfigurationError(
                f"collection {name!r} has no shard key yet, so there is nothing to search: create one with "
                f"client.create_shard_key({name!r}, …), and open the collection with shard_key=… to write"
            )
