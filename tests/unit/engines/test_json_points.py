"""JSON of points over REST, against what parsers read from it and what the client's own serialization says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from qdrant_client import models
from qdrant_client.http.api.points_api import jsonable_encoder

from colbert_qdrant import CollectionConfig, MuveraConfig
from colbert_qdrant.engines.digits import write_floats
from colbert_qdrant.engines.json_points import points_to_json, vectors_to_json
from colbert_qdrant.points.convert import make_point
from colbert_qdrant.points.point import Point, split_by_bytes, to_struct
from tests.unit.engines.test_messages import EXTREMES, PAYLOAD, UUID, points, sparse

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)
SHAPES = st.tuples(st.integers(1, 40)) | st.tuples(st.integers(1, 5), st.integers(1, 40))
EVERY_FLOAT16 = np.arange(2**16, dtype=np.uint16).view(np.float16)
FINITE_FLOAT16 = EVERY_FLOAT16[np.isfinite(EVERY_FLOAT16)]


def read(text: bytes) -> Any:
    """The numbers as a server reads them: doubles, rounded to float32."""
    return np.asarray(json.loads(text), np.float64).astype(np.float32)


def bits(values: Any) -> Any:
    return np.ascontiguousarray(values).view({2: np.uint16, 4: np.uint32}[values.dtype.itemsize]).tolist()


def test_every_float16_is_read_as_itself() -> None:
    text = write_floats(FINITE_FLOAT16.astype(np.float32), float16=True)
    assert bits(read(text).astype(np.float16)) == bits(FINITE_FLOAT16)
    digits = [number.lstrip(b"-").split(b"e")[0].replace(b".", b"").strip(b"0") for number in text[1:-1].split(b",")]
    assert max(map(len, digits)) == 5


@given(arrays.arrays(np.float32, SHAPES, elements=st.floats(-65_519, 65_519, width=32)))
def test_a_float32_is_rounded_to_float16_as_a_server_rounds_it(values: Any) -> None:
    found = read(write_floats(values, float16=True))
    assert found.shape == values.shape
    assert bits(found.astype(np.float16)) == bits(values.astype(np.float16))


@given(arrays.arrays(np.float32, SHAPES, elements=FINITE))
@example(np.array([2.0**-6, 0.1], np.float32))
def test_every_float32_is_read_as_itself(values: Any) -> None:
    assert bits(read(write_floats(values))) == bits(values)


@pytest.mark.parametrize("start", range(0, 256, 8))
def test_float32_values_of_every_size_are_read_as_themselves(start: int) -> None:
    exponents = np.repeat(np.arange(start, min(start + 8, 255), dtype=np.uint32), 500)
    fractions = np.random.default_rng(start).integers(0, 2**23, len(exponents), dtype=np.uint32)
    powers = np.array([float(f"1e{power}") for power in range(-45, 39)], np.float32)
    values = np.concatenate([(exponents << 23 | fractions).view(np.float32), powers, np.nextafter(powers, 0)])
    assert bits(read(write_floats(values))) == bits(values)


def test_numbers_that_are_too_large_for_float16_are_written_in_full() -> None:
    values = np.array([70_000.5, 0.1], np.float32)
    assert read(write_floats(values, float16=True)).tolist() == values.tolist()


def test_numbers_are_short() -> None:
    values = np.random.default_rng(0).standard_normal((100, 128)).astype(np.float32)
    assert len(write_floats(values, float16=True)) < 7 * values.size
    assert len(write_floats(values)) < 14 * values.size


def as_client(given_points: list[Point], **settings: Any) -> Any:
    """What the client itself would send."""
    body = jsonable_encoder(models.PointsList(points=[to_struct(each) for each in given_points], **settings))
    return json.loads(body)


def in_float32(value: Any) -> Any:
    """JSON whose numbers with a point are rounded to float32."""
    if isinstance(value, dict):
        return {key: each if key == "payload" else in_float32(each) for key, each in value.items()}
    if isinstance(value, list):
        return [in_float32(each) for each in value]
    return float(np.float32(value)) if isinstance(value, float) else value


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(points(), max_size=3))
def test_points_are_those_that_the_client_would_send(given_points: list[Point]) -> None:
    only = models.Filter(must_not=[models.HasIdCondition(has_id=[1])])
    body = json.loads(points_to_json(given_points, models.PointsList(points=[], shard_key="a", update_filter=only)))
    assert in_float32(body) == in_float32(as_client(given_points, shard_key="a", update_filter=only))


def test_every_kind_of_vector_is_written() -> None:
    text = models.Document(text='a "quoted" text', model="qdrant/bm25", options={"language": "english"})
    vectors: dict[str, Any] = {
        "extremes": EXTREMES,
        'a "name" ☃': [0.1, 0.2],
        "lists": [[0.5, 1.5], [2.5, 3.5]],
        "none": [],
        "array without numbers": np.zeros(0, np.float32),
        "sparse": sparse([3, 2**32 - 1], [0.5, 2.0]),
        "empty": sparse([], []),
        "read": models.SparseVector(indices=[1], values=[0.25]),
        "words": text,
    }
    given_points = [Point(id=UUID, vectors=vectors, payload=PAYLOAD), Point(id=7, vectors={}, payload={})]
    body = json.loads(points_to_json(given_points, models.PointsList(points=[])))
    assert in_float32(body) == in_float32(as_client(given_points))
    changes = [
        models.PointVectors.model_construct(id=each.id, vector=to_struct(each).vector) for each in given_points[:1]
    ]
    body = json.loads(vectors_to_json(changes, models.UpdateVectors(points=[])))
    own = json.loads(jsonable_encoder(models.UpdateVectors.model_construct(points=changes)))
    assert in_float32(body) == in_float32(own)


@pytest.mark.parametrize(
    ("settings", "short"),
    [
        ({}, {"colbert", "fde"}),
        ({"token_datatype": "float32"}, {"fde"}),
        ({"token_datatype": "turbo4"}, {"fde"}),
        ({"token_distance": "cosine"}, {"fde"}),
        ({"fde_datatype": "float32"}, {"colbert"}),
    ],
)
def test_numbers_are_short_if_they_are_stored_so(settings: dict[str, Any], short: set[str]) -> None:
    config = CollectionConfig(fde=MuveraConfig(k_sim=1, dim_proj=2, r_reps=2), **settings)
    random = np.random.default_rng(0)
    tokens, fde = random.standard_normal((3, 8), np.float32), random.standard_normal(8, np.float32)
    point = make_point("a", {}, tokens=tokens, fde=fde, further={}, config=config)
    ((body),) = json.loads(points_to_json([point], models.PointsList(points=[])))["points"]
    for name, values in (("colbert", tokens), ("fde", fde)):
        found = np.asarray(body["vector"][name], np.float32)
        assert (found == values).all() == (name not in short)
        assert (found.astype(np.float16) == values.astype(np.float16)).all()


@pytest.mark.parametrize("short", [True, False])
def test_a_batch_is_not_larger_than_its_limit(short: bool) -> None:
    random = np.random.default_rng(0)
    vectors: dict[str, Any] = {"fde": random.random(640, np.float32), "colbert": random.random((20, 128), np.float32)}
    named = frozenset(vectors) if short else frozenset()
    given_points = [Point(id=n, vectors=vectors, payload={"text": "word " * n}, float16=named) for n in range(100)]
    batches = list(split_by_bytes(given_points, 400_000, binary=False))
    assert [each for batch in batches for each in batch] == given_points
    sizes = [len(points_to_json(batch, models.PointsList(points=[]))) for batch in batches]
    assert all(0.5 * 400_000 < size < 400_000 for size in sizes[:-1])
