"""Applications that go on writing, to the source or to the target, around a switch and a rollback: nothing is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from qdrant_client import models

from colbert_qdrant import (
    ColbertCollection,
    CollectionConfig,
    CollectionNotFoundError,
    ConfigurationError,
    Document,
    LemurConfig,
    Migration,
    MigrationError,
    MuveraConfig,
    TokenEmbeddings,
)
from tests.contract.migration.awaited import both_ways
from tests.contract.migration.shared import FDE, SentenceEncoder, aliases, everything, point, point_to, require_kept
from tests.encoders import WordEncoder, random_texts
from tests.writers.common import COUNT, DIM

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.engines import Client

LEMUR = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=30)


def planned(client: Client, fde: MuveraConfig | LemurConfig = FDE) -> Migration:
    return Migration.plan(client, "docs", "new", encoder=SentenceEncoder(), fde=fde)


@pytest.fixture
def source(client: Client) -> Client:
    params = models.VectorParams(size=DIM, distance=models.Distance.DOT)
    client.create_collection("docs", vectors_config={"dense": params})
    client.upsert("docs", [point(number) for number in range(COUNT)])
    point_to(client, "app", "docs")
    return client


@pytest.fixture
def verified(source: Client) -> Migration:
    migration = planned(source)
    migration.run()
    assert migration.verify().passed
    return migration


def write(client: Client, name: str) -> None:
    """Overwrite, insert, delete, change a payload and a vector."""
    client.upsert(name, [point(5, "zeppelin above purple mountains"), point(1_000, "quokka near a submarine")])
    client.delete(name, models.PointIdsList(points=[7]))
    client.set_payload(name, {"price": 12}, points=[6])
    client.update_vectors(name, [models.PointVectors(id=8, vector={"dense": [0.5] * DIM})])


def payload_of(client: Client, name: str, id: int) -> dict[str, object]:
    found: dict[str, object] = json.loads(everything(client, name)[id].payload)
    return found


# between the verification and the switch


@both_ways("memory", "edge")
@pytest.mark.parametrize("fde", [FDE, LEMUR], ids=["muvera", "lemur"])
def test_a_switch_copies_what_was_written_since_the_verification(source: Client, fde: MuveraConfig) -> None:
    migration = planned(source, fde)
    migration.run()
    assert migration.verify().passed
    write(source, "app")
    written = everything(source, "docs")
    migration.switch("app")
    assert aliases(source) == {"app": "new"}
    require_kept(written, everything(source, "app"))
    docs = ColbertCollection.open("app", client=source, encoder=SentenceEncoder())
    assert docs.search("quokka near a submarine", limit=1)[0].id == 1_000
    assert docs.search("zeppelin above purple mountains", limit=1)[0].id == 5
    assert migration.cleanup(confirm=lambda _: True) == "docs"
    require_kept(written, everything(source, "app"))


@both_ways("memory")
def test_a_document_that_was_acknowledged_since_the_verification_is_there_after_the_source_is_gone(
    client: Client,
) -> None:
    encoder = WordEncoder()
    config = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=4))
    docs = ColbertCollection.create("docs", client=client, encoder=encoder, config=config)
    docs.ingest(Document(number, text) for number, text in enumerate(random_texts(30)))
    point_to(client, "app", "docs")
    migration = Migration.plan(client, "docs", "new", encoder=encoder, fde=FDE)
    migration.run()
    assert migration.verify(min_recall=0).passed
    new = Document(5, "acknowledged after the verification")
    ColbertCollection.open("app", client=client, encoder=encoder).upsert([new])
    migration.switch("app")
    assert migration.cleanup("source", confirm=lambda _: True) == "docs"
    assert ColbertCollection.open("app", client=client, encoder=encoder).get(5) == [new]


def test_what_cannot_be_encoded_is_named_and_nothing_is_switched(source: Client, verified: Migration) -> None:
    assert repr(verified)
    write(source, "app")
    with pytest.raises(MigrationError, match=r"points \(5, 6, 8, 1000\) .*encoder="):
        Migration.resume(source, "new").switch("app")
    assert aliases(source) == {"app": "docs"}
    Migration.resume(source, "new", encoder=SentenceEncoder()).switch("app")
    assert aliases(source) == {"app": "new"}


@both_ways("memory")
def test_a_target_that_somebody_wrote_to_is_not_switched_to(source: Client, verified: Migration) -> None:
    source.set_payload("new", {"price": 12}, points=[6])
    with pytest.raises(MigrationError, match=r"1 point in different versions .*\(6\).*run\(\) and verify\(\) again"):
        verified.switch("app")
    assert aliases(source) == {"app": "docs"}


# after the switch


@both_ways("memory", "edge")
def test_a_source_that_was_written_to_since_the_switch_is_not_deleted(source: Client, verified: Migration) -> None:
    verified.switch("app")
    source.set_payload("app", {"price": 1}, points=[9])  # as an application does by now
    source.set_payload("docs", {"price": 12}, points=[6])  # as one does that knows no alias
    with pytest.raises(MigrationError, match=r"written to after the switch.*2 points in different versions .*\(6, 9\)"):
        verified.cleanup(confirm=lambda _: True)
    with pytest.raises(MigrationError, match=r"2 points in different versions .*\(6, 9\)"):
        verified.switch("another")
    assert source.collection_exists("docs")
    source.delete_payload("docs", ["price"], points=[6])
    verified.switch("another")
    assert verified.cleanup(confirm=lambda _: True) == "docs"
    assert payload_of(source, "app", 9)["price"] == 1


@both_ways("memory", "edge")
def test_what_was_written_since_the_switch_is_not_left_behind_unsaid(source: Client, verified: Migration) -> None:
    verified.switch("app")
    write(source, "app")
    written = everything(source, "new")
    words = (
        r"1 point only in 'docs' \(7\), 1 point only in 'new' \(1000\), 3 points in different versions .*\(5, 6, 8\)"
    )
    with pytest.raises(MigrationError, match=words):
        verified.rollback()
    assert aliases(source) == {"app": "new"}
    with pytest.raises(ConfigurationError, match=r"force is .*: pass the reason"):
        verified.rollback(force=" ")
    verified.rollback(force="the new one is too slow")
    assert aliases(source) == {"app": "docs"}
    for step in (lambda: verified.cleanup(confirm=lambda _: True), verified.run, planned(source).run):
        with pytest.raises(MigrationError, match=r"1 point only in 'new' \(1000\)"):
            step()
    assert everything(source, "new") == written
    write(source, "docs")  # somebody brings it over
    assert verified.run().present == COUNT
    assert verified.cleanup(confirm=lambda _: True) == "new"


def test_after_a_rollback_the_target_is_a_copy_again(source: Client, verified: Migration) -> None:
    verified.switch("app")
    verified.rollback()
    write(source, "docs")
    assert verified.run().removed == 1
    assert verified.verify().passed
    verified.switch("app")
    verified.rollback()
    write(source, "docs")
    assert verified.cleanup(confirm=lambda _: True) == "new"


@both_ways("memory")
def test_a_target_that_somebody_wrote_to_without_a_switch_is_not_deleted(source: Client, verified: Migration) -> None:
    source.upsert("docs", [point(2_000)])
    source.upsert("new", [point(1_000)])
    with pytest.raises(MigrationError, match=r"1 point only in 'new' \(1000\).*delete 'new' with client"):
        verified.cleanup(confirm=lambda _: True)
    assert source.collection_exists("new")


def test_what_is_written_while_somebody_thinks_about_a_cleanup_is_not_deleted(
    source: Client, verified: Migration
) -> None:
    def think(question: str) -> bool:
        name = "docs" if "'docs'" in question else "new"
        source.upsert(name, [point(1_000)])
        return True

    with pytest.raises(MigrationError, match=r"1 point only in 'new' \(1000\)"):
        verified.cleanup(confirm=think)
    source.delete("new", models.PointIdsList(points=[1_000]))
    verified.switch("app")
    with pytest.raises(MigrationError, match=r"1 point only in 'docs' \(1000\)"):
        verified.cleanup(confirm=think)
    assert {"docs", "new"} == {each.name for each in source.get_collections().collections}


# a cleanup that did not come to its end


@both_ways("memory", "edge")
def test_a_cleanup_that_was_killed_is_gone_on_with_elsewhere(source: Client, verified: Migration) -> None:
    verified.switch("app")
    source.delete_collection("docs")  # and then the process ended
    resumed = Migration.resume(source, "new", encoder=SentenceEncoder())
    assert resumed.cleanup(confirm=lambda _: True) == "docs"
    for step in (resumed.run, resumed.verify):
        with pytest.raises(CollectionNotFoundError, match="'docs'"):
            step()
    with pytest.raises(MigrationError, match="gone"):
        resumed.rollback()
    assert aliases(source) == {"app": "new"}


@both_ways("memory", "edge")
@pytest.mark.parametrize("by_rollback", [True, False], ids=["rollback", "at once"])
def test_points_written_to_an_unfinished_target_are_never_deleted_with_it(source: Client, by_rollback: bool) -> None:
    class Fragile(SentenceEncoder):
        works = True

        def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
            if not self.works:
                raise OSError("the GPU fell off")
            return super().encode_documents(texts)

    encoder = Fragile()
    broken = Migration.plan(source, "docs", "new", encoder=encoder, fde=FDE)
    encoder.works = False
    with pytest.raises(OSError, match="GPU"):
        broken.run()
    encoder.works = True
    broken.switch("app", force="half of it is better than none")
    source.upsert("app", [models.PointStruct(id=1_000, vector={}, payload={"text": "the only copy"})])
    source.update_collection_aliases([models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name="app"))])
    point_to(source, "app", "docs")
    if by_rollback:
        broken.rollback()
    with pytest.raises(MigrationError, match="1000"):
        broken.cleanup("target", confirm=lambda _: True)
    with pytest.raises(MigrationError, match=r"1000|to which applications may already write"):
        planned(source).run()
    assert payload_of(source, "new", 1_000)["text"] == "the only copy"
