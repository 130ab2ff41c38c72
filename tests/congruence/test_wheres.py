"""A `Where` chooses the same documents everywhere: those that Python chooses."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import given
from qdrant_client import models

from colbert_qdrant import Document
from colbert_qdrant.points.ids import point_id
from colbert_qdrant.search.filters import word_keys
from tests.congruence.dressed import dress
from tests.congruence.engines import CONFIG, LARGE, Engine, examples
from tests.congruence.reference import fits
from tests.congruence.strategies import IDS, documents, wheres_of_each
from tests.servers import is_server

if TYPE_CHECKING:
    from colbert_qdrant import ColbertCollection, Where
    from colbert_qdrant.config import PayloadIndex


def ids(docs: ColbertCollection, where: Where | None, **how: Any) -> set[Any]:
    return {hit.id for hit in docs.search("river", limit=LARGE, mode="exact", where=where, with_payload=False, **how)}


@examples(10)
@given(stored=documents(least=len(IDS)), wanted=wheres_of_each())
def test_wheres_choose_what_python_chooses(engine: Engine, stored: list[Document], wanted: list[Where]) -> None:
    with engine.collection(stored) as docs:
        for number, where in enumerate(wanted):
            if is_server(engine.kind) and word_keys(where):
                continue  # the keys have no index of words, which servers need
            assert ids(docs, dress(where) if number % 2 else where) == {
                each.id for each in stored if fits(where, each.payload)
            }, where


NANOSECONDS: Final = 1_768_907_445_451_174_113
NUMBERS: Final[list[Any]] = [
    *(0, -0.0, 1, 1.0, True, False, 2020, 2020.0, 2020.5, -2, -2.5, 0.1, 5e-324, 1e300, -1e300, "2020", None),
    *(2**53 - 1, 2**53, 2.0**53, 2**53 + 1, 2**53 + 2, -(2**53) - 1, 10**18 - 1, 10**18, 1e18, 10**18 + 1, 1.5e18),
    *(2**63 - 1, 2**63 - 512, 2.0**63, -(2**63), -(2.0**63), 1 - 2**63, 2**62 + 1, [1, 2.0], [True], [2020, "x"]),
    *(NANOSECONDS + step for step in (-300, -128, -1, 0, 1, 2, 127, 128, 129, 300, 1200, 5000)),
    *([NANOSECONDS - 1, NANOSECONDS + 1], {"inner": NANOSECONDS}),
]
WHOLE: Final = [each for each in NUMBERS if not isinstance(each, float) or (each.is_integer() and abs(each) < 2**63)]
BEYOND: Final = [-(2**63) - 1, 2.0**63 + 2048, 2**64, -(2**64), 10**30, -1e19, 1e19, 1e308, -1e308]
BOUNDS: Final = [*(each for each in NUMBERS if type(each) in (int, float)), *BEYOND]
STORABLE: Final = [each for each in BOUNDS if isinstance(each, float) or -(2**63) <= each < 2**63]
ASKED: Final = [
    *({name: bound} for name in ("gt", "gte", "lt", "lte") for bound in BOUNDS),
    *({"gte": NANOSECONDS, "lte": NANOSECONDS + step} for step in (0, 1, 2, 10**6, 10**15)),
    *({"gt": NANOSECONDS, "lt": NANOSECONDS + step} for step in (0, 1, 2, 300)),
    *({"gte": low, "lt": NANOSECONDS} for low in (-(2**63), -1, 0.5, 10**18, 2**63 - 1)),
    *({"gt": low, "lt": high} for low in (-1e308, -(2**64), 0) for high in (2**64, 1e19, 1e308)),
    *({"ne": each} for each in (2020, 2020.0, True, NANOSECONDS, 2**53 + 1, 1e18, 1e300)),
    *({"not_in": each} for each in ([2020, 1], [True, 2020.5], [NANOSECONDS, 10**18])),
    *(STORABLE, [2020], [1, 2020.5, "2020"], [True, None], [*range(2000, 2100)], [1e300, 2.0**63, 1]),
    *(*STORABLE, True, False),
]


@pytest.mark.parametrize("index", [None, "float", "integer"])
def test_numbers_are_compared_exactly(engine: Engine, index: PayloadIndex | None) -> None:
    values = WHOLE if index == "integer" else NUMBERS
    stored = [Document(number, "river", {"key": value}) for number, value in enumerate(values)]
    config = CONFIG if index is None else replace(CONFIG, payload_indexes={"key": index})
    with engine.collection(stored, config=config) as docs:
        for number, asked in enumerate(ASKED):
            where = {"key": asked}
            expected = {each.id for each in stored if fits(where, each.payload)}
            assert docs.count(where=where) == len(expected), where
            assert number % 3 or docs.count(where=dress(where)) == len(expected), where
        docs.delete(where={"key": {"gte": NANOSECONDS, "lt": NANOSECONDS + 2}})
        left = {each.id for each in stored if not fits({"key": [NANOSECONDS, NANOSECONDS + 1]}, each.payload)}
        assert ids(docs, None) == left


RANDOM: Final = Random(1)
LONG: Final = [
    *(RANDOM.random() for _ in range(60)),
    *(RANDOM.uniform(-180, 180) for _ in range(30)),
    *(RANDOM.random() * 10.0 ** RANDOM.randint(-300, 15) for _ in range(60)),
    *(1_717_200_000 + RANDOM.random() for _ in range(30)),
]


@pytest.mark.parametrize("index", [None, "float"])
def test_a_float_is_found_by_what_was_written(engine: Engine, index: PayloadIndex | None) -> None:
    config = CONFIG if index is None else replace(CONFIG, payload_indexes={"key": index})
    with engine.collection(
        (Document(number, "river", {"key": value}) for number, value in enumerate(LONG)), config=config
    ) as docs:
        for number, value in enumerate(LONG):
            at_least = sum(each >= value for each in LONG)
            found = [docs.count(where={"key": {name: value}}) for name in ("gte", "gt", "lte", "lt")]
            assert found == [at_least, at_least - 1, len(LONG) - at_least + 1, len(LONG) - at_least], value
            if number % 9 == 0:
                assert ids(docs, {"key": value}) == {number}
        assert docs.count(where={"key": LONG}) == len(LONG)
        assert docs.count(where={"key": {"not_in": LONG}}) == 0
        docs.delete(where={"key": LONG[:30]})
        assert ids(docs, None) == {*range(30, len(LONG))}


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
    where: Any = {"a": {"in": [*range(500)]}}
    for _ in range(11):
        where = {"$or": [{"b": 1}, where], "c": 1}
    with engine.collection([Document(1, "river", {"a": 1, "c": 1}), Document(2, "river", {"a": 1})]) as docs:
        for deepest, expected in ((where, {1}), ({"$not": where}, {2})):
            assert ids(docs, deepest) == expected
            assert [hit.id for hit in docs.search("river", where=deepest)] == [*expected]
            assert docs.count(where=deepest) == 1
        docs.delete(where={"$not": where}, filter=models.Filter(should=[models.HasIdCondition(has_id=[point_id(2)])]))
        assert ids(docs, None) == {1}
