"""What works on a server in strict mode, and what is asked again where limits have changed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant import (
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    InvalidDocumentError,
    LemurConfig,
    MuveraConfig,
    RequestRefusedError,
    RetryConfig,
    SparseConfig,
    attach,
)
from colbert_qdrant.migrate import Migration
from colbert_qdrant.search.limits import Limits
from tests.encoders import WordEncoder, random_texts
from tests.faults.server import failing
from tests.faults.strict import refusal

if TYPE_CHECKING:
    from tests.faults.engine import EngineServer

MUVERA = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
LEMUR = CollectionConfig(fde=LemurConfig(dim=16, hidden=32, epochs=0, learn_tokens=100, fit_documents=1_000))
DOCUMENTS = [Document(number, text, {"year": 2000 + number % 5}) for number, text in enumerate(random_texts(40))]
FAST = RetryConfig(attempts=3, first_wait=0.001, longest_wait=0.002, deadline=20)


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
    engine.log.clear()
    assert docs.ingest([Document("new", "river stone")]).documents == 1
    again = reopened(remote)
    assert [path for _, path, _ in engine.log if path.endswith("/count")] == []
    assert again.count() == 41
    assert again.search("river stone", limit=1)[0].id == "new"
    again.fit(refit=True)
    assert again.count() == 41


def test_a_migration_where_exact_counts_are_forbidden(engine: EngineServer, remote: QdrantClient) -> None:
    create(remote).ingest(DOCUMENTS)
    engine.strict["docs"] = {"enabled": True, "search_allow_exact": False, "max_query_limit": 7}
    plan = Migration.plan(remote, "docs", target="new", encoder=WordEncoder(), fde=LEMUR.encoding, retry=FAST)
    plan.run()
    assert plan.verify().passed
    assert engine.raw.count("new").count == 40


def test_writes_that_are_more_than_a_minute_allows(engine: EngineServer, remote: QdrantClient) -> None:
    """A server counts all documents that a filter matches: one request can never delete them."""
    docs = create(remote, LEMUR)
    docs.ingest(DOCUMENTS)
    engine.strict["docs"] = {"enabled": True, "write_rate_limit": 6}
    docs.fit(refit=True)
    assert docs.ingest(DOCUMENTS).documents == docs.count() == 40
    assert docs.search("river", limit=1)
    docs.set_payload({"seen": True}, where={"year": {"gte": 2001}})
    docs.set_payload({"seen": True}, ids=[0, 5, 10, 15, 20, 25, 30, 35])
    assert docs.count(where={"seen": True}) == 40
    docs.delete_payload("seen", where={"year": 2001})
    assert docs.count(where={"seen": True}) == 32
    docs.delete(where={"year": {"gte": 2001}})
    assert docs.count() == docs.count(where={"year": 2000}) == 8
    docs.delete(ids=range(40))
    assert docs.count() == 0


def test_no_condition_is_hidden_in_filters(engine: EngineServer, remote: QdrantClient) -> None:
    create(remote).ingest(DOCUMENTS)
    engine.strict["docs"] = {"enabled": True, "filter_max_conditions": 1, "condition_max_size": 2}
    docs = reopened(remote)
    assert docs.count(where={"year": 2001}) == 8
    assert {hit.payload["year"] for hit in docs.search("river", where={"year": 2001})} == {2001}
    docs.set_payload({"seen": True}, ids=range(7))
    assert docs.count(where={"seen": True}) == 7
    docs.delete(where={"year": {"gte": 2001, "lte": 2002}})
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
    plan = Migration.plan(
        remote, "docs", target="new", encoder=WordEncoder(salt="other"), fde=MUVERA.encoding, retry=FAST
    )
    assert plan.details.points == 40
    docs.delete(filter=models.Filter(must_not=[models.HasIdCondition(has_id=[1])]))
    assert reopened(remote).count() == 0


YEARS = models.FieldCondition(key="year", match=models.MatchAny(any=[2001, 2002, 2003]))
FORMULA = models.FormulaQuery(formula=models.SumExpression(sum=["$score", models.MultExpression(mult=[0.1, "price"])]))


@pytest.mark.parametrize(
    ("limits", "options", "message"),
    [
        (
            {"filter_max_conditions": 1},
            {"where": {"year": 1, "n": 2}},
            r"has 2 conditions, .* allows 1 \(filter_max_con",
        ),
        (
            {"condition_max_size": 2},
            {"where": {"year": [1, 2, 3]}},
            r"has 3 values in one condition, .* allows 2 \(cond",
        ),
        (
            {"search_max_hnsw_ef": 64},
            {"params": models.SearchParams(hnsw_ef=65)},
            r"params\.hnsw_ef=65 exceeds .* \(search_max_hnsw_ef=64\): lower it, or lift it",
        ),
        (
            {"search_max_oversampling": 1.5},
            {"params": models.SearchParams(quantization=models.QuantizationSearchParams(oversampling=2))},
            r"params\.quantization\.oversampling=2.0 exceeds .* \(search_max_oversampling=1.5\)",
        ),
        (
            {"search_allow_exact": False},
            {"params": models.SearchParams(exact=True)},
            r"forbids exact searches \(search_allow_exact=False\): omit params\.exact",
        ),
        (
            {"unindexed_filtering_retrieve": False},
            {"fusion": FORMULA},
            r"allows formulas only on indexed payload keys, and \['price'\] have no index",
        ),
    ],
)
def test_what_would_be_refused_is_an_error_before_it_is_sent(
    engine: EngineServer, remote: QdrantClient, limits: Any, options: Any, message: str
) -> None:
    create(remote).ingest(DOCUMENTS)
    engine.strict["docs"] = {"enabled": True, **limits}
    docs = reopened(remote)
    engine.log.clear()
    with pytest.raises(ConfigurationError, match=message):
        docs.search("river", **options)
    assert all(method == "GET" for method, _, _ in engine.log)  # the limits are read again, and nothing else
    if "where" in options:
        for call in (docs.count, docs.delete):
            with pytest.raises(ConfigurationError, match=message):
                call(**options)


@pytest.mark.parametrize(
    "filter",
    [
        models.Filter(must=YEARS),
        models.Filter(must=[YEARS], must_not=[models.HasIdCondition(has_id=[1, 2])]),
        models.Filter(should=[models.Filter(must=[YEARS, YEARS]), YEARS]),
        models.Filter(min_should=models.MinShould(conditions=[YEARS, YEARS], min_count=1)),
        models.Filter(must=[models.NestedCondition(nested=models.Nested(key="a", filter=models.Filter(must=[YEARS])))]),
        models.Filter(must_not=[models.IsEmptyCondition(is_empty=models.PayloadField(key="a")), YEARS]),
        models.Filter(must=[models.FieldCondition(key="a", match=models.MatchExcept(**{"except": [1, 2]}))]),
        models.Filter(),
    ],
)
def test_conditions_are_counted_as_the_server_counts_them(filter: models.Filter) -> None:
    body = {"filter": filter.model_dump(mode="json", exclude_none=True, by_alias=True)}
    for name in ("filter_max_conditions", "condition_max_size"):
        for most in range(6):
            limits = Limits(conditions=most) if name == "filter_max_conditions" else Limits(condition_size=most)
            try:
                limits.check_filter(filter)
                allowed = True
            except ConfigurationError:
                allowed = False
            assert allowed == (refusal({name: most}, {}, "points/count", body) is None)


def test_limits_that_were_tightened_are_read_again(engine: EngineServer, remote: QdrantClient) -> None:
    docs = create(remote, LEMUR)
    docs.ingest(DOCUMENTS)
    engine.strict["docs"] = {
        "enabled": True,
        "max_query_limit": 20,
        "search_max_hnsw_ef": 64,
        "search_max_batchsize": 3,
    }
    engine.log.clear()
    assert len(docs.search("river")) == 10
    assert len(queries(engine)) == 2
    assert len(docs.search("river")) == 10
    assert len(queries(engine)) == 3  # they are known now
    assert [len(hits) for hits in docs.search_batch(["river"] * 4, mode="exact")] == [10] * 4
    engine.strict["docs"] = {"enabled": True, "max_query_limit": 7, "upsert_max_batchsize": 3}
    docs.fit(refit=True)
    with pytest.raises(ConfigurationError, match=r"limit=10 exceeds .*max_query_limit=7"):
        docs.search("river")
    assert len(docs.search("river", limit=7)) == 7
    engine.strict["docs"] = {"enabled": False}
    assert len(docs.search("river")) == 10


def test_filters_that_are_not_allowed_any_more_are_named(engine: EngineServer, remote: QdrantClient) -> None:
    docs = create(remote)
    docs.ingest(DOCUMENTS)
    engine.strict["docs"] = {
        "enabled": True,
        "unindexed_filtering_retrieve": False,
        "unindexed_filtering_update": False,
    }
    for call in (docs.count, docs.delete, lambda **options: docs.search("river", **options)):
        docs._opened.limits = Limits()
        with pytest.raises(ConfigurationError, match=r"\['year'\] have no index: create one with"):
            call(where={"year": 2001})


def test_batches_get_smaller_where_the_limit_of_writes_did(engine: EngineServer, remote: QdrantClient) -> None:
    docs = create(remote)
    docs.ingest(DOCUMENTS[:1])
    engine.strict["docs"] = {"enabled": True, "upsert_max_batchsize": 7, "write_rate_limit": 6}
    engine.log.clear()
    report = docs.ingest(DOCUMENTS)
    assert (report.documents, report.rejected) == (40, ())
    sent = [len(body["points"]) for method, _, body in engine.log if method == "PUT"]
    assert sent == [40, 6, 6, 6, 6, 6, 6, 4]


def test_documents_that_no_limit_allows_are_named(engine: EngineServer, remote: QdrantClient) -> None:
    docs = create(remote, replace(MUVERA, sparse={"words": SparseConfig()}))
    engine.strict["docs"] = {"enabled": True, "sparse_config": {"words": {"max_length": 2}}}
    words = models.SparseVector(indices=[1, 2, 3], values=[1.0, 1.0, 1.0])
    docs = ColbertCollection.open("docs", client=remote, encoder=WordEncoder(), retry=FAST)
    with pytest.raises(
        InvalidDocumentError, match=r"document 'b' has 3 values in its sparse vector 'words', .* allows 2"
    ):
        docs.upsert([Document("a", "river"), Document("b", "stone", vectors={"words": words})])
    assert docs.count() == 0
    engine.strict["docs"] = {"enabled": True, "sparse_config": {"words": {"max_length": 3}}}
    docs.upsert([Document("b", "stone", vectors={"words": words})])
    engine.strict["docs"] = {"enabled": True, "multivector_config": {"colbert": {"max_vectors": 2}}}
    report = docs.ingest([Document("c", "river stone"), Document("d", "river stone lake")])
    assert [each.id for each in report.rejected] == ["d"]


def test_what_the_server_alone_can_tell_comes_with_its_remedy(engine: EngineServer, remote: QdrantClient) -> None:
    docs = create(remote)
    full = failing(400, "Bad request: Max points count limit of 100 reached!")
    engine.fault = lambda method, path, body: full if method == "PUT" else None
    with pytest.raises(RequestRefusedError, match=r"limit of 100 reached!\); stay within the limits, or raise them"):
        docs.upsert(DOCUMENTS)


def test_an_attached_collection_keeps_to_the_limits(engine: EngineServer, remote: QdrantClient) -> None:
    create(remote).ingest(DOCUMENTS)
    docs = attach(remote, "docs", encoder=WordEncoder(), retry=FAST)
    own = models.QueryRequest(query=[0.5] * 32, using="fde")
    engine.strict["docs"] = {"enabled": True, "max_query_limit": 30, "search_max_batchsize": 3}
    engine.log.clear()
    assert len(docs.search("river", own)) == 10
    assert [search["limit"] for search in queries(engine)] == [100, 30]
    assert [len(hits) for hits in docs.search_batch(["river"] * 4, [own] * 4)] == [10] * 4
    assert len(queries(engine)) == 2 + 4
    with pytest.raises(ConfigurationError, match=r"the request's limit=31 exceeds .*max_query_limit=30"):
        docs.search("river", own.model_copy(update={"limit": 31}))
    engine.strict["docs"] = {"enabled": True, "unindexed_filtering_retrieve": False, "filter_max_conditions": 1}
    with pytest.raises(ConfigurationError, match=r"only on indexed payload keys, and \['year'\] have no index"):
        docs.search("river", own, filter=models.Filter(must=[YEARS]))
    engine.indexes["docs"]["year"] = "integer"
    assert docs.search("river", own, filter=models.Filter(must=[YEARS]))
    with pytest.raises(ConfigurationError, match=r"the filter has 2 conditions, .* allows 1"):
        docs.search("river", own, filter=models.Filter(must=[YEARS, YEARS]))


def test_a_key_that_may_only_search_is_told_what_the_server_said(engine: EngineServer, remote: QdrantClient) -> None:
    create(remote).ingest(DOCUMENTS)
    docs = attach(remote, "docs", encoder=WordEncoder(), retry=FAST)
    engine.strict["docs"] = {"enabled": True, "max_query_limit": 30}
    engine.fault = lambda method, path, body: failing(403, "Forbidden") if method == "GET" else None
    with pytest.raises(RequestRefusedError, match="Limit exceeded 100 > 30"):
        docs.search("river", models.QueryRequest(query=[0.5] * 32, using="fde"))


def test_no_request_names_a_timeout_that_could_be_refused(engine: EngineServer, remote: QdrantClient) -> None:
    docs = create(remote)
    docs.ingest(DOCUMENTS)
    docs.search("river")
    docs.count()
    docs.delete(ids=1)
    assert not any(b"timeout" in text for text in engine.texts)


def queries(engine: EngineServer) -> list[dict[str, Any]]:
    """All searches that came."""
    return [search for _, path, body in engine.log if path.endswith("/batch") for search in body["searches"]]


CHECKED = {
    "max_query_limit",
    "unindexed_filtering_retrieve",
    "unindexed_filtering_update",
    "search_max_hnsw_ef",
    "search_allow_exact",
    "search_max_oversampling",
    "upsert_max_batchsize",
    "search_max_batchsize",
    "read_rate_limit",
    "write_rate_limit",
    "filter_max_conditions",
    "condition_max_size",
    "multivector_config",
    "sparse_config",
}
THE_SERVERS = {  # what only the server knows is said in its words, with the remedy
    "max_collection_vector_size_bytes",
    "max_collection_payload_size_bytes",
    "max_points_count",
    "max_payload_index_count",
    "max_resident_memory_percent",
    "max_disk_usage_percent",
}
NEVER_SENT = {"enabled", "max_timeout"}


def test_each_limit_that_the_client_knows_was_thought_of() -> None:
    assert set(models.StrictModeConfig.model_fields) <= CHECKED | THE_SERVERS | NEVER_SENT


@pytest.mark.parametrize(
    "said",
    [
        "Max vector storage size limit of 1MB reached!",
        "Max payload storage size limit of 1MB reached!",
        "Collection already has the maximum number of payload indices (1). Help: Please delete an index",
        "Resident memory usage is at 9% of total memory, exceeding the limit of 1%. Help: Reduce it",
        "Request is forbidden on 'colbert' because global vector indexing is disabled. Help: Use a filter",
    ],
)
def test_other_limits_come_with_their_remedy(engine: EngineServer, remote: QdrantClient, said: str) -> None:
    docs = create(remote)
    engine.fault = lambda method, path, body: failing(400, f"Bad request: {said}") if method != "GET" else None
    for call in (lambda: docs.search("river", fusion="rrf"), lambda: docs.upsert(DOCUMENTS[:1])):
        with pytest.raises(
            RequestRefusedError, match=r"strict mode does not allow it .*; stay within the limits, or raise them"
        ):
            call()
