"""What goes between the two processes of an embedded store arrives as it was, and none of it is code."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from pydantic_core import to_jsonable_python
from qdrant_client.http import models

from colbert_qdrant import CollectionNotFoundError, EngineError
from colbert_qdrant.edge.wire import HEADER, pack, pack_error, unpack, unpack_error

if TYPE_CHECKING:
    from collections.abc import Mapping

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.uuids()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
)
VALUES = st.recursive(
    SCALARS | st.lists(st.floats(allow_nan=False), min_size=8),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.just("!") | st.integers(), inner)
    ),
    max_leaves=20,
)


def there_and_back(value: Any) -> Any:
    message = pack(7, value)
    number, text, buffers = HEADER.unpack(message[: HEADER.size])
    assert number == 7
    body = message[HEADER.size :]
    assert len(body) == text + buffers
    return unpack(body, text)


def types_of(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value), [types_of(item) for item in value]
    if isinstance(value, dict):
        return {key: types_of(item) for key, item in value.items()}
    return type(value)


@given(VALUES)
def test_values_arrive_as_they_were(value: Any) -> None:
    arrived = there_and_back(value)
    assert arrived == value
    assert types_of(arrived) == types_of(value)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "uint8", "bool"])
def test_arrays_arrive_as_they_were(dtype: str) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    for value in (array, array[:, ::2], array.T):
        arrived = there_and_back([value, {"a": value}])
        assert all(each.dtype == value.dtype and np.array_equal(each, value) for each in (arrived[0], arrived[1]["a"]))


@pytest.mark.parametrize(
    "model",
    [
        models.PointStruct(id=3, vector={"a": [0.5] * 9, "b": [[0.5] * 9] * 2}, payload={"x": {"!": 1, "y": [1, 2.0]}}),
        models.PointStruct(id=str(uuid4()), vector={}, payload=None),
        models.Filter(
            must=[
                models.FieldCondition(key="at", range=models.DatetimeRange(gte=dt.datetime(2024, 1, 2, tzinfo=dt.UTC)))
            ],
            must_not=[models.HasIdCondition(has_id=[1, "a"])],
        ),
        models.VectorParams(size=2, distance=models.Distance.DOT, hnsw_config=models.HnswConfigDiff(m=0)),
        models.QueryResponse(points=[models.ScoredPoint(id=1, version=0, score=0.25)]),
        models.UpdateResult(status=models.UpdateStatus.COMPLETED),
    ],
    ids=lambda model: type(model).__name__,
)
def test_models_arrive_as_they_were(model: Any) -> None:
    arrived = there_and_back((model, None))[0]
    assert type(arrived) is type(model)
    assert arrived == model
    assert arrived.model_dump(exclude_unset=True) == model.model_dump(exclude_unset=True)


def test_vectors_are_sent_as_they_are_in_memory() -> None:
    vector = np.random.default_rng(0).normal(size=10_000).tolist()
    assert len(pack(1, {"vector": vector})) < 10_000 * 8 + 200


def test_other_things_are_not_sent() -> None:
    for value in (object(), len, np.array(["a"]), np.array([None]), {len}):
        with pytest.raises(TypeError, match="cannot be sent to the embedded engine's process"):
            pack(1, [value])


class Mood(StrEnum):
    GOOD = "good"


class Named(str):
    __slots__ = ()


class Moment(dt.datetime):
    pass


class Own(BaseModel):
    mood: Mood = Mood.GOOD


class OwnPoint(models.PointStruct):
    pass


@pytest.mark.parametrize(
    "value",
    [
        *(Mood.GOOD, Own(), Moment(2024, 1, 2, tzinfo=dt.UTC), Named("a"), {1, 2}, Decimal("1.5"), dt.time(1)),
        *(dt.timedelta(1), Path("a"), 2**70, float("inf"), "\ud800"),
    ],
)
def test_other_values_arrive_as_a_payload_has_them(value: Any) -> None:
    assert to_jsonable_python(there_and_back({"a": [value]})) == to_jsonable_python({"a": [value]})


def test_a_model_made_from_one_of_the_client_s_arrives_as_that() -> None:
    arrived = there_and_back(OwnPoint(id=1, vector=[1.0]))
    assert (type(arrived), arrived.id, arrived.vector) == (models.PointStruct, 1, [1.0])


@pytest.mark.parametrize("name", ["os", "BaseModel", "Any", "__builtins__", "nothing", "Filter.must"])
def test_a_class_is_one_of_the_client_s_models(name: str) -> None:
    named: Mapping[str, Any]
    for named in ({"!": "model", "fields": {}, "set": []}, {"!": "enum", "value": 1}):
        text = json.dumps({**named, "name": name}).encode()
        if name == "BaseModel" and named["!"] == "model":
            continue  # harmless, and the client's module has it
        with pytest.raises(ValueError, match="is not one of the client's models"):
            unpack(text, len(text))


def test_errors_are_of_their_own_class() -> None:
    for error in (CollectionNotFoundError("there is none"), ValueError("no"), TypeError("no")):
        arrived = unpack_error(there_and_back(pack_error(error)))
        assert (type(arrived), str(arrived)) == (type(error), str(error))
    given = unpack_error(pack_error(UnicodeEncodeError("utf-8", "a", 0, 1, "no")))  # is not made from a text alone
    assert isinstance(given, UnicodeError)
    assert "'utf-8' codec can't encode" in str(given)
    unknown = unpack_error({"type": "system", "text": "x"})
    assert (type(unknown), str(unknown)) == (EngineError, "system: x")


def test_ids_may_be_uuids() -> None:
    id = UUID(int=7)
    assert there_and_back([id]) == [id]
