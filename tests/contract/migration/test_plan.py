"""What a plan finds out about points, wherever in a collection they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import models

from colbert_qdrant import CollectionConfig, Migration, MigrationError, MuveraConfig
from colbert_qdrant.migrate.convert import Converter
from colbert_qdrant.migrate.costs import measure_costs
from colbert_qdrant.migrate.sample import Sample
from colbert_qdrant.points.texts import TextSource
from tests.contract.migration.awaited import both_ways
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from colbert_qdrant.engines import Client

FDE = MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)


def fill(client: Client, *, without: int, texts: int) -> None:
    """Points of which the first have no text."""
    client.create_collection("docs", vectors_config={"a": models.VectorParams(size=2, distance=models.Distance.DOT)})
    payloads: list[dict[str, Any]] = [{"title": "chapter"}] * without + [{"body": text} for text in random_texts(texts)]
    points = [
        models.PointStruct(id=number, vector={"a": [1.0, 2.0]}, payload=payload)
        for number, payload in enumerate(payloads)
    ]
    client.upsert("docs", points)


def planned(client: Client, **more: Any) -> Migration:
    return Migration.plan(client, "docs", encoder=WordEncoder(), fde=FDE, **{"text_key": "body", **more})


@both_ways("memory", "edge")
def test_the_first_points_have_no_text(client: Client) -> None:
    fill(client, without=2_000, texts=1_500)
    migration = planned(client)
    assert not migration.details.blocked
    (risk,) = [risk for risk in migration.details.risks if "have no text" in risk.problem]
    lacking, _, looked, *_ = risk.problem.split()
    assert 0 < int(lacking) < int(looked) == 32


def test_a_text_that_few_points_have(client: Client) -> None:
    fill(client, without=600, texts=3)
    migration = planned(client)
    assert not migration.details.blocked
    assert any("sampled points have no text" in risk.problem for risk in migration.details.risks)
    assert migration.run().without_tokens == 600


def test_a_text_that_no_point_has(client: Client) -> None:
    fill(client, without=600, texts=3)
    migration = planned(client, text_key="boddy")
    with pytest.raises(MigrationError, match=r"none of 603 sampled points has a text there: correct text_key.*filter="):
        migration.run()


def test_where_most_texts_are(client: Client) -> None:
    client.create_collection("docs", vectors_config={"a": models.VectorParams(size=2, distance=models.Distance.DOT)})
    points = [
        models.PointStruct(
            id=number,
            vector={"a": [1.0, 2.0]},
            payload={"text": text} if number % 2 else {"content": "a form"} if number % 10 == 0 else {},
        )
        for number, text in enumerate(random_texts(30))
    ]
    client.upsert("docs", points)
    assert planned(client, text_key=None).details.text == "text"


def test_the_way_to_a_server_is_not_taken_for_its_speed() -> None:
    """One request of 50 ms for 32 points of 100 bytes, which are written with 100 times as many."""
    texts = random_texts(32, words=(20, 30))
    records = [models.Record(id=number, payload={"body": text}) for number, text in enumerate(texts)]
    converter = Converter(
        kept=(),
        token_vector="colbert",
        fde_vector="fde",
        encoder=WordEncoder(),
        fde=None,
        texts=TextSource("body"),
    )
    sample = Sample(records=records, seconds=0.001, latency=0.05)
    costs = measure_costs(sample, converter, CollectionConfig(fde=FDE), binary=True)
    assert costs.written_bytes > 10 * costs.read_bytes
    assert costs.read_seconds + costs.write_seconds < 0.002
    slower = measure_costs(sample, converter, CollectionConfig(fde=FDE), binary=False)
    assert slower.write_seconds > costs.write_seconds


def test_a_plan_says_how_sure_it_is_of_the_time(client: Client) -> None:
    fill(client, without=0, texts=40)
    assert " s to " in str(planned(client))
