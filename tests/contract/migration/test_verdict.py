"""What a verification finds, and what may be done without one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import models

from colbert_qdrant import ColbertCollection, ConfigurationError, EdgeClient, Migration, MigrationError
from tests.contract.migration.awaited import both_ways
from tests.contract.migration.shared import (
    FDE,
    QUERIES,
    SentenceEncoder,
    aliases,
    everything,
    point,
    point_to,
    require_kept,
)
from tests.writers.common import COUNT, DIM

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from colbert_qdrant import Verdict
    from colbert_qdrant.engines import Client


@pytest.fixture
def source(client: Client) -> Client:
    params = models.VectorParams(size=DIM, distance=models.Distance.DOT)
    client.create_collection("docs", vectors_config={"dense": params}, metadata={"owner": "us"})
    if isinstance(client, EdgeClient):
        client.create_payload_index("docs", "number", models.PayloadSchemaType.INTEGER)
    client.upsert("docs", [point(number) for number in range(COUNT)])
    return client


def planned(client: Client) -> Migration:
    return Migration.plan(client, "docs", "new", encoder=SentenceEncoder(), fde=FDE)


@pytest.fixture
def done(source: Client) -> Migration:
    """A migration that was run."""
    migration = planned(source)
    migration.run()
    return migration


def failed(verdict: Verdict) -> dict[str, str]:
    """What did not pass, and why."""
    assert not verdict.passed
    return {check.name: check.detail for check in verdict.checks if check.passed is False}


# what is wrong is found


@both_ways("memory")
def test_a_verdict_says_what_was_looked_at(source: Client, done: Migration) -> None:
    verdict = done.verify(sample=10)
    assert verdict.passed
    assert verdict.reasons == ()
    assert (verdict.points, verdict.recall) == (COUNT, 1.0)
    kept = json.loads(verdict.to_json())
    assert kept["passed"] is True
    assert [each["name"] for each in kept["checks"]] == [each.name for each in verdict.checks]
    printed = str(verdict)
    for check in verdict.checks:
        assert f"| {check.name} | {'not checked' if check.passed is None else 'passed'} |" in printed
    assert verdict.digest == done.verify(sample=10).digest
    source.set_payload("docs", {"number": -1}, points=[0])
    assert verdict.digest != done.verify(sample=10).digest


def delete(client: Client) -> None:
    client.delete("new", models.PointIdsList(points=[7]))


def add(client: Client) -> None:
    client.upsert("new", [point(1_000)])


def change_payload(client: Client) -> None:
    client.set_payload("new", {"number": "7"}, points=[7])


def change_type(client: Client) -> None:
    client.set_payload("new", {"number": True}, points=[1])


def add_to_payload(client: Client) -> None:
    client.set_payload("new", {"more": 1}, points=[7])


def change_vector(client: Client) -> None:
    client.update_vectors("new", [models.PointVectors(id=7, vector={"dense": [0.5] * DIM})])


def delete_vector(client: Client) -> None:
    client.delete_vectors("new", ["dense"], points=[7])


def change_tokens(client: Client) -> None:
    client.update_vectors("new", [models.PointVectors(id=7, vector={"colbert": [[0.5] * DIM]})])


def change_encoding(client: Client) -> None:
    client.update_vectors("new", [models.PointVectors(id=7, vector={"fde": [0.5] * FDE.dim})])


def delete_encoding(client: Client) -> None:
    client.delete_vectors("new", ["fde"], points=[7])


def delete_tokens(client: Client) -> None:
    client.delete_vectors("new", ["fde", "colbert"], points=[7])


@pytest.mark.parametrize(
    ("damage", "names", "words"),
    [
        (delete, {"count", "ids", "vectors"}, "7"),
        (add, {"count", "ids", "vectors"}, "41 in the target"),
        (change_payload, {"payloads"}, "7"),
        (change_type, {"payloads"}, "1"),
        (add_to_payload, {"payloads"}, "7"),
        (change_vector, {"copied vectors"}, "'dense' of point 7"),
        (delete_vector, {"copied vectors", "vectors"}, "'dense' of point 7"),
        (change_tokens, {"computed vectors"}, "altered"),
        (change_encoding, {"computed vectors"}, "altered"),
        (delete_encoding, {"vectors", "computed vectors"}, "40 points have token vectors, but 39 have an FDE"),
        (delete_tokens, {"vectors", "computed vectors"}, "40 points have a text, but 39 have token vectors"),
    ],
)
def test_damage_is_found(
    source: Client, done: Migration, damage: Callable[[Client], None], names: set[str], words: str
) -> None:
    damage(source)
    found = failed(done.verify())
    assert {*found} == names
    assert any(words in detail for detail in found.values())
    assert all("run() again" in detail for detail in found.values())
    with pytest.raises(MigrationError, match="did not pass"):
        done.switch("app")
    assert aliases(source) == {}
    if not names & {"count", "payloads"}:
        source.delete("new", models.PointIdsList(points=[7]))  # as it is told
    done.run()
    verdict = done.verify()
    assert verdict.passed, verdict.reasons


def test_a_missing_payload_index_is_found_and_made(source: Client, done: Migration) -> None:
    if not isinstance(source, EdgeClient):
        pytest.skip("local mode has no payload indexes")
    source.delete_payload_index("new", "number")
    assert "['number']" in failed(done.verify())["payload indexes"]
    done.run()
    assert done.verify().passed


def test_a_run_that_did_not_end_is_found(source: Client) -> None:
    migration = planned(source)
    with pytest.raises(MigrationError, match="run\\(\\) it first"):
        migration.verify()
    with pytest.raises(KeyboardInterrupt):
        migration.run(progress=Interrupting(1))
    assert "did not finish" in failed(migration.verify())["run"]


# the source goes on being written to


@both_ways("memory", "edge")
def test_what_was_written_meanwhile_is_caught_up_with(source: Client, done: Migration) -> None:
    assert done.verify().passed
    source.delete("docs", models.PointIdsList(points=[3, 4]))
    source.upsert("docs", [point(50), point(51), point(52), point(5, "an altogether new text")])
    source.set_payload("docs", {"number": "changed"}, points=[9])
    source.update_vectors("docs", [models.PointVectors(id=11, vector={"dense": [0.5] * DIM})])
    source.delete_vectors("docs", ["dense"], points=[12])
    assert {*failed(done.verify(sample=1))} >= {"count", "ids", "payloads", "copied vectors"}
    report = done.run()
    assert (report.points, report.removed, report.present) == (7, 2, COUNT - 6)
    verdict = done.verify()
    assert verdict.passed, verdict.reasons
    require_kept(everything(source, "docs"), everything(source, "new"))
    hits = ColbertCollection.open("new", client=source, encoder=SentenceEncoder()).search("an altogether new text")
    assert hits[0].id == 5
    assert done.run().points == 0


def test_a_vector_alone_that_is_changed_is_found_without_luck(source: Client, done: Migration) -> None:
    source.update_vectors("docs", [models.PointVectors(id=11, vector={"dense": [0.5] * DIM})])
    assert "'dense' of point 11" in failed(done.verify(sample=1))["copied vectors"]
    assert done.run().points == 1
    assert done.verify().passed
    assert everything(source, "new")[11].vectors["dense"] == [0.5] * DIM


def test_as_many_added_as_deleted(source: Client, done: Migration) -> None:
    source.delete("docs", models.PointIdsList(points=[3]))
    source.upsert("docs", [point(50)])
    report = done.run()
    assert (report.points, report.removed) == (1, 1)
    assert done.verify().passed
    assert {*everything(source, "new")} == {*everything(source, "docs")}


def test_a_text_that_is_gone_takes_its_token_vectors_along(source: Client, done: Migration) -> None:
    source.overwrite_payload("docs", {"number": 3}, points=[3])
    assert done.run().without_tokens == 1
    assert done.verify().passed
    assert {*everything(source, "new")[3].vectors} == {"dense"}


# interrupted and gone on with


class Interrupting:
    """A progress reporter that presses Ctrl-C after so many points, and adds up what it is told."""

    def __init__(self, after: int | None = None) -> None:
        self.after = after
        self.total: int | None = None
        self.points = 0
        self.stopped = 0

    def start(self, total: int | None) -> None:
        self.total = total

    def advance(self, documents: int) -> None:
        self.points += documents
        if self.after is not None and self.points >= self.after:
            raise KeyboardInterrupt

    def stop(self) -> None:
        self.stopped += 1


@both_ways("memory")
def test_every_point_is_reported_once(source: Client) -> None:
    reporter = Interrupting()
    migration = planned(source)
    migration.run(progress=reporter)
    assert (reporter.total, reporter.points, reporter.stopped) == (COUNT, COUNT, 1)
    reporter = Interrupting()
    source.delete("new", models.PointIdsList(points=[7]))
    migration.run(progress=reporter)
    assert (reporter.points, reporter.stopped) == (COUNT, 1)


def test_an_interrupted_migration_is_gone_on_with(source: Client, tmp_path: Path) -> None:
    reporter = Interrupting(after=1)
    with pytest.raises(KeyboardInterrupt):
        planned(source).run(progress=reporter)
    assert reporter.stopped == 1
    assert 0 < source.count("new").count < COUNT
    again = planned(source)
    assert again.details.present == reporter.points
    assert again.details.blocked == ()
    if isinstance(source, EdgeClient):  # as after the end of the process
        source.close()
        source = EdgeClient(tmp_path / "store")
    resumed = Migration.resume(source, "new", encoder=SentenceEncoder())
    report = resumed.run()
    assert (report.points, report.present) == (COUNT - reporter.points, reporter.points)
    assert resumed.verify().passed
    with pytest.raises(MigrationError, match="encoder="):
        Migration.resume(source, "new").run()
    if isinstance(source, EdgeClient):
        source.close()


def test_another_plan_does_not_go_on_with_it(source: Client, done: Migration) -> None:
    done.verify()
    other = Migration.plan(source, "docs", "new", encoder=SentenceEncoder(salt="other"), fde=FDE)
    for step in (other.run, other.verify, lambda: other.switch("app"), other.rollback):
        with pytest.raises(MigrationError):
            step()
    assert done.verify().passed


@pytest.mark.parametrize("rate", [0, -1.0])
def test_a_pace_is_more_than_nothing(source: Client, rate: float) -> None:
    with pytest.raises(ConfigurationError, match="points_per_second"):
        planned(source).run(points_per_second=rate)
    assert not source.collection_exists("new")


def test_no_more_points_in_a_second_than_wanted(source: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock[0] += seconds

    migration = planned(source)
    monkeypatch.setattr("colbert_qdrant.migrate.copier.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("colbert_qdrant.engines.runtime.time.sleep", sleep)
    migration.run(points_per_second=8)
    assert sum(waits) == pytest.approx(COUNT / 8)
    assert len(waits) > 1


# switching, and what it needs


@both_ways("memory")
def test_nothing_is_switched_without_a_passed_verification(source: Client, done: Migration) -> None:
    with pytest.raises(MigrationError, match="was not verified"):
        done.switch("app")
    assert done.verify().passed
    source.upsert("new", [point(1_000)])
    with pytest.raises(MigrationError, match=r"1 point only in 'new' \(1000\): call run\(\) and verify\(\) again"):
        done.switch("app")
    source.delete("new", models.PointIdsList(points=[1_000]))
    done.switch("app")
    assert aliases(source) == {"app": "new"}


def test_a_run_takes_the_verification_back(source: Client, done: Migration) -> None:
    done.verify()
    done.run()
    with pytest.raises(MigrationError, match="was not verified"):
        done.switch("app")


def test_a_reason_takes_the_place_of_a_verification(source: Client, done: Migration) -> None:
    for empty in ("", "  "):
        with pytest.raises(ConfigurationError, match="force"):
            done.switch("app", force=empty)
    assert aliases(source) == {}
    point_to(source, "app", "docs")
    done.switch("app", force="the demo is at nine")
    assert aliases(source) == {"app": "new"}
    kept: Any = (source.get_collection("new").config.metadata or {})["colbert_qdrant_migration"]
    assert kept["switches"][0]["forced"] == "the demo is at nine"
    assert kept["switches"][0]["previous"] == "docs"


def test_an_alias_cannot_have_the_name_of_a_collection(source: Client, done: Migration) -> None:
    done.verify()
    for name in ("docs", "new"):
        with pytest.raises(ConfigurationError, match="is the name of a collection"):
            done.switch(name)
    assert aliases(source) == {}
    assert source.collection_exists("docs")


def test_what_others_changed_is_not_taken_back(source: Client, done: Migration) -> None:
    done.verify()
    done.switch("app")
    dense = models.VectorParams(size=2, distance=models.Distance.DOT)
    source.create_collection("third", vectors_config={"dense": dense})
    source.update_collection_aliases([models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="app"))])
    point_to(source, "app", "third")
    with pytest.raises(MigrationError, match="'third'"):
        done.rollback()
    assert aliases(source) == {"app": "third"}


# what is not needed any more


def test_without_a_switch_the_target_is_deleted(source: Client, done: Migration) -> None:
    asked: list[str] = []

    def no(question: str) -> bool:
        asked.append(question)
        return False

    assert done.cleanup(confirm=no) is None
    assert source.collection_exists("new")
    assert "'new' with 40 points" in asked[0]
    assert done.cleanup(confirm=lambda _: True) == "new"
    assert not source.collection_exists("new")
    assert {*everything(source, "docs")} == {*range(COUNT)}
    with pytest.raises(MigrationError, match="not started"):
        done.cleanup(confirm=lambda _: True)


@both_ways("memory", "edge")
def test_after_a_switch_the_source_is_deleted(source: Client, done: Migration) -> None:
    point_to(source, "app", "docs")
    point_to(source, "other", "docs")
    done.verify()
    done.switch("app")
    with pytest.raises(MigrationError, match="other"):
        done.cleanup(confirm=lambda _: True)
    done.switch("other")
    assert done.cleanup(confirm=lambda question: "'docs'" in question) == "docs"
    assert not source.collection_exists("docs")
    assert {*everything(source, "app")} == {*range(COUNT)}
    with pytest.raises(MigrationError, match="gone"):
        done.rollback()
    assert aliases(source) == {"app": "new", "other": "new"}


def test_a_target_that_is_written_to_since_it_was_switched_to_can_stay_alone(source: Client, done: Migration) -> None:
    done.verify()
    done.switch("app")
    source.upsert("app", [point(1_000)])
    assert done.cleanup(confirm=lambda _: True) == "docs"
    assert source.count("app").count == COUNT + 1


def test_a_source_stays_when_its_copy_did_not_pass_later(source: Client, done: Migration) -> None:
    done.verify()
    done.switch("app")
    source.delete("app", models.PointIdsList(points=[7]))
    assert not done.verify().passed
    with pytest.raises(MigrationError, match="did not pass"):
        done.cleanup(confirm=lambda _: True)
    assert source.collection_exists("docs")


def test_a_source_stays_while_its_copy_is_not_verified(source: Client, done: Migration) -> None:
    done.switch("app", force="in a hurry")
    with pytest.raises(MigrationError, match="not verified"):
        done.cleanup(confirm=lambda _: True)
    assert source.collection_exists("docs")


@both_ways("memory")
def test_nobody_at_the_terminal_deletes_nothing(
    source: Client, done: Migration, monkeypatch: pytest.MonkeyPatch
) -> None:
    for answer, deleted in (("no", None), ("y", None), ("yes", "new")):
        monkeypatch.setattr("builtins.input", lambda _, answer=answer: answer)
        assert done.cleanup() == deleted
    done.run()

    def nobody(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    with pytest.raises(ConfigurationError, match="confirm="):
        done.cleanup()
    assert source.collection_exists("new")


def test_the_targets_own_metadata(source: Client, done: Migration) -> None:
    metadata = source.get_collection("new").config.metadata or {}
    assert metadata["owner"] == "us"
    assert len(ColbertCollection.open("new", client=source, encoder=SentenceEncoder()).search(QUERIES[0])) == 10
    assert repr(done).startswith("Migration(")
