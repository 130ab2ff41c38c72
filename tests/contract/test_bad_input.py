"""Bad input gives a clear error, and nothing is written, on every engine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import models

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
    from collections.abc import Sequence

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2), payload_indexes={"years": "integer"})
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


ONE: Any = {1: "b"}
BAD_DOCUMENTS = {
    "empty text": ([Document("x", "")], "document 'x' has no text"),
    "blank text": ([Document("x", " \n\t")], "document 'x' has no text"),
    "text of a wrong type": ([Document("x", 5)], "document 'x': text must be a string, got int 5"),  # type: ignore[arg-type]
    "float id": ([Document(1.5, "a")], "id 1.5 has type float"),  # type: ignore[arg-type]
    "boolean id": ([Document(True, "a")], "id True has type bool"),
    "no id": ([Document(None, "a")], "id None has type NoneType"),  # type: ignore[arg-type]
    "huge id": ([Document(2**64, "a")], "does not fit into 64 bits: convert it to a string"),
    "broken Unicode id": ([Document("\ud800", "a")], "is not valid Unicode"),
    "broken Unicode text": ([Document("x", "a \ud800")], "document 'x': text or payload is not valid JSON"),
    "broken Unicode in a payload": (
        [Document("x", "a", {"list": ["b", "\ud800"]})],
        r"document 'x': text or payload is not valid JSON, since payload key 'list\[1\]': '\\ud800' is not valid Unic",
    ),
    "broken Unicode in a key": (
        [Document("x", "a", {"deep": {"\udfff": 1}})],
        r"document 'x': .*, since payload key '\\udfff' is not valid Unicode",
    ),
    "a number for a key": (
        [Document("x", "a", ONE)],
        "document 'x': payload key 1 has type int: use a string, such as '1'",
    ),
    "None for a key in an object": (
        [Document("x", "a", {"list": [{"deep": {None: 1}}]})],
        r"document 'x': payload key None under 'list\[0\]\.deep' has type NoneType: use a string, such as 'None'",
    ),
    "more than 64 bits": (
        [Document("x", "a", {"wei": 2**64 + 1})],
        "document 'x': payload key 'wei' is 18446744073709551617, .* 64 bits, .*: store it as a string",
    ),
    "64 bits without a sign": (
        [Document("x", "a", {"hash": 2**63})],
        "document 'x': payload key 'hash' is 92233720368",
    ),
    "too low": (
        [Document("x", "a", {"a b": [{"c": -(2**63) - 1}]})],
        r"""payload key '"a b"\[0\]\.c' is -92233720368""",
    ),
    "no whole number under an index of these": (
        [Document("x", "a", {"years": [2020.0, 2020.5]})],
        "document 'x': payload key 'years' is 2020.5, which its index of type 'integer' would not find",
    ),
    "a float that is too large for an index of whole numbers": (
        [Document("x", "a", {"years": 1e300})],
        "'years' is 1e",
    ),
    "payload is not JSON": (
        [Document("x", "a", {"when": object()})],
        "document 'x': the payload is not valid JSON",
    ),
    "payload has infinity": ([Document("x", "a", {"f": float("inf")})], "document 'x': payload key 'f' is inf"),
    "payload too deep": (
        [Document("x", "a", {"deep": nested(64)})],
        "document 'x': the payload nests lists and objects more than 64 levels deep",
    ),
    "lists too deep": (
        [Document("x", "a", {"deep": nested(64, list)})],
        "document 'x': the payload nests lists and objects more than 64 levels deep",
    ),
    "reserved key": ([Document("x", "a", {"text": "b"})], r"colbert-qdrant uses the payload keys \['text'\]"),
    "no payload": ([Document("x", "a", None)], "document 'x': payload has type NoneType: pass a dict"),  # type: ignore[arg-type]
    "a list for a payload": ([Document("x", "a", [1])], "document 'x': payload has type list: pass a dict"),  # type: ignore[arg-type]
    "no vectors": ([Document("x", "a", {}, None)], "document 'x': vectors has type NoneType: pass a dict"),  # type: ignore[arg-type]
    "a vector of no name": ([Document("x", "a", {}, {"image": [1.0]})], "document 'x' brings a vector 'image'"),
    "None": ([None], r"expected a (colbert_qdrant\.)?Document.*, got NoneType"),
    "not a document": (["text"], r"expected a (colbert_qdrant\.)?Document.*, got str"),
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
    "NaN": (WITH_NAN, "document 'x' has NaN or infinite values"),
    "infinity": (WITH_INF, "document 'x' has NaN or infinite values"),
    "negative infinity": (WITH_NEGATIVE_INF, "document 'x' has NaN or infinite values"),
    "more than float32 can hold": (ROWS.astype(np.float64) * 1e300, "document 'x' has NaN or infinite values"),
    "no tokens": (ROWS[:0], "document 'x' has no tokens"),
    "too many tokens": (
        np.tile(ROWS[:1], (32_768, 1)),
        "document 'x' has 32,768 tokens .* at most 1,048,575 per document, which is 32,767 tokens",
    ),
    "a vector instead of a matrix": (
        ROWS[0],
        r"document 'x': token embeddings must be a matrix .*got shape \(32,\)",
    ),
}


@dataclass
class OddEncoder(WordEncoder):
    """Gives some texts matrices that no encoder should make."""

    odd: dict[str, Any] = field(default_factory=dict)

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        self.encoded += len(texts)
        good = iter(WordEncoder().encode_documents([text for text in texts if text not in self.odd]))
        return TokenEmbeddings.from_matrices(self.odd[text] if text in self.odd else next(good) for text in texts)


@pytest.mark.parametrize("case", BAD_TOKENS)
def test_token_embeddings(collection: ColbertCollection, client: Client, case: str) -> None:
    matrix, message = BAD_TOKENS[case]
    broken = ColbertCollection.open(collection.name, client=client, encoder=OddEncoder(odd={"a": matrix}))
    with np.errstate(over="ignore"), pytest.raises(InvalidTokensError, match=message):
        broken.upsert([Document("fine", "garden"), Document("x", "a")])
    assert_nothing_written(collection)


BAD_ROWS = {
    "no text": Document("bad", " "),
    "no id": Document(None, "river"),  # type: ignore[arg-type]
    "a list as its id": Document([1], "river"),  # type: ignore[arg-type]
    "no payload": Document("bad", "river", None),  # type: ignore[arg-type]
    "object in its payload": Document("bad", "river", {"x": object()}),
    "unknown vector": Document("bad", "river", {}, {"image": [1.0]}),
    "not a document": {"id": "bad"},
    "too long": Document("bad", "long"),
    "NaN": Document("bad", "nan"),
    "no tokens": Document("bad", "none"),
    "infinite in float16": Document("bad", "large"),
}
ODD = {"long": np.tile(ROWS[:1], (32_768, 1)), "nan": WITH_NAN, "none": ROWS[:0], "large": ROWS * 1e6}


@pytest.mark.parametrize("case", BAD_ROWS)
@pytest.mark.parametrize("place", [0, 7, 299])
def test_a_bad_document_is_left_out_and_reported(engine: Engine, client: Client, case: str, place: int) -> None:
    bad: Any = BAD_ROWS[case]
    docs = ColbertCollection.create(engine.name, client=client, encoder=OddEncoder(odd=ODD), config=CONFIG)
    good: list[Any] = [Document(number, f"river {number}") for number in range(300)]
    stream = [*good[:place], bad, *good[place:]]
    report = docs.ingest(iter(stream), on_error="skip")
    assert (report.documents, report.tokens, docs.count()) == (300, 600, 300)
    (rejected,) = report.rejected
    assert rejected.id == (bad.id if isinstance(bad, Document) else None)
    assert (repr(rejected.id) in rejected.reason) == isinstance(bad, Document)
    again = docs.upsert(stream, on_error="skip")
    assert (again.documents, len(again.rejected)) == (300, 1)
    assert again.rejected == report.rejected or not isinstance(bad, Document)
    with pytest.raises((InvalidDocumentError, InvalidTokensError), match=re.escape(again.rejected[0].reason[:40])):
        docs.upsert(stream)


def test_an_encoder_that_fails_for_one_text(engine: Engine, client: Client) -> None:
    class Failing(WordEncoder):
        def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
            self.encoded += len(texts)
            if "river river" in texts:
                raise ValueError("need at least one array to stack")
            return super().encode_documents(texts)

    encoder = Failing()
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    documents = [Document(number, "river river" if number == 44 else "garden") for number in range(256)]
    with pytest.raises(InvalidDocumentError, match=r"document 44 cannot be encoded .*need at least one array"):
        docs.ingest(iter(documents))
    encoder.encoded = 0
    report = docs.ingest(iter(documents), on_error="skip")
    assert [each.id for each in report.rejected] == [44]
    assert docs.count() == 255
    assert encoder.encoded < 5 * 256


def test_an_encoder_that_fails_for_every_text_is_not_the_documents_fault(engine: Engine, client: Client) -> None:
    class Broken(WordEncoder):
        def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
            self.calls += 1
            raise ValueError("out of order")

    encoder = Broken()
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    with pytest.raises(ValueError, match="out of order"):
        docs.ingest((Document(number, "river") for number in range(256)), on_error="skip")
    assert encoder.calls < 20


def test_the_documents_of_a_list_are_checked_before_the_first_is_encoded(engine: Engine, client: Client) -> None:
    encoder = WordEncoder()
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    with pytest.raises(InvalidDocumentError, match="document 'bad' has no text"):
        docs.ingest([*(Document(number, "river") for number in range(600)), Document("bad", "")])
    assert (encoder.encoded, docs.count()) == (0, 0)


@pytest.mark.parametrize("apart", [1, 10, 255, 256, 300])
@pytest.mark.parametrize("method", ["ingest", "upsert"])
def test_the_last_document_of_an_id_is_stored_and_counted(
    engine: Engine, client: Client, apart: int, method: str
) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(longest=2), config=CONFIG)
    stream = [Document("x", "river bridge garden", {"n": 0}), *(Document(n, "river") for n in range(apart - 1))]
    stream += [Document("x", "anchor", {"n": 1}), Document("y", "temple")]
    report = getattr(docs, method)(stream)
    assert (report.documents, report.replaced, report.rejected) == (apart + 1, 1, ())
    assert (report.tokens, report.truncated) == (apart + 1, 0)
    assert docs.count() == apart + 1
    assert docs.get("x") == [Document("x", "anchor", {"n": 1})]


@pytest.mark.parametrize("apart", [1, 300])
def test_a_bad_document_replaces_no_good_one(engine: Engine, client: Client, apart: int) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=OddEncoder(odd=ODD), config=CONFIG)
    between = [Document(number, "river") for number in range(apart - 1)]
    report = docs.ingest(iter([Document("x", "anchor"), *between, Document("x", "long")]), on_error="skip")
    assert (report.documents, report.replaced, len(report.rejected)) == (apart, 0, 1)
    assert docs.get("x") == [Document("x", "anchor")]


@pytest.mark.parametrize(
    ("method", "refused", "known"),
    [("upsert", "documents must be a list or another iterable of Documents, got", "'raise', 'skip'"),
     ("ingest", "source must be a list or another iterable of Documents, dicts", "'raise', 'skip', 'reject'")],
)  # fmt: skip
@pytest.mark.parametrize("documents", [GOOD, {"id": 1, "text": "a"}, None, 5, b"river"])
def test_what_is_no_list_of_documents(
    collection: ColbertCollection, method: str, refused: str, known: str, documents: Any
) -> None:
    with pytest.raises(ConfigurationError, match=rf"{refused}.*pass \[Document"):
        getattr(collection, method)(documents)
    with pytest.raises(ConfigurationError, match=f"on_error='ignore': use one of {known}"):
        getattr(collection, method)([GOOD], on_error="ignore")
    assert_nothing_written(collection)


def test_a_text_is_no_source(collection: ColbertCollection) -> None:
    with pytest.raises(ConfigurationError, match=r"documents must be a list.*got a str"):
        collection.upsert("river")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"there is no file 'river': pass a path.*for texts, pass Documents"):
        collection.ingest("river")
    assert_nothing_written(collection)


class _BrokenReporter:
    def start(self, total: int | None) -> None:
        raise OSError("gone")

    def advance(self, documents: int) -> None:
        raise OSError("gone")

    stop: Any = start


def test_a_reporter_that_fails_stops_nothing(
    engine: Engine, client: Client, encoder: WordEncoder, caplog: pytest.LogCaptureFixture
) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    assert docs.ingest([GOOD], progress=_BrokenReporter()).documents == 1
    assert [record.message for record in caplog.records if "progress" in record.message] == [
        "the progress reporter failed in start(); the work continues"
    ]


def test_an_encoder_that_breaks_its_word(collection: ColbertCollection, client: Client) -> None:
    narrow = ColbertCollection.open(collection.name, client=client, encoder=MatrixEncoder([ROWS[:, :8]]))
    with pytest.raises(InvalidDocumentError, match="1 matrices of 8 dimensions for 1 texts, but its dim is 32"):
        narrow.upsert([Document("x", "a")])
    short = ColbertCollection.open(collection.name, client=client, encoder=MatrixEncoder([ROWS]))
    with pytest.raises(InvalidDocumentError, match="1 matrices of 32 dimensions for 2 texts"):
        short.upsert([Document("x", "a"), Document("y", "b")])
    odd = ColbertCollection.open(collection.name, client=client, encoder=OddEncoder(odd={"a": ROWS[:, :31]}))
    with pytest.raises(InvalidDocumentError, match="1 matrices of 31 dimensions for 1 texts, but its dim is 32"):
        odd.upsert([Document("y", "b"), Document("x", "a")])
    assert_nothing_written(collection)


BAD_SEARCHES: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "empty query": ("", {}, InvalidQueryError, "query 0 is ''"),
    "blank query": ("  ", {}, InvalidQueryError, "pass a text that is not empty"),
    "two queries": (TokenEmbeddings(ROWS, [1, 2]), {}, InvalidQueryError, "takes one query, got 2: call search_batch"),
    "other dimension": (
        TokenEmbeddings(ROWS[:, :8], [3]),
        {},
        InvalidQueryError,
        "have 8 dimensions, but those of .* 32",
    ),
    "unknown mode": (
        "a",
        {"mode": "fast"},
        ConfigurationError,
        "mode='fast': use one of two-stage, hybrid, fde, bm25, exact",
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
    with pytest.raises(InvalidQueryError, match="got one string: call search"):
        collection.search_batch("river")


def test_token_embeddings_of_several_queries_are_one_batch(collection: ColbertCollection) -> None:
    queries: Any = [collection.encoder.encode_queries([text]) for text in ("river", "mountain")]
    with pytest.raises(InvalidQueryError, match=r"query 0 is .*: pass one TokenEmbeddings.concatenate\(queries\)"):
        collection.search_batch(queries)
    assert len(collection.search_batch(TokenEmbeddings.concatenate(queries))) == 2


@pytest.mark.parametrize(
    "filter",
    [
        models.Filter(),
        models.Filter(must=[]),
        models.Filter(must=[models.Filter(should=[])], must_not=[]),
        models.Filter(must=models.Filter()),
        models.Filter(should=[models.Filter(), models.HasIdCondition(has_id=[1])]),
    ],
    ids=str,
)
def test_delete_takes_no_filter_without_a_condition(collection: ColbertCollection, filter: models.Filter) -> None:
    with pytest.raises(ConfigurationError, match="filter has no condition, so delete would delete every document"):
        collection.delete(filter=filter)
    collection.delete(ids=[])
    assert_nothing_written(collection)
    assert collection.count(filter=filter) == len(collection.search("river", filter=filter)) == 1
    collection.delete(filter=models.Filter(must=[filter, models.HasIdCondition(has_id=[1])]))
    assert_nothing_written(collection)
    collection.delete(filter=filter, where={"year": 2020})
    assert collection.count() == 0


@pytest.mark.parametrize("arguments", [{}, {"ids": ["good"], "filter": object()}, {"ids": "good", "where": {"a": 1}}])
def test_delete_needs_exactly_one_selector(collection: ColbertCollection, arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="pass either ids=…, or where=… and filter=…"):
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
    with pytest.raises(InvalidTokensError, match=f"document 'x' has a value of .*{setting}='float32'"):
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
    with pytest.raises(InvalidDocumentError, match="id None has type NoneType"):
        collection.get(nothing)
    assert_nothing_written(collection)
