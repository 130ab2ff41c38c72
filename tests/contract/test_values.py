"""Enums, NumPy scalars and subclasses are the values that they stand for, as ids, in filters and in payloads."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from colbert_qdrant import (
    ColbertCollection,
    ColbertQdrantWarning,
    CollectionConfig,
    ConfigurationError,
    Document,
    InvalidDocumentError,
    MuveraConfig,
)
from colbert_qdrant._support.values import plain
from tests.encoders import WordEncoder
from tests.unit.support.test_values import ID, PAIRS, Kind, Modern, Status, Text, Uuid, Whole

if TYPE_CHECKING:
    from colbert_qdrant.config import PayloadIndex
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
IDS: list[tuple[Any, Any]] = [
    (Kind.A, "a"),
    (Modern.A, "a"),
    (Text("a"), "a"),
    (np.str_("a"), "a"),
    (Status.OK, 200),
    (HTTPStatus.OK, 200),
    (Whole(200), 200),
    (np.int64(200), 200),
    (Uuid(str(ID)), ID),
]
FILTERED = [(odd, value) for odd, value in PAIRS if value != 2**64 - 1]  # which no engine compares


@pytest.mark.parametrize(("odd", "id"), IDS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("scheme", ["uuid5", "native"])
def test_an_id_is_the_value_that_it_stands_for(
    engine: Engine, client: Client, encoder: WordEncoder, odd: Any, id: Any, scheme: Any
) -> None:
    if scheme == "native" and isinstance(id, str):
        pytest.skip("a point has no such id")
    config = CollectionConfig(fde=CONFIG.fde, id_scheme=scheme)
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config)
    docs.upsert([Document(odd, "river")])
    docs.upsert([Document(id, "bridge")])
    docs.ingest([Document(odd, "river bridge"), Document("b" if scheme == "uuid5" else 1, "river")])
    assert docs.count() == 2
    hits = docs.search("bridge", limit=2)
    assert (hits[0].text, type(hits[0].id)) == ("river bridge", str if scheme == "native" and id == ID else type(id))
    assert docs.get(odd) == docs.get(id) == docs.get([odd])
    assert [hit.id for hit in docs.more_like(odd)] == [hits[1].id]
    docs.delete(ids=[odd])
    assert docs.get(id) == []
    assert docs.upsert([Document(odd, "river"), Document(id, "bridge")]).replaced == 1
    assert [each.text for each in docs.get(odd)] == ["bridge"]


@pytest.mark.parametrize(("odd", "value"), FILTERED, ids=lambda each: type(each).__name__)
def test_a_filter_takes_the_value_that_it_stands_for(
    engine: Engine, client: Client, encoder: WordEncoder, odd: Any, value: Any
) -> None:
    stored = value if isinstance(value, str | int | float) else str(value)
    with ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG) as docs:
        docs.upsert([Document("a", "river", {"key": stored}), Document("b", "river", {"key": None})])
        for where in (
            {"key": odd},
            {"key": [odd]},
            {"key": {"in": [odd]}},
            {"key": {"not_in": [odd]}},
            {"key": {"ne": odd}},
        ):
            expected = {key: _replace(test, odd, value) for key, test in where.items()}
            assert docs.count(where=where) == docs.count(where=expected)
            assert len(docs.search("river", where=where)) == docs.count(where=expected)
        assert docs.count(where={"key": odd}) == 1
        docs.delete(where={"key": odd})
        assert [document.id for document in docs.get(["a", "b"])] == ["b"]


def _replace(test: Any, odd: Any, value: Any) -> Any:
    if isinstance(test, dict):
        return {name: _replace(operand, odd, value) for name, operand in test.items()}
    return [value] if isinstance(test, list) else value


def test_a_payload_has_the_values_that_it_stands_for(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    odd = {f"key{number}": odd for number, (odd, value) in enumerate(PAIRS) if isinstance(value, str | float | int)}
    odd.pop(next(name for name, value in odd.items() if isinstance(value, np.uint64)))  # larger than any engine takes
    with ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG) as docs:
        docs.upsert([Document("a", "river", {**odd, "list": [np.float32(0.5), Status.OK, Kind.A]})])
        (document,) = docs.get("a")
    plain = {f"key{number}": value for number, (_, value) in enumerate(PAIRS)}
    assert document.payload == {**{name: plain[name] for name in odd}, "list": [0.5, 200, "a"]}


def test_a_payload_comes_back_as_it_was_stored(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    payload = {
        "wholes": [0, 1, -1, 2**53 + 1, 2**63 - 1, -(2**63)],
        "floats": [-0.0, 2020.0, 0.1, 5e-324, 1e300, -1.5e18, 1e22],
        "others": [True, False, None, "", "a\u0000b", "\U0001f600", [[], {}]],
        **{key: {key: [key]} for key in ("a.b", "my key", "@id", "", "list[0]", "e\u0301", 'a "b"', "back\\slash")},
    }
    with ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG) as docs:
        docs.upsert([Document("a", "river", payload)])
        assert repr(sorted(docs.get("a")[0].payload.items())) == repr(sorted(payload.items()))


class Dated(Enum):
    DAY = date(2024, 6, 1)


EAST = timezone(timedelta(hours=5, minutes=30))
MADE: list[tuple[Any, Any, tuple[PayloadIndex, ...]]] = [
    (datetime(2024, 6, 1, 12, 30, 1, 5, EAST), "2024-06-01T12:30:01.000005+05:30", ("datetime", "keyword")),
    (datetime(2024, 6, 1, 12, 30), "2024-06-01T12:30:00", ("datetime",)),
    (datetime(2024, 6, 1, 12, tzinfo=timezone(timedelta(seconds=90))), "2024-06-01T11:58:30+00:00", ("datetime",)),
    (datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=1), "2024-10-27T02:30:00+01:00", ()),
    (date(1, 1, 1), "0001-01-01", ("datetime",)),
    (np.datetime64("2024-06-01T12:30:00.000000000"), "2024-06-01T12:30:00", ("datetime",)),
    (np.datetime64("2024-06-01"), "2024-06-01", ()),
    (ID, str(ID), ("uuid", "keyword")),
    (Dated.DAY, "2024-06-01", ("datetime",)),
    (Kind.A, "a", ("keyword",)),
    (Decimal("19.99"), 19.99, ("float",)),
    (Decimal("1E+3"), 1000, ("integer", "float")),
    (Decimal("9007199254740993"), 2**53 + 1, ("integer",)),
    (np.float32(0.1), 0.10000000149011612, ("float",)),
]


@pytest.mark.parametrize("position", [-1, 0, 1], ids=["no index", "index", "another index"])
def test_a_value_is_found_by_itself(engine: Engine, client: Client, encoder: WordEncoder, position: int) -> None:
    indexes = {f"key{n}": kinds[position] for n, (_, _, kinds) in enumerate(MADE) if position in range(len(kinds))}
    odd, stored = ({f"key{n}": row[column] for n, row in enumerate(MADE)} for column in (0, 1))
    config = replace(CONFIG, payload_indexes=indexes)
    with ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config) as docs:
        lists = {key: [value] for key, value in odd.items()}
        docs.upsert([Document(1, "river", odd), Document(2, "river", lists), Document(3, "river")])
        assert repr(sorted(docs.get(1)[0].payload.items())) == repr(sorted(stored.items()))
        assert docs.get(2)[0].payload == {key: [value] for key, value in stored.items()}
        for key, value in odd.items():
            text = isinstance(stored[key], str)
            same: list[Any] = [value, [value], {"in": (value,)}, np.array([value], dtype=object)]
            if not (text and isinstance(plain(value), str | UUID)):
                same += [{"gte": value, "lte": value}, {"gte": stored[key], "lte": stored[key]}]
                assert docs.count(where={key: {"gt": value}}) == docs.count(where={key: {"lt": value}}) == 0
            for wanted in same:
                assert docs.count(where={key: wanted}) == 2, (key, wanted)
                assert docs.count(where={"$not": {key: wanted}}) == 1, (key, wanted)
            assert {hit.id for hit in docs.search("river", where={key: value})} == {1, 2}
        docs.delete(where=odd)
        assert [each.id for each in docs.get([1, 2, 3])] == [3]


def test_arrays_and_mappings_are_lists_and_dicts(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    payload = {
        "matrix": np.arange(6).reshape(2, 3),
        "number": np.array(0.5),
        "flags": np.array([True, False]),
        "texts": np.array(["a", "é"]),
        "times": np.array(["2024-06-01", "NaT"], "datetime64[D]"),
        "mixed": np.array([None, {"day": date(2024, 6, 1)}, [np.int8(1)], ID], dtype=object),
        "inner": MappingProxyType({"point": (1, np.float64(2))}),
        "counts": Counter("aab"),
    }
    with ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG) as docs:
        with pytest.warns(ColbertQdrantWarning, match=r"document 'a' has NaN under payload key 'times\[1\]'"):
            docs.upsert([Document("a", "river", payload)])
        assert docs.get("a")[0].payload == {
            "matrix": [[0, 1, 2], [3, 4, 5]],
            "number": 0.5,
            "flags": [True, False],
            "texts": ["a", "é"],
            "times": ["2024-06-01", None],
            "mixed": [None, {"day": "2024-06-01"}, [1], str(ID)],
            "inner": {"point": [1, 2.0]},
            "counts": {"a": 2, "b": 1},
        }
        assert docs.count(where={"matrix[]": 4}) == docs.count(where={"mixed[].day": date(2024, 6, 1)}) == 1


@pytest.mark.parametrize(
    "nan", [float("nan"), np.float32("nan"), np.datetime64("NaT"), Decimal("nan"), np.array([np.nan])]
)
@pytest.mark.parametrize("scheme", ["uuid5", "native"])
def test_nan_is_no_value_as_is_said_once(
    engine: Engine, client: Client, encoder: WordEncoder, nan: Any, scheme: Any
) -> None:
    config = replace(CONFIG, id_scheme=scheme, payload_indexes={"key.price": "float"})
    with ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config) as docs:
        with warnings.catch_warnings(record=True, action="always") as told:
            docs.upsert([Document(1, "river", {"key": {"price": nan}})])
            docs.ingest([Document(2, "river", {"key": {"price": nan}}), Document(3, "river", {"key": {"price": 0.5}})])
        [warning] = told
        assert warning.category is ColbertQdrantWarning
        assert "document 1 has NaN under payload key 'key.price" in str(warning.message)
        assert warning.filename == __file__
        assert [hit.id for hit in docs.search("river", where={"key.price": 0.5})] == [3]
        assert docs.count(where={"key.price": {"gte": -1e300}}) == 1
        assert repr(docs.get(1)[0].payload["key"]) in ("{'price': None}", "{'price': [None]}")
        with pytest.raises(ConfigurationError, match=r"'key\.price' cannot equal nan"):
            docs.delete(where={"key.price": float("nan")})


def test_what_cannot_be_stored_is_refused_before_anything_is_written(
    engine: Engine, client: Client, encoder: WordEncoder
) -> None:
    with ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG) as docs:
        with pytest.raises(InvalidDocumentError, match=r"^document 2: payload key 'key' is inf"):
            docs.upsert([Document(1, "river"), Document(2, "river", {"key": float("inf")})])
        assert docs.count() == 0
        report = docs.ingest([Document(1, "river"), Document(2, "river", {"key": {1}})], on_error="skip")
        assert (report.documents, report.rejected[0].id) == (1, 2)


class Described(WordEncoder):
    """Describes itself with values that JSON has not."""

    def fingerprint(self) -> dict[str, Any]:
        return {**super().fingerprint(), "lengths": (np.int64(1), 2), "made": date(2024, 6, 1)}


class Undescribed(WordEncoder):
    """Describes itself with what cannot be stored."""

    def fingerprint(self) -> dict[str, Any]:
        return {"path": Path("model")}


def test_an_encoder_is_described_with_the_values_that_json_has(engine: Engine, client: Client) -> None:
    encoder = Described(dim=np.int64(32))  # type: ignore[arg-type]
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    docs.upsert([Document(1, "river")])
    opened = ColbertCollection.open(engine.name, client=client, encoder=encoder)
    assert [hit.id for hit in opened.search("river")] == [1]
    with pytest.raises(ConfigurationError, match=r"Undescribed\.fingerprint\(\) must return a dict of JSON values"):
        ColbertCollection.open(engine.name, client=client, encoder=Undescribed())


def test_waiting_takes_any_number_of_seconds(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    with ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG) as docs:
        for seconds in (np.int64(5), Decimal(5), float("inf"), 5):
            assert docs.wait_until_ready(timeout=seconds, progress=np.bool_(False)).ready  # type: ignore[arg-type]
        for wrong in ("5", -1, None, float("nan"), True, np.zeros((2, 2), complex), np.zeros(2, "i4,i4")):
            with pytest.raises(ConfigurationError, match="timeout must be a number of at least 0"):
                docs.wait_until_ready(timeout=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "key", [True, 1.5, -1, 2**64, pytest.param(10**5000, id="huge"), ID, date(2024, 6, 1), ["a"], object()]
)
def test_a_shard_key_that_is_none_is_refused(client: Client, encoder: WordEncoder, key: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"shard_key must be a string or an integer.* with str\(…\)"):
        ColbertCollection.create("docs", client=client, encoder=encoder, config=CONFIG, shard_key=key)
