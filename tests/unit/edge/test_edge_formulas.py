"""Formulas, against local mode; where local mode does otherwise has a test at the end.

- Constants, also those of decays and divisions, are single precision, as in a server. In local mode they are double.
- A list of one value stands for that value in a payload. In local mode it does so in `defaults`, too.
- `defaults` can be dates and `models.GeoPoint`s, as over REST. In local mode they are strings and dictionaries.
- Places that are not on Earth are refused. In local mode they are somewhere.
- Formulas can be nested 64 expressions deep. In local mode there is no such bound.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from qdrant_client import QdrantClient, models

from colbert_qdrant.edge import AsyncEdgeClient, EdgeClient
from colbert_qdrant.edge.formulas import MAX_DEPTH
from colbert_qdrant.errors import CapabilityError, ConfigurationError, EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from colbert_qdrant.engines import Client

    Engines = tuple[EdgeClient, QdrantClient]

VECTORS = {name: models.VectorParams(size=1, distance=models.Distance.DOT) for name in ("near", "far")}
BERLIN, PARIS = {"lon": 13.4, "lat": 52.5}, models.GeoPoint(lon=2.35, lat=48.85)
PAYLOADS: list[dict[str, Any]] = [
    {
        "n": n - 2.5,
        "whole": n + 1,
        "one": [n],
        "many": [1, 2],
        "text": "5",
        "flag": n % 2 == 0,
        "none": None,
        "empty": [],
        "in": {"a list": [{"k": n}, {"k": 1}]},
        "at": f"2024-01-0{n + 1}T03:04:05.5+02:00",
        "place": BERLIN | {"lat": 10.0 * n},
        "nowhere": {"lon": 1.0},
        "large": 1e300,
    }
    | ({"rare": n, "day": "2024-01-02", "spot": [BERLIN]} if n < 3 else {})
    for n in range(6)
]
POINTS = [
    models.PointStruct(
        id=n, vector={"near": [n / 4]} if n == 5 else {"near": [n / 4], "far": [-float(n)]}, payload=payload
    )
    for n, payload in enumerate(PAYLOADS)
]
LEGS = [models.Prefetch(query=[2.0], using="near"), models.Prefetch(query=[1.0], using="far")]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    local = QdrantClient(":memory:")
    with EdgeClient(tmp_path_factory.mktemp("formulas")) as edge:
        for client in (edge, local):
            client.create_collection("docs", vectors_config=VECTORS)
            client.upsert("docs", POINTS)
        yield edge, local
    local.close()


def ranked(
    client: Client, formula: Any, defaults: Any = None, *, legs: Sequence[models.Prefetch] = LEGS
) -> list[tuple[Any, float]]:
    query = models.FormulaQuery(formula=formula, defaults=defaults or {})
    return [(hit.id, hit.score) for hit in client.query_points("docs", query, prefetch=list(legs)).points]


def scored(client: Client, formula: Any, defaults: Any = None) -> dict[Any, float]:
    return dict(ranked(client, formula, defaults))


def agreed(engines: Engines, formula: Any, defaults: Any = None) -> dict[Any, float]:
    found, expected = (scored(client, formula, defaults) for client in engines)
    assert found == pytest.approx(expected, rel=1e-5)
    return found


def refused(engines: Engines, formula: Any, defaults: Any = None, *, match: str) -> None:
    edge, local = engines
    with pytest.raises(EngineError, match=match):
        scored(edge, formula, defaults)
    with pytest.raises((ValueError, AttributeError)):  # where it takes anything for a string
        scored(local, formula, defaults)


def add(*parts: Any) -> models.SumExpression:
    return models.SumExpression(sum=list(parts))


def times(*parts: Any) -> models.MultExpression:
    return models.MultExpression(mult=list(parts))


def over(left: Any, right: Any, default: float | None = None) -> models.DivExpression:
    return models.DivExpression(div=models.DivParams(left=left, right=right, by_zero_default=default))


def power(base: Any, exponent: Any) -> models.PowExpression:
    return models.PowExpression(pow=models.PowParams(base=base, exponent=exponent))


def distance(to: str, origin: models.GeoPoint = PARIS) -> models.GeoDistance:
    return models.GeoDistance(geo_distance=models.GeoDistanceParams(origin=origin, to=to))


def decays(**arguments: Any) -> list[Any]:
    parts = models.DecayParamsExpression(**arguments)
    return [
        models.LinDecayExpression(lin_decay=parts),
        models.ExpDecayExpression(exp_decay=parts),
        models.GaussDecayExpression(gauss_decay=parts),
    ]


def field(key: str, **condition: Any) -> models.FieldCondition:
    return models.FieldCondition(key=key, **condition)


def negated(count: int) -> Any:
    formula: Any = "whole"
    for _ in range(count):
        formula = models.NegExpression(neg=formula)
    return formula


def since(start: str) -> Any:
    return add(models.DatetimeKeyExpression(datetime_key="at"), negated_date(start))


def negated_date(date: str) -> Any:
    return models.NegExpression(neg=models.DatetimeExpression(datetime=date))


EXPRESSIONS = [
    0.5,
    3,
    "n",
    "one",
    'in."a list"[0].k',
    "$score",
    "$score[0]",
    "$score[1]",
    "$score[7]",
    add(),
    times(),
    add("n", "whole", "$score", -1.5),
    times("n", "whole", "$score", -1.5),
    over("n", "whole"),
    over("n", "$score", 7.0),
    models.NegExpression(neg="n"),
    models.AbsExpression(abs="n"),
    models.SqrtExpression(sqrt="whole"),
    models.ExpExpression(exp="n"),
    models.Log10Expression(log10="whole"),
    models.LnExpression(ln="whole"),
    models.AcoshExpression(acosh="whole"),
    models.MaxExpression(max=["n", 0.25, "$score"]),
    models.MinExpression(min=["n", 0.25, "$score"]),
    power("whole", "n"),
    power("n", 3.0),
    distance("place"),
    models.DatetimeExpression(datetime="2024-01-02T03:04:05Z"),
    models.DatetimeExpression(datetime="2024-01-02"),
    models.DatetimeKeyExpression(datetime_key="at"),
    since("2024-01-01 03:04"),
    *decays(x="n"),
    *decays(x="n", target=1.0),
    *decays(x="n", target="$score", scale=3.0, midpoint=0.25),
    *decays(x=since("2024-01-03"), scale=86400.0),
    *decays(x=distance("place"), scale=1e6),
    add("$score", times(0.5, over(models.LnExpression(ln=add("whole", 1.0)), power("whole", 0.5)), decays(x="n")[2])),
]


@pytest.mark.parametrize("formula", EXPRESSIONS, ids=repr)
def test_an_expression(engines: Engines, formula: Any) -> None:
    assert len(agreed(engines, formula)) == len(POINTS)


THIRD = models.Filter(must=[field("k", match=models.MatchValue(value=3))])
CONDITIONS: list[tuple[Any, set[int]]] = [
    (field("flag", match=models.MatchValue(value=True)), {0, 2, 4}),
    (field("n", range=models.Range(gt=0)), {3, 4, 5}),
    (field("at", range=models.DatetimeRange(lt=dt.datetime(2024, 1, 3, tzinfo=dt.UTC))), {0, 1}),
    (field("place", geo_radius=models.GeoRadius(center=models.GeoPoint(**BERLIN), radius=1e6)), {5}),
    (models.HasIdCondition(has_id=[1, 4, 9]), {1, 4}),
    (models.HasVectorCondition(has_vector="far"), {0, 1, 2, 3, 4}),
    (models.IsNullCondition(is_null=models.PayloadField(key="none")), {0, 1, 2, 3, 4, 5}),
    (models.IsEmptyCondition(is_empty=models.PayloadField(key="rare")), {3, 4, 5}),
    (models.NestedCondition(nested=models.Nested(key='in."a list"', filter=THIRD)), {3}),
    (models.Filter(must=[field("n", range=models.Range(gt=0))], must_not=[models.HasIdCondition(has_id=[4])]), {3, 5}),
    (models.Filter(should=[models.Filter(must=[models.HasIdCondition(has_id=[2])])]), {2}),
]


@pytest.mark.parametrize(("condition", "matching"), CONDITIONS, ids=lambda value: type(value).__name__)
def test_a_condition_is_0_or_1(engines: Engines, condition: Any, matching: set[int]) -> None:
    assert agreed(engines, condition) == {n: float(n in matching) for n in range(6)}
    assert agreed(engines, times(condition, 2.5)) == {n: 2.5 * (n in matching) for n in range(6)}


DEFAULTS = [
    ("rare", {"rare": 1.5}),
    (models.DatetimeKeyExpression(datetime_key="day"), {"day": "2024-02-03T04:05:06Z"}),
    (distance("spot"), {"spot": {"lon": 1.0, "lat": 2.0}}),
]


@pytest.mark.parametrize(("formula", "defaults"), DEFAULTS, ids=repr)
def test_what_is_missing_has_a_default_or_is_refused(engines: Engines, formula: Any, defaults: dict[str, Any]) -> None:
    found = agreed(engines, formula, defaults)
    assert len({found[n] for n in (3, 4, 5)}) == 1
    assert found[2] != found[3]
    for others in ({}, {"other": 1.5}):
        refused(engines, formula, others, match="add `defaults` for points without")


@pytest.mark.parametrize("defaults", [{"$score[1]": 7.0}, {"$score[1]": -3, "$score": 5}])
def test_a_score_that_is_missing_has_a_default_or_is_0(engines: Engines, defaults: dict[str, Any]) -> None:
    assert agreed(engines, "$score[1]")[5] == 0.0
    assert agreed(engines, "$score[1]", defaults)[5] == defaults["$score[1]"]


@pytest.mark.parametrize("key", ["$score", "$score[0]"])
@pytest.mark.parametrize("variable", ["$score", "$score[0]"])
def test_the_first_score_has_two_names(engines: Engines, key: str, variable: str) -> None:
    found, expected = (ranked(client, variable, {key: 9.0}, legs=LEGS[::-1]) for client in engines)
    assert found[0] == expected[0] == (5, 9.0)


def test_what_comes_first_can_spare_the_rest(engines: Engines) -> None:
    assert set(agreed(engines, times(0.0, "missing")).values()) == {0.0}
    assert set(agreed(engines, over(0.0, "missing")).values()) == {0.0}
    assert set(agreed(engines, "empty", {"empty": 2.0}).values()) == {2.0}


REFUSED: list[Any] = [
    "many",
    "text",
    "flag",
    "none",
    "empty",
    "place",
    'in."a list"[].k',
    "large",
    "$scores",
    "$score[-1]",
    "two words",
    "",
    times("missing", 0.0),
    over("n", 0.0),
    over("n", 0.0, math.inf),
    models.SqrtExpression(sqrt="n"),
    models.Log10Expression(log10=0.0),
    models.LnExpression(ln="n"),
    models.AcoshExpression(acosh=0.5),
    models.ExpExpression(exp=1000.0),
    models.MaxExpression(max=[]),
    models.MinExpression(min=[]),
    power("n", 0.5),
    power(0.0, -1.0),
    power("large", 2.0),
    math.nan,
    math.inf,
    models.DatetimeExpression(datetime="tomorrow"),
    models.DatetimeKeyExpression(datetime_key="text"),
    models.DatetimeKeyExpression(datetime_key="n"),
    distance("nowhere"),
    distance("n"),
    *decays(x="missing"),
    *decays(x="n", target="missing"),
    *decays(x="n", scale=0.0),
    *decays(x="n", scale=-1.0),
    *decays(x="n", midpoint=1.5),
    *decays(x="n", midpoint=0.0)[1:],
    *decays(x="n", midpoint=1.0)[1:],
]


@pytest.mark.parametrize("formula", REFUSED, ids=repr)
def test_what_has_no_score_is_refused(engines: Engines, formula: Any) -> None:
    refused(engines, formula, match="query_points on collection 'docs'")


def test_a_formula_needs_prefetches(engines: Engines) -> None:
    for client in engines:
        with pytest.raises((EngineError, ValueError), match=r"ormula without prefetches"):
            ranked(client, "n", legs=[])


def test_formulas_rank_and_can_be_prefetched(engines: Engines) -> None:
    best = models.Prefetch(query=models.FormulaQuery(formula=add("$score", "n")), prefetch=LEGS, limit=3)
    query = models.FormulaQuery(formula=models.NegExpression(neg="$score"))
    for client in engines:
        hits = client.query_points("docs", query, prefetch=best, limit=2, offset=1, score_threshold=-4.5).points
        assert [(hit.id, hit.score) for hit in hits] == [(4, -3.5)]
        assert [n for n, _ in ranked(client, times(-1.0, "n"))] == [0, 1, 2, 3, 4, 5]


class SinhExpression(BaseModel):
    sinh: str = "n"


def test_expressions_that_the_engine_has_not(engines: Engines) -> None:
    unknown: Any = SinhExpression()
    for formula in (unknown, models.NegExpression.model_construct(neg=unknown)):
        query = models.FormulaQuery.model_construct(formula=formula)
        with pytest.raises(CapabilityError, match="`SinhExpression` in formulas: use a Qdrant server"):
            engines[0].query_points("docs", query, prefetch=LEGS)


def test_formulas_reach_an_engine_in_another_process(tmp_path: Path) -> None:
    query = models.FormulaQuery(formula=times("rare", negated(MAX_DEPTH - 2)), defaults={"rare": 2.0})

    async def ask() -> dict[Any, float]:
        async with AsyncEdgeClient(tmp_path / "store") as client:
            await client.create_collection("docs", vectors_config=VECTORS)
            await client.upsert("docs", POINTS)
            return {hit.id: hit.score for hit in (await client.query_points("docs", query, prefetch=LEGS)).points}

    assert asyncio.run(ask()) == {0: 0.0, 1: 2.0, 2: 6.0, 3: 8.0, 4: 10.0, 5: 12.0}


quarters = st.integers(-12, 12).map(lambda quarter: quarter / 4)  # as they are in single precision
leaves = st.one_of(
    quarters,
    st.sampled_from(["$score", "$score[1]", "$score[2]", "n", "whole", "one", "rare"]),
    st.sampled_from([condition for condition, _ in CONDITIONS]),
)


def grown(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(parts, min_size=1, max_size=3)
    default = st.none() | quarters
    arguments = {"scale": st.sampled_from([0.5, 1.0, 4.0]), "midpoint": st.sampled_from([0.25, 0.5])}
    return st.one_of(
        several.map(lambda inner: add(*inner)),
        several.map(lambda inner: times(*inner)),
        several.map(lambda inner: models.MaxExpression(max=inner)),
        several.map(lambda inner: models.MinExpression(min=inner)),
        parts.map(lambda inner: models.NegExpression(neg=inner)),
        parts.map(lambda inner: models.AbsExpression(abs=inner)),
        parts.map(lambda inner: models.SqrtExpression(sqrt=inner)),
        parts.map(lambda inner: models.ExpExpression(exp=inner)),
        parts.map(lambda inner: models.LnExpression(ln=inner)),
        parts.map(lambda inner: models.Log10Expression(log10=inner)),
        st.builds(over, parts, parts, default),
        st.builds(power, parts, parts),
        st.builds(decays, x=parts, target=st.none() | parts, **arguments).flatmap(st.sampled_from),
    )


def outcome(client: Client, formula: Any, defaults: dict[str, float]) -> dict[Any, float]:
    """No scores where it is refused."""
    try:
        return scored(client, formula, defaults)
    except (EngineError, ValueError):
        return {}


@settings(max_examples=300, deadline=None, derandomize=True, database=None, phases=[Phase.generate, Phase.shrink])
@given(formula=st.recursive(leaves, grown, max_leaves=8), defaults=st.sampled_from([{}, {"rare": 1.5}]))
def test_any_formula(engines: Engines, formula: Any, defaults: dict[str, float]) -> None:
    edge, local = engines
    assert outcome(edge, formula, defaults) == pytest.approx(outcome(local, formula, defaults), rel=1e-5, abs=1e-9)


def test_constants_are_single_precision(engines: Engines) -> None:
    edge, local = engines
    formula: Any = add(2.0**24 + 1, -(2.0**24))
    assert (scored(edge, formula)[0], scored(local, formula)[0]) == (0.0, 1.0)
    formula = over(1.0, 1e-50, 3.0)
    assert scored(edge, formula)[0] == 3.0
    with pytest.raises(ValueError, match="non-finite"):
        scored(local, formula)
    for formula in decays(x="n", scale=1e-50)[:2]:
        assert len(scored(local, formula)) == 6
        with pytest.raises(EngineError, match="non-zero"):
            scored(edge, formula)


ONES: list[tuple[Any, dict[str, Any]]] = [
    ("missing", {"missing": [2.0]}),
    (models.DatetimeKeyExpression(datetime_key="missing"), {"missing": ["2024-01-02"]}),
    (distance("missing"), {"missing": [BERLIN]}),
]


@pytest.mark.parametrize(("formula", "defaults"), ONES, ids=repr)
def test_a_list_of_one_is_no_default(engines: Engines, formula: Any, defaults: dict[str, Any]) -> None:
    edge, local = engines
    assert len(scored(local, formula, defaults)) == 6
    with pytest.raises(EngineError, match="add `defaults` for points without"):
        scored(edge, formula, defaults)


@pytest.mark.parametrize(
    ("formula", "default", "plain"),
    [
        (models.DatetimeKeyExpression(datetime_key="missing"), dt.date(2024, 1, 2), "2024-01-02"),
        (
            models.DatetimeKeyExpression(datetime_key="missing"),
            dt.datetime(2024, 1, 2, 3, tzinfo=dt.UTC),
            "2024-01-02T03:00:00Z",
        ),
        (distance("missing"), models.GeoPoint(**BERLIN), BERLIN),
    ],
    ids=repr,
)
def test_defaults_are_dates_and_places(engines: Engines, formula: Any, default: Any, plain: Any) -> None:
    edge, local = engines
    assert scored(edge, formula, {"missing": default}) == agreed(engines, formula, {"missing": plain})
    with pytest.raises((ValueError, AttributeError)):
        scored(local, formula, {"missing": default})


def test_places_are_on_earth(engines: Engines) -> None:
    edge, local = engines
    cases = [
        (distance("place", models.GeoPoint(lon=500, lat=200)), {}),
        (distance("missing"), {"missing": {"lon": 500.0, "lat": 200.0}}),
    ]
    for formula, defaults in cases:
        assert len(scored(local, formula, defaults)) == 6
        with pytest.raises(EngineError):
            scored(edge, formula, defaults)


def test_formulas_are_nested_so_deep(engines: Engines) -> None:
    edge, local = engines
    assert agreed(engines, negated(MAX_DEPTH - 1))[2] == -3.0
    assert scored(local, negated(MAX_DEPTH))[2] == 3.0
    with pytest.raises(
        ConfigurationError, match="the formula nests more than 64 expressions: write it with less nesting"
    ):
        scored(edge, negated(MAX_DEPTH))
