"""Filters find the same points as qdrant-client's local mode, an independent implementation of them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant.edge import EdgeClient
from colbert_qdrant.errors import CapabilityError

if TYPE_CHECKING:
    from collections.abc import Iterator

UUID_ID = "6f1f8a5e-0c62-4a57-9b5e-111111111111"
PAYLOADS: list[dict[str, Any]] = [
    {"n": 1, "x": 0.5, "k": "red", "tags": ["a", "b"], "text": "the quick brown fox", "flag": True},
    {"n": 2, "x": 1.5, "k": "green", "tags": ["b"], "text": "quick silver", "flag": False},
    {"n": 3, "x": -2.0, "k": "blue", "tags": [], "text": "brown bread", "flag": True},
    {"n": 4, "k": None, "tags": ["a", "b", "c"], "text": "a fox and a quick dog"},
    {"n": [5, 50], "x": 9.0, "k": "reddish", "tags": None},
    {"when": "2024-01-01T10:00:00Z", "k": "red"},
    {"when": "2024-06-01T00:00:00+02:00", "k": "green"},
    {"when": ["2023-01-01T00:00:00Z", "2025-01-01T00:00:00Z"]},
    {"place": {"lon": 13.40, "lat": 52.52}},
    {"place": {"lon": 2.35, "lat": 48.86}},
    {"place": [{"lon": -74.0, "lat": 40.7}, {"lon": 13.41, "lat": 52.50}]},
    {"items": [{"kind": "x", "n": 1}, {"kind": "y", "n": 2}]},
    {"items": [{"kind": "x", "n": 2}, {"kind": "y", "n": 1}]},
    {"items": [{"kind": "z"}]},
    {"deep": {"er": {"k": "v"}}},
    {},
]
POINTS = [
    models.PointStruct(id=n, vector={"a": [1.0, float(n)]} if n % 3 else {"b": [1.0]}, payload=payload)
    for n, payload in enumerate(PAYLOADS, start=1)
] + [models.PointStruct(id=UUID_ID, vector={"a": [1.0, 1.0], "b": [1.0]}, payload={"k": "red", "n": 1})]


def field(key: str, **condition: Any) -> models.FieldCondition:
    return models.FieldCondition(key=key, **condition)


def point(lon: float, lat: float) -> models.GeoPoint:
    return models.GeoPoint(lon=lon, lat=lat)


def line(*points: tuple[float, float]) -> models.GeoLineString:
    return models.GeoLineString(points=[point(*each) for each in points])


def nested(**clauses: Any) -> models.NestedCondition:
    return models.NestedCondition(nested=models.Nested(key="items", filter=models.Filter(**clauses)))


def utc(year: int, month: int, day: int) -> dt.datetime:
    return dt.datetime(year, month, day, tzinfo=dt.UTC)


RED = field("k", match=models.MatchValue(value="red"))
SMALL = field("n", range=models.Range(lte=2))
KIND_X = field("kind", match=models.MatchValue(value="x"))
N_IS_1 = field("n", match=models.MatchValue(value=1))

CONDITIONS: dict[str, models.Condition] = {
    "keyword": RED,
    "integer": field("n", match=models.MatchValue(value=50)),
    "bool": field("flag", match=models.MatchValue(value=True)),
    "bool false": field("flag", match=models.MatchValue(value=False)),
    "value in array": field("tags", match=models.MatchValue(value="b")),
    "path": field("deep.er.k", match=models.MatchValue(value="v")),
    "path through array": field("items[].n", match=models.MatchValue(value=2)),
    "text": field("text", match=models.MatchText(text="quick fox")),
    "text any": field("text", match=models.MatchTextAny(text_any="bread silver")),
    "phrase": field("text", match=models.MatchPhrase(phrase="quick brown")),
    "prefix": field("k", match=models.MatchPrefix(prefix="red")),
    "substring": field("k", match=models.MatchSubstring(substring="ree")),
    "any keyword": field("k", match=models.MatchAny(any=["red", "blue"])),
    "any integer": field("n", match=models.MatchAny(any=[3, 5])),
    "except keyword": field("k", match=models.MatchExcept(**{"except": ["red"]})),
    "except integer": field("n", match=models.MatchExcept(**{"except": [1, 2]})),
    "range": field("x", range=models.Range(gt=-2.0, lte=1.5)),
    "range open": field("x", range=models.Range(gte=-2.0, lt=9.0)),
    "datetime": field("when", range=models.DatetimeRange(gte=utc(2024, 1, 1), lt=utc(2024, 6, 1))),
    "datetime late": field("when", range=models.DatetimeRange(gt=utc(2024, 6, 1), lte=utc(2026, 1, 1))),
    "datetime zone": field(
        "when",
        range=models.DatetimeRange(
            gte=dt.datetime(2024, 1, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2))), lte=utc(2024, 1, 2)
        ),
    ),
    "datetime naive": field("when", range=models.DatetimeRange(gt=dt.datetime(2024, 1, 1, 9))),
    "geo box": field(
        "place",
        geo_bounding_box=models.GeoBoundingBox(top_left=point(10, 55), bottom_right=point(15, 50)),
    ),
    "geo radius": field("place", geo_radius=models.GeoRadius(center=point(13.4, 52.5), radius=5_000)),
    "geo polygon": field("place", geo_polygon=models.GeoPolygon(exterior=line((0, 45), (5, 50), (0, 50), (0, 45)))),
    "geo polygon with a hole": field(
        "place",
        geo_polygon=models.GeoPolygon(
            exterior=line((0, 40), (20, 40), (20, 60), (0, 60), (0, 40)),
            interiors=[line((1, 47), (4, 47), (4, 50), (1, 50), (1, 47))],
        ),
    ),
    "values count": field("tags", values_count=models.ValuesCount(gte=1, lt=3)),
    "values count exact": field("tags", values_count=models.ValuesCount(gt=2, lte=3)),
    "field empty": field("k", is_empty=True),
    "field not empty": field("tags", is_empty=False),
    "field null": field("tags", is_null=True),
    "field not null": field("tags", is_null=False),
    "is empty": models.IsEmptyCondition(is_empty=models.PayloadField(key="tags")),
    "is null": models.IsNullCondition(is_null=models.PayloadField(key="k")),
    "has id": models.HasIdCondition(has_id=[3, 5, UUID_ID, 999]),
    "has id by UUID": models.HasIdCondition(has_id=[UUID(UUID_ID)]),
    "has vector": models.HasVectorCondition(has_vector="b"),
    "nested": nested(must=[KIND_X, N_IS_1]),
    "nested not": nested(must_not=[KIND_X]),
    "slice": models.SliceCondition(slice=models.Slice(total=3, index=1)),
    "filter": models.Filter(should=[RED, models.Filter(must=[SMALL], must_not=[RED])]),
}
FILTERS: dict[str, models.Filter] = {
    **{name: models.Filter(must=[condition]) for name, condition in CONDITIONS.items()},
    **{f"not {name}": models.Filter(must_not=[condition]) for name, condition in CONDITIONS.items()},
    "one condition instead of lists": models.Filter(must=RED, must_not=SMALL, should=field("when", is_empty=False)),
    "should": models.Filter(should=[RED, SMALL]),
    "must and should": models.Filter(must=[RED], should=[SMALL, field("when", is_empty=False)]),
    "min should": models.Filter(
        min_should=models.MinShould(
            conditions=[RED, SMALL, field("flag", match=models.MatchValue(value=True))], min_count=2
        )
    ),
    "empty": models.Filter(),
    "empty lists": models.Filter(must=[], must_not=[]),
}


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[EdgeClient, QdrantClient]]:
    vectors = {
        "a": models.VectorParams(size=2, distance=models.Distance.DOT),
        "b": models.VectorParams(size=1, distance=models.Distance.DOT),
    }
    local = QdrantClient(":memory:")
    with EdgeClient(tmp_path_factory.mktemp("filters")) as edge:
        edge.create_collection("docs", vectors)
        local.create_collection("docs", vectors)
        edge.upsert("docs", POINTS)
        local.upsert("docs", POINTS)
        yield edge, local
    local.close()


@pytest.mark.parametrize("name", FILTERS)
def test_filters_match_what_local_mode_matches(engines: tuple[EdgeClient, QdrantClient], name: str) -> None:
    edge, local = engines
    found = edge.scroll("docs", FILTERS[name], limit=100)[0]
    expected = local.scroll("docs", FILTERS[name], limit=100)[0]
    assert {record.id for record in found} == {record.id for record in expected}
    assert edge.count("docs", FILTERS[name]).count == len(expected)


def test_the_conditions_of_the_table_tell_points_apart(engines: tuple[EdgeClient, QdrantClient]) -> None:
    edge, _ = engines
    for name, condition in CONDITIONS.items():
        assert 0 < edge.count("docs", models.Filter(must=[condition])).count < len(POINTS), name


def test_slices_cover_every_point_once(engines: tuple[EdgeClient, QdrantClient]) -> None:
    edge, _ = engines
    slices = [models.SliceCondition(slice=models.Slice(total=4, index=n)) for n in range(4)]
    found = [record.id for each in slices for record in edge.scroll("docs", models.Filter(must=[each]), limit=100)[0]]
    assert sorted(map(str, found)) == sorted(str(each.id) for each in POINTS)


def test_what_the_engine_does_not_know_is_refused(engines: tuple[EdgeClient, QdrantClient]) -> None:
    class NewCondition(models.FieldCondition):
        pass

    class NewFilter(models.Filter):
        new_clause: int | None = None

    edge, _ = engines
    with pytest.raises(CapabilityError, match="NewCondition"):
        edge.count("docs", models.Filter.model_construct(must=[NewCondition(key="k")]))
    with pytest.raises(CapabilityError, match="new_clause"):
        edge.count("docs", NewFilter(must=[RED], new_clause=1))
