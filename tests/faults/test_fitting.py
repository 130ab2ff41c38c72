"""Fits on a server that refuses, forbids or fails: nothing is trained in vain, nor taken away in vain."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant import (
    AuthenticationError,
    ColbertCollection,
    CollectionConfig,
    Document,
    LemurConfig,
    RequestError,
    RetryConfig,
)
from colbert_qdrant.collection import fitting
from colbert_qdrant.collection.artefacts import REMEMBERED
from tests.encoders import WordEncoder, random_texts
from tests.faults.grpc_engine import GrpcEngine
from tests.faults.server import Answer, failing, result_of
from tests.grpc_server import connect
from tests.grpc_server import serving as serving_grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.engine import EngineServer

LEMUR = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=60)
FITTED = CollectionConfig(fde=LEMUR)
QUICK = RetryConfig(attempts=2, first_wait=0.001, longest_wait=0.01, deadline=20)
DOCUMENTS = [Document(number, text) for number, text in enumerate(random_texts(30))]
COMPANION = "/collections/docs__fde"


def create(client: QdrantClient, config: CollectionConfig = FITTED) -> ColbertCollection:
    return ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config, retry=QUICK)


def reopened(client: QdrantClient) -> ColbertCollection:
    return ColbertCollection.open("docs", client=client, encoder=WordEncoder(), retry=QUICK)


def encoded(client: QdrantClient) -> int:
    having = models.Filter(must=[models.HasVectorCondition(has_vector="fde")])
    return client.count("docs", having).count


def forbidding(*requests: tuple[str, str]) -> Callable[[str, str, Any], Answer | None]:
    def fault(method: str, path: str, body: Any) -> Answer | None:
        return failing(403, "Forbidden: Global manage access is required") if (method, path) in requests else None

    return fault


MAY_NOT = {
    "see the companion": ("GET", f"{COMPANION}/exists"),
    "make the companion": ("PUT", COMPANION),
    "write to the companion": ("PUT", f"{COMPANION}/points"),
    "declare": ("PATCH", "/collections/docs"),
}


@pytest.mark.parametrize("what", MAY_NOT)
def test_a_key_that_may_not_fit_is_told_so_before_anything_is_trained(
    engine: EngineServer, remote: QdrantClient, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    docs = create(remote)
    engine.fault = forbidding(MAY_NOT[what])
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "fit_encoder", None)
        with pytest.raises(AuthenticationError, match=r"'docs__fde' .*a key that has global access.*Global manage"):
            docs.ingest(DOCUMENTS)
    assert docs.count() == len(DOCUMENTS)
    assert {hit.text for hit in docs.search(DOCUMENTS[3].text, limit=1)} == {DOCUMENTS[3].text}
    engine.fault = lambda method, path, body: None
    docs.fit()
    assert encoded(remote) == len(DOCUMENTS)


def test_a_key_that_may_not_read_the_companion_is_told_so(engine: EngineServer, remote: QdrantClient) -> None:
    create(remote).ingest(DOCUMENTS)
    REMEMBERED.clear()
    engine.fault = lambda method, path, body: failing(403, "Forbidden") if "__fde" in path else None
    with pytest.raises(AuthenticationError, match=r"is in collection 'docs__fde', which this key may not read"):
        reopened(remote)


def refuse_pieces(method: str, path: str, body: Any) -> Answer | None:
    is_piece = (method, path) == ("PUT", f"{COMPANION}/points") and "data" in body["points"][0]["payload"]
    return failing(500, "No space left on device") if is_piece else None


def refuse_conditions(method: str, path: str, body: Any) -> Answer | None:
    if '"must_not": [{"has_vector": "fde"}]' not in json.dumps(body):
        return None
    return failing(403, "Forbidden: Filter condition limit reached (3 > 2)")


@pytest.mark.parametrize(
    "fault", [forbidding(MAY_NOT["declare"]), refuse_pieces, refuse_conditions], ids=["declare", "room", "conditions"]
)
def test_a_refit_that_cannot_be_finished_takes_nothing_away(
    engine: EngineServer, remote: QdrantClient, fault: Callable[[str, str, Any], Answer | None]
) -> None:
    docs = create(remote)
    docs.ingest(DOCUMENTS)
    before = {point.id: point.vector for point in remote.scroll("docs", limit=100, with_vectors=["fde"])[0]}
    engine.fault = fault
    with pytest.raises(RequestError):
        docs.fit(refit=True, config=replace(LEMUR, seed=5))
    engine.fault = lambda method, path, body: None
    assert {point.id: point.vector for point in remote.scroll("docs", limit=100, with_vectors=["fde"])[0]} == before
    REMEMBERED.clear()
    again = reopened(remote)
    assert again.fde is not None
    assert again.config.fde == FITTED.fde
    again.upsert([Document("more", "zebra")])
    assert encoded(remote) == len(DOCUMENTS) + 1


@pytest.mark.parametrize(
    "answer",
    [
        failing(413, "Payload Too Large"),
        failing(400, "JSON payload (51000 bytes) is larger than allowed (limit: 50000)"),
    ],
    ids=["413", "400"],
)
def test_an_artefact_is_sent_in_pieces_that_the_server_takes(
    engine: EngineServer, remote: QdrantClient, answer: Answer
) -> None:
    def small(method: str, path: str, body: Any) -> Answer | None:
        return answer if path == f"{COMPANION}/points" and method == "PUT" and len(json.dumps(body)) > 50_000 else None

    docs = create(remote, replace(FITTED, fde=replace(LEMUR, hidden=512)))
    engine.fault = small
    docs.ingest(DOCUMENTS)
    pieces = [point for point in remote.scroll("docs__fde", limit=100)[0] if "data" in (point.payload or {})]
    assert len(pieces) > 1
    REMEMBERED.clear()
    assert reopened(remote).fde is not None
    docs.fit(refit=True)
    assert encoded(remote) == len(DOCUMENTS)


def test_a_fitted_collection_opens_while_its_companion_cannot_be_read(
    engine: EngineServer, remote: QdrantClient
) -> None:
    create(remote).ingest(DOCUMENTS)
    engine.fault = lambda method, path, body: failing(500, "no active replica") if "__fde" in path else None
    docs = reopened(remote)
    assert docs.search(DOCUMENTS[7].text, limit=1)[0].id == 7
    docs.upsert([Document("more", "zebra")])
    assert encoded(remote) == len(DOCUMENTS) + 1


def test_the_companion_has_as_many_copies_as_its_collection(engine: EngineServer, remote: QdrantClient) -> None:
    config = replace(FITTED, shard_number=6, replication_factor=3, write_consistency_factor=2)
    Cluster(engine)
    create(remote, config).ingest(DOCUMENTS)
    (made,) = [body for method, path, body in engine.log if (method, path) == ("PUT", COMPANION)]
    made = {key: value for key, value in made.items() if value is not None and key != "vectors"}
    assert made == {"shard_number": 1, "replication_factor": 3, "write_consistency_factor": 2}


class Cluster:
    """Three nodes around the stub server: the collection is on all of them, its companion on those in ``places``."""

    def __init__(self, engine: EngineServer) -> None:
        self.places = {1}
        self.dead: set[int] = set()
        self._engine = engine
        engine.fault = self._answer

    def _answer(self, method: str, path: str, body: Any) -> Answer | None:
        name = path.split("/")[2] if path.startswith("/collections/") else ""
        if method == "PATCH" and body.get("params"):
            self._engine.params[name] |= body["params"]
        if not path.endswith("/cluster"):
            return None
        if method == "POST":
            copy = body["replicate_shard"]
            assert copy["from_peer_id"] in self.places - self.dead
            assert copy["to_peer_id"] not in self.places | self.dead
            self.places.add(copy["to_peer_id"])
            return result_of(result=True)
        places = self.places if name.endswith("__fde") else {1, 2, 3}
        states = {node: "Dead" if node in self.dead else "Active" for node in sorted(places)}
        remote = [{"shard_id": 0, "peer_id": node, "state": state} for node, state in states.items() if node != 1]
        local = [{"shard_id": 0, "points_count": 0, "state": states[1]}] if 1 in states else []
        shards = {"local_shards": local, "remote_shards": remote, "shard_transfers": []}
        return result_of({"peer_id": 1, "shard_count": 1, **shards})


REPLICATED = replace(FITTED, shard_number=1, replication_factor=2, write_consistency_factor=2)


def make_with_one_copy(engine: EngineServer, remote: QdrantClient) -> ColbertCollection:
    """As earlier versions made a companion: with one copy."""
    docs = create(remote, REPLICATED)
    docs.ingest(DOCUMENTS)
    engine.params["docs__fde"] = {"shard_number": 1}
    return docs


@pytest.mark.parametrize("how", ["repair", "refit"])
def test_a_companion_with_too_few_copies_is_named_and_gets_them(
    engine: EngineServer, remote: QdrantClient, how: str
) -> None:
    cluster = Cluster(engine)
    docs = make_with_one_copy(engine, remote)
    cluster.places = {1}
    (sentence,) = docs.check()
    assert sentence.startswith(
        "Collection 'docs__fde', which holds the fitted encoding, has fewer replicas than 'docs'"
    )
    assert docs.info().warnings == (sentence,)
    cluster.dead = {2}
    if how == "repair":
        (done,) = docs.repair()
        assert done.startswith("The cluster is creating 2 replicas of collection 'docs__fde'")
    else:
        docs.fit(refit=True)
    assert engine.params["docs__fde"] == {"shard_number": 1, "replication_factor": 2, "write_consistency_factor": 2}
    assert cluster.places == {1, 3}
    assert docs.check() == docs.repair() == ()


def test_a_key_that_may_not_look_at_the_cluster_can_check(engine: EngineServer, remote: QdrantClient) -> None:
    Cluster(engine)
    docs = make_with_one_copy(engine, remote)
    engine.fault = lambda method, path, body: failing(403, "Forbidden") if "__fde" in path else None
    assert docs.check() == docs.info().warnings == ()


def test_fits_and_copies_over_grpc(engine: EngineServer) -> None:
    with serving_grpc(GrpcEngine(engine)) as running:
        client = connect(running.port)
        docs = make_with_one_copy(engine, client)
        assert docs.search(DOCUMENTS[7].text, limit=1)[0].id == 7
        assert len(docs.check()) == len(docs.repair()) == 1
        assert running.nodes[1] == {2, 3}
        docs.fit(refit=True)
        assert encoded(client) == len(DOCUMENTS)
        REMEMBERED.clear()
        assert reopened(client).search(DOCUMENTS[7].text, limit=1, mode="fde")[0].id == 7
        client.close()
