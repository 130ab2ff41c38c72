"""Custom sharding: whether there are shards for a request is asked first, and said."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient

from colbert_qdrant import (
    AsyncColbertCollection,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    DenseConfig,
    Document,
    MuveraConfig,
)
from tests.encoders import WordEncoder
from tests.faults.server import FaultyServer, cluster_of

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG: Final = CollectionConfig(
    fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2), sharding="custom", dense={"meaning": DenseConfig(dim=2)}
)
NO_SHARDS: Final = cluster_of()

SEARCHES: Final[dict[str, Callable[[ColbertCollection], Any]]] = {
    "search": lambda docs: docs.search("river"),
    "search_batch": lambda docs: docs.search_batch(["river"]),
    "search_groups": lambda docs: docs.search_groups("river", "year"),
    "more_like": lambda docs: docs.more_like(1),
}
WRITES: Final[dict[str, Callable[[ColbertCollection], Any]]] = {
    "upsert": lambda docs: docs.upsert([Document(1, "river")]),
    "ingest": lambda docs: docs.ingest([Document(1, "river")]),
    "delete by id": lambda docs: docs.delete(ids=1),
    "delete by payload": lambda docs: docs.delete(where={"year": 2020}),
    "set_payload": lambda docs: docs.set_payload({"year": 2020}, ids=1),
    "delete_payload": lambda docs: docs.delete_payload("year", ids=1),
    "update_vectors": lambda docs: docs.update_vectors("meaning", {1: [1.0, 0.0]}),
}


def made(client: QdrantClient, shard_key: str | None = None, config: CollectionConfig = CONFIG) -> ColbertCollection:
    return ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config, shard_key=shard_key)


def asked(server: FaultyServer) -> int:
    return sum(b"/cluster" in text for text in server.texts)


@pytest.mark.parametrize("call", SEARCHES)
def test_a_search_of_no_shards_is_not_sent(server: FaultyServer, client: QdrantClient, call: str) -> None:
    server.cluster = NO_SHARDS
    docs = made(client)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match=r"has no shard key yet.*client\.create_shard_key\('docs', …\)"):
            SEARCHES[call](docs)
    assert server.requests == 0
    server.cluster = cluster_of(key="acme", Active=1)
    docs.search("river")  # what was made meanwhile is seen, and not asked for again
    times = asked(server)
    docs.search("river")
    assert asked(server) == times


@pytest.mark.parametrize("call", WRITES)
def test_a_write_needs_a_key_that_is_there(server: FaultyServer, client: QdrantClient, call: str) -> None:
    server.cluster = NO_SHARDS
    with pytest.raises(ConfigurationError, match=r"a write needs a shard key: open it with shard_key=…"):
        WRITES[call](made(client))
    server.created = None
    docs = made(client, "acme")
    with pytest.raises(ConfigurationError, match=r"has no shard key 'acme' \(it has none\): create it with client"):
        WRITES[call](docs)
    server.cluster = cluster_of(key="other", Active=2)
    with pytest.raises(ConfigurationError, match=r"\(it has 'other'\)"):
        WRITES[call](docs)
    assert server.requests == 0
    server.cluster = cluster_of(key="acme", Active=1)
    WRITES[call](docs)
    assert server.bodies[-1]["shard_key"] == "acme"


def test_reads_of_a_key_that_is_not_there(server: FaultyServer, client: QdrantClient) -> None:
    server.cluster = NO_SHARDS
    docs = made(client, "acme")
    for call in (docs.count, lambda: docs.get(1), lambda: docs.search("river")):
        with pytest.raises(ConfigurationError, match="has no shard key 'acme'"):
            call()
    assert made_anew(server, client).count() == 0  # without a key, of no shards


def made_anew(server: FaultyServer, client: QdrantClient) -> ColbertCollection:
    server.created = None
    return made(client)


def test_whoever_may_not_know_sends_it(server: FaultyServer, client: QdrantClient) -> None:
    server.cluster = None
    docs = made(client, "acme")
    docs.upsert([Document(1, "river")])
    docs.search("river")
    assert asked(server) == 1


def test_nobody_asks_where_documents_are_spread_by_themselves(server: FaultyServer, client: QdrantClient) -> None:
    docs = made(client, config=CollectionConfig(fde=CONFIG.fde))
    docs.upsert([Document(1, "river")])
    docs.search("river")
    docs.delete(ids=1)
    assert asked(server) == 0


def test_awaited(server: FaultyServer) -> None:
    async def run() -> None:
        server.cluster = NO_SHARDS
        client = AsyncQdrantClient(host="127.0.0.1", port=server.port, check_compatibility=False)
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
        with pytest.raises(ConfigurationError, match="has no shard key yet"):
            await docs.search("river")
        await client.close()

    asyncio.run(run())
