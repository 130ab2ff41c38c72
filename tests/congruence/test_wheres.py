"""A `Where` chooses the same documents everywhere: those that Python chooses."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from hypothesis import given
from qdrant_client import models

from colbert_qdrant import Document
from colbert_qdrant.points.ids import point_id
from colbert_qdrant.search.filters import word_keys
from tests.congruence.engines import CONFIG, LARGE, Engine, examples
from tests.congruence.reference import fits
from tests.congruence.strategies import IDS, documents, wheres_of_each
from tests.servers import is_server

if TYPE_CHECKING:
    from colbert_qdrant import ColbertCollection, Where


def ids(docs: ColbertCollection, where: Where | None, **how: Any) -> set[Any]:
    return {hit.id for hit in docs.search("river", limit=LARGE, mode="exact", where=where, with_payload=False, **how)}


@examples(10)
@given(stored=documents(least=len(IDS)), wanted=wheres_of_each())
def test_wheres_choose_what_python_chooses(engine: Engine, stored: list[Document], wanted: list[Where]) -> None:
    with engine.collection(stored) as docs:
        for where in wanted:
            if is_server(engine.kind) and word_keys(where):
                continue  # the keys have no index of words, which servers need
            assert ids(docs, where) == {each.id for each in stored if fits(where, each.payload)}, where


def test_a_day_is_all_of_its_instants(engine: Engine) -> None:
    times = ["2024-05-31T23:59:59.999999Z", "2024-06-01", "2024-06-01T23:59:59.999999Z", "2024-06-02T00:00:00Z"]
    with engine.collection(Document(number, "river", {"when": time}) for number, time in enumerate(times)) as docs:
        for name, expected in {"gte": {1, 2, 3}, "gt": {3}, "lte": {0, 1, 2}, "lt": {0}}.items():
            assert ids(docs, {"when": {name: "2024-06-01"}}) == expected


def test_the_librarys_own_keys_are_payload_keys(engine: Engine) -> None:
    config = replace(CONFIG, payload_indexes={"text": "text"})
    with engine.collection([Document("a", "river bridge"), Document(1, "river stone")], config=config) as docs:
        assert ids(docs, {"_id": {"ne": "a"}}) == {1}
        assert ids(docs, {"text": {"match": "Bridge"}}) == {"a"}


def test_where_and_filter_both_have_to_match(engine: Engine) -> None:
    few = models.Filter(must=[models.FieldCondition(key="number", range=models.Range(lt=2))])
    with engine.collection(Document(number, "river", {"number": number}) for number in range(4)) as docs:
        both: Any = {"where": {"number": {"gte": 1}}, "filter": few}
        assert ids(docs, **both) == {1}
        assert [hit.id for hit in docs.search_batch(["river"], **both)[0]] == [1]
        assert docs.count(**both) == 1
        docs.delete(**both)
        assert ids(docs, None) == {0, 2, 3}
        docs.delete(where={"number": [0, 3]})
        assert ids(docs, None) == {2}


def test_the_deepest_where_is_read(engine: Engine) -> None:
    where: Any = {"a": 1}
    for _ in range(13):
        where = {"$or": [{"b": 1}, where], "c": 1}
    with engine.collection([Document(1, "river", {"a": 1, "c": 1}), Document(2, "river", {"a": 1})]) as docs:
        for deepest, expected in ((where, {1}), ({"$not": where}, {2})):
            assert ids(docs, deepest) == expected
            assert [hit.id for hit in docs.search("river", where=deepest)] == [*expected]
            assert docs.count(where=deepest) == 1
        docs.delete(where={"$not": where}, filter=models.Filter(should=[models.HasIdCondition(has_id=[point_id(2)])]))
        assert ids(docs, None) == {1}
