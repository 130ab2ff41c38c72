"""Migrations of what is not as it should be, and by who asks for what cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant import Bm25Config, CollectionConfig, ConfigurationError, Migration, MigrationError, TokenEmbeddings
from colbert_qdrant.migrate import MigrationPlan
from tests.contract.migration.awaited import both_ways
from tests.contract.migration.shared import FDE, TEXTS, SentenceEncoder, everything, point, require_kept
from tests.writers import WRITERS
from tests.writers.common import COUNT, DIM, dense

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.engines import Client
    from colbert_qdrant.migrate.plan import Strategy

DENSE = models.VectorParams(size=DIM, distance=models.Distance.DOT)


@pytest.fixture
def source(client: Client) -> Client:
    client.create_collection("docs", vectors_config={"dense": DENSE})
    client.upsert("docs", [point(number) for number in range(COUNT)])
    return client


def planned(client: Client, **more: Any) -> Migration:
    return Migration.plan(client, "docs", "new", **{"encoder": SentenceEncoder(), "fde": FDE, **more})


def test_a_filter_by_what_is_not_among_values(source: Client) -> None:
    others = models.FieldCondition(key="number", match=models.MatchExcept(**{"except": [1, 2]}))
    migration = planned(source, filter=models.Filter(must=[others]))
    migration.run()
    assert migration.verify().passed
    assert {*everything(source, "new")} == {*range(COUNT)} - {1, 2}
    plan = MigrationPlan.from_dict(json.loads(json.dumps(migration.to_dict())))
    assert plan.filter == models.Filter(must=[others])
    assert plan.same_as(migration.details)


@both_ways("memory")
def test_a_function_that_takes_texts_out_of_payloads(source: Client) -> None:
    migration = planned(source, text=lambda payload: payload.pop("text", None))
    migration.run()
    assert migration.verify().passed
    require_kept(everything(source, "docs"), everything(source, "new"))


def test_the_target_is_not_taken_for_its_source_of_the_same_name(source: Client) -> None:
    other = QdrantClient(":memory:")
    Migration.plan(source, "docs", target_client=other, encoder=SentenceEncoder(), fde=FDE).run()
    other.delete("docs", models.PointIdsList(points=[1, 2, 3]))
    for target_client in (None, other):
        with pytest.raises(MigrationError, match="pass the source's client as client"):
            Migration.resume(other, "docs", target_client=target_client, encoder=SentenceEncoder())
    migration = Migration.resume(source, "docs", target_client=other, encoder=SentenceEncoder())
    assert any(reason.startswith("count") for reason in migration.verify().reasons)


@both_ways("memory", "edge")
def test_of_two_plans_in_place_the_second_does_not_go_on_with_the_first(source: Client) -> None:
    first, second = [
        Migration.plan(source, "docs", encoder=SentenceEncoder(), fde=replace(FDE, seed=seed), strategy="in_place")
        for seed in (1, 2)
    ]
    first.run()
    with pytest.raises(MigrationError, match="another migration"):
        second.run()
    verdict = first.verify()
    assert verdict.passed, verdict.reasons
    first.rollback()
    second.run()
    assert second.verify().passed


@both_ways("memory")
def test_no_alias_is_switched_away_from_what_was_written_since(source: Client) -> None:
    migration = planned(source)
    migration.run()
    migration.verify()
    source.upsert("docs", [point(1_000)])
    migration.switch("app")
    assert source.count("app").count == COUNT + 1
    source.upsert("docs", [point(1_001)])
    with pytest.raises(MigrationError, match=r"1 point only in 'docs' \(1001\)"):
        migration.cleanup(confirm=lambda _: True)
    source.delete("docs", models.PointIdsList(points=[1_001]))
    assert migration.cleanup(confirm=lambda _: True) == "docs"
    migration.switch("other")


def test_points_that_a_filter_left_out_are_not_deleted(source: Client) -> None:
    migration = planned(source, filter=models.Filter(must=[models.HasIdCondition(has_id=[1, 2, 3])]))
    migration.run()
    migration.verify()
    migration.switch("app")
    with pytest.raises(MigrationError, match=r"37 points that the filter excluded \(0, 4, 5, 6, 7, …\)"):
        migration.cleanup(confirm=lambda _: True)
    assert {*everything(source, "docs")} == {*range(COUNT)}


@both_ways("memory")
def test_the_only_copy_is_not_deleted(source: Client) -> None:
    migration = planned(source)
    migration.run()
    source.delete_collection("docs")
    sides: list[Literal["target"] | None] = [None, "target"]
    for what in sides:
        with pytest.raises(MigrationError, match="only copy"):
            migration.cleanup(what, confirm=lambda _: True)
    assert {*everything(source, "new")} == {*range(COUNT)}


def test_which_of_many_duplicates_is_found_does_not_matter(client: Client) -> None:
    client.create_collection("docs", vectors_config={"dense": DENSE})
    client.upsert("docs", [point(number, TEXTS[number % 3]) for number in range(200)])
    migration = planned(client, text_key="text")
    migration.run()
    verdict = migration.verify(queries=8)
    assert verdict.passed, verdict.reasons
    assert verdict.recall == 1.0


def with_tokens(client: Client, *, of: int = COUNT, key: str = "text") -> Client:
    """A collection of which so many points have token vectors."""
    max_sim = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    tokens = DENSE.model_copy(update={"multivector_config": max_sim})
    client.create_collection("docs", vectors_config={"dense": DENSE, "tokens": tokens})
    matrices = SentenceEncoder().encode_documents(TEXTS)
    client.upsert(
        "docs",
        [
            models.PointStruct(
                id=number,
                vector={"dense": dense(text)} | ({"tokens": matrix.tolist()} if number < of else {}),
                payload={key: text},
            )
            for number, (text, matrix) in enumerate(zip(TEXTS, matrices, strict=True))
        ],
    )
    return client


def test_a_multivector_that_no_point_has(client: Client) -> None:
    migration = planned(with_tokens(client, of=0))
    migration.run()
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
    assert verdict.recall is None


class Forgetful(SentenceEncoder):
    """An encoder that leaves a text out."""

    def _encode(self, texts: Sequence[str]) -> TokenEmbeddings:
        return super()._encode(texts)[1:]


def test_an_encoder_that_leaves_a_text_out(client: Client) -> None:
    with pytest.raises(MigrationError, match="one matrix of 32 dimensions per text"):
        planned(with_tokens(client), encoder=Forgetful())


def test_without_points_somebody_has_to_say_where_texts_are(client: Client) -> None:
    client.create_collection("docs", vectors_config={"dense": DENSE})
    with pytest.raises(MigrationError, match=r"no points that show its texts.*text_key"):
        planned(client).run()
    migration = planned(client, text_key="text")
    assert migration.run().points == 0
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
    client.upsert("docs", [point(number) for number in range(COUNT)])
    assert migration.run().points == COUNT
    assert migration.verify().passed


def test_bm25_of_texts_that_nobody_finds(client: Client) -> None:
    config = CollectionConfig(fde=FDE, bm25=Bm25Config())
    with_tokens(client, key="unheard-of")
    with pytest.raises(MigrationError, match="text_key"):
        planned(client, fde=None, config=config).run()
    migration = planned(client, fde=None, config=config, text_key="unheard-of")
    migration.run()
    assert "bm25" in everything(client, "new")[0].vectors


def test_encodings_that_the_source_lacks(client: Client) -> None:
    WRITERS["fastembed-dot"](client, "docs")  # type: ignore[arg-type]
    fde = Migration.plan(client, "docs", "new").details.config.fde_vector
    client.delete_vectors("docs", [fde], points=list(everything(client, "docs"))[:1])
    strategies: list[Strategy] = ["blue_green", "in_place"]
    for strategy in strategies:
        with pytest.raises(MigrationError, match="1 point has only one of 'colbert' and 'muvera'"):
            Migration.plan(client, "docs", strategy=strategy).run()
    config = CollectionConfig(fde=FDE, fde_vector="another")  # as it is told
    migration = Migration.plan(client, "docs", "new", config=config)
    migration.run()
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons


def test_an_empty_name_of_a_target(source: Client) -> None:
    with pytest.raises(ConfigurationError, match="the name of a target because it is empty"):
        Migration.plan(source, "docs", "", encoder=SentenceEncoder())


def test_texts_are_found_where_they_were_found_before(source: Client) -> None:
    planned(source).run()
    with pytest.raises(MigrationError, match="texts under 'text'"):
        Migration.resume(source, "new", encoder=SentenceEncoder(), text=lambda payload: payload["text"])


def test_in_place_a_filter_comes_too_late(source: Client) -> None:
    Migration.plan(source, "docs", encoder=SentenceEncoder(), fde=FDE, strategy="in_place").run()
    some = models.Filter(must=[models.HasIdCondition(has_id=[1])])
    with pytest.raises(MigrationError, match="another filter"):
        Migration.plan(source, "docs", encoder=SentenceEncoder(), fde=FDE, strategy="in_place", filter=some)


def test_what_the_next_migration_came_from_is_not_deleted_unasked(source: Client) -> None:
    first = planned(source)
    first.run()
    first.verify()
    first.switch("app")
    second = Migration.plan(source, "app", "newer", fde=replace(FDE, seed=7))
    second.run()
    second.verify()
    second.switch("app")
    with pytest.raises(ConfigurationError, match="no longer point at it"):
        first.cleanup(confirm=lambda _: True)
    second.rollback()
    assert first.cleanup(confirm=lambda _: True) == "docs"


@pytest.mark.parametrize("part", [-0.1, 80.0, float("nan")])
def test_a_recall_is_a_part_of_all(source: Client, part: float) -> None:
    with pytest.raises(ConfigurationError, match="min_recall"):
        planned(source).verify(min_recall=part)


def test_a_function_that_raises_is_named_with_the_point(source: Client) -> None:
    source.delete_payload("docs", ["text"], points=[7])
    with pytest.raises(MigrationError, match=r"point 7 \(KeyError: 'text'\): .*return None") as caught:
        planned(source, text=lambda payload: payload["text"]).run()
    assert isinstance(caught.value.__cause__, KeyError)
