"""What migrations say to servers, which no embedded engine can show: versions, limits, settings, keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant import ColbertCollection, CollectionConfig, LemurConfig, MigrationError, ServerError
from colbert_qdrant.migrate import Migration
from tests.encoders import WordEncoder, random_texts
from tests.faults.engine import EngineServer
from tests.faults.grpc_engine import GrpcEngine
from tests.faults.migrating import FAST, MUVERA, check_migrated, contents, fill, on_server, planned, resumed, stand_for
from tests.faults.server import failing, serving
from tests.grpc_server import connect
from tests.grpc_server import serving as serving_grpc

if TYPE_CHECKING:
    from collections.abc import Iterator

COUNT = 24
INTEGER = models.PayloadSchemaType.INTEGER


@pytest.fixture
def server() -> Iterator[EngineServer]:
    with serving(EngineServer()) as running:
        yield running


@pytest.fixture
def client(server: EngineServer) -> Iterator[QdrantClient]:
    client = on_server(server.port)
    fill(client, count=COUNT)
    yield client
    client.close()


def bodies(server: EngineServer, method: str, path: str) -> list[Any]:
    """What was sent there."""
    return [body for *where, body in server.log if where == [method, path]]


def places(server: EngineServer, method: str, path: str) -> list[int]:
    """When something was sent there."""
    return [place for place, (*where, _) in enumerate(server.log) if where == [method, path]]


@pytest.mark.parametrize("strategy", ["computed", "in place"])
def test_a_plan_only_reads(server: EngineServer, client: QdrantClient, strategy: Any) -> None:
    server.read_only = True
    server.log.clear()
    planned(client, strategy)
    written = [each for each in server.log if each[0] in ("PUT", "PATCH", "DELETE") or each[1].endswith("/delete")]
    assert written == []
    assert "/collections/aliases" not in {path for _, path, _ in server.log}


@pytest.mark.parametrize("version", ["1.12.6", "1.15.5", "1.16.3", "1.18.3"])
def test_in_place_is_refused_before_1_19_with_the_reason(
    server: EngineServer, client: QdrantClient, version: str
) -> None:
    server.version = version
    server.log.clear()
    migration = planned(client, "in place")
    assert ["before 1.19" in risk.problem for risk in migration.details.blocked] == [True]
    with pytest.raises(MigrationError, match=r"servers before 1\.19 lose points .* use strategy='blue_green'"):
        migration.run()
    assert {method for method, *_ in server.log} == {"GET", "POST"}


def test_vectors_are_added_without_a_graph_or_quantization_of_the_collection_s(
    server: EngineServer, client: QdrantClient
) -> None:
    server.graphs["docs"] = {"m": 32}
    server.quantizations["docs"] = {"scalar": {"type": "int8"}}
    before = contents(client, "docs")
    migration = planned(client, "in place")
    server.log.clear()
    server.status = ["green", "green", "yellow", "yellow", "yellow"]
    migration.run()
    assert bodies(server, "PUT", "/collections/docs/vectors/fde") == [
        {"dense": {"size": MUVERA.dim, "distance": "Dot", "datatype": "float16"}}
    ]
    assert bodies(server, "PUT", "/collections/docs/vectors/colbert") == [
        {
            "dense": {
                "size": 32,
                "distance": "Dot",
                "datatype": "float16",
                "multivector_config": {"comparator": "max_sim"},
            }
        }
    ]
    changes = [body["vectors"] for body in bodies(server, "PATCH", "/collections/docs") if "vectors" in body]
    assert len(changes) == 1
    assert set(changes[0]) == {"fde", "colbert", "colbert__origin"}
    for name in ("colbert", "colbert__origin"):
        assert changes[0][name]["hnsw_config"] == {"m": 0, "payload_m": 0}
    assert changes[0]["fde"]["hnsw_config"]["m"] == CollectionConfig().hnsw.m
    assert [each["quantization_config"] for each in changes[0].values()] == 3 * ["Disabled"]
    first = places(server, "PUT", "/collections/docs/points/vectors")[0]
    patched = [place for place, (_, _, body) in enumerate(server.log) if "vectors" in body and place < first]
    looked = [place for place in places(server, "GET", "/collections/docs") if patched[-1] < place < first]
    assert server.status == []
    assert len(looked) >= 3  # yellow, yellow, green
    assert migration.verify().passed
    check_migrated(client, "in place", before)


@pytest.mark.parametrize("version", ["1.13.6", "1.15.5"])
def test_before_there_was_metadata_all_is_kept_in_a_point_that_is_no_document(
    server: EngineServer, client: QdrantClient, version: str
) -> None:
    server.version = version
    before = contents(client, "docs")
    migration = planned(client, "computed")
    report = migration.run()
    assert report.points == COUNT
    created = bodies(server, "PUT", "/collections/new")
    assert len(created) == 1
    assert "metadata" not in created[0]
    assert client.count("new", exact=True).count == COUNT + 1
    assert resumed(client, "computed").run().points == 0
    again = planned(client, "computed")
    assert (again.details.present, again.details.points) == (COUNT, COUNT)
    assert again.run().present == COUNT
    verdict = again.verify()
    assert verdict.passed, verdict.reasons
    assert verdict.points == COUNT
    stand_for(client, "live", "docs")
    again.switch("live")
    again.rollback()
    assert again.cleanup(confirm=lambda question: f"{COUNT} points" in question) == "new"
    # the source's own reserved point is not copied: it is a target itself
    own = planned(client, "computed")
    own.run()
    second = Migration.plan(client, "new", "newer", fde=LemurConfig(dim=8, hidden=16, epochs=0, learn_tokens=50))
    assert second.details.points == COUNT
    second.run()
    assert second.verify().passed
    assert ColbertCollection.open("newer", client=client, encoder=WordEncoder()).count() == COUNT
    assert set(contents(client, "docs")) == set(before)


def test_a_server_of_1_12_cannot_say_which_points_have_a_vector(server: EngineServer, client: QdrantClient) -> None:
    server.version = "1.12.6"
    migration = planned(client, "computed")
    migration.run()
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
    assert {check.name: check.passed for check in verdict.checks}["vectors"] is None
    assert "has_vector" not in json.dumps(server.log)
    fitted = planned(client, "fitted")
    assert any("fitted to its collection needs" in risk.problem for risk in fitted.details.blocked)


@pytest.mark.parametrize("version", ["1.13.6", "1.15.5"])
def test_a_run_that_ends_before_it_could_say_what_it_made_is_gone_on_with(
    server: EngineServer, client: QdrantClient, version: str
) -> None:
    server.version = version
    migration = planned(client, "computed")
    server.fault = lambda method, path, body: failing(500) if path == "/collections/new/points" else None
    with pytest.raises(ServerError, match="in collection 'new' failed"):
        migration.run()
    server.fault = lambda method, path, body: None
    assert client.collection_exists("new")
    before = contents(client, "docs")
    again = planned(client, "computed")
    assert not again.details.blocked
    again.run()
    assert again.verify().passed
    assert set(contents(client, "docs")) == set(before)


def test_a_strict_mode_is_kept_to_and_copied_when_all_is_there(server: EngineServer, client: QdrantClient) -> None:
    server.strict["docs"] = {"enabled": True, "max_query_limit": 7, "upsert_max_batchsize": 5}
    server.log.clear()
    migration = planned(client, "computed")
    assert any("strict mode" in risk.problem for risk in migration.details.risks)
    migration.run()
    limits = [body["limit"] for _, path, body in server.log if path == "/collections/docs/points/scroll"]
    assert max(limits) <= 7
    copied = [
        place for place in places(server, "PATCH", "/collections/new") if "strict_mode_config" in server.log[place][2]
    ]
    assert len(copied) == 1
    assert copied[0] > max(places(server, "PUT", "/collections/new/points"))
    assert server.strict["new"] == server.strict["docs"]
    client.upsert("docs", [models.PointStruct(id=1000 + n, payload={"document": "river"}, vector={}) for n in range(5)])
    client.upsert("docs", [models.PointStruct(id=2000 + n, payload={"document": "river"}, vector={}) for n in range(5)])
    server.log.clear()
    assert migration.run().points == 10  # into a target that has the limits by now
    assert all(len(body["points"]) <= 5 for body in bodies(server, "PUT", "/collections/new/points"))
    client.delete("docs", [1000])
    assert migration.run().removed == 1
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons


def test_in_place_keeps_to_a_strict_mode(server: EngineServer, client: QdrantClient) -> None:
    server.strict["docs"] = {"enabled": True, "max_query_limit": 7, "upsert_max_batchsize": 5}
    migration = planned(client, "in place")
    migration.run()
    assert {len(body["points"]) for body in bodies(server, "PUT", "/collections/docs/points/vectors")} <= {
        1,
        2,
        3,
        4,
        5,
    }
    assert migration.verify().passed


def test_settings_of_the_source_hold_for_the_vectors_that_are_copied_and_for_no_others(
    server: EngineServer, client: QdrantClient
) -> None:
    server.params["docs"] = {"shard_number": 3, "replication_factor": 2, "write_consistency_factor": 2}
    server.graphs["docs"] = {"m": 40, "ef_construct": 222, "payload_m": 8}
    server.quantizations["docs"] = {"scalar": {"type": "int8", "quantile": 0.98}}
    server.configs["docs"] = {
        "optimizer_config": {"deleted_threshold": 0.4, "default_segment_number": 3, "flush_interval_sec": 7},
        "wal_config": {"wal_capacity_mb": 64, "wal_segments_ahead": 2},
    }
    client.create_payload_index("docs", "meta.n", INTEGER)
    client.create_payload_index(
        "docs", "document", models.TextIndexParams(type=models.TextIndexType.TEXT, min_token_len=3, lowercase=True)
    )
    client.create_payload_index(
        "docs", "tenant", models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
    )
    planned(client, "computed").run()
    (created,) = bodies(server, "PUT", "/collections/new")
    assert {name: created[name] for name in server.params["docs"]} == server.params["docs"]
    assert "hnsw_config" not in created
    assert "quantization_config" not in created
    dense = created["vectors"]["dense"]
    assert {name: dense["hnsw_config"][name] for name in ("m", "ef_construct", "payload_m")} == server.graphs["docs"]
    assert dense["quantization_config"] == server.quantizations["docs"]
    assert "quantization_config" not in created["vectors"]["fde"]
    assert created["vectors"]["fde"]["hnsw_config"]["m"] == CollectionConfig().hnsw.m
    assert created["vectors"]["fde"]["hnsw_config"]["payload_m"] == 8  # a tenant's own graph
    assert created["vectors"]["colbert"]["hnsw_config"] == {"m": 0, "payload_m": 0}
    assert {name: created[name] for name in ("optimizers_config", "wal_config")} == {
        "optimizers_config": server.configs["docs"]["optimizer_config"],
        "wal_config": server.configs["docs"]["wal_config"],
    }
    assert created["sparse_vectors"] == {"words": {"modifier": "idf"}}
    assert server.indexes["new"] == server.indexes["docs"]
    assert server.indexes["new"]["tenant"] == {"type": "keyword", "is_tenant": True}


def test_the_threshold_of_a_bulk_ingest_is_not_copied(server: EngineServer, client: QdrantClient) -> None:
    server.optimizers["docs"] = {"indexing_threshold": 0}
    server.metadata["docs"] = {"colbert_qdrant_bulk": {"indexing_threshold": 777}}
    planned(client, "computed").run()
    (created,) = bodies(server, "PUT", "/collections/new")
    assert created["optimizers_config"]["indexing_threshold"] == 777


def test_shards_are_not_those_of_another_server(server: EngineServer, client: QdrantClient) -> None:
    server.params["docs"] = {"shard_number": 3, "replication_factor": 2}
    with serving(EngineServer()) as other:
        there = on_server(other.port)
        planned(client, "computed", target_client=there).run()
        (created,) = bodies(other, "PUT", "/collections/new")
        assert "shard_number" not in created
        assert "replication_factor" not in created
        assert other.local.count("new").count == COUNT
        there.close()


def test_shard_keys_of_one_s_own_are_in_the_way(server: EngineServer, client: QdrantClient) -> None:
    server.params["docs"] = {"sharding_method": "custom"}
    migration = planned(client, "computed")
    assert any("shard keys" in risk.problem for risk in migration.details.blocked)


def test_no_key_is_kept_or_shown(server: EngineServer, client: QdrantClient) -> None:
    key = "sEcReT-kEy-0123456789"
    with pytest.warns(UserWarning, match="insecure"):
        keyed = QdrantClient(url=f"http://127.0.0.1:{server.port}", api_key=key, check_compatibility=False)
    migration = planned(keyed, "computed", target_client=keyed)
    migration.run()
    verdict = migration.verify()
    stand_for(client, "live", "docs")
    migration.switch("live")
    migration.rollback()
    shown = [
        json.dumps(migration.to_dict()),
        json.dumps(server.metadata["new"]),
        verdict.to_json(),
        verdict.to_markdown(),
        repr(migration),
        str(migration),
        repr(migration.details),
        repr(verdict),
        repr(vars(migration)),
    ]
    assert not any(key in text or "127.0.0.1" in text for text in shown)
    assert all(key not in json.dumps(body) for _, _, body in server.log)
    keyed.close()


def test_what_was_fitted_is_forgotten_with_what_it_was_fitted_to(server: EngineServer, client: QdrantClient) -> None:
    planned(client, "in place, fitted").run()
    assert client.collection_exists("docs__fde")
    resumed(client, "in place, fitted").rollback()
    assert not client.collection_exists("docs__fde")
    other = LemurConfig(dim=8, hidden=32, epochs=0, learn_tokens=100, fit_documents=50)
    migration = planned(client, "in place", fde=other)
    migration.run()
    assert migration.verify().passed
    migration.rollback()
    # and a target's of that name that was deleted by somebody who did not know of it
    planned(client, "fitted").run()
    client.delete_collection("new")
    migration = planned(client, "fitted", fde=other)
    migration.run()
    assert migration.verify().passed


DATES = {
    "at": "2024-02-29T12:00:00.123Z",
    "day": "2024-02-29",
    "n": 3,
    "big": 2**53 + 1,
    "x": 3.0,
    "no": None,
    "l": [1, {}],
}


def filled_by_grpc(engine: EngineServer) -> None:
    """Collections of two kinds: one vector without a name; a multivector beside a sparse vector."""
    texts = random_texts(COUNT, seed=9)
    local = engine.raw
    for name in ("plain", "multi"):
        multi = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
        body: dict[str, Any] = {"vectors": {"size": 4, "distance": "Dot"}}
        if name == "multi":
            params = models.VectorParams(size=32, distance=models.Distance.DOT, multivector_config=multi)
            body = {"vectors": {"late": params.model_dump(mode="json")}, "sparse_vectors": {"words": {}}}
        engine.of_collection("PUT", name, body)
        points = []
        for number, (text, tokens) in enumerate(zip(texts, WordEncoder().encode_documents(texts), strict=True)):
            vector: Any = [number + 0.5, 1.0, -2.0, 0.25]
            if name == "multi":
                sparse = models.SparseVector(indices=[number, 100], values=[0.5, 2.0])
                vector = {"late": tokens.tolist(), "words": sparse}
            points.append(models.PointStruct(id=number, payload={"text": text, **DATES}, vector=vector))
        local.upsert(name, points)
        engine.indexes[name]["at"] = "datetime"


@pytest.mark.parametrize("speaks", [("grpc", "grpc"), ("grpc", "rest"), ("rest", "grpc")])
@pytest.mark.parametrize("source", ["plain", "multi"])
def test_over_grpc(server: EngineServer, source: str, speaks: tuple[str, str]) -> None:
    filled_by_grpc(server)
    server.strict[source] = {"enabled": True, "max_query_limit": 10_000, "upsert_max_batchsize": 9}
    with (
        serving(EngineServer()) as other,
        serving_grpc(GrpcEngine(server)) as one,
        serving_grpc(GrpcEngine(other)) as two,
    ):
        reading = connect(one.port) if speaks[0] == "grpc" else on_server(server.port)
        writing = connect(two.port) if speaks[1] == "grpc" else on_server(other.port)
        encoder = WordEncoder() if source == "plain" else None
        migration = Migration.plan(
            reading, source, "new", target_client=writing, encoder=encoder, fde=MUVERA, retry=FAST
        )
        report = migration.run()
        assert report.points == COUNT
        verdict = migration.verify()
        assert verdict.passed, verdict.reasons
        before = {record.id: record for record in server.raw.scroll(source, limit=1000, with_vectors=True)[0]}
        after = {record.id: record for record in other.raw.scroll("new", limit=1000, with_vectors=True)[0]}
        assert set(after) == set(before)
        for id, record in before.items():
            assert after[id].payload == record.payload
            assert json.dumps(after[id].payload, sort_keys=True) == json.dumps(record.payload, sort_keys=True)
            stored: Any = after[id].vector
            wanted: Any = record.vector if isinstance(record.vector, dict) else {"": record.vector}
            assert {name: stored[name] for name in wanted} == wanted
        assert other.indexes["new"] == {"at": "datetime"}
        assert other.strict["new"] == server.strict[source]
        migration.switch("live")
        assert other.local.aliases == {"live": "new"}
        migration.rollback()
        assert other.local.aliases == {}
        resumed_one = Migration.resume(reading, "new", target_client=writing, encoder=encoder)
        assert resumed_one.run().present == COUNT
        reading.close()
        writing.close()


def test_in_place_over_grpc(server: EngineServer, client: QdrantClient) -> None:
    before = contents(client, "docs")
    with serving_grpc(GrpcEngine(server)) as running:
        speaking = connect(running.port)
        migration = planned(speaking, "in place")
        migration.run()
        assert migration.verify().passed
        check_migrated(client, "in place", before)
        (change,) = [each for name, each in running.calls if name == "Update" and each.HasField("vectors_config")]
        assert change.vectors_config.params_map.map["colbert"].hnsw_config.m == 0
        migration.rollback()
        assert contents(client, "docs") == before
        speaking.close()


def test_what_is_gone_is_asked_for_by_as_few_ids_as_are_allowed(server: EngineServer, client: QdrantClient) -> None:
    server.strict["docs"] = {"enabled": True, "condition_max_size": 3}
    migration = planned(client, "computed")
    migration.run()
    client.delete("docs", list(contents(client, "docs"))[:2])
    assert migration.run().removed == 2
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
