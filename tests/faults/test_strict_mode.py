"""What works on a server in strict mode, and what is asked again where limits have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant import ColbertCollection, CollectionConfig, Document, LemurConfig, MuveraConfig, RetryConfig
from colbert_qdrant.migrate import Migration
from tests.encoders import WordEncoder, random_texts
from tests.faults.engine import EngineServer
from tests.faults.server import Answer, serving
from tests.faults.strict import over_budget

if TYPE_CHECKING:
    from collections.abc import Iterator

MUVERA = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
LEMUR = CollectionConfig(fde=LemurConfig(dim=16, hidden=32, epochs=0, learn_tokens=100, fit_documents=1_000))
DOCUMENTS = [Document(number, text, {"year": 2000 + number % 5}) for number, text in enumerate(random_texts(40))]
FAST = RetryConfig(attempts=3, first_wait=0.001, longest_wait=0.002, deadline=20)


@pytest.fixture
def engine() -> Iterator[EngineServer]:
    with serving(EngineServer()) as running:
        yield running


@pytest.fixture
def remote(engine: EngineServer) -> Iterator[QdrantClient]:
    client = QdrantClient(host="127.0.0.1", port=engine.port, check_compatibility=False, timeout=5)
    yield client
    client.close()


def create(client: QdrantClient, config: CollectionConfig = MUVERA, **other: Any) -> ColbertCollection:
    return ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config, retry=FAST, **other)


def reopened(client: QdrantClient) -> ColbertCollection:
    return ColbertCollection.open("docs", client=client, encoder=WordEncoder(), retry=FAST)


def test_counts_where_exact_ones_are_forbidden(engine: EngineServer, remote: QdrantClient) -> None:
    create(remote).ingest(DOCUMENTS)
    engine.strict["docs"] = {"enabled": True, "search_allow_exact": False, "max_query_limit": 7}
    docs = reopened(remote)
    assert docs.count() == 40
    assert docs.count(where={"year": 2001}) == 8
    assert docs.count(where={"year": 1999}) == 0
    assert docs.info().documents == docs.wait_until_ready(timeout=5).documents == 40


def test_fits_where_exact_counts_are_forbidden(engine: EngineServer, remote: QdrantClient) -> None:
    docs = create(remote, LEMUR)
    engine.strict["docs"] = {"enabled": True, "search_allow_exact": False}
    assert docs.ingest(DOCUMENTS).documents == 40
    assert docs.fde is not None
    assert docs.ingest([Document("new", "river stone")]).documents == 1
    again = reopened(remote)
    assert again.count() == 41
    assert again.search("river stone", limit=1)[0].id == "new"
    again.fit(refit=True)
    assert again.count() == 41


def test_a_migration_where_exact_counts_are_forbidden(engine: EngineServer, remote: QdrantClient) -> None:
    create(remote).ingest(DOCUMENTS)
    engine.strict["docs"] = {"enabled": True, "search_allow_exact": False, "max_query_limit": 7}
    plan = Migration.plan(remote, "docs", target="new", encoder=WordEncoder(), fde=LEMUR.fde, retry=FAST)
    plan.run()
    assert plan.verify().passed
    assert engine.raw.count("new").count == 40


def test_a_delete_that_matches_more_than_a_minute_allows(engine: EngineServer, remote: QdrantClient) -> None:
    """A server counts all documents that match: one request can never delete them."""
    docs = create(remote)
    docs.ingest(DOCUMENTS)

    def fault(method: str, path: str, body: Any) -> Answer | None:
        return over_budget("Write") if path.endswith("/delete") and len(body.get("points", DOCUMENTS)) > 20 else None

    engine.fault = fault
    docs.delete(where={"year": {"gte": 2001}})
    assert docs.count() == docs.count(where={"year": 2000}) == 8


def test_no_condition_is_hidden_in_filters(engine: EngineServer, remote: QdrantClient) -> None:
    create(remote).ingest(DOCUMENTS)
    engine.strict["docs"] = {"enabled": True, "filter_max_conditions": 1, "condition_max_size": 2}
    docs = reopened(remote)
    assert docs.count(where={"year": 2001}) == 8
    assert {hit.payload["year"] for hit in docs.search("river", where={"year": 2001})} == {2001}
    docs.delete(where={"year": [2001, 2002]})
    assert docs.count() == 24


def test_a_fitted_collection_where_filters_have_two_conditions(engine: EngineServer, remote: QdrantClient) -> None:
    create(remote, LEMUR).ingest(DOCUMENTS)
    engine.strict["docs"] = {"enabled": True, "filter_max_conditions": 2}
    docs = reopened(remote)
    docs.fit(refit=True)
    assert docs.count() == 40
    assert docs.fde is not None


@pytest.mark.parametrize("config", [MUVERA, LEMUR], ids=["muvera", "lemur"])
def test_a_server_that_was_upgraded(engine: EngineServer, remote: QdrantClient, config: CollectionConfig) -> None:
    """What a server without metadata kept in a point is no document of one that has them."""
    engine.version = "1.15.5"
    docs = create(remote, config)
    docs.ingest(DOCUMENTS)
    assert docs.count() == reopened(remote).count() == 40
    engine.version = "1.19.0"
    docs = reopened(remote)
    assert docs.count() == docs.info().documents == 40
    assert docs.count(filter=models.Filter(must_not=[models.HasIdCondition(has_id=[1])])) == 40
    plan = Migration.plan(remote, "docs", target="new", encoder=WordEncoder(salt="other"), fde=MUVERA.fde, retry=FAST)
    assert plan.details.points == 40
    docs.delete(filter=models.Filter())
    assert reopened(remote).count() == 0
