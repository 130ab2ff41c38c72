"""An application that goes on writing after a migration: what it writes is named, and encoded by ``repair()``."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant import (
    Bm25Config,
    ColbertCollection,
    ColbertQdrantWarning,
    CollectionConfig,
    Document,
    LemurConfig,
    Migration,
    MigrationError,
)
from tests.contract.migration.awaited import both_ways
from tests.contract.migration.shared import FDE, TEXTS, SentenceEncoder, point, point_to
from tests.encoders import WordEncoder
from tests.writers.common import COUNT, DIM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from colbert_qdrant import SearchMode, TokenEmbeddings
    from colbert_qdrant.engines import Client

MODES: list[SearchMode] = ["two-stage", "exact", "fde"]
NEW, CHANGED = "zeppelin above purple mountains", "quokka near yellow submarine"


@pytest.fixture
def source(client: Client) -> Client:
    params = models.VectorParams(size=DIM, distance=models.Distance.DOT)
    client.create_collection("docs", vectors_config={"dense": params})
    client.upsert("docs", [point(number) for number in range(COUNT)])
    client.upsert("docs", [models.PointStruct(id=500, vector={}, payload={"title": "no text"})])
    return client


def migrated(client: Client, **options: Any) -> None:
    point_to(client, "app", "docs")
    options = {"target": "new", "encoder": SentenceEncoder(), "fde": FDE, **options}
    migration = Migration.plan(client, "docs", **options)
    migration.run()
    assert migration.verify().passed
    if "strategy" not in options:
        migration.switch("app")


def write_as_before(client: Client) -> None:
    """An application adds a point, and overwrites one."""
    client.upsert("app", [point(1000, NEW), point(5, CHANGED)])


def opened(client: Client, encoder: SentenceEncoder | None = None) -> ColbertCollection:
    return ColbertCollection.open("app", client=client, encoder=encoder or SentenceEncoder())


def stored(client: Client, id: int) -> dict[str, Any]:
    (record,) = client.retrieve("app", [id], with_vectors=True)
    assert isinstance(record.vector, dict)
    return record.vector


@both_ways("memory", "edge")
def test_what_other_programs_write_is_named_and_encoded(source: Client) -> None:
    migrated(source)
    docs = opened(source)
    assert docs.check() == docs.info().warnings == ()
    assert docs.repair() == ()
    write_as_before(source)
    (sentence,) = docs.check()
    assert sentence.startswith("2 documents have a text under 'text' but no token vectors")
    assert docs.info().warnings == (sentence,)
    plan = Migration.plan(source, "app", "newer")
    assert [risk for risk in plan.details.risks if "2 points have a text but no token" in risk.problem]
    plan.run()
    with pytest.warns(ColbertQdrantWarning, match="'docs|2 documents have a text under 'text' but no token vectors"):
        verdict = plan.verify()
    (warning,) = verdict.warnings
    assert "2 documents have a text under 'text' but no token vectors" in warning
    assert "open collection 'newer' with its encoder, and call repair()" in warning
    assert verdict.passed
    assert "verified, with warnings" in str(verdict)
    assert f"**Warning:** {warning}." in verdict.to_markdown()
    (done,) = docs.repair()
    assert done.startswith("2 documents with only a text were encoded. 1 document has no text")
    assert docs.check() == docs.repair() == ()
    for text, id in ((NEW, 1000), (CHANGED, 5)):
        for mode in MODES:
            assert docs.search(text, limit=1, mode=mode)[0].id == id
        assert stored(source, id)["dense"] == pytest.approx(point(0, text).vector["dense"], abs=1e-5)  # type: ignore[call-overload,index]


@both_ways("memory", "edge")
@pytest.mark.parametrize("bm25", [None, Bm25Config()], ids=["", "bm25"])
def test_a_copy_of_stored_token_vectors_is_verified_before_and_after_a_repair(
    source: Client, bm25: Bm25Config | None
) -> None:
    migrated(source, fde=None, config=CollectionConfig(fde=FDE, bm25=bm25))
    source.upsert("app", [point(1000, NEW)])
    migration = Migration.plan(source, "app", "newer", encoder=SentenceEncoder())
    migration.run()
    assert len(migration.verify().warnings) == 1
    source.upsert("app", [point(1001, CHANGED)])
    with pytest.warns(ColbertQdrantWarning, match="2 documents .* open collection 'newer' with its encoder"):
        migration.switch("app")
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
    assert verdict.warnings[0].startswith("documents found: 2 documents have a text")
    docs = opened(source)
    docs.repair()
    source.upsert("app", [point(1002, "written after a switch")])
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
    assert verdict.warnings[0].startswith("documents found: 1 document has a text")
    assert "plus 1 that were written after the switch" in str(verdict)
    assert migration.cleanup("source", confirm=lambda _: True) == "new"
    docs.repair()
    assert docs.search(NEW, limit=1)[0].id == 1000
    assert docs.check() == ()


def test_a_run_leaves_alone_what_a_repair_of_its_target_encoded(source: Client) -> None:
    migrated(source)
    source.upsert("app", [point(1000, NEW)])
    migration = Migration.plan(source, "app", "newer", encoder=SentenceEncoder())
    migration.run()
    newer = ColbertCollection.open("newer", client=source, encoder=SentenceEncoder())
    newer.repair()
    assert migration.run().points == 0
    verdict = migration.verify()
    assert (verdict.reasons, verdict.warnings) == ((), ())
    assert newer.search(NEW, limit=1)[0].id == 1000


def test_after_a_switch_no_remedy_takes_away_what_applications_wrote(source: Client) -> None:
    migrated(source)
    source.upsert("app", [point(1000, NEW), point(5, CHANGED)])
    source.delete("app", models.PointIdsList(points=[7]))
    verdict = Migration.resume(source, "new", encoder=SentenceEncoder()).verify()
    reasons = " ".join(verdict.reasons)
    assert "ids: 1 missing" in reasons
    assert "payloads: 1 point with a different payload" in reasons
    assert "run() again" not in reasons
    assert "delete these points" not in reasons
    again = "write the points to 'new', unless applications deleted or changed them after the switch"
    assert reasons.count(again) == 2
    assert len(verdict.warnings) == 1
    with pytest.raises(MigrationError, match=r"call verify\(\) first, or delete the source with client"):
        Migration.resume(source, "new").cleanup("source", confirm=lambda _: True)


@both_ways("memory", "edge")
@pytest.mark.parametrize("strategy", ["blue_green", "in_place"])
def test_texts_that_are_cut_off_are_counted_and_warned_of_once(source: Client, strategy: str) -> None:
    lengths = sorted(len(text.split()) for text in TEXTS)
    middle = lengths[COUNT // 2] - 1
    options: dict[str, Any] = {"strategy": strategy, "target": "new" if strategy == "blue_green" else None}
    migration = Migration.plan(source, "docs", encoder=WordEncoder(longest=middle), fde=FDE, **options)
    long = sum(length > middle for length in lengths)
    assert any("sampled texts are longer than the encoder accepts" in each.problem for each in migration.details.risks)
    with pytest.warns(ColbertQdrantWarning, match="of collection 'docs': .* documents .* are longer"):
        assert migration.run().truncated == long
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert migration.run().truncated == 0
        source.upsert("docs", [point(700, f"{NEW} {' '.join(['more'] * 50)}")])
        assert migration.run().truncated == 1


def test_in_place_a_verification_passes_after_a_repair(source: Client) -> None:
    options: dict[str, Any] = {"target": None, "strategy": "in_place"}
    migrated(source, **options)
    write_as_before(source)
    assert len(opened(source).repair()) == 1
    migration = Migration.resume(source, "docs", encoder=SentenceEncoder())
    assert {check.name for check in migration.verify().checks if check.passed is False} <= {"untouched"}


def test_an_encoding_that_is_fitted_and_bm25(source: Client) -> None:
    lemur = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=30)
    migrated(source, fde=None, config=CollectionConfig(fde=lemur, bm25=Bm25Config()))
    write_as_before(source)
    docs = opened(source)
    docs.repair()
    assert docs.fde is not None
    expected = docs.fde.encode_documents(SentenceEncoder().encode_documents([NEW]))[0]
    np.testing.assert_allclose(stored(source, 1000)["fde"], expected, rtol=5e-3, atol=5e-3)
    assert "bm25" in stored(source, 1000)
    assert docs.search("zeppelin", limit=1, mode="hybrid", prefetch=["bm25"])[0].id == 1000


class Meanwhile(SentenceEncoder):
    """While it encodes a text for the first time, somebody does something."""

    act: Callable[[], Any] | None = None
    acted: int = 0

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        if self.act is not None and NEW in texts:
            self.acted += 1
            act, self.act = self.act, None
            act()
        return super().encode_documents(texts)


@pytest.mark.parametrize("how", ["upsert", "set_payload", "delete"])
def test_a_text_that_is_written_while_the_one_before_is_encoded(source: Client, how: str) -> None:
    migrated(source)
    write_as_before(source)
    encoder = Meanwhile()
    docs = opened(source, encoder)
    other = point(1000, "a third text altogether")
    actions: dict[str, Callable[[], Any]] = {
        "upsert": lambda: source.upsert("app", [other]),
        "set_payload": lambda: source.set_payload("app", other.payload or {}, points=[1000]),
        "delete": lambda: source.delete("app", models.PointIdsList(points=[1000])),
    }
    encoder.act = actions[how]
    docs.repair()
    assert encoder.acted == 1
    assert docs.check() == ()
    if how != "delete":
        expected = SentenceEncoder().encode_documents(["a third text altogether"])[0]
        np.testing.assert_allclose(stored(source, 1000)["colbert"], expected, atol=2e-3)
    assert "colbert" in stored(source, 5)


def test_texts_in_json(client: Client) -> None:
    """As LlamaIndex writes them."""
    params = models.VectorParams(size=DIM, distance=models.Distance.DOT)
    client.create_collection("docs", vectors_config={"dense": params})
    points = [
        models.PointStruct(
            id=number,
            vector=point(number).vector,
            payload={"_node_content": json.dumps({"text": point(number).payload["text"]})},  # type: ignore[index]
        )
        for number in range(12)
    ]
    client.upsert("docs", points[:8])
    migrated(client)
    client.upsert("app", points[8:])
    docs = opened(client)
    assert docs.check()[0].startswith("4 documents have a text under '_node_content.text'")
    docs.repair()
    assert docs.check() == ()
    assert "colbert" in stored(client, 11)


@both_ways("memory")
def test_a_document_that_is_written_here_keeps_the_application_s_vectors(source: Client) -> None:
    migrated(source)
    docs, before = opened(source), stored(source, 5)["dense"]
    docs.upsert([Document(5, CHANGED), Document(2000, NEW)])
    assert stored(source, 5)["dense"] == before
    assert set(stored(source, 2000)) == {"colbert", "fde"}
    assert docs.search(CHANGED, limit=1)[0].id == 5
    docs.upsert([Document(5, NEW, vectors={"dense": [0.5] * DIM})])
    assert stored(source, 5)["dense"] == pytest.approx([0.5] * DIM)
