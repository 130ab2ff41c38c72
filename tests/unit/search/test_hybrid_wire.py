"""What goes over the wire for prefetches and their fusion: in the words of the server's version, or an error."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import grpc as messages
from qdrant_client import models

from colbert_qdrant import (
    Bm25Config,
    CapabilityError,
    ColbertCollection,
    CollectionConfig,
    DenseConfig,
    Document,
    MuveraConfig,
    Rrf,
    SparseConfig,
)
from tests.encoders import WordEncoder
from tests.faults.server import Answer
from tests.grpc_server import Server, connect, serving

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

    from tests.faults.server import FaultyServer

MUVERA = MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)
CONFIG = CollectionConfig(fde=MUVERA, bm25=Bm25Config(language="german", avg_len=256))
OPTIONS = {"language": "german", "k": 1.2, "b": 0.75, "avg_len": 256.0, "ascii_folding": False}


def create(client: QdrantClient, config: CollectionConfig = CONFIG) -> ColbertCollection:
    return ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config)


def test_vectors_beside_the_encoding_are_made(server: FaultyServer, client: QdrantClient) -> None:
    dense, sparse = {"meaning": DenseConfig(dim=3)}, {"words": SparseConfig()}
    create(client, CollectionConfig(fde=MUVERA, bm25=Bm25Config(), dense=dense, sparse=sparse))
    assert server.created is not None
    assert server.created["vectors"]["meaning"] == {"size": 3, "distance": "Cosine"}
    assert server.created["sparse_vectors"] == {"words": {}, "bm25": {"modifier": "idf"}}


def test_a_collection_without_further_vectors_says_nothing_of_them(server: FaultyServer, client: QdrantClient) -> None:
    create(client, CollectionConfig(fde=MUVERA))
    assert server.created is not None
    assert "sparse_vectors" not in server.created
    assert set(server.created["vectors"]) == {"fde", "colbert"}


@pytest.mark.parametrize("version", ["1.16.0", "1.20.0"])
def test_a_server_that_can_makes_bm25_of_texts(server: FaultyServer, client: QdrantClient, version: str) -> None:
    server.version = version
    docs = create(client)
    docs.upsert([Document(1, "Häuser am Fluss")])
    document = {"text": "Häuser am Fluss", "model": "Qdrant/bm25", "options": OPTIONS}
    assert server.bodies[-1]["points"][0]["vector"]["bm25"] == document
    docs.search("Haus", prefetch={"bm25": 7}, limit=3)
    (search,) = server.bodies[-1]["searches"]
    assert search["prefetch"] == {"query": {**document, "text": "Haus"}, "using": "bm25", "limit": 7}
    assert (search["using"], search["limit"]) == ("colbert", 3 + 10)
    server.bodies.clear()
    docs.search("Haus", mode="bm25", limit=3, offset=15)
    (body,) = server.bodies
    (search,) = body["searches"]
    assert (search["query"], search["using"]) == ({**document, "text": "Haus"}, "bm25")
    assert (search["limit"], search["offset"]) == (10 + 3 + 10, 5)
    assert not {"prefetch", "params"} & set(search)


@pytest.mark.parametrize(
    ("language", "options"),
    [
        ("japanese", {"language": "japanese", "tokenizer": "multilingual"}),
        ("chinese", {"language": "chinese", "tokenizer": "multilingual"}),
        ("thai", {"tokenizer": "multilingual"}),
    ],
)
def test_a_server_is_told_to_split_texts_without_spaces(
    server: FaultyServer, client: QdrantClient, language: str, options: dict[str, str]
) -> None:
    docs = create(client, replace(CONFIG, bm25=Bm25Config(language=language, avg_len=256)))
    docs.upsert([Document(1, "港")])
    sent = server.bodies[-1]["points"][0]["vector"]["bm25"]["options"]
    assert sent == {**{key: value for key, value in OPTIONS.items() if key != "language"}, **options}


@pytest.mark.parametrize("version", ["1.13.0", "1.15.5"])
def test_an_older_server_gets_vectors(server: FaultyServer, client: QdrantClient, version: str) -> None:
    server.version = version
    docs = create(client)
    server.script = []
    docs.upsert([Document(1, "Häuser am Fluss")])
    vector = server.bodies[-1]["points"][0]["vector"]["bm25"]
    assert len(vector["indices"]) == len(vector["values"]) == 2
    docs.search("Haus", prefetch=["bm25"])
    query = server.bodies[-1]["searches"][0]["prefetch"]["query"]
    assert set(query["indices"]) < set(vector["indices"])
    assert query["values"] == [1.0]
    docs.search("Haus", mode="bm25")
    assert server.bodies[-1]["searches"][0]["query"] == query


def test_texts_go_over_grpc_too() -> None:
    with serving(Server()) as server:
        client = connect(server.port)
        create(client).upsert([Document(1, "Häuser am Fluss")])
        vector = server.upserts[0].points[0].vectors.vectors.vectors["bm25"]
        assert (vector.document.text, vector.document.model) == ("Häuser am Fluss", "Qdrant/bm25")
        assert vector.document.options["language"].string_value == "german"
        ColbertCollection.open("docs", client=client, encoder=WordEncoder()).search("Haus", mode="bm25")
        (search,) = messages.QueryBatchPoints.FromString(server.texts[-1]).query_points
        assert (search.using, search.query.nearest.document.text) == ("bm25", "Haus")
        client.close()


FUSIONS: list[tuple[Any, str, Any]] = [
    (Rrf(k=2), "1.10", {"fusion": "rrf"}),
    ("dbsf", "1.11", {"fusion": "dbsf"}),
    (models.FormulaQuery(formula="$score"), "1.14", {"formula": "$score"}),
]


@pytest.mark.parametrize(("fusion", "since", "query"), FUSIONS)
@pytest.mark.parametrize("minor", range(10, 21))
def test_a_fusion_is_sent_to_servers_that_know_it(
    server: FaultyServer, client: QdrantClient, fusion: Any, since: str, query: Any, minor: int
) -> None:
    server.version = f"1.{minor}.0"
    docs = create(client)
    server.bodies.clear()
    if minor < int(since.split(".")[1]):
        with pytest.raises(CapabilityError, match=f"needs Qdrant {since}"):
            docs.search("Haus", mode="hybrid", fusion=fusion)
        assert server.bodies == []
        return
    docs.search("Haus", mode="hybrid", fusion=fusion)
    search = server.bodies[-1]["searches"][0]
    sent = search["query"]
    assert {key: value for key, value in sent.items() if value is not None} == query
    if isinstance(fusion, models.FormulaQuery):
        assert [leg["using"] for leg in search["prefetch"]["prefetch"]] == ["fde", "bm25"]
        assert search["prefetch"]["using"] == "colbert"
    else:
        ranked, bm25 = search["prefetch"]
        assert (ranked["using"], ranked["prefetch"]["using"], bm25["using"]) == ("colbert", "fde", "bm25")
        assert "using" not in search


@pytest.mark.parametrize(
    ("fusion", "version"),
    [("rrf", "1.16.0"), (Rrf(k=7), "1.19.0")],
)
def test_a_server_fuses_ranks_without_weights(
    server: FaultyServer, client: QdrantClient, fusion: Any, version: str
) -> None:
    server.version = version
    create(client).search("Haus", mode="hybrid", fusion=fusion)
    sent = server.bodies[-1]["searches"][0]["query"]
    assert sent == {"rrf": {"k": fusion.k if isinstance(fusion, Rrf) else 60}}


@pytest.mark.parametrize(
    ("fusion", "version"),
    [
        (None, "1.10.0"),
        ("blend", "1.19.0"),
        ("rrf", "1.15.0"),
        (Rrf(weights={"bm25": 2}), "1.10.0"),
        (Rrf(weights={"bm25": 2}), "1.19.0"),
    ],
)
def test_one_batch_brings_all_scores_that_are_fused_here(
    server: FaultyServer, client: QdrantClient, fusion: Any, version: str
) -> None:
    server.version = version
    docs = create(client)
    server.bodies.clear()
    docs.search("Haus", mode="hybrid", fusion=fusion, candidates=20)
    (body,) = server.bodies
    every, *lists = body["searches"]
    assert (every["using"], [leg["using"] for leg in every["prefetch"]]) == ("colbert", ["fde", "bm25"])
    assert every["limit"] >= 40
    assert "offset" not in every
    assert [(each["using"], each["limit"]) for each in lists] == [("fde", 20), ("bm25", 20)]
    assert all(
        each["with_payload"] in (False, ["_colbert_qdrant_id"], [docs.config.id_key]) for each in body["searches"]
    )


@pytest.mark.parametrize("minor", [15, 16, 20])
def test_a_filtered_search_walks_the_graph_through_what_is_left_out(
    server: FaultyServer, client: QdrantClient, minor: int
) -> None:
    server.version = f"1.{minor}.0"
    docs = create(client)
    server.bodies.clear()
    docs.search("Haus", where={"year": 2020})
    assert ("acorn" in server.bodies[0]["searches"][0]["prefetch"]["params"]) == (minor >= 16)
    docs.search("Haus")
    assert "acorn" not in server.bodies[-1]["searches"][0]["prefetch"]["params"]


def found(number: int) -> Answer:
    point = {"id": 1, "version": 0, "score": 0.5, "payload": {"_id": 1, "text": "a"}}
    body = {"result": [{"points": [{**point, "id": id} for id in range(number)]}], "status": "ok", "time": 0.25}
    return Answer(body=json.dumps(body).encode())


@pytest.mark.parametrize("mode", ["two-stage", "fde"])
def test_a_filtered_search_that_finds_too_little_looks_at_everything(
    server: FaultyServer, client: QdrantClient, mode: Any
) -> None:
    docs = create(client)
    server.bodies.clear()
    server.script = [found(3), found(5)]
    hits = docs.search("Haus", mode=mode, where={"year": 2020}, timings=True)
    assert len(hits) == 5
    assert hits.timings is not None
    assert hits.timings.server == 0.5  # of both requests
    first, second = (body["searches"][0] for body in server.bodies)
    stage = second if mode == "fde" else second.pop("prefetch")
    assert stage.pop("params") == {"exact": True}
    other = first if mode == "fde" else first.pop("prefetch")
    assert other.pop("params")["hnsw_ef"] > 0
    assert (first, stage) == (second, other)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"where": {"year": 2020}, "limit": 3},
        {"where": {"year": 2020}, "score_threshold": 0.1},
        {"where": {"year": 2020}, "params": models.SearchParams(hnsw_ef=7)},
        {"where": {"year": 2020}, "mode": "exact"},
        {"where": {"year": 2020}, "mode": "bm25"},
        {"where": {"city": "Ulm"}},
        {"filter": models.Filter(must_not=[models.HasIdCondition(has_id=[7])])},
    ],
)
def test_all_others_are_one_request(server: FaultyServer, client: QdrantClient, arguments: Any) -> None:
    docs = create(client, replace(CONFIG, payload_indexes={"city": "keyword"}))
    server.bodies.clear()
    server.script = [found(3)]
    assert len(docs.search("Haus", **arguments)) == 3
    assert len(server.bodies) == 1


def test_a_server_that_forbids_it_is_not_asked_to_look_at_everything(
    server: FaultyServer, client: QdrantClient
) -> None:
    server.strict_mode = {"enabled": True, "search_allow_exact": False}
    docs = create(client)
    server.bodies.clear()
    for mode in ("two-stage", "bm25"):
        server.script = [found(3)]
        assert len(docs.search("Haus", where={"year": 2020}, mode=mode)) == 3
    assert len(server.bodies) == 2


def test_a_leg_with_its_own_limit_is_searched_as_far(server: FaultyServer, client: QdrantClient) -> None:
    docs = create(client)
    docs.search("Haus", prefetch={"fde": 500, "bm25": 50}, limit=10, offset=400)
    fde, bm25 = server.bodies[-1]["searches"][0]["prefetch"]
    assert (fde["limit"], fde["params"]["hnsw_ef"], bm25["limit"]) == (500, 1000, 50)
    docs.search("Haus", prefetch={"fde": 50, "bm25": 500}, fusion=models.FormulaQuery(formula="$score"))
    prefetch = server.bodies[-1]["searches"][0]["prefetch"]
    assert (prefetch["limit"], prefetch["prefetch"][0]["params"]["hnsw_ef"]) == (500, 128)


def test_which_vectors_found_a_hit_is_asked_in_the_same_request(server: FaultyServer, client: QdrantClient) -> None:
    docs = create(client)
    docs.search("Haus", mode="hybrid", limit=5, candidates=20)
    main, *prefetches = server.bodies[-1]["searches"]
    assert server.requests == 1
    assert [leg["using"] for leg in main["prefetch"]] == ["fde", "bm25"]
    assert [(each["using"], each["limit"], each["with_payload"]) for each in prefetches] == [
        ("fde", 20, False),
        ("bm25", 20, False),
    ]
    for mode in ("two-stage", "bm25"):
        docs.search("Haus", mode=mode)
        assert len(server.bodies[-1]["searches"]) == 1


@pytest.mark.parametrize("minor", [14, 15])
def test_pages_are_for_servers_that_skip_hits_and_not_candidates(
    server: FaultyServer, client: QdrantClient, minor: int
) -> None:
    server.version = f"1.{minor}.0"
    docs = create(client)
    if minor < 15:
        with pytest.raises(CapabilityError, match=r"offset=10 needs Qdrant 1\.15"):
            docs.search("Haus", offset=10)
        return
    docs.search("Haus", offset=15, score_threshold=1.5)
    search = server.bodies[-1]["searches"][0]
    assert (search["offset"], search["limit"]) == (15 - 10, 10 + 10 + 10)  # with those that may be equal
    assert (search["score_threshold"], search["prefetch"]["limit"]) == (1.5, 100)
    assert "offset" not in search["prefetch"]
