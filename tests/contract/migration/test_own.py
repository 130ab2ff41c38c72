"""Migrations of this library's own collections: to another encoding, another encoder, another engine."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant import (
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    EdgeClient,
    LemurConfig,
    Migration,
    MigrationError,
    MuveraConfig,
    SparseConfig,
)
from tests.contract.migration.awaited import both_ways
from tests.contract.migration.shared import FDE, aliases, everything, point_to, require_kept
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant import SearchHit
    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.engines import Client

LEMUR = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=40)
CENTERED = MuveraConfig(k_sim=3, dim_proj=8, r_reps=4, center=True)
SMALLER = MuveraConfig(k_sim=2, dim_proj=8, r_reps=4)
TEXTS = random_texts(40)
QUERIES = random_texts(4, seed=1, words=(2, 5))
IDS = [f"report {number}" if number % 3 else number if number % 2 else UUID(int=number) for number in range(len(TEXTS))]
DOCUMENTS = [Document(id, text, {"number": number}) for number, (id, text) in enumerate(zip(IDS, TEXTS, strict=True))]


def made(client: Client, name: str, encoder: WordEncoder, **settings: Any) -> ColbertCollection:
    docs = ColbertCollection.create(name, client=client, encoder=encoder, config=CollectionConfig(**settings))
    docs.ingest(DOCUMENTS)
    return docs


def migrated(client: Client, opened_with: WordEncoder, **arguments: Any) -> ColbertCollection:
    migration = Migration.plan(client, "docs", "new", **arguments)
    assert migration.details.kind == "colbert_qdrant"
    migration.run()
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
    return ColbertCollection.open("new", client=arguments.get("target_client", client), encoder=opened_with)


def require_same_hits(docs: ColbertCollection, fresh: ColbertCollection, *, candidates: int = 10) -> None:
    for mode in ("exact", "two-stage"):
        found, expected = (
            each.search_batch(QUERIES, limit=8, mode=mode, candidates=None if mode == "exact" else candidates)
            for each in (docs, fresh)
        )
        for hits, wanted in zip(found, expected, strict=True):
            assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in wanted], abs=1e-3)
            assert certain(hits) == certain(wanted)


def certain(hits: Sequence[SearchHit]) -> dict[Any, SearchHit]:
    """Hits without those that others may have been as good as, in a form that knows no order among equals."""
    least = hits[-1].score + 1e-3
    return {hit.id: replace(hit, score=round(hit.score, 2)) for hit in hits if hit.score > least}


def require_own_ids(docs: ColbertCollection) -> None:
    assert docs.get(IDS) == DOCUMENTS
    docs.delete(ids=IDS[0])
    docs.upsert([Document("later", "anchor bridge candle")])
    assert docs.get([IDS[0], "later"]) == [Document("later", "anchor bridge candle")]
    assert docs.count() == len(DOCUMENTS)


@pytest.mark.parametrize("fde", [SMALLER, CENTERED, LEMUR], ids=["smaller", "centered", "lemur"])
def test_another_encoding_needs_no_encoder(client: Client, fde: FdeConfig) -> None:
    encoder = WordEncoder()
    made(client, "docs", encoder, fde=FDE)
    encoder.encoded = 0
    docs = migrated(client, encoder, fde=fde)
    assert encoder.encoded == 0
    assert docs.config.fde == fde
    require_kept(everything(client, "docs"), everything(client, "new"), rewritten=["fde"])
    fresh = made(client, "fresh", encoder, fde=fde)
    if fde.needs_fit:  # what it is fitted to may come in another order
        require_same_hits(docs, fresh, candidates=len(TEXTS))
    else:
        require_same_hits(docs, fresh)
    require_own_ids(docs)


@both_ways("memory")
def test_another_encoder(client: Client) -> None:
    made(client, "docs", WordEncoder(), fde=FDE)
    encoder = WordEncoder(dim=16, salt="other")
    docs = migrated(client, encoder, encoder=encoder)
    assert docs.config.fde == FDE
    require_same_hits(docs, made(client, "fresh", encoder, fde=FDE))
    require_own_ids(docs)


def test_the_same_encoder_is_not_asked(client: Client) -> None:
    encoder = WordEncoder()
    made(client, "docs", encoder, fde=FDE)
    plan = Migration.plan(client, "docs", "new", encoder=encoder, fde=SMALLER).details
    assert (plan.tokens, plan.encoding, plan.blocked) == ("stored", "computed", ())


@pytest.mark.parametrize("way", ["to edge", "from edge"])
@pytest.mark.parametrize(
    ("local", "edge", "fde"),
    [*product(["blocking"], ["blocking"], [FDE, LEMUR, CENTERED]), ("awaited", "awaited", LEMUR)],
    ids=["muvera", "lemur", "centered", "awaited"],
    indirect=["local", "edge"],
)
def test_another_engine(local: QdrantClient, edge: EdgeClient, way: str, fde: FdeConfig) -> None:
    source, target = (local, edge) if way == "to edge" else (edge, local)
    encoder = WordEncoder()
    before = made(source, "docs", encoder, fde=fde)
    docs = migrated(source, encoder, target_client=target)
    require_kept(everything(source, "docs"), everything(target, "new"), halved=way == "to edge")
    require_same_hits(docs, before)
    require_own_ids(docs)


@both_ways("memory")
def test_within_an_engine_a_fitted_encoding_is_copied(client: Client) -> None:
    encoder = WordEncoder()
    before = made(client, "docs", encoder, fde=LEMUR)
    docs = migrated(client, encoder)
    require_same_hits(docs, before)
    Migration.resume(client, "new").verify()
    assert Migration.resume(client, "new").cleanup(confirm=lambda _: True) == "new"
    names = {each.name for each in client.get_collections().collections}
    assert names <= {"docs", "docs__fde"}
    require_same_hits(ColbertCollection.open("docs", client=client, encoder=encoder), before)


def test_a_source_that_is_fitted_anew_meanwhile(client: Client) -> None:
    encoder = WordEncoder()
    docs = made(client, "docs", encoder, fde=LEMUR)
    migration = Migration.plan(client, "docs", "new")
    migration.run()
    docs.upsert([Document(f"later {number}", text) for number, text in enumerate(random_texts(40, seed=2))])
    docs.fit(refit=True)
    with pytest.raises(MigrationError, match="was refitted"):
        migration.run()
    assert migration.cleanup("target", confirm=lambda _: True) == "new"
    found, expected = (each.search_batch(QUERIES, mode="fde") for each in (migrated(client, encoder), docs))
    assert [certain(hits) for hits in found] == [certain(hits) for hits in expected]


def test_what_was_written_meanwhile_is_encoded_in_the_same_way(client: Client) -> None:
    encoder = WordEncoder()
    docs = made(client, "docs", encoder, fde=LEMUR)
    migration = Migration.plan(client, "docs", "new")
    migration.run()
    docs.upsert([Document("later", "anchor bridge candle"), Document(IDS[0], "desert engine forest")])
    docs.delete(ids=IDS[1])
    report = migration.run()
    assert (report.points, report.removed) == (2, 1)
    assert migration.verify().passed
    new = ColbertCollection.open("new", client=client, encoder=encoder)
    require_same_hits(new, docs)
    assert new.get([IDS[0], IDS[1], "later"]) == docs.get([IDS[0], "later"])


def test_an_unfitted_collection(client: Client) -> None:
    encoder = WordEncoder()
    docs = ColbertCollection.create("docs", client=client, encoder=encoder, config=CollectionConfig(fde=LEMUR))
    docs.upsert(DOCUMENTS)
    require_same_hits(migrated(client, encoder), docs, candidates=len(TEXTS))


def test_vectors_of_its_own_stay(client: Client) -> None:
    encoder = WordEncoder()
    config = CollectionConfig(fde=FDE, sparse={"words": SparseConfig()})
    docs = ColbertCollection.create("docs", client=client, encoder=encoder, config=config)
    vectors = [models.SparseVector(indices=[number, 99], values=[1.0, 0.5]) for number in range(len(TEXTS))]
    docs.upsert(
        [
            Document(each.id, each.text, vectors={"words": vector})
            for each, vector in zip(DOCUMENTS, vectors, strict=True)
        ]
    )
    found = migrated(client, encoder, fde=SMALLER).search(
        TEXTS[3], vectors={"words": vectors[3]}, mode="hybrid", limit=1
    )
    assert found[0].id == IDS[3]
    require_kept(everything(client, "docs"), everything(client, "new"), rewritten=["fde"])


def test_what_such_a_collection_knows_by_itself_is_not_to_be_said(client: Client) -> None:
    made(client, "docs", WordEncoder(), fde=FDE)
    said: list[dict[str, Any]] = [{"text_key": "text"}, {"token_vector": "colbert"}]
    for arguments in said:
        with pytest.raises(ConfigurationError, match="leave text_key and token_vector out"):
            Migration.plan(client, "docs", "new", **arguments)
    with pytest.raises(ConfigurationError, match="encoder"):
        Migration.plan(client, "docs", "new", reencode=True)


# switched, and back


@both_ways("memory", "edge")
def test_applications_that_have_it_open_by_an_alias_go_on(client: Client) -> None:
    encoder = WordEncoder()
    made(client, "docs", encoder, fde=FDE)
    point_to(client, "app", "docs")
    before = ColbertCollection.open("app", client=client, encoder=encoder).search_batch(QUERIES)
    migration = Migration.plan(client, "app", "new", fde=SMALLER)
    assert migration.details.source == "docs"
    migration.run()
    migration.verify()
    for _ in range(2):
        migration.switch("app")
        assert aliases(client) == {"app": "new"}
        opened = ColbertCollection.open("app", client=client, encoder=encoder)
        assert opened.config.fde == SMALLER
        for hits, wanted in zip(opened.search_batch(QUERIES, candidates=len(TEXTS)), before, strict=True):
            assert certain(hits) == certain(wanted)
        migration.switch("app")
        with pytest.raises(MigrationError, match="rollback"):
            migration.run()
        migration.rollback()
        assert aliases(client) == {"app": "docs"}
        migration.rollback()
    back = ColbertCollection.open("app", client=client, encoder=encoder)
    assert [certain(hits) for hits in back.search_batch(QUERIES)] == [certain(hits) for hits in before]
