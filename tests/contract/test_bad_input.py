"""Bad input gives a clear error, and nothing is written, on every engine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from colbert_qdrant import (
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    InvalidDocumentError,
    InvalidQueryError,
    InvalidTokensError,
    MuveraConfig,
    TokenEmbeddings,
)
from tests.encoders import MatrixEncoder, WordEncoder

if TYPE_CHECKING:
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
GOOD = Document("good", "river bridge", {"year": 2020})


@pytest.fixture
def collection(engine: Engine, client: Client, encoder: WordEncoder) -> ColbertCollection:
    collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    collection.upsert([GOOD])
    return collection


def assert_nothing_written(collection: ColbertCollection) -> None:
    assert collection.count() == 1
    assert collection.get("good") == [GOOD]


def nested(levels: int, kind: type = dict) -> Any:
    """Objects, or lists, inside each other."""
    value: Any = 1
    for _ in range(levels):
        value = {"a": value} if kind is dict else [value]
    return value


BAD_DOCUMENTS = {
    "empty text": ([Document("x", "")], "document 'x' has no text"),
    "blank text": ([Document("x", " \n\t")], "document 'x' has no text"),
    "text of a wrong type": ([Document("x", 5)], "document 'x' has no text"),  # type: ignore[arg-type]
    "id twice": ([Document("x", "a"), Document("y", "b"), Document("x", "c")], "id 'x' is twice in one batch"),
    "float id": ([Document(1.5, "a")], "id 1.5 is a float"),  # type: ignore[arg-type]
    "boolean id": ([Document(True, "a")], "id True is a bool"),
    "no id": ([Document(None, "a")], "id None is a NoneType"),  # type: ignore[arg-type]
    "huge id": ([Document(2**64, "a")], "does not fit into 64 bits: use it as a string"),
    "broken Unicode id": ([Document("\ud800", "a")], "is not valid Unicode"),
    "broken Unicode text": ([Document("x", "a \ud800")], "document 'x': text or payload is not valid JSON"),
    "payload is not JSON": (
        [Document("x", "a", {"when": object()})],
        "document 'x': text or payload is not valid JSON",
    ),
    "payload has NaN": ([Document("x", "a", {"f": float("nan")})], "document 'x': text or payload is not valid JSON"),
    "payload too deep": (
        [Document("x", "a", {"deep": nested(64)})],
        "document 'x': the payload has more than 64 lists",
    ),
    "lists too deep": (
        [Document("x", "a", {"deep": nested(64, list)})],
        "document 'x': the payload has more than 64 lists",
    ),
    "reserved key": ([Document("x", "a", {"text": "b"})], r"payload keys \['text'\] are used by this library"),
    "not a document": ([{"id": "x", "text": "a"}], "expected a colbert_qdrant.Document, got dict"),
}


@pytest.mark.parametrize("method", ["upsert", "ingest"])
@pytest.mark.parametrize("case", BAD_DOCUMENTS)
def test_documents(collection: ColbertCollection, case: str, method: str) -> None:
    documents: Any
    documents, message = BAD_DOCUMENTS[case]
    with pytest.raises(InvalidDocumentError, match=message):
        getattr(collection, method)([Document("fine", "garden"), *documents])
    assert_nothing_written(collection)


ROWS = np.full((3, 32), 0.1, np.float32)
WITH_NAN, WITH_INF, WITH_NEGATIVE_INF = ROWS.copy(), ROWS.copy(), ROWS.copy()
WITH_NAN[2, 5], WITH_INF[0, 0], WITH_NEGATIVE_INF[1, 31] = np.nan, np.inf, -np.inf

BAD_TOKENS = {
    "NaN": (WITH_NAN, "text 1 has NaN or infinite values"),
    "infinity": (WITH_INF, "text 1 has NaN or infinite values"),
    "negative infinity": (WITH_NEGATIVE_INF, "text 1 has NaN or infinite values"),
    "more than float32 can hold": (ROWS.astype(np.float64) * 1e300, "text 1 has NaN or infinite values"),
    "no tokens": (ROWS[:0], "text 1 has no tokens"),
    "another dimension than its neighbour": (ROWS[:, :31], "token vectors have 31 dimensions, expected 32"),
    "too many tokens": (np.tile(ROWS[:1], (32_768, 1)), "at most 1,048,575 per document, so 32,767 tokens"),
    "a vector instead of a matrix": (ROWS[0], r"must be a matrix \(n_tokens, dim\), got shape \(32,\)"),
}


@pytest.mark.parametrize("case", BAD_TOKENS)
def test_token_embeddings(collection: ColbertCollection, client: Client, case: str) -> None:
    matrix, message = BAD_TOKENS[case]
    broken = ColbertCollection.open(collection.name, client=client, encoder=MatrixEncoder([ROWS, matrix]))
    with np.errstate(over="ignore"), pytest.raises(InvalidTokensError, match=message):
        broken.upsert([Document("fine", "garden"), Document("x", "a")])
    assert_nothing_written(collection)


def test_an_encoder_that_breaks_its_word(collection: ColbertCollection, client: Client) -> None:
    narrow = ColbertCollection.open(collection.name, client=client, encoder=MatrixEncoder([ROWS[:, :8]]))
    with pytest.raises(InvalidDocumentError, match="1 matrices of 8 dimensions for 1 documents of 32"):
        narrow.upsert([Document("x", "a")])
    short = ColbertCollection.open(collection.name, client=client, encoder=MatrixEncoder([ROWS]))
    with pytest.raises(InvalidDocumentError, match="1 matrices of 32 dimensions for 2 documents"):
        short.upsert([Document("x", "a"), Document("y", "b")])
    assert_nothing_written(collection)


BAD_SEARCHES: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "empty query": ("", {}, InvalidQueryError, "query 0 is ''"),
    "blank query": ("  ", {}, InvalidQueryError, "a query is a text that is not empty"),
    "two queries": (TokenEmbeddings(ROWS, [1, 2]), {}, InvalidQueryError, "takes one query, got 2: use search_batch"),
    "other dimension": (TokenEmbeddings(ROWS[:, :8], [3]), {}, InvalidQueryError, "have 8 dimensions, those of .* 32"),
    "unknown mode": (
        "a",
        {"mode": "fast"},
        ConfigurationError,
        "unknown mode 'fast': use one of two-stage, hybrid, fde, exact",
    ),
    "no hits wanted": ("a", {"limit": 0}, ConfigurationError, "limit must be at least 1, got 0"),
    "too few candidates": (
        "a",
        {"limit": 10, "candidates": 9},
        ConfigurationError,
        "candidates=9 is less than limit=10",
    ),
}


@pytest.mark.parametrize("case", BAD_SEARCHES)
def test_searches(collection: ColbertCollection, case: str) -> None:
    query, arguments, error, message = BAD_SEARCHES[case]
    with pytest.raises(error, match=message):
        collection.search(query, **arguments)


def test_one_string_is_no_batch_of_queries(collection: ColbertCollection) -> None:
    with pytest.raises(InvalidQueryError, match="got one string: use search"):
        collection.search_batch("river")


@pytest.mark.parametrize("arguments", [{}, {"ids": ["good"], "filter": object()}, {"ids": "good", "where": {"a": 1}}])
def test_delete_needs_exactly_one_selector(collection: ColbertCollection, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"either ids=… or a filter"):
        collection.delete(**arguments)
    assert_nothing_written(collection)


@pytest.mark.parametrize("where", [{}, {"year": {"gt": "2019"}}])
def test_a_where_that_is_wrong_is_refused(collection: ColbertCollection, where: Any) -> None:
    searches = (partial(collection.search, "river"), partial(collection.search_batch, ["river"]))
    for call in (*searches, collection.count, collection.delete):
        with pytest.raises(ConfigurationError, match="where"):
            call(where=where)
    assert_nothing_written(collection)


def test_documents_acknowledged_before_a_bad_one_stay(collection: ColbertCollection) -> None:
    stream = [Document(number, "garden") for number in range(300)] + [Document("bad", "")]
    with pytest.raises(InvalidDocumentError, match="document 'bad' has no text"):
        collection.ingest(iter(stream))
    stored = collection.count() - 1
    assert 0 < stored <= 300
    assert len(collection.get(range(stored))) == stored


def test_a_payload_may_be_deep(collection: ColbertCollection) -> None:
    deep = Document("deep", "river", {"objects": nested(63), "lists": nested(63, list)})
    collection.upsert([deep])
    assert collection.get("deep") == [deep]


@pytest.mark.parametrize(
    ("number", "config", "setting"),
    [
        (65_505, CollectionConfig(fde=CONFIG.fde, fde_datatype="float32"), "token_datatype"),
        (-70_000, CollectionConfig(fde=CONFIG.fde, fde_datatype="float32"), "token_datatype"),
        (1e30, CollectionConfig(fde=CONFIG.fde, fde_datatype="float32"), "token_datatype"),
        (1e6, CollectionConfig(fde=CONFIG.fde, token_datatype="float32"), "fde_datatype"),
    ],
)
def test_numbers_that_float16_cannot_store(
    engine: Engine, client: Client, number: float, config: CollectionConfig, setting: str
) -> None:
    encoder = MatrixEncoder([[[number, 1.0, 0.0, 0.0]]], dim=4)
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config)
    with pytest.raises(InvalidTokensError, match=f"document 'x' has a number of .*{setting}='float32'"):
        docs.upsert([Document("x", "river")])
    assert docs.count() == 0


def test_the_largest_number_of_float16_is_stored(engine: Engine, client: Client) -> None:
    encoder = MatrixEncoder([[[65_504.0, -65_504.0, 0.0, 0.0]]], dim=4)
    config = CollectionConfig(fde=CONFIG.fde, fde_datatype="float32")
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config)
    docs.upsert([Document("x", "river")])
    assert [hit.score for hit in docs.search("river", mode="exact")] == pytest.approx([2 * 65_504.0**2])


def test_filters_and_ids_of_a_wrong_type_are_refused_in_the_librarys_words(collection: ColbertCollection) -> None:
    wrong: Any = "year = 2020"
    for call in (collection.count, collection.delete, partial(collection.search, "river")):
        with pytest.raises(ConfigurationError, match=r"filter must be a models\.Filter, got 'year = 2020'"):
            call(filter=wrong)
    nothing: Any = None
    with pytest.raises(InvalidDocumentError, match="id None is a NoneType"):
        collection.get(nothing)
    assert_nothing_written(collection)
