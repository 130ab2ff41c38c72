"""Storing and searching, on every engine."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant import (
    ClosedError,
    ColbertCollection,
    CollectionConfig,
    CollectionExistsError,
    CollectionNotFoundError,
    Document,
    FingerprintMismatchError,
    HnswConfig,
    MuveraConfig,
    TokenEmbeddings,
    maxsim,
)
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from colbert_qdrant import DocumentId, SearchHit, SearchMode
    from colbert_qdrant.config import Storage
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=3, dim_proj=8, r_reps=8))
TEXTS = random_texts(120)
DOCUMENTS = [
    Document(number, text, {"number": number, "parity": "even" if number % 2 == 0 else "odd"})
    for number, text in enumerate(TEXTS)
]
QUERIES = random_texts(15, seed=1, words=(2, 5))
EVEN = models.Filter(must=[models.FieldCondition(key="parity", match=models.MatchValue(value="even"))])


@pytest.fixture
def empty(engine: Engine, client: Client, encoder: WordEncoder) -> ColbertCollection:
    return ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)


@pytest.fixture
def filled(empty: ColbertCollection) -> ColbertCollection:
    empty.upsert(DOCUMENTS)
    return empty


def exact_ranking(query: str, documents: list[Document] = DOCUMENTS) -> list[tuple[Any, float]]:
    """Numpy's ranking by MaxSim, in the order of (−score, id)."""
    encoder = WordEncoder()
    texts = [document.text for document in documents]
    scores = maxsim(encoder.encode_queries([query]), encoder.encode_documents(texts))[0]
    ranking = [(document.id, float(score)) for document, score in zip(documents, scores, strict=True)]
    return sorted(ranking, key=lambda pair: (-pair[1], pair[0]))


def assert_ranked(hits: list[SearchHit], ranking: list[tuple[Any, float]]) -> None:
    """The hits are the best of the ranking, in its order, each with its own score."""
    assert [hit.score for hit in hits] == pytest.approx(
        [score for _, score in ranking][: len(hits)], rel=1e-5, abs=1e-5
    )
    scores = dict(ranking)
    assert [scores[hit.id] for hit in hits] == pytest.approx([hit.score for hit in hits], rel=1e-5, abs=1e-5)


def assert_same(found: Sequence[list[SearchHit]], expected: Sequence[list[SearchHit]]) -> None:
    """The same hits; an engine may choose among those that tie with the last one."""
    for hits, others in zip(found, expected, strict=True):
        assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in others], rel=1e-5)
        cut = hits[-1].score * (1 + 1e-5)
        assert [hit for hit in hits if hit.score > cut] == [hit for hit in others if hit.score > cut]


@pytest.mark.parametrize("query", QUERIES[:5])
def test_two_stage_over_all_candidates_is_the_exact_ranking(filled: ColbertCollection, query: str) -> None:
    hits = filled.search(query, limit=len(DOCUMENTS), candidates=len(DOCUMENTS))
    assert len({hit.id for hit in hits}) == len(DOCUMENTS)
    assert_ranked(hits, exact_ranking(query))


@pytest.mark.parametrize("query", QUERIES[5:8])
def test_exact_mode_is_the_exact_ranking(filled: ColbertCollection, query: str) -> None:
    hits = filled.search(query, limit=20, mode="exact")
    assert len(hits) == 20
    assert_ranked(hits, exact_ranking(query))


def test_fde_mode_ranks_by_the_inner_product_of_the_encodings(filled: ColbertCollection) -> None:
    encoder = WordEncoder()
    assert filled.fde is not None
    encoded = filled.fde.encode_documents(encoder.encode_documents(TEXTS)).astype(np.float16).astype(np.float32)
    query = filled.fde.encode_queries(encoder.encode_queries(QUERIES[:1]))[0]
    best = np.sort(encoded @ query)[::-1][:10]
    hits = filled.search(QUERIES[0], mode="fde", limit=10)
    assert [hit.score for hit in hits] == pytest.approx(best.tolist(), rel=2e-3)


def test_two_stage_ranks_the_candidates_of_the_first_stage_by_maxsim(filled: ColbertCollection) -> None:
    candidates = {hit.id for hit in filled.search(QUERIES[1], mode="fde", limit=20)}
    hits = filled.search(QUERIES[1], limit=20, candidates=20)
    assert {hit.id for hit in hits} == candidates
    assert_ranked(hits, [pair for pair in exact_ranking(QUERIES[1]) if pair[0] in candidates])


@pytest.mark.parametrize("mode", ["two-stage", "fde", "exact"])
def test_batch_finds_what_single_searches_find(filled: ColbertCollection, mode: SearchMode) -> None:
    encoder = filled.encoder
    assert isinstance(encoder, WordEncoder)
    before = encoder.calls
    batch = filled.search_batch(QUERIES, limit=5, mode=mode)
    assert encoder.calls == before + 1
    assert_same(batch, [filled.search(query, limit=5, mode=mode) for query in QUERIES])
    assert filled.search_batch([], limit=5, mode=mode) == []


def test_ready_token_embeddings_find_what_their_text_finds(filled: ColbertCollection) -> None:
    tokens = WordEncoder().encode_queries(QUERIES[:3])
    assert_same([filled.search(tokens[:1])], [filled.search(QUERIES[0])])
    assert_same(filled.search_batch(tokens), filled.search_batch(QUERIES[:3]))


@pytest.mark.parametrize("mode", ["two-stage", "fde", "exact"])
def test_filtered_search_fills_its_limit_with_matches(filled: ColbertCollection, mode: SearchMode) -> None:
    # one stage without the filter would hand over too few: 30 candidates hold about 15 even ones
    hits = filled.search(QUERIES[2], limit=30, candidates=30, mode=mode, filter=EVEN)
    assert len(hits) == 30
    assert {hit.payload["parity"] for hit in hits} == {"even"}
    if mode == "exact":
        assert_ranked(hits, exact_ranking(QUERIES[2], DOCUMENTS[::2]))


def test_hits_carry_text_and_payload_only_when_wanted(filled: ColbertCollection) -> None:
    hit = filled.search(TEXTS[7], limit=1)[0]
    assert (hit.id, hit.text, hit.payload) == (7, TEXTS[7], {"number": 7, "parity": "odd"})
    bare = filled.search(TEXTS[7], limit=1, with_payload=False)[0]
    assert (bare.id, bare.score, bare.text, bare.payload) == (7, hit.score, None, {})


def test_ties_come_in_the_order_of_their_ids(empty: ColbertCollection) -> None:
    ids: list[DocumentId] = ["b", 10, "a", 9, uuid.UUID(int=5), uuid.UUID(int=4)]
    empty.upsert(Document(id, "river bridge") for id in ids)
    by_type_and_value = [uuid.UUID(int=4), uuid.UUID(int=5), 9, 10, "a", "b"]
    assert [hit.id for hit in empty.search("river")] == by_type_and_value


def test_ids_of_every_type_keep_value_and_type(empty: ColbertCollection) -> None:
    ids: list[Any] = [1, "1", 0, -5, 2**63 - 1, -(2**63), "ünï/cödé #?", "", " ", "a" * 500]
    as_uuid = uuid.UUID("12345678-1234-5678-1234-567812345678")
    ids += [as_uuid, str(as_uuid)]
    empty.upsert(Document(id, f"anchor word{number}") for number, id in enumerate(ids))
    assert empty.count() == len(ids)
    found = [document.id for document in empty.get(ids)]
    assert found == ids
    assert [type(id) for id in found] == [type(id) for id in ids]
    assert sorted(map(repr, ids)) == sorted(repr(hit.id) for hit in empty.search("anchor", limit=50))


def test_get_returns_what_was_stored_in_the_order_asked(filled: ColbertCollection) -> None:
    assert filled.get([5, 3, "missing", 4]) == [DOCUMENTS[5], DOCUMENTS[3], DOCUMENTS[4]]
    assert filled.get(6) == [DOCUMENTS[6]]
    assert filled.get([]) == []


def test_payload_of_every_json_type_comes_back(empty: ColbertCollection) -> None:
    payload = {"s": "ünïcode", "i": 3, "f": 0.5, "b": True, "n": None, "l": [1, ["x"]], "d": {"k": {"deep": []}}}
    empty.upsert([Document("x", "anchor", payload)])
    assert empty.get("x")[0].payload == payload
    assert empty.search("anchor")[0].payload == payload


def test_upsert_replaces_the_whole_document(filled: ColbertCollection) -> None:
    filled.upsert([Document(7, "umbrella umbrella", {"new": True})])
    assert filled.count() == len(DOCUMENTS)
    assert filled.get(7) == [Document(7, "umbrella umbrella", {"new": True})]
    hit = next(hit for hit in filled.search("umbrella", limit=120, mode="exact") if hit.id == 7)
    encoder = WordEncoder()
    expected = maxsim(encoder.encode_queries(["umbrella"]), encoder.encode_documents(["umbrella"]))[0, 0]
    assert hit.score == pytest.approx(float(expected), rel=1e-5)


def test_delete_by_ids_and_by_filter(filled: ColbertCollection) -> None:
    filled.delete(ids=[1, 3, "never stored"])
    filled.delete(ids=5)
    assert filled.count() == len(DOCUMENTS) - 3
    assert filled.get([1, 3, 5]) == []
    filled.delete(filter=EVEN)
    assert filled.count() == 57
    assert filled.count(filter=EVEN) == 0
    assert {hit.payload["parity"] for hit in filled.search(QUERIES[0], limit=100, mode="exact")} == {"odd"}
    filled.check()


def test_ingest_streams_a_generator_and_reports(empty: ColbertCollection) -> None:
    class Recorder:
        def __init__(self) -> None:
            self.events: list[Any] = []

        def start(self, total: int | None) -> None:
            self.events.append(("start", total))

        def advance(self, documents: int) -> None:
            self.events.append(documents)

        def stop(self) -> None:
            self.events.append("stop")

    texts = random_texts(600, seed=3)
    recorder = Recorder()
    report = empty.ingest((Document(i, text) for i, text in enumerate(texts)), progress=recorder)
    assert report.documents == empty.count() == 600
    assert report.tokens == sum(len(text.split()) for text in texts)
    assert recorder.events[0] == ("start", None)
    assert recorder.events[-1] == "stop"
    assert sum(recorder.events[1:-1]) == 600
    assert [document.text for document in empty.get([0, 299, 599])] == [texts[0], texts[299], texts[599]]


def test_ingest_reports_how_many_documents_lost_their_end(client: Client, engine: Engine) -> None:
    collection = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(longest=4), config=CONFIG)
    texts = ["one two three four", "one two three four five", "one"] * 200
    report = collection.ingest(Document(number, text) for number, text in enumerate(texts))
    assert report.truncated == 200
    assert report.tokens == 200 * (4 + 4 + 1)


def test_reopened_collection_is_the_same(engine: Engine, encoder: WordEncoder) -> None:
    if not engine.persistent:
        pytest.skip(":memory: keeps nothing")
    with engine.client() as client:
        collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
        collection.upsert(DOCUMENTS)
        before = collection.search_batch(QUERIES)
    with engine.client() as client:
        reopened = ColbertCollection.open(engine.name, client=client, encoder=encoder)
        reopened.check()
        assert reopened.config == CONFIG
        assert reopened.count() == len(DOCUMENTS)
        after = reopened.search_batch(QUERIES)
    assert_same(after, before)


def test_search_finds_the_same_after_the_graph_is_built(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    config = CollectionConfig(fde=CONFIG.fde, hnsw=HnswConfig(full_scan_threshold=10))
    collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config)
    collection.upsert(DOCUMENTS)
    before = collection.search_batch(QUERIES, limit=10, candidates=120)
    collection.optimize()
    after = collection.search_batch(QUERIES, limit=10, candidates=120)
    assert_same(after, before)


def test_create_open_and_drop(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    with pytest.raises(CollectionNotFoundError, match=r"collection .* does not exist.* ColbertCollection.create"):
        ColbertCollection.open(engine.name, client=client, encoder=encoder)
    made = ColbertCollection.open_or_create(engine.name, client=client, encoder=encoder, config=CONFIG)
    made.upsert(DOCUMENTS[:3])
    with pytest.raises(CollectionExistsError, match="already exists"):
        ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    opened = ColbertCollection.open_or_create(engine.name, client=client, encoder=encoder, config=CONFIG)
    assert opened.count() == 3
    opened.drop()
    with pytest.raises(ClosedError):
        opened.count()
    assert not client.collection_exists(engine.name)
    with pytest.raises(CollectionNotFoundError):
        made.check()


def test_closing_leaves_the_client_open(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    with ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG) as collection:
        collection.upsert(DOCUMENTS[:2])
    with pytest.raises(ClosedError, match="open it again"):
        collection.search("river")
    assert client.collection_exists(engine.name)


@pytest.fixture
def several(engine: Engine, client: Client, encoder: WordEncoder) -> Iterator[list[ColbertCollection]]:
    names = [engine.name, f"{engine.name}-second"]
    collections = [ColbertCollection.create(name, client=client, encoder=encoder, config=CONFIG) for name in names]
    yield collections
    collections[1].drop()


def test_collections_of_one_client_do_not_mix(several: list[ColbertCollection]) -> None:
    first, second = several
    first.upsert(DOCUMENTS[:10])
    second.upsert(DOCUMENTS[10:15])
    assert (first.count(), second.count()) == (10, 5)
    assert {hit.id for hit in second.search(QUERIES[0], limit=100)} == set(range(10, 15))


def test_stored_vectors_are_what_was_encoded(filled: ColbertCollection, client: Client, encoder: WordEncoder) -> None:
    record = client.scroll(filled.name, limit=1, with_payload=True, with_vectors=True)[0][0]
    assert isinstance(record.vector, dict)
    assert record.payload is not None
    tokens = encoder.encode_documents([record.payload["text"]])
    np.testing.assert_array_equal(np.array(record.vector["colbert"], np.float32), tokens[0])
    assert filled.fde is not None
    expected = filled.fde.encode_documents(tokens)[0]
    np.testing.assert_allclose(np.array(record.vector["fde"], np.float32), expected, rtol=1e-3, atol=1e-6)
    assert isinstance(tokens, TokenEmbeddings)


@pytest.mark.parametrize("storage", ["memory", "balanced", "disk"])
def test_storage_and_indexes_change_no_result_and_are_in_force(
    engine: Engine, client: Client, encoder: WordEncoder, storage: Storage
) -> None:
    config = replace(CONFIG, storage=storage, tenant_field="parity", payload_indexes={"number": "integer"})
    collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config)
    collection.ingest(DOCUMENTS)
    even = [document for document in DOCUMENTS if document.payload["parity"] == "even"]
    for query in QUERIES[:3]:
        assert_ranked(collection.search(query, limit=10, candidates=120), exact_ranking(query))
        assert_ranked(collection.search(query, limit=10, candidates=60, filter=EVEN), exact_ranking(query, even))
    state = ColbertCollection.open(engine.name, client=client, encoder=encoder).wait_until_ready(timeout=60)
    assert state.ready
    assert (state.documents, state.fde.dim, state.tokens.dim, state.tokens.graph) == (120, 512, 32, 0)
    if state.engine != "local":  # which keeps everything in memory, without any index
        assert state.indexes == {"parity": "keyword", "number": "integer"}
        assert state.tokens.memory == ("cold" if storage == "disk" else "cached")
        assert state.fde.memory == ("cold" if storage == "disk" else "cached")
        assert state.fde.datatype == state.tokens.datatype == "float16"


def test_a_tenant_and_its_index_are_kept_in_the_settings(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    config = replace(CONFIG, tenant_field="customer")
    ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config)
    assert ColbertCollection.open(engine.name, client=client, encoder=encoder).config == config
    assert ColbertCollection.open(engine.name, client=client, encoder=encoder, config=CONFIG).config == config
    other = replace(CONFIG, tenant_field="team")
    with pytest.raises(FingerprintMismatchError, match=r"layout\.tenant_field: built with 'customer'"):
        ColbertCollection.open(engine.name, client=client, encoder=encoder, config=other)
