"""Finds the engine behind a client; a new engine is one class and one call of `register_engine`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.engines.client import ClientEngine
from colbert_qdrant.engines.edge import EdgeEngine
from colbert_qdrant.engines.local import LocalEngine
from colbert_qdrant.engines.server import GrpcEngine, RestEngine
from colbert_qdrant.errors import ConfigurationError

if TYPE_CHECKING:
    from colbert_qdrant.config import RetryConfig
    from colbert_qdrant.engines.base import AsyncClient, Client, Engine, ShardKey

_ENGINES: Final[list[type[ClientEngine]]] = [EdgeEngine, LocalEngine, GrpcEngine, RestEngine]


def register_engine(engine: type[ClientEngine]) -> None:
    """Have an engine asked first whether a client is one of its own.

    Args:
        engine: A subclass of `ClientEngine`, which serves clients with ``QdrantClient``'s method names.

    Raises:
        ConfigurationError: The engine is no such class.
    """
    if not (isinstance(engine, type) and issubclass(engine, ClientEngine)):
        raise ConfigurationError(f"register_engine takes a class that extends ClientEngine, got {engine!r}")
    if engine not in _ENGINES:
        _ENGINES.insert(0, engine)


def blocking_engine(
    client: Client | AsyncClient, *, retry: RetryConfig | None = None, shard_key: ShardKey | None = None
) -> Engine:
    """Return the engine of a client that blocks.

    Args:
        client: The user's client.
        retry: What is done about failing requests.
        shard_key: The shards that requests are for; ``None`` for all.

    Raises:
        ConfigurationError: The client has to be awaited, or no engine knows it.
    """
    engine = _engine_of(client)
    if isinstance(client, engine.AWAITED):
        raise ConfigurationError(
            f"{type(client).__name__} has to be awaited: use AsyncColbertCollection or AsyncMigration, or "
            "attach_async, or give a QdrantClient or an EdgeClient"
        )
    return engine(client, retry=retry, shard_key=shard_key)


def async_engine(
    client: Client | AsyncClient, *, retry: RetryConfig | None = None, shard_key: ShardKey | None = None
) -> Engine:
    """Return the engine of a client whose methods are awaited; see `blocking_engine`.

    Raises:
        ConfigurationError: The client blocks, or no engine knows it.
    """
    engine = _engine_of(client)
    if isinstance(client, engine.BLOCKING):
        raise ConfigurationError(
            f"{type(client).__name__} would block the event loop: use ColbertCollection or Migration, or attach, or "
            "give an AsyncQdrantClient or an AsyncEdgeClient"
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
