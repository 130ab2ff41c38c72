"""Collections whose documents are under the ids of points, with payloads of the user's own, on every engine."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant import (
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    DenseConfig,
    Document,
    FingerprintMismatchError,
    InvalidDocumentError,
    LemurConfig,
    MuveraConfig,
    TokenEmbeddings,
    maxsim,
)
from colbert_qdrant.collection import lifecycle as opening
from colbert_qdrant.engines import blocking_engine
from colbert_qdrant.engines.runtime import run_blocking
from colbert_qdrant.points.ids import RESERVED_POINT
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from colbert_qdrant import DocumentId, SearchMode
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

FDE = MuveraConfig(k_sim=3, dim_proj=8, r_reps=8)
CONFIG = CollectionConfig(fde=FDE, id_scheme="native", text_key="metadata.text")
TEXTS = random_texts(40)
IDS: list[DocumentId] = [
    *range(18),
    2**63,
    2**64 - 1,
    *(UUID(int=number * 10**20) for number in range(10)),
    *(str(UUID(int=number * 10**20 + 1)) for number in range(10)),
]
GIVEN_BACK: list[Any] = [id if isinstance(id, int) else str(id) for id in IDS]
PAYLOADS: list[dict[str, Any]] = [
    {"metadata": {"text": text, "page": number, "tags": ["a", None]}, "_id": f"mine {number}", "text": number}
    for number, text in enumerate(TEXTS)
]
DOCUMENTS = [Document(id, text, payload) for id, text, payload in zip(IDS, TEXTS, PAYLOADS, strict=True)]
QUERY = "copper falcon kelp"
EVEN = {"metadata.page": {"lt": 20}}
MODES: list[SearchMode] = ["two-stage", "exact"]


def create(client: Client, name: str, **settings: Any) -> ColbertCollection:
    config = CollectionConfig(**{"fde": FDE, "id_scheme": "native", "text_key": "metadata.text", **settings})
    return ColbertCollection.create(name, client=client, encoder=WordEncoder(), config=config)


@pytest.fixture
def docs(engine: Engine, client: Client) -> ColbertCollection:
    docs = create(client, engine.name)
    docs.upsert(DOCUMENTS)
    return docs


def ranking(query: str, places: range = range(40)) -> list[tuple[Any, float]]:
    encoder = WordEncoder()
    scores = maxsim(encoder.encode_queries([query]), encoder.encode_documents([TEXTS[place] for place in places]))[0]
    found = [(GIVEN_BACK[place], float(score)) for place, score in zip(places, scores, strict=True)]
    return sorted(found, key=lambda each: -each[1])


def stored(client: Client, name: str) -> dict[Any, tuple[Any, Any]]:
    """All points as the engine has them, but the library's own."""
    records, _ = client.scroll(name, limit=1_000, with_payload=True, with_vectors=True)
    found = {}
    for record in records:
        vectors: Any = record.vector or {}
        found[record.id] = (record.payload, {key: np.asarray(value).tolist() for key, value in vectors.items()})
    found.pop(RESERVED_POINT, None)
    return found


def test_points_have_the_ids_and_payloads_of_documents(docs: ColbertCollection, client: Client) -> None:
    points = stored(client, docs.name)
    assert {id: payload for id, (payload, _) in points.items()} == dict(zip(GIVEN_BACK, PAYLOADS, strict=True))
    assert docs.count() == len(docs.get(IDS)) == 40


def test_get_gives_back_everything_under_the_ids_of_points(docs: ColbertCollection) -> None:
    assert docs.get(IDS) == [
        Document(id, text, payload) for id, text, payload in zip(GIVEN_BACK, TEXTS, PAYLOADS, strict=True)
    ]
    assert docs.get(5) == [Document(5, TEXTS[5], PAYLOADS[5])]
    id = UUID(int=10**20)
    for form in (id, str(id), id.hex, str(id).upper(), f"{{{id}}}", id.urn):
        (found,) = docs.get(form)
        assert (found.id, type(found.id)) == (str(id), str)
    assert docs.get([999, UUID(int=7)]) == []


@pytest.mark.parametrize("mode", MODES)
def test_searches_rank_as_numpy_does(docs: ColbertCollection, mode: SearchMode) -> None:
    expected = ranking(QUERY)[:7]
    hits = docs.search(QUERY, limit=7, mode=mode, candidates=40 if mode == "two-stage" else None)
    assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected], abs=1e-4)
    by_id = dict(ranking(QUERY))
    for hit in hits:
        place = GIVEN_BACK.index(hit.id)
        assert type(hit.id) is type(GIVEN_BACK[place])
        assert hit.score == pytest.approx(by_id[hit.id], abs=1e-4)
        assert (hit.text, hit.payload) == (TEXTS[place], PAYLOADS[place])


def test_batches_filters_and_hits_without_payload(docs: ColbertCollection) -> None:
    first, second = docs.search_batch([QUERY, TEXTS[3]], limit=40, where=EVEN, mode="exact", with_payload=False)
    assert {hit.id: pytest.approx(hit.score, abs=1e-4) for hit in first} == dict(ranking(QUERY, range(20)))
    assert {hit.id for hit in second} == set(GIVEN_BACK[:20])
    assert all(hit.text is None and hit.payload == {} for hit in (*first, *second))
    assert docs.count(where=EVEN) == 20


@pytest.mark.parametrize("place", [5, 19, 21, 35])
def test_more_like_a_document(docs: ColbertCollection, place: int) -> None:
    hits = docs.more_like(IDS[place], limit=40)
    assert {hit.id for hit in hits} == {*GIVEN_BACK} - {GIVEN_BACK[place]}
    (best, score), *_ = [each for each in ranking(TEXTS[place]) if each[0] != GIVEN_BACK[place]]
    assert hits[0].score == pytest.approx(score, abs=1e-3), best


def test_delete(docs: ColbertCollection) -> None:
    docs.delete(ids=[5, UUID(int=0), str(IDS[35]).upper()])
    assert docs.count() == 37
    assert docs.get([5, UUID(int=0), IDS[35]]) == []
    docs.delete(ids=IDS[6])
    docs.delete(where=EVEN)
    assert docs.count() == 18


def test_writing_what_was_read_changes_nothing(docs: ColbertCollection, client: Client) -> None:
    before = deepcopy(stored(client, docs.name))
    docs.upsert(docs.get(IDS))
    assert stored(client, docs.name) == before


def test_a_collection_is_opened_again(docs: ColbertCollection, client: Client, encoder: WordEncoder) -> None:
    again = ColbertCollection.open(docs.name, client=client, encoder=encoder)
    assert again.config == docs.config == CONFIG
    again.check()
    again.ingest(iter(DOCUMENTS), progress=False)
    assert again.get(IDS) == docs.get(IDS)
    with pytest.raises(FingerprintMismatchError) as caught:
        ColbertCollection.open(docs.name, client=client, encoder=encoder, config=CollectionConfig(fde=FDE))
    assert caught.value.differences == {
        "id_scheme": ("native", "uuid5"),
        "layout.text_key": ("metadata.text", "text"),
    }


@pytest.mark.parametrize("id", ["a", "", "5", -1, 2**64, 1.5, None, True, b"x", RESERVED_POINT, UUID(RESERVED_POINT)])
def test_ids_that_no_point_can_have(docs: ColbertCollection, id: Any) -> None:
    calls: list[Any] = [lambda each: docs.get([each]), docs.more_like, lambda each: docs.delete(ids=[each])]
    for call in calls:
        with pytest.raises(InvalidDocumentError, match=r"use an integer from 0 to|use another"):
            call(id)
    with pytest.raises(InvalidDocumentError, match=r"use an integer from 0 to|use another"):
        docs.upsert([Document(1000, "river"), Document(id, "river")])
    assert docs.count() == 40


@pytest.mark.parametrize(
    "ids", [(50, 50), (UUID(int=3), str(UUID(int=3))), (str(UUID(int=171)), UUID(int=171).hex.upper())], ids=repr
)
def test_one_point_twice_in_a_batch(docs: ColbertCollection, ids: tuple[Any, Any]) -> None:
    before = docs.count() - len(docs.get(ids[0]))
    report = docs.upsert([Document(id, text) for id, text in zip(ids, ("river", "bridge"), strict=True)])
    assert (report.documents, report.replaced, docs.count()) == (1, 1, before + 1)
    assert [each.text for each in docs.get(ids[0])] == ["bridge"]


TEXT = "copper river"
NODE = json.dumps({"id_": "n", "text": TEXT})
WRITTEN: list[tuple[str | None, dict[str, Any], dict[str, Any]]] = [
    ("page_content", {}, {"page_content": TEXT}),
    ("page_content", {"page_content": TEXT, "metadata": {}}, {"page_content": TEXT, "metadata": {}}),
    ("metadata.text", {"_id": 3}, {"_id": 3, "metadata": {"text": TEXT}}),
    ("metadata.text", {"metadata": {"page": 1}}, {"metadata": {"page": 1, "text": TEXT}}),
    ('a."b c".d', {}, {"a": {"b c": {"d": TEXT}}}),
    ("parts[].text", {"parts": [{"text": "copper river"}]}, {"parts": [{"text": TEXT}]}),
    ("parts[1]", {"parts": ("x", TEXT)}, {"parts": ["x", TEXT]}),
    ("_node_content.text", {"_node_content": NODE, "doc_id": "7"}, {"_node_content": NODE, "doc_id": "7"}),
    (None, {"text": 3}, {"text": 3}),
    (None, {}, {}),
]


@pytest.mark.parametrize(("key", "payload", "expected"), WRITTEN, ids=repr)
def test_how_payloads_are_written(
    engine: Engine, client: Client, key: str | None, payload: dict[str, Any], expected: dict[str, Any]
) -> None:
    docs = create(client, engine.name, text_key=key)
    given = deepcopy(payload)
    docs.upsert([Document(7, TEXT, payload)])
    assert payload == given
    (record,) = client.retrieve(docs.name, ids=[7], with_payload=True)
    assert (record.payload or {}) == expected
    assert docs.get(7) == [Document(7, "" if key is None else TEXT, expected)]
    (hit,) = docs.search("river")
    assert (hit.id, hit.text, hit.payload) == (7, None if key is None else TEXT, expected)


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("text", {"text": "another"}, "make the two equal"),
    ("text", {"text": ""}, "make the two equal"),
    ("text", {"text": None}, "make the two equal"),
    ("text", {"text": 7}, "make the two equal"),
    ("metadata.text", {"metadata": None}, "put the text into the payload"),
    ("metadata.text", {"metadata": ["x"]}, "put the text into the payload"),
    ("metadata.text", {"metadata": "{}"}, "put the text into the payload"),
    ("parts[].text", {}, "put the text into the payload"),
    ("parts[].text", {"parts": [{"page": 1}]}, "put the text into the payload"),
    ("parts[].text", {"parts": [{"text": "x"}]}, "make the two equal"),
    ("_node_content.text", {"_node_content": "no JSON"}, "put the text into the payload"),
    ("_node_content.text", {"_node_content": json.dumps({"text": "x"})}, "make the two equal"),
    ("text", {"day": {1, 2}}, "is not valid JSON"),
    ("text", {"score": float("inf")}, "'score' is inf"),
]


@pytest.mark.parametrize(("key", "payload", "message"), REFUSED, ids=repr)
def test_payloads_that_are_refused(
    engine: Engine, client: Client, key: str, payload: dict[str, Any], message: str
) -> None:
    docs = create(client, engine.name, text_key=key)
    with pytest.raises(InvalidDocumentError, match=f"document 8: .*{message}"):
        docs.upsert([Document(7, TEXT, {"parts": [{"text": TEXT}], "text": TEXT}), Document(8, TEXT, payload)])
    assert docs.count() == 0


def test_points_without_text_and_without_payload(docs: ColbertCollection, client: Client) -> None:
    for id, payload in ((100, {}), (101, {"metadata": {"text": 5}}), (102, {"metadata": None})):
        vectors: Any = client.retrieve(docs.name, ids=[3], with_vectors=True)[0].vector
        client.upsert(docs.name, points=[models.PointStruct(id=id, vector=vectors, payload=payload)], wait=True)
    hits = {hit.id: hit for hit in docs.search(TEXTS[3], limit=43, mode="exact")}
    assert [hits[id].text for id in (3, 100, 101, 102)] == [TEXTS[3], None, None, None]
    assert hits[101].payload == {"metadata": {"text": 5}}
    assert [(each.id, each.text, each.payload) for each in docs.get([100, 102])] == [
        (100, "", {}),
        (102, "", {"metadata": None}),
    ]
    with pytest.raises(InvalidDocumentError, match="has no text"):
        docs.upsert(docs.get(100))


@pytest.mark.parametrize("key", ["a..b", "[0]", "two words"])
def test_a_text_key_that_is_no_path_makes_no_collection(engine: Engine, client: Client, key: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a valid payload path"):
        create(client, engine.name, text_key=key)
    assert not client.collection_exists(engine.name)


def test_token_vectors_by_cosine(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    docs = create(client, engine.name, token_distance="cosine", token_datatype="float32")
    docs.upsert(DOCUMENTS)
    params: Any = client.get_collection(docs.name).config.params.vectors
    assert params["colbert"].distance == models.Distance.COSINE
    again = ColbertCollection.open(docs.name, client=client, encoder=encoder)
    assert again.config.token_distance == "cosine"

    def unit(tokens: TokenEmbeddings) -> TokenEmbeddings:
        return TokenEmbeddings(tokens.values / np.linalg.norm(tokens.values, axis=1, keepdims=True), tokens.lengths)

    scores = maxsim(unit(encoder.encode_queries([QUERY])), unit(encoder.encode_documents(TEXTS)))[0]
    found = {hit.id: hit.score for hit in again.search(QUERY, limit=40, mode="exact")}
    assert [found[id] for id in GIVEN_BACK] == pytest.approx(scores.tolist(), abs=1e-4)


def test_a_dense_vector_without_a_name(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    meaning = np.random.default_rng(3).normal(size=(40, 6)).astype(np.float32)
    docs = create(client, engine.name, dense={"": DenseConfig(dim=6, distance="dot")})
    documents = [
        Document(each.id, each.text, each.payload, vectors={"": vector})
        for each, vector in zip(DOCUMENTS, meaning, strict=True)
    ]
    docs.upsert(documents)
    docs = ColbertCollection.open(docs.name, client=client, encoder=encoder)
    found = docs.search(QUERY, mode="hybrid", prefetch=[""], vectors={"": meaning[7]}, candidates=10, limit=10)
    nearest = np.argsort(-(meaning @ meaning[7]))[:10]
    assert {hit.id for hit in found} == {GIVEN_BACK[place] for place in nearest}
    scores = dict(ranking(QUERY))
    assert [hit.score for hit in found] == pytest.approx([scores[hit.id] for hit in found], abs=1e-4)
    both = docs.search(QUERY, mode="hybrid", vectors={"": meaning[7]}, candidates=10, limit=10)
    assert {"", "fde"} == {name for hit in both for name in hit.found_by}
    np.testing.assert_allclose(docs.get(5)[0].vectors[""], meaning[5], rtol=1e-6)
    before = stored(client, docs.name)
    docs.upsert(docs.get(IDS))
    assert stored(client, docs.name) == before


def forget_encoder(docs: ColbertCollection, client: Client) -> None:
    """What a collection says whose tokens something else wrote."""
    run_blocking(
        opening.declare(
            docs.name,
            engine=blocking_engine(client),
            encoder=docs.encoder,
            config=docs.config,
            fde=docs.fde,
            tokens_of={},
        )
    )


def test_an_encoder_that_is_not_known(docs: ColbertCollection, client: Client) -> None:
    forget_encoder(docs, client)
    other = ColbertCollection.open(docs.name, client=client, encoder=WordEncoder(salt="other"))
    other.check()
    other.upsert([Document(3, "river", {})])
    assert other.search("river", limit=1)[0].id == 3
    with pytest.raises(FingerprintMismatchError, match="an encoder whose token vectors have 32 dimensions") as caught:
        ColbertCollection.open(docs.name, client=client, encoder=WordEncoder(dim=16))
    assert caught.value.differences["fde.token_dim"] == (32, 16)
    assert not any(name.startswith("encoder") for name in caught.value.differences)


class Reader(WordEncoder):
    """Knows how long token vectors are, but cannot make any of queries."""

    able = False

    def encode_queries(self, texts: Any) -> TokenEmbeddings:
        if not self.able:
            raise NotImplementedError
        return super().encode_queries(texts)


@pytest.mark.parametrize("key", ["metadata.text", "somewhere", None])
@pytest.mark.parametrize("kind", [WordEncoder, Reader])
def test_a_learned_encoding_and_its_refits_keep_the_encoder_unknown(
    engine: Engine, client: Client, monkeypatch: pytest.MonkeyPatch, key: str | None, kind: type[WordEncoder]
) -> None:
    fde = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=25)
    docs = create(client, engine.name, fde=fde, text_key=key)
    docs.upsert(DOCUMENTS)
    if key == "somewhere":  # no point has a text there
        client.delete_payload(docs.name, keys=[key], points=GIVEN_BACK, wait=True)
    forget_encoder(docs, client)
    docs = ColbertCollection.open(docs.name, client=client, encoder=kind())
    docs.fit(refit=True, progress=False)
    monkeypatch.setattr(Reader, "able", True)
    another = ColbertCollection.open(docs.name, client=client, encoder=kind(salt="other"))
    another.fit(refit=True, progress=False)
    docs = ColbertCollection.open(docs.name, client=client, encoder=WordEncoder())
    assert docs.fde is not None
    scores = dict(ranking(QUERY))
    found = docs.search(QUERY, limit=40, candidates=40)
    assert {hit.id for hit in found} == set(GIVEN_BACK)
    assert [hit.score for hit in found] == pytest.approx([scores[hit.id] for hit in found], abs=1e-4)


def test_a_fit_is_to_documents_from_all_over_the_ids(
    engine: Engine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not to the first ones: whoever numbers documents may have sorted them."""
    from colbert_qdrant.fde import fit_encoder

    fitted_to = []

    def spying(config: Any, documents: TokenEmbeddings, **others: Any) -> Any:
        fitted_to.append([words[row.tobytes()] for row in documents.values])
        return fit_encoder(config, documents, **others)

    monkeypatch.setattr("colbert_qdrant.collection.fitting.fit_encoder", spying)
    texts = [f"word{number}" for number in range(400)]
    words = {WordEncoder().encode_documents([text]).values.tobytes(): number for number, text in enumerate(texts)}
    docs = create(client, engine.name, fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2, center=True, fit_documents=50))
    docs.ingest([Document(number, text) for number, text in enumerate(texts)], progress=False)
    docs.fit(refit=True, progress=False)
    docs.fit(refit=True, progress=False)
    chosen, again = (sorted(each) for each in fitted_to[1:])
    assert chosen == again
    assert len(set(chosen)) == len(chosen) == 50
    assert chosen[0] < 60
    assert chosen[-1] > 340
    assert 140 < np.mean(chosen) < 260
