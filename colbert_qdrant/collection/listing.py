"""Lists the collections of this library on an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from colbert_qdrant.collection.metadata import read_fingerprint
from colbert_qdrant.encoders.ready import name_of
from colbert_qdrant.engines import AsyncClient, Client, async_engine, blocking_engine
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.errors import (
    AuthenticationError,
    CollectionNotFoundError,
    ConfigurationError,
    SchemaMismatchError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from colbert_qdrant.engines import Engine


@dataclass(frozen=True, kw_only=True)
class CollectionSummary:
    """A collection of this library.

    Attributes:
        name: The collection's name.
        aliases: Its aliases, in alphabetical order; empty if the key may not list them.
        documents: The number of documents, as the engine reports it; servers estimate it while they optimize.
        encoder: The name in the encoder's fingerprint; ``None`` if there is no name.
        fitted: Whether searches can use the encoding: it is fitted, or needs no fit.
        problem: The reason why this version cannot open the collection; ``None`` if there is no such reason.
    """

    name: str
    aliases: tuple[str, ...] = ()
    documents: int
    encoder: str | None = None
    fitted: bool = False
    problem: str | None = None


def list_collections(client: Client) -> list[CollectionSummary]:
    """List the collections that this library created or migrated, in alphabetical order.

    It needs about one request per collection. Collections of other programs, and collections that the client's key may
    not read, are left out.

    Args:
        client: A ``QdrantClient`` (server, ``path=`` or ``":memory:"``) or an `EdgeClient`.

    Raises:
        ConfigurationError: If the client is asynchronous, or is no client.
        AuthenticationError: If the client's key may not list collections.
    """
    return run_blocking(_summaries(blocking_engine(client)))


async def list_collections_async(client: AsyncClient) -> list[CollectionSummary]:
    """List the collections that this library created or migrated; see `list_collections`.

    Args:
        client: An ``AsyncQdrantClient`` or an `AsyncEdgeClient`.

    Raises:
        ConfigurationError: If the client is a blocking one, or is no client.
        AuthenticationError: If the client's key may not list collections.
    """
    return await _summaries(async_engine(client))


async def _summaries(engine: Engine) -> list[CollectionSummary]:
    names = await engine.collection_names()
    try:
        aliases = await engine.get_aliases()
    except AuthenticationError:
        aliases = {}
    found = [await _summary(engine, name, aliases) for name in sorted(names)]
    return [each for each in found if each is not None]


async def _summary(engine: Engine, name: str, aliases: Mapping[str, str]) -> CollectionSummary | None:
    """Describe a collection; ``None`` if it is not this library's, or cannot be read."""
    own = tuple(sorted(alias for alias, collection in aliases.items() if collection == name))
    documents = 0
    try:
        info = await engine.get_collection(name)
        documents = info.points_count or 0
        fingerprint = await read_fingerprint(engine, name, info)
        if fingerprint is None:
            return None
        fingerprint.config  # noqa: B018 - raises if this version cannot read the settings
    except (AuthenticationError, CollectionNotFoundError):
        return None  # the second was deleted in the meantime
    except (ConfigurationError, SchemaMismatchError) as error:
        return CollectionSummary(name=name, aliases=own, documents=documents, problem=str(error))
    return CollectionSummary(
        name=name,
        aliases=own,
        documents=documents - (name in engine.reserved),
        encoder=name_of(fingerprint.encoder),
        fitted=fingerprint.canary is not None,
    )
