"""Finds the engine for a client; to add an engine, write one class and call `register_engine`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.engines.client import ClientEngine
from colbert_qdrant.engines.edge import EdgeEngine
from colbert_qdrant.engines.local import LocalEngine
from colbert_qdrant.engines.server import AutoEngine, GrpcEngine, RestEngine
from colbert_qdrant.errors import ConfigurationError

if TYPE_CHECKING:
    from colbert_qdrant.config import RetryConfig
    from colbert_qdrant.engines.base import AsyncClient, Client, Engine, ShardKey

_ENGINES: Final[list[type[ClientEngine]]] = [EdgeEngine, LocalEngine, AutoEngine, GrpcEngine, RestEngine]


def register_engine(engine: type[ClientEngine]) -> None:
    """Register an engine, which takes precedence over the engines that were registered before.

    Args:
        engine: A subclass of `ClientEngine`, which serves clients with ``QdrantClient``'s method names.

    Raises:
        ConfigurationError: If ``engine`` is not a subclass of `ClientEngine`.
    """
    if not (isinstance(engine, type) and issubclass(engine, ClientEngine)):
        raise ConfigurationError(f"engine must be a subclass of ClientEngine, got {engine!r}")
    if engine not in _ENGINES:
        _ENGINES.insert(0, engine)


def blocking_engine(
    client: Client | AsyncClient, *, retry: RetryConfig | None = None, shard_key: ShardKey | None = None
) -> Engine:
    """Return the engine of a blocking client.

    Args:
        client: The user's client.
        retry: The retry settings of requests.
        shard_key: The shard key of all requests; ``None`` for all shards.

    Raises:
        ConfigurationError: If the client is async, or no engine accepts it.
    """
    engine = _engine_of(client)
    if isinstance(client, engine.AWAITED):
        raise ConfigurationError(
            f"client {type(client).__name__} is async: use AsyncColbertCollection, AsyncMigration or attach_async, or "
            "pass a QdrantClient or an EdgeClient"
        )
    return engine(client, retry=retry, shard_key=shard_key)


def async_engine(
    client: Client | AsyncClient, *, retry: RetryConfig | None = None, shard_key: ShardKey | None = None
) -> Engine:
    """Return the engine of an async client; see `blocking_engine`.

    Raises:
        ConfigurationError: If the client blocks, or no engine accepts it.
    """
    engine = _engine_of(client)
    if isinstance(client, engine.BLOCKING):
        raise ConfigurationError(
            f"client {type(client).__name__} would block the event loop: use ColbertCollection, Migration or attach, "
            "or pass an AsyncQdrantClient or an AsyncEdgeClient"
        )
    return engine(client, retry=retry, shard_key=shard_key)


def _engine_of(client: object) -> type[ClientEngine]:
    for engine in _ENGINES:
        if engine.accepts(client):
            return engine
    raise ConfigurationError(
        "client must be a qdrant_client.QdrantClient or AsyncQdrantClient, an EdgeClient or an AsyncEdgeClient, "
        f"got {type(client).__name__}: make one with connect(url), EdgeClient(path) or QdrantClient(':memory:')"
    )
