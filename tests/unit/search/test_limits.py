"""Strict mode: requests that a server would refuse are not sent, and defaults keep to its limits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant import (
    CapabilityError,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    DenseConfig,
    Document,
    EdgeClient,
    InvalidDocumentError,
    LemurConfig,
    MuveraConfig,
)
from tests.encoders import WordEncoder, random_texts
from tests.faults.server import Answer, FaultyServer, cluster_of
from tests.grpc_server import Server, connect
from tests.grpc_server import serving as serving_grpc

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
DOCUMENTS = [Document(number, text) for number, text in enumerate(random_texts(20))]


@pytest.fixture
def strict(server: FaultyServer, client: QdrantClient) -> Callable[..., ColbertCollection]:
    """Makes a collection with limits, and opens it."""

    def make(*, enabled: bool = True, config: CollectionConfig = CONFIG, **limits: Any) -> ColbertCollection:
        server.strict_mode = {"enabled": enabled, **limits}
        ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config)
        return ColbertCollection.open("docs", client=client, encoder=WordEncoder())

    return make


def match(key: str) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=1))


def test_defaults_keep_to_the_limits(server: FaultyServer, strict: Callable[..., ColbertCollection]) -> None:
    config = replace(CONFIG, fde_quantization="binary")
    docs = strict(config=config, max_query_limit=50, search_max_hnsw_ef=80, search_max_oversampling=1.5)
    docs.search("river")
    prefetch = server.bodies[-1]["searches"][0]["prefetch"]
    assert prefetch["limit"] == 50
    assert prefetch["params"]["hnsw_ef"] == 80
    assert prefetch["params"]["quantization"]["oversampling"] == 1.5
    docs.search("river", prefetch=["fde"])
    assert server.bodies[-1]["searches"][0]["prefetch"]["limit"] == 50
    with pytest.raises(ConfigurationError, match=r"prefetch\['fde'\]=51 exceeds the limit of the server's strict mode"):
        docs.search("river", prefetch={"fde": 51})


def test_a_leg_may_have_the_name_of_a_limit(server: FaultyServer, strict: Callable[..., ColbertCollection]) -> None:
    docs = strict(config=replace(CONFIG, dense={"limit": DenseConfig(dim=2)}))
    docs.search("river", prefetch={"fde": 10, "limit": 5}, vectors={"limit": [1, 2]})
    assert [each["limit"] for each in server.bodies[-1]["searches"][0]["prefetch"]] == [10, 5]


def test_a_server_without_limits_gets_the_defaults(
    server: FaultyServer, strict: Callable[..., ColbertCollection]
) -> None:
    docs = strict(enabled=False, max_query_limit=50, search_max_hnsw_ef=80, search_allow_exact=False)
    docs.search("river")
    prefetch = server.bodies[-1]["searches"][0]["prefetch"]
    assert (prefetch["limit"], prefetch["params"]["hnsw_ef"]) == (100, 200)
    docs.search("river", mode="exact")


@pytest.mark.parametrize(
    ("limits", "call", "message"),
    [
        (
            {"max_query_limit": 50},
            {"limit": 60},
            r"limit=60 exceeds .*max_query_limit=50\): ask for fewer, or lift",
        ),
        ({"max_query_limit": 50}, {"candidates": 51}, r"candidates=51 exceeds the limit"),
        (
            {"search_allow_exact": False},
            {"mode": "exact"},
            r"forbids exact searches \(search_allow_exact=False\): use m",
        ),
        (
            {"unindexed_filtering_retrieve": False},
            {"filter": models.Filter(must=[match("year"), match("city")])},
            r"and \['city'\] have no index: create one with client\.create_payload_index\(name, 'city'",
        ),
        (
            {"unindexed_filtering_retrieve": False},
            {"where": {"$or": [{"year": 1}, {"a[].b": {"ne": 1}}, {"city": {"exists": True}}]}},
            r"and \['a\[\]\.b', 'city'\] have no index",
        ),
    ],
)
def test_what_would_be_refused_is_not_sent(
    server: FaultyServer, strict: Callable[..., ColbertCollection], limits: Any, call: Any, message: str
) -> None:
    server.indexed = ["year"]
    docs = strict(**limits)
    with pytest.raises(ConfigurationError, match=message):
        docs.search("river", **call)
    assert server.requests == 0


@pytest.mark.parametrize(
    "filter",
    [
        models.Filter(must=match("city")),
        models.Filter(should=[models.IsEmptyCondition(is_empty=models.PayloadField(key="city"))]),
        models.Filter(must_not=[models.IsNullCondition(is_null=models.PayloadField(key="city"))]),
        models.Filter(must=[models.Filter(should=[match("year"), match("city")])]),
        models.Filter(min_should=models.MinShould(conditions=[match("city")], min_count=1)),
        models.Filter(
            must=[models.NestedCondition(nested=models.Nested(key="a", filter=models.Filter(must=[match("city")])))]
        ),
    ],
)
def test_keys_are_found_wherever_they_are(
    server: FaultyServer, strict: Callable[..., ColbertCollection], filter: models.Filter
) -> None:
    server.indexed = ["year"]
    docs = strict(unindexed_filtering_retrieve=False, unindexed_filtering_update=False)
    for call in (docs.count, docs.delete):
        with pytest.raises(ConfigurationError, match=r"city'\] have no index"):
            call(filter=filter)
    assert server.requests == 0
    server.indexed = ["year", "city", "a[].city"]
    docs = ColbertCollection.open("docs", client=client_of(docs), encoder=WordEncoder())
    docs.count(filter=filter)
    docs.search("river", filter=models.Filter(must=[models.HasIdCondition(has_id=[1])]))


@pytest.mark.parametrize("index", ["a[].city", "a.city"])
@pytest.mark.parametrize("key", ["a", "a[]"])
def test_an_index_of_nested_objects_is_known_however_it_is_written(
    strict: Callable[..., ColbertCollection], server: FaultyServer, index: str, key: str
) -> None:
    server.indexed = [index]
    nested = models.Nested(key=key, filter=models.Filter(must=[match("city")]))
    docs = strict(unindexed_filtering_retrieve=False)
    docs.count(filter=models.Filter(must=[models.NestedCondition(nested=nested)]))


def test_what_was_allowed_meanwhile_is_not_refused(
    strict: Callable[..., ColbertCollection], server: FaultyServer
) -> None:
    docs = strict(
        max_query_limit=5,
        search_allow_exact=False,
        unindexed_filtering_retrieve=False,
        unindexed_filtering_update=False,
    )
    city = models.Filter(must=[match("city")])
    for call in (docs.count, docs.delete):
        with pytest.raises(ConfigurationError):
            call(filter=city)
    server.indexed = ["city"]
    assert docs.count(filter=city) == 0
    docs.delete(filter=city)
    server.strict_mode = {"enabled": True, "max_query_limit": 20}
    assert docs.search("river", limit=20, filter=city, mode="exact") == []


def client_of(docs: ColbertCollection) -> Any:
    return docs._opened.engine.client


def test_groups_keep_to_the_limits(server: FaultyServer, strict: Callable[..., ColbertCollection]) -> None:
    server.indexed = ["year"]
    docs = strict(max_query_limit=50, unindexed_filtering_retrieve=False)
    with pytest.raises(ConfigurationError, match=r"limit × group_size=60 exceeds .*max_query_limit=50"):
        docs.search_groups("river", "year", limit=20)
    with pytest.raises(ConfigurationError, match=r"and \['city'\] have no index: create one"):
        docs.search_groups("river", "city")
    assert server.requests == 0


def test_batches_keep_to_the_limits(server: FaultyServer, strict: Callable[..., ColbertCollection]) -> None:
    docs = strict(upsert_max_batchsize=3, search_max_batchsize=2)
    docs.ingest(DOCUMENTS)
    assert [len(body["points"]) for body in server.bodies] == [3] * 6 + [2]
    server.bodies.clear()
    assert docs.search_batch(["river", "stone", "tree", "lake", "sea"]) == [[]] * 5
    assert [len(body["searches"]) for body in server.bodies] == [2, 2, 1]


def test_a_document_with_too_many_tokens_is_named_before_anything_is_written(
    server: FaultyServer, strict: Callable[..., ColbertCollection]
) -> None:
    docs = strict(multivector_config={"colbert": {"max_vectors": 6}})
    with pytest.raises(InvalidDocumentError, match=r"document 'long' has 7 token vectors, .* allows 6"):
        docs.upsert([Document("short", "a b c d e f"), Document("long", "a b c d e f g")])
    assert server.ledger == {}


CUSTOM = replace(CONFIG, sharding="custom")


def test_every_request_is_for_the_shards_of_the_key(server: FaultyServer, client: QdrantClient) -> None:
    server.cluster = cluster_of(key="acme", Active=1)
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CUSTOM, shard_key="acme")
    assert server.created is not None
    assert server.created["sharding_method"] == "custom"
    docs.ingest(DOCUMENTS)
    docs.search("river")
    docs.count()
    docs.delete(ids=1)
    server.script = [Answer(body=b'{"result": [], "status": "ok", "time": 0}')]
    docs.get(1)
    *others, search, count, delete, get = server.bodies
    assert all(body["shard_key"] == "acme" for body in [*others, count, delete, get])
    assert search["searches"][0]["shard_key"] == "acme"


def test_without_a_shard_key_everything_is_searched_and_nothing_is_written(
    server: FaultyServer, client: QdrantClient
) -> None:
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CUSTOM)
    docs.search("river")
    assert "shard_key" not in server.bodies[-1]["searches"][0]
    with pytest.raises(ConfigurationError, match="a write needs a shard key: open it with shard_key="):
        docs.upsert(DOCUMENTS[:1])
    assert server.ledger == {}


def test_over_grpc_too() -> None:
    with serving_grpc(Server()) as server:
        client = connect(server.port)
        docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CUSTOM, shard_key=7)
        docs.upsert(DOCUMENTS[:1])
        assert [key.number for key in server.upserts[0].shard_key_selector.shard_keys] == [7]
        client.close()


def test_shard_keys_where_there_are_none_are_refused(client: QdrantClient, tmp_path: Path) -> None:
    arguments: Any = {"encoder": WordEncoder(), "config": CONFIG}
    with pytest.raises(ConfigurationError, match=r"uses automatic sharding: omit shard_key='acme'"):
        ColbertCollection.create("docs", client=client, shard_key="acme", **arguments)
    with EdgeClient(tmp_path) as edge, pytest.raises(CapabilityError, match="sharding='custom' needs a Qdrant server"):
        ColbertCollection.create("docs", client=edge, encoder=WordEncoder(), config=CUSTOM)
    with pytest.raises(ConfigurationError, match="sharding='custom' separates documents, but a fitted encoding"):
        CollectionConfig(fde=LemurConfig(), sharding="custom")
