"""Migrations of token vectors that are stored, with and without encodings, and what their plans say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import models

from colbert_qdrant import (
    Bm25Config,
    ColbertCollection,
    CollectionConfig,
    CollectionNotFoundError,
    ConfigurationError,
    Document,
    EdgeClient,
    FingerprintMismatchError,
    InvalidTokensError,
    LemurConfig,
    Migration,
    MigrationError,
    MigrationPlan,
    MuveraConfig,
    MuveraEncoder,
)
from tests.contract.migration.awaited import both_ways
from tests.contract.migration.shared import FDE, QUERIES, SentenceEncoder, everything, require_kept
from tests.encoders import WordEncoder
from tests.writers import WRITERS
from tests.writers.common import COUNT, DIM, sparse_vector, texts, tokens

if TYPE_CHECKING:
    from pathlib import Path

    from colbert_qdrant.config import FdeConfig
    from colbert_qdrant.engines import Client
    from colbert_qdrant.migrate.plan import Strategy

LEMUR = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=30)
CENTERED = MuveraConfig(k_sim=3, dim_proj=8, r_reps=4, center=True)
TEXTS = texts(COUNT)
PAIRS = [*enumerate(TEXTS)]
FASTEMBED = MuveraConfig(k_sim=3, dim_proj=8, r_reps=4, variant="fastembed")


def multivector(dim: int = DIM, **settings: Any) -> models.VectorParams:
    comparator = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    return models.VectorParams(size=dim, distance=models.Distance.DOT, multivector_config=comparator, **settings)


def filled(client: Client, name: str = "docs", *, distance: models.Distance = models.Distance.DOT) -> None:
    """Texts, token vectors that an encoder made of them, and dense vectors of the width of encodings."""
    dense = models.VectorParams(size=FASTEMBED.dim, distance=distance)
    client.create_collection(name, vectors_config={"late": multivector(), "text": dense})
    random = np.random.default_rng(0)
    client.upsert(
        name,
        [
            models.PointStruct(
                id=number,
                vector={"late": tokens(text).tolist(), "text": random.standard_normal(FASTEMBED.dim).tolist()},
                payload={"text": text, "number": number},
            )
            for number, text in enumerate(texts(COUNT))
        ],
    )


def migrated(client: Client, **arguments: Any) -> ColbertCollection:
    """The outcome of a migration that passes its verification."""
    migration = Migration.plan(client, "docs", "new", **arguments)
    migration.run()
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
    return ColbertCollection.open("new", client=client, encoder=SentenceEncoder())


@both_ways("memory")
def test_numbers_that_the_target_cannot_store_are_refused_before_they_are_written(client: Client) -> None:
    client.create_collection("docs", vectors_config={"late": multivector()})
    large = [(1e7 * tokens(text)).tolist() for text in TEXTS[:4]]
    points = [
        models.PointStruct(id=number, vector={"late": rows}, payload={"text": TEXTS[number]})
        for number, rows in enumerate(large)
    ]
    client.upsert("docs", points)
    with pytest.raises(InvalidTokensError, match=r"point \d has .* use CollectionConfig\(fde_datatype="):
        Migration.plan(client, "docs", "new", fde=FDE, encoder=SentenceEncoder()).run()
    assert not client.collection_exists("new") or client.count("new").count == 0
    wide = CollectionConfig(fde=FDE, fde_datatype="float32", token_datatype="float32")
    migration = Migration.plan(client, "docs", "wide", config=wide, encoder=SentenceEncoder())
    assert migration.run().points == 4


# token vectors that are there


@both_ways("memory")
@pytest.mark.parametrize("fde", [FDE, LEMUR, CENTERED], ids=["muvera", "lemur", "centered"])
def test_stored_token_vectors_need_no_encoder(client: Client, fde: FdeConfig) -> None:
    filled(client)
    docs = migrated(client, fde=fde)
    require_kept(everything(client, "docs"), everything(client, "new"))
    assert docs.config.fde == fde
    assert docs.config.token_vector == "late"
    [query] = SentenceEncoder().encode_queries([QUERIES[0]])
    expected = sorted((float((query @ tokens(text).T).max(axis=1).sum()) for text in texts(COUNT)), reverse=True)
    for mode in ("exact", "two-stage"):
        found = [hit.score for hit in docs.search(QUERIES[0], limit=5, mode=mode, candidates=COUNT)]
        assert found == pytest.approx(expected[:5], abs=1e-3)


def test_the_encoder_of_stored_token_vectors_is_proven_and_kept(client: Client) -> None:
    filled(client)
    encoder = SentenceEncoder()
    plan = Migration.plan(client, "docs", "new", fde=FDE, encoder=encoder).details
    assert plan.blocked == ()
    assert (plan.kind, plan.tokens, plan.encoder) == ("multivector", "stored", encoder.fingerprint())
    assert len(migrated(client, fde=FDE, encoder=encoder).search(QUERIES[0])) == 10
    with pytest.raises(FingerprintMismatchError):
        ColbertCollection.open("new", client=client, encoder=WordEncoder(salt="other"))


def test_an_encoder_that_did_not_make_the_stored_token_vectors_is_refused(client: Client) -> None:
    filled(client)
    migration = Migration.plan(client, "docs", "new", fde=FDE, encoder=WordEncoder(salt="other"))
    assert "differ from the stored ones" in migration.details.blocked[0].problem
    assert "BLOCKED" in str(migration)
    with pytest.raises(MigrationError, match="reencode=True"):
        migration.run()
    assert not client.collection_exists("new")
    for token_vector in (None, "late"):
        with pytest.raises(ConfigurationError, match="16 dimensions, but those of collection 'docs' have 32"):
            Migration.plan(client, "docs", "new", encoder=WordEncoder(dim=16), token_vector=token_vector)


@pytest.mark.parametrize(("links", "said"), [(None, True), (8, True), (0, False)])
def test_a_graph_over_token_vectors_is_not_made_and_the_plan_says_so(
    client: Client, links: int | None, said: bool
) -> None:
    graph = None if links is None else models.HnswConfigDiff(m=links)
    client.create_collection("docs", vectors_config={"late": multivector(hnsw_config=graph)})
    plan = str(Migration.plan(client, "docs", fde=FDE))
    assert ("'late' has a graph in the source but not in the target" in plan) == said
    assert "graph" not in str(Migration.plan(client, "docs", fde=FDE, strategy="in_place"))


def test_texts_are_encoded_anew_if_that_is_wanted(client: Client) -> None:
    filled(client)
    encoder = WordEncoder(dim=16, salt="other")
    migration = Migration.plan(client, "docs", "new", fde=FDE, encoder=encoder, reencode=True)
    migration.run()
    assert migration.verify().passed
    require_kept(everything(client, "docs"), everything(client, "new"))
    hits = ColbertCollection.open("new", client=client, encoder=encoder).search(texts(COUNT)[7], limit=1)
    assert [hit.text for hit in hits] == [texts(COUNT)[7]]
    with pytest.raises(ConfigurationError, match="encoder"):
        Migration.plan(client, "docs", "other", reencode=True)


def test_of_several_multivectors_one_has_to_be_named(client: Client) -> None:
    client.create_collection("docs", vectors_config={"first": multivector(), "second": multivector()})
    client.upsert("docs", [models.PointStruct(id=1, vector={"first": [[1.0] * DIM], "second": [[2.0] * DIM] * 2})])
    with pytest.raises(ConfigurationError, match=r"\['first', 'second'\].*token_vector"):
        Migration.plan(client, "docs", "new")
    docs = migrated(client, fde=FDE, token_vector="second")
    assert docs.config.token_vector == "second"
    require_kept(everything(client, "docs"), everything(client, "new"))
    with pytest.raises(ConfigurationError, match="not a usable multivector"):
        Migration.plan(client, "docs", "other", token_vector="third")


@both_ways("memory", "edge")
@pytest.mark.parametrize("strategy", ["blue_green", "in_place"])
def test_token_vectors_without_a_name(client: Client, strategy: Strategy) -> None:
    client.create_collection("docs", vectors_config=multivector())
    client.upsert(
        "docs",
        [models.PointStruct(id=id, vector=tokens(text).tolist(), payload={"text": text}) for id, text in PAIRS],
    )
    before = everything(client, "docs")
    asked = tokens(QUERIES[0]).tolist()
    shown = client.query_points("docs", query=asked, limit=5).points
    migration = Migration.plan(
        client, "docs", encoder=SentenceEncoder(), fde=FDE, strategy=strategy, allow_irreversible=strategy == "in_place"
    )
    migration.run()
    verdict = migration.verify()
    assert verdict.passed, verdict.reasons
    target = migration.details.target
    require_kept(before, everything(client, target))
    assert [each.id for each in client.query_points(target, query=asked, limit=5).points] == [each.id for each in shown]
    docs = ColbertCollection.open(target, client=client, encoder=SentenceEncoder())
    assert [hit.id for hit in docs.search(QUERIES[0], limit=5)] == [each.id for each in shown]
    docs.upsert([Document(1_000, "something else altogether")])
    assert docs.search("something else", limit=1)[0].id == 1_000


def test_encodings_of_fastembed_without_a_name(client: Client) -> None:
    dense = models.VectorParams(size=FASTEMBED.dim, distance=models.Distance.DOT)
    client.create_collection("docs", vectors_config={"": dense, "late": multivector()})
    encodings = MuveraEncoder(FASTEMBED, token_dim=DIM).encode_documents(SentenceEncoder().encode_documents(TEXTS))
    points = [
        models.PointStruct(id=id, vector={"": encodings[id].tolist(), "late": tokens(text).tolist()}, payload={})
        for id, text in PAIRS
    ]
    client.upsert("docs", points)
    assert migrated(client).config.fde_vector == ""
    require_kept(everything(client, "docs"), everything(client, "new"))


def test_vectors_of_bm25_and_payload_indexes_are_added(client: Client) -> None:
    filled(client)
    config = CollectionConfig(fde=FDE, bm25=Bm25Config(), payload_indexes={"number": "integer"})
    docs = migrated(client, encoder=SentenceEncoder(), config=config)
    hits = docs.search("librarian", limit=5, prefetch={"bm25": 5})
    assert {hit.text for hit in hits} == {text for text in texts(COUNT) if "librarian" in text}
    if isinstance(client, EdgeClient):
        assert [*client.get_collection("new").payload_schema] == ["number"]


# encodings of FastEmbed


def test_encodings_of_fastembed_are_taken_over_as_they_are(client: Client) -> None:
    WRITERS["fastembed-dot"](client, "docs")  # type: ignore[arg-type]
    docs = migrated(client)
    assert (docs.config.fde, docs.config.fde_vector, docs.config.fde_datatype) == (FASTEMBED, "muvera", "float32")
    require_kept(everything(client, "docs"), everything(client, "new"))
    docs.upsert([])
    assert docs.search(texts(COUNT)[3], limit=1)[0].text == texts(COUNT)[3]


@both_ways("memory")
def test_encodings_that_lost_their_norms_are_computed_again(client: Client) -> None:
    WRITERS["fastembed-cosine"](client, "docs")  # type: ignore[arg-type]
    plan = Migration.plan(client, "docs", "new").details
    assert (plan.kind, plan.encoding, plan.config.fde) == ("fastembed_muvera", "computed", FASTEMBED)
    migrated(client)
    norms = [
        np.linalg.norm(each.vectors["muvera"]) for name in ("docs", "new") for each in everything(client, name).values()
    ]
    assert norms[:COUNT] == pytest.approx([1] * COUNT, abs=1e-3)
    assert min(norms[COUNT:]) > 2


@pytest.mark.parametrize(
    "fde", [FDE, MuveraConfig(k_sim=2, dim_proj=16, r_reps=4, variant="fastembed")], ids=["muvera", "fastembed"]
)
def test_encodings_of_fastembed_stay_beside_others_that_are_wanted(client: Client, fde: MuveraConfig) -> None:
    WRITERS["fastembed-dot"](client, "docs")  # type: ignore[arg-type]
    docs = migrated(client, fde=fde)
    assert (docs.config.fde, docs.config.fde_vector) == (fde, "fde")
    require_kept(everything(client, "docs"), everything(client, "new"))


@pytest.mark.parametrize("distance", [models.Distance.DOT, models.Distance.COSINE])
def test_other_vectors_of_the_same_width_are_no_encodings(client: Client, distance: models.Distance) -> None:
    filled(client, distance=distance)
    plan = Migration.plan(client, "docs", "new").details
    assert (plan.kind, plan.encoding, plan.config.fde_vector) == ("multivector", "computed", "fde")
    assert plan.kept == ("late", "text")


# what a plan says


@both_ways("memory")
def test_a_plan_can_be_printed_and_kept_and_writes_nothing(client: Client) -> None:
    filled(client)
    before = everything(client, "docs"), client.get_collection("docs"), client.get_collections()
    migration = Migration.plan(client, "docs", "new", encoder=SentenceEncoder(), fde=LEMUR)
    assert (everything(client, "docs"), client.get_collection("docs"), client.get_collections()) == before
    printed = str(migration)
    for words in ("'docs' (multivector) to 'new'", f"{COUNT}", "'late'", "fitted to the token vectors", "ms (from 32"):
        assert words in printed
    kept = json.loads(json.dumps(migration.to_dict()))
    assert MigrationPlan.from_dict(kept) == migration.details
    assert MigrationPlan.from_dict(kept).same_as(Migration.plan(client, "docs", "new", fde=LEMUR).details) is False
    again = Migration.plan(client, "docs", "new", encoder=SentenceEncoder(), fde=LEMUR).details
    assert again.same_as(migration.details)
    assert repr(migration) == "Migration('docs' → 'new', blue_green, multivector)"
    for broken in ({**kept, "costs": None}, {**kept, "config": {"fde": 1}}, {}, {**kept, "later": 1}):
        with pytest.raises(MigrationError):
            MigrationPlan.from_dict(broken)


def test_a_store_is_not_touched_by_a_plan(tmp_path: Path) -> None:
    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}

    with EdgeClient(tmp_path / "store") as client:
        filled(client)
    with EdgeClient(tmp_path / "store") as client:
        everything(client, "docs")
        before = files()
        Migration.plan(client, "docs", "new", fde=FDE)
        assert files() == before


def test_without_a_text_the_plan_says_what_to_do(client: Client) -> None:
    client.create_collection(
        "docs", vectors_config={"dense": models.VectorParams(size=2, distance=models.Distance.DOT)}
    )
    client.upsert("docs", [models.PointStruct(id=1, vector={"dense": [1.0, 2.0]}, payload={"körper": "a text"})])
    migration = Migration.plan(client, "docs", "new", encoder=SentenceEncoder(), fde=FDE)
    assert "text_key=" in migration.details.blocked[0].remedy
    with pytest.raises(MigrationError, match="text_key="):
        migration.run()
    wrong = Migration.plan(client, "docs", "new", encoder=SentenceEncoder(), fde=FDE, text_key="körper.teil")
    assert "text_key" in wrong.details.blocked[0].remedy
    assert migrated(client, encoder=SentenceEncoder(), fde=FDE, text_key="körper").search("a text")[0].id == 1
    with pytest.raises(ConfigurationError, match="pass encoder="):
        Migration.plan(client, "docs", "other")


@pytest.mark.parametrize("fde", [FDE, LEMUR], ids=["muvera", "lemur"])
def test_an_empty_collection(client: Client, fde: FdeConfig) -> None:
    client.create_collection("docs", vectors_config={"late": multivector()})
    assert "the source has no points" in str(Migration.plan(client, "docs", "new", fde=fde))
    docs = migrated(client, fde=fde)
    assert docs.count() == 0
    assert docs.search(QUERIES[0]) == []


def test_points_without_token_vectors_are_copied(client: Client) -> None:
    filled(client)
    client.delete_vectors("docs", ["late"], points=[3, 5])
    migration = Migration.plan(client, "docs", "new", fde=FDE)
    assert migration.run().without_tokens == 2
    assert migration.verify().passed
    require_kept(everything(client, "docs"), everything(client, "new"))
    docs = ColbertCollection.open("new", client=client, encoder=SentenceEncoder())
    assert {hit.id for hit in docs.search(QUERIES[0], limit=COUNT, candidates=COUNT)} == {*range(COUNT)} - {3, 5}


def test_only_some_points(client: Client) -> None:
    filled(client)
    some = models.Filter(must=[models.FieldCondition(key="number", range=models.Range(gte=30))])
    docs = migrated(client, fde=FDE, filter=some)
    assert {*everything(client, "new")} == {*range(30, COUNT)}
    assert docs.count() == 10
    assert Migration.resume(client, "new").verify().passed
    assert Migration.resume(client, "new").run().points == 0


@both_ways("memory")
def test_texts_that_a_function_finds(client: Client) -> None:
    client.create_collection("docs", vectors_config={}, sparse_vectors_config={"words": models.SparseVectorParams()})
    pairs = [text.split(maxsplit=2) for text in texts(COUNT)]
    client.upsert(
        "docs",
        [
            models.PointStruct(id=id, vector={"words": sparse_vector("a b")}, payload={"head": head, "rest": [rest]})
            for id, (*_, head, rest) in enumerate(pairs)
        ],
    )

    def text(payload: dict[str, Any]) -> str:
        return f"{payload['head']} {payload['rest'][0]}"

    docs = migrated(client, encoder=SentenceEncoder(), fde=FDE, text=text)
    assert docs.search("harbour master repaired the broken crane", limit=1)[0].payload["head"] == "harbour"
    with pytest.raises(MigrationError, match="text="):
        Migration.resume(client, "new", encoder=SentenceEncoder()).run()
    assert Migration.resume(client, "new", encoder=SentenceEncoder(), text=text).run().present == COUNT
    with pytest.raises(MigrationError, match="another encoder"):
        Migration.resume(client, "new", encoder=WordEncoder(salt="other"), text=text)
    with pytest.raises(ConfigurationError, match="text and text_key"):
        Migration.plan(client, "docs", "new", encoder=SentenceEncoder(), text=text, text_key="head")


def test_what_cannot_be_planned(client: Client) -> None:
    filled(client)
    with pytest.raises(CollectionNotFoundError, match="'nothing'"):
        Migration.plan(client, "nothing", "new")
    with pytest.raises(ConfigurationError, match="name another target"):
        Migration.plan(client, "docs", "docs")
    with pytest.raises(ConfigurationError, match="strategy"):
        Migration.plan(client, "docs", "new", strategy="sideways")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="config="):
        Migration.plan(client, "docs", "new", fde=FDE, config=CollectionConfig())
    with pytest.raises(ConfigurationError, match="fde_vector"):
        Migration.plan(client, "docs", "new", config=CollectionConfig(fde=FDE, fde_vector="text"))
    with pytest.raises(MigrationError, match="not the target of a migration"):
        Migration.resume(client, "docs")
    with pytest.raises(MigrationError, match="not the target of a migration"):
        Migration.resume(client, "nothing")
    client.create_collection("new", vectors_config={"late": multivector()})
    occupied = Migration.plan(client, "docs", "new", fde=FDE)
    assert "exists, and does not belong to this migration" in str(occupied)
    with pytest.raises(MigrationError, match="exists"):
        occupied.run()
    assert client.count("new").count == 0
