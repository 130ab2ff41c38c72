"""Collections whose fitted encoding is lost are opened, used, and mended from their tokens, on every engine."""

from __future__ import annotations

import warnings
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import AsyncQdrantClient, models

from colbert_qdrant import (
    ArtefactError,
    AsyncColbertCollection,
    AsyncEdgeClient,
    ColbertCollection,
    ColbertQdrantWarning,
    CollectionConfig,
    Document,
    EdgeClient,
    LemurConfig,
    LemurEncoder,
    Migration,
    MuveraConfig,
)
from colbert_qdrant.collection.artefacts import REMEMBERED
from tests.contract.artefacts import alter_artefact, cut_artefact, lose_artefact, stored_points
from tests.contract.test_fitting import (
    CONFIG,
    DOCUMENTS,
    FEW,
    MORE,
    QUERIES,
    SMALL,
    assert_encoded,
    assert_searches_right,
    exact_scores,
    is_killed,
    scores,
)
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

    Damage = Callable[[Client, Engine], None]


def replace_artefact(client: Client, engine: Engine) -> None:
    """Put another whole artefact in its place, as of a snapshot that is older."""
    name, other = f"{engine.name}__fde", f"{engine.name}-other"
    files = set(engine.path.rglob("fde.safetensors"))
    ColbertCollection.create(other, client=client, encoder=WordEncoder(), config=CONFIG).ingest(DOCUMENTS[:30])
    if isinstance(client, EdgeClient):
        (there,) = set(engine.path.rglob("fde.safetensors")) - files
        files.pop().write_bytes(there.read_bytes())
        return
    client.delete(
        name, [point.id for point in stored_points(client, name) if "collection" not in (point.payload or {})]
    )
    for point in stored_points(client, f"{other}__fde"):
        if "collection" not in (point.payload or {}):
            client.upsert(name, [models.PointStruct(id=point.id, payload=point.payload, vector={})])


DAMAGES = [lose_artefact, alter_artefact, cut_artefact]


@pytest.fixture
def fitted(engine: Engine, client: Client, encoder: WordEncoder) -> ColbertCollection:
    collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    collection.ingest(DOCUMENTS)
    return collection


def open_lost(
    client: Client, name: str, how: str = "open", config: CollectionConfig | None = None
) -> ColbertCollection:
    """Open a collection in a process that remembers nothing."""
    REMEMBERED.clear()
    with pytest.warns(ColbertQdrantWarning, match=f"fitted encoding of collection '{name}' .* call repair") as said:
        opened: ColbertCollection = getattr(ColbertCollection, how)(
            name, client=client, encoder=WordEncoder(), config=config
        )
    assert len(said) == 1
    assert opened.fde is None
    return opened


def assert_as_fresh(collection: ColbertCollection, client: Client) -> None:
    """Searches find what they find in a new collection with the same documents."""
    fresh = ColbertCollection.create(
        f"{collection.name}-fresh", client=client, encoder=WordEncoder(), config=collection.config
    )
    fresh.ingest(DOCUMENTS)
    for mode in ("two-stage", "fde", "exact"):
        found, expected = (each.search_batch(QUERIES, limit=10, mode=mode) for each in (collection, fresh))
        for hits, others in zip(found, expected, strict=True):
            assert scores(hits) == pytest.approx(scores(others), rel=1e-5)
            assert {hit.id for hit in hits} == {hit.id for hit in others}


@pytest.mark.parametrize("damage", [*DAMAGES, replace_artefact])
def test_repair_fits_again_to_the_stored_tokens(
    fitted: ColbertCollection, client: Client, engine: Engine, damage: Damage
) -> None:
    damage(client, engine)
    opened = open_lost(client, engine.name)
    for query in QUERIES:
        assert scores(opened.search(query, limit=5)) == pytest.approx(exact_scores(query)[:5], rel=2e-3)
    (sentence,) = opened.check()
    assert "call repair()" in sentence
    assert sentence in opened.info().warnings
    (done,) = opened.repair()
    assert "fitted to the stored token vectors" in done
    assert opened.check() == ()
    assert_encoded(opened, client, DOCUMENTS)
    assert_as_fresh(opened, client)
    REMEMBERED.clear()
    assert_searches_right(ColbertCollection.open(engine.name, client=client, encoder=WordEncoder(), config=CONFIG))


@pytest.mark.parametrize("how", ["open", "open_or_create"])
def test_a_refit_by_hand_does_the_same(fitted: ColbertCollection, client: Client, engine: Engine, how: str) -> None:
    cut_artefact(client, engine)
    opened = open_lost(client, engine.name, how, CONFIG)
    with pytest.raises(ArtefactError, match=r"call repair\(\)"):
        opened.fit()
    opened.fit(refit=True)
    assert opened.check() == ()
    assert_as_fresh(opened, client)


@pytest.mark.parametrize(
    "fde",
    [
        MuveraConfig(k_sim=3, dim_proj=8, r_reps=4, center=True),
        MuveraConfig(k_sim=3, dim_proj=8, r_reps=4, partition="kmeans"),
    ],
    ids=["centred", "kmeans"],
)
def test_muvera_is_fitted_again_too(engine: Engine, client: Client, encoder: WordEncoder, fde: MuveraConfig) -> None:
    config = CollectionConfig(fde=fde)
    ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config).ingest(DOCUMENTS)
    lose_artefact(client, engine)
    opened = open_lost(client, engine.name)
    opened.repair()
    assert_encoded(opened, client, DOCUMENTS)
    assert_as_fresh(opened, client)


def test_documents_written_meanwhile_are_encoded_by_the_repair(
    fitted: ColbertCollection, client: Client, engine: Engine
) -> None:
    alter_artefact(client, engine)
    opened = open_lost(client, engine.name)
    more = [Document("late", "zebra"), Document("later", "window")]
    opened.upsert(more[:1])
    opened.ingest([more[1], Document(7, "replaced palace")])
    assert opened.fde is None  # nobody asked for a fit
    assert "late" in {hit.id for hit in opened.search("zebra", limit=200, mode="fde")}
    opened.repair()
    kept = [document for document in DOCUMENTS if document.id != 7]
    assert_encoded(opened, client, [*kept, *more, Document(7, "replaced palace")])


def test_an_artefact_that_is_restored_is_used(fitted: ColbertCollection, client: Client, engine: Engine) -> None:
    assert isinstance(fitted.fde, LemurEncoder)
    before = fitted.search_batch(QUERIES, limit=5, mode="fde")
    cut_artefact(client, engine)
    checked, written = open_lost(client, engine.name), open_lost(client, engine.name)
    REMEMBERED.add(fitted.fde.to_bytes())  # what a restored one is, to who opens the collection
    assert checked.check() != ()  # it is not whole where it is kept, which this process can mend
    written.upsert(DOCUMENTS[:1])
    for collection in (checked, written):
        for hits, others in zip(collection.search_batch(QUERIES, limit=5, mode="fde"), before, strict=True):
            assert scores(hits) == pytest.approx(scores(others), rel=1e-5)
    checked.repair()
    assert fitted.check() == ()
    assert_encoded(written, client, DOCUMENTS)


def test_a_repair_killed_at_any_write_is_done_by_the_next(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    if engine.kind in ("path", "model"):
        pytest.skip("takes long, and what is stored is the same as in local mode")
    for number in count(1):
        collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=SMALL)
        collection.ingest(FEW)
        alter_artefact(client, engine)
        opened = open_lost(client, engine.name)
        was_killed = is_killed(lambda: opened.fit(refit=True), client, number)  # noqa: B023
        REMEMBERED.clear()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ColbertQdrantWarning)
            survivor = ColbertCollection.open(engine.name, client=client, encoder=encoder)
        assert_searches_right(survivor, FEW)
        survivor.ingest(MORE[len(FEW) :])  # so that another fit is none of the same numbers
        survivor.repair()
        assert_encoded(survivor, client, MORE)
        assert_searches_right(survivor, MORE)
        assert survivor.check() == ()
        collection.drop()
        if not was_killed:
            break
    assert number > 4


def test_nothing_to_fit_to(fitted: ColbertCollection, client: Client, engine: Engine) -> None:
    lose_artefact(client, engine)
    opened = open_lost(client, engine.name)
    opened.delete(ids=[document.id for document in DOCUMENTS])
    assert "no documents to fit to" in " ".join(opened.repair())
    assert opened.check() == ()
    assert opened.search("river") == []
    opened.ingest(DOCUMENTS[:30])
    assert_encoded(opened, client, DOCUMENTS[:30])


def test_encodings_without_tokens_cannot_be_mended(fitted: ColbertCollection, client: Client, engine: Engine) -> None:
    client.delete_vectors(engine.name, vectors=["colbert"], points=models.Filter(must=[]))
    lose_artefact(client, engine)
    opened = open_lost(client, engine.name)
    with pytest.raises(ArtefactError, match=r"neither .* nor token vectors .* from a backup or snapshot, or ingest"):
        opened.fit(refit=True)
    assert all("fde" in (point.vector or {}) for point in stored_points(client, engine.name))
    opened.ingest(DOCUMENTS)
    opened.repair()
    assert_encoded(opened, client, DOCUMENTS)


@pytest.mark.parametrize("damage", [lose_artefact, replace_artefact])
def test_a_process_whose_memory_is_full_writes_what_it_uses(
    fitted: ColbertCollection, client: Client, engine: Engine, damage: Damage
) -> None:
    damage(client, engine)
    REMEMBERED.clear()
    (sentence,) = fitted.check()
    assert "this process has a copy in memory" in sentence
    fitted.repair()
    assert fitted.check() == ()
    assert_encoded(fitted, client, DOCUMENTS)


@pytest.mark.parametrize(
    "make", [AsyncEdgeClient, lambda path: AsyncQdrantClient(path=str(path))], ids=["edge", "path"]
)
def test_awaited(tmp_path: Path, runner: asyncio.Runner, make: Any) -> None:
    async def work() -> None:
        client = make(tmp_path)
        encoder = WordEncoder()
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=encoder, config=CONFIG)
        await docs.ingest(DOCUMENTS)
        if isinstance(client, AsyncEdgeClient):
            next(tmp_path.rglob("fde.safetensors")).unlink()  # noqa: ASYNC240
        else:
            await client.delete_collection("docs__fde")
        REMEMBERED.clear()
        with pytest.warns(ColbertQdrantWarning, match="call repair"):
            opened = await AsyncColbertCollection.open_or_create("docs", client=client, encoder=encoder, config=CONFIG)
        assert len((await opened.info()).warnings) == 1
        await opened.repair()
        assert await opened.check() == ()
        for query in QUERIES:
            found, expected = [await each.search(query, limit=10, mode="fde") for each in (opened, docs)]
            assert scores(found) == pytest.approx(scores(expected), rel=1e-5)
        await client.close()

    runner.run(work())


@pytest.mark.parametrize("damage", [lose_artefact, cut_artefact])
def test_a_process_that_remembers_a_lost_artefact_writes_it_again(
    fitted: ColbertCollection,
    client: Client,
    engine: Engine,
    encoder: WordEncoder,
    damage: Callable[[Client, Engine], None],
) -> None:
    damage(client, engine)
    (sentence,) = fitted.check()
    assert f"cannot use it in collection '{engine.name}'" in sentence
    assert len(fitted.repair()) == 1
    assert fitted.check() == ()
    REMEMBERED.clear()
    assert_searches_right(ColbertCollection.open(engine.name, client=client, encoder=encoder))


@pytest.mark.parametrize("damage", [lose_artefact, alter_artefact, replace_artefact])
def test_a_migration_takes_no_encodings_without_what_they_were_fitted_with(
    fitted: ColbertCollection, client: Client, engine: Engine, damage: Damage
) -> None:
    planned = Migration.plan(client, engine.name, f"{engine.name}-planned")
    damage(client, engine)
    REMEMBERED.clear()
    with pytest.raises(ArtefactError, match=r"call repair\(\)"):
        Migration.plan(client, engine.name, f"{engine.name}-late")
    with pytest.raises(ArtefactError, match=r"call repair\(\)"):
        planned.run()
    open_lost(client, engine.name).repair()
    migration = Migration.plan(client, engine.name, f"{engine.name}-late")
    migration.run()
    assert_encoded(
        ColbertCollection.open(f"{engine.name}-late", client=client, encoder=WordEncoder()), client, DOCUMENTS
    )


@pytest.mark.parametrize("config", [None, LemurConfig(dim=16, hidden=32, epochs=0, learn_tokens=100)])
def test_what_another_process_fitted_is_not_mended_with_what_was_fitted_before(
    fitted: ColbertCollection, client: Client, engine: Engine, config: LemurConfig | None
) -> None:
    other = ColbertCollection.open(engine.name, client=client, encoder=WordEncoder())
    more = [*DOCUMENTS, Document("late", "zebra")]
    other.upsert(more[-1:])
    other.fit(refit=True, config=config)
    assert fitted.info().warnings == ()
    assert (fitted.repair(), fitted.check()) == ((), ())
    REMEMBERED.clear()
    assert_encoded(fitted, client, more)
