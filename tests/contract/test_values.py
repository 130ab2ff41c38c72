"""Enums, NumPy scalars and subclasses are the values that they stand for, as ids, in filters and in payloads."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from colbert_qdrant import ColbertCollection, CollectionConfig, Document, MuveraConfig
from tests.unit.points.test_values import ID, PAIRS, Kind, Modern, Status, Text, Uuid, Whole

if TYPE_CHECKING:
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine
    from tests.encoders import WordEncoder

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
