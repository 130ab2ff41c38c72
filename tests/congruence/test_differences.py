"""The engines still differ in what `differences.py` says."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from math import nextafter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant import Document, RequestRefusedError, TokenEmbeddings
from colbert_qdrant.points.ids import point_id
from tests.congruence.differences import DIFFERENCES
from tests.congruence.engines import CONFIG, ENCODER, LARGE, Engine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant import CollectionConfig

ONE = models.MatchValue(value=1)
IS_NULL = models.IsNullCondition(is_null=models.PayloadField(key="key"))


def found(engine: Engine, values: Sequence[Any], wanted: models.Filter, config: CollectionConfig = CONFIG) -> list[Any]:
    """Which of these values of the field "key" a filter finds."""
    documents = [Document(number, "river", {"key": value}) for number, value in enumerate(values)]
    with engine.collection(documents, config=replace(config, payload_indexes={})) as docs:
        for key, kind in config.payload_indexes.items() if engine.kind != "memory" else ():
            # afterwards: what fits no index is refused
            engine.client.create_payload_index(docs.name, key, models.PayloadSchemaType(kind))
        return [hit.payload["key"] for hit in docs.search("river", limit=LARGE, mode="exact", filter=wanted)]


def of_key(**test: Any) -> models.Filter:
    return models.Filter(must=[models.FieldCondition(key="key", **test)])


def indexed(kind: Any) -> CollectionConfig:
    return replace(CONFIG, payload_indexes={"key": kind})


def test_every_difference_has_its_test() -> None:
    tests = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert tests - {"every_difference_has_its_test"} == DIFFERENCES.keys()


def test_ties_at_the_cut(edge: Engine, memory: Engine) -> None:
    documents = [Document(number, "river") for number in range(20)]
    chosen = []
    for engine in (edge, memory):
        with engine.collection(documents) as docs:
            chosen.append([hit.id for hit in docs.search("river", limit=5, mode="exact")])
    assert chosen[0] != chosen[1]
    assert all(ids == sorted(ids) for ids in chosen)


def test_datatypes_in_local_mode(edge: Engine, memory: Engine) -> None:
    config = replace(CONFIG, token_datatype="float16", fde_datatype="float32")
    [tokens] = ENCODER.encode_queries(["river"])
    query = TokenEmbeddings.from_matrices([tokens * np.float32(1 / 3)])
    scores = []
    for engine in (edge, memory):
        with engine.collection([Document(1, "river")], config=config) as docs:
            scores.append(docs.search(query, mode="exact")[0].score)
    exact = float((query[0] @ tokens.T).max())
    rounded = float((query[0].astype(np.float16).astype(np.float32) @ tokens.T).max())
    assert scores == pytest.approx([rounded, exact], rel=1e-6)
    assert rounded != pytest.approx(exact, rel=1e-6)


def test_several_tests_in_one_condition(edge: Engine, memory: Engine) -> None:
    wanted = of_key(match=ONE, range=models.Range(gte=5))
    assert found(edge, [1, 3, 7], wanted) == [1, 7]
    assert found(memory, [1, 3, 7], wanted) == [1]


def test_min_count_of_zero(edge: Engine, memory: Engine) -> None:
    wanted = models.Filter(min_should=models.MinShould(conditions=[of_key(match=ONE)], min_count=0))
    assert found(edge, [1, 2], wanted) == [1, 2]
    with pytest.raises(RequestRefusedError, match="min_count"):
        found(memory, [1, 2], wanted)


def test_min_should_without_conditions(edge: Engine, memory: Engine) -> None:
    never = models.MinShould(conditions=[], min_count=1)
    first = models.HasIdCondition(has_id=[point_id(0)])
    assert found(edge, [1, 2], models.Filter(must=[first], min_should=never)) == [1]
    assert found(edge, [1, 2], models.Filter(must=of_key(match=ONE), min_should=never)) == []
    assert found(memory, [1, 2], models.Filter(must=[first], min_should=never)) == []


def test_nested_should_without_conditions(edge: Engine, memory: Engine) -> None:
    nested = models.Nested(key="key", filter=models.Filter(should=[]))
    wanted = models.Filter(must=[models.NestedCondition(nested=nested)])
    assert found(edge, [[{"a": 1}]], wanted) == []
    assert found(edge, [[{"a": 1}]], models.Filter(should=[])) == [[{"a": 1}]]
    assert found(memory, [[{"a": 1}]], wanted) == [[{"a": 1}]]


def test_large_integers(edge: Engine, memory: Engine) -> None:
    wanted = of_key(range=models.Range(lte=2**53))
    assert found(edge, [2**53 + 1], wanted) == [2**53 + 1]
    assert found(memory, [2**53 + 1], wanted) == []


def test_floats_of_many_digits(edge: Engine, memory: Engine) -> None:
    value = 0.36995516654807925
    for engine, stored in ((edge, nextafter(value, 1)), (memory, value)):
        with engine.collection([Document(1, "river", {"key": value})]) as docs:
            assert docs.get(1)[0].payload == {"key": stored}
    short = [number / 1000 for number in range(300)] + [0.1 + 0.2, 1e22, 123456789012345.0]
    assert sorted(found(edge, short, of_key(range=models.Range(gte=0)))) == sorted(short)


def test_index_of_another_type(edge: Engine, memory: Engine) -> None:
    values = [1, 1.0, 2.5, "red", 3]
    except_one = of_key(match=models.MatchExcept(**{"except": [1]}))
    for wanted, with_index, without in (
        (of_key(match=ONE), [1, 1.0], [1]),
        (of_key(range=models.Range(gt=2)), [3], [2.5, 3]),
        (except_one, [3], [1.0, 2.5, "red", 3]),
    ):
        assert repr(found(edge, values, wanted, indexed("integer"))) == repr(with_index)
        assert repr(found(edge, values, wanted)) == repr(without)
        assert repr(found(memory, values, wanted, indexed("integer"))) == repr(without)


def test_dates_over_an_index_of_numbers(edge: Engine, memory: Engine) -> None:
    wanted = of_key(range=models.DatetimeRange(gte=dt.datetime(2001, 9, 9, 1, 46, 40, tzinfo=dt.UTC)))
    values = [1e15, 1e15 - 1, "2024-01-01T00:00:00Z"]
    assert found(edge, values, wanted, indexed("float")) == [1e15]
    assert found(edge, values, wanted) == found(memory, values, wanted) == ["2024-01-01T00:00:00Z"]


def test_nested_is_empty_over_an_index(edge: Engine, memory: Engine) -> None:
    empty = models.IsEmptyCondition(is_empty=models.PayloadField(key="number"))
    nested = models.Nested(key="key", filter=models.Filter(must=[empty]))
    wanted = models.Filter(must=[models.NestedCondition(nested=nested)])
    values = [[{"number": 1}, {}], [{}]]
    with_index = replace(CONFIG, payload_indexes={"key[].number": "integer"})
    assert found(edge, values, wanted, with_index) == [[{}]]
    assert found(edge, values, wanted) == found(memory, values, wanted, with_index) == values


def test_is_empty_and_is_null_of_several_values(edge: Engine, memory: Engine) -> None:
    values = [[{"number": 1}, {"number": None}]]
    for condition in (
        models.FieldCondition(key="key[].number", is_null=False),
        models.FieldCondition(key="key[].number", is_empty=True),
    ):
        wanted = models.Filter(must=[condition])
        assert found(edge, values, wanted) == values
        assert found(memory, values, wanted) == []
    is_null = models.IsNullCondition(is_null=models.PayloadField(key="key[].number"))
    for engine in (edge, memory):
        assert found(engine, values, models.Filter(must=[is_null])) == values
        assert found(engine, values, models.Filter(must_not=[is_null])) == []


def test_two_bounds_on_one_side(edge: Engine, memory: Engine) -> None:
    wanted = of_key(range=models.Range(lt=2.0, lte=1.0))
    assert sorted(found(edge, [1.0, 1.5], wanted, indexed("float"))) == [1.0, 1.5]
    assert found(edge, [1.0, 1.5], wanted) == found(memory, [1.0, 1.5], wanted) == [1.0]


def test_null_in_a_list(edge: Engine, memory: Engine, server: Engine) -> None:
    for wanted in (of_key(is_null=True), models.Filter(must=[IS_NULL])):
        assert found(edge, [[1, None], None, [1]], wanted) == [[1, None], None]
        assert found(memory, [[1, None], None, [1]], wanted) == [[1, None], None]
        assert found(server, [[1, None], None, [1]], wanted) == [None]


def test_empty_range_of_dates(edge: Engine, memory: Engine, server: Engine) -> None:
    wanted = of_key(range=models.DatetimeRange())
    over_grpc = server.kind == "server over gRPC"
    assert found(edge, ["2024-01-01"], wanted) == found(memory, ["2024-01-01"], wanted) == ["2024-01-01"]
    assert found(server, ["2024-01-01"], wanted) == (["2024-01-01"] if over_grpc else [])


def test_words_without_an_index(edge: Engine, memory: Engine, server: Engine) -> None:
    values = ["a Bridge", "bridges", "old bridge"]
    wanted = of_key(match=models.MatchText(text="bridge"))
    for engine in (edge, memory):
        assert found(engine, values, wanted) == ["a Bridge", "old bridge"]
    assert found(server, values, wanted) == ["bridges", "old bridge"]
    assert found(server, values, wanted, indexed("text")) == ["a Bridge", "old bridge"]
