"""Collections whose encoding is fitted to what is stored, on every engine."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qdrant_client import models
from qdrant_client.http.exceptions import UnexpectedResponse
from qdrant_client.qdrant_remote import QdrantRemote

from colbert_qdrant import (
    ArtefactError,
    ColbertCollection,
    ColbertQdrantWarning,
    CollectionConfig,
    ConfigurationError,
    Document,
    EdgeClient,
    FingerprintMismatchError,
    LemurConfig,
    LemurEncoder,
    MuveraConfig,
    MuveraEncoder,
    TokenEmbeddings,
    maxsim,
)
from colbert_qdrant.capabilities import Capabilities
from colbert_qdrant.collection import fitting, writer
from colbert_qdrant.collection.artefacts import REMEMBERED
from tests.contract.artefacts import cut_artefact
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from colbert_qdrant import DocumentId, SearchHit, SearchMode
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

LEMUR = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=60)
CONFIG = CollectionConfig(fde=LEMUR)
TEXTS = random_texts(100)
DOCUMENTS = [Document(number, text, {"number": number}) for number, text in enumerate(TEXTS)]
QUERIES = random_texts(4, seed=1, words=(2, 5))
MODES: list[SearchMode] = ["two-stage", "fde", "exact"]
WRITES = [
    "attach",
    "create_collection",
    "delete",
    "delete_vectors",
    "update_collection",
    "update_vectors",
    "upsert",
]
"""All methods of a client with which a fit changes what is stored."""


def receiver(client: Client) -> Any:
    """The object whose ``update_vectors`` is called; for a server, vectors are serialized without the client."""
    remote = getattr(client, "_client", None)
    return remote.http.points_api if isinstance(remote, QdrantRemote) else client


class Killed(BaseException):
    """The process ends here."""


class Recorder:
    """Notes what a progress reporter is told."""

    def __init__(self) -> None:
        self.runs: list[list[Any]] = []
        self.running = False

    def start(self, total: int | None) -> None:
        assert not self.running, "a reporter is started again only after it was stopped"
        self.running = True
        self.runs.append([total, 0])

    def advance(self, documents: int) -> None:
        self.runs[-1][1] += documents

    def stop(self) -> None:
        self.running = False


@pytest.fixture
def empty(engine: Engine, client: Client, encoder: WordEncoder) -> ColbertCollection:
    return ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)


@pytest.fixture
def fitted(empty: ColbertCollection) -> ColbertCollection:
    empty.upsert(DOCUMENTS)
    return empty


def stored_points(client: Client, name: str) -> list[models.Record]:
    return client.scroll(name, limit=10_000, with_payload=True, with_vectors=True)[0]


def assert_encoded(collection: ColbertCollection, client: Client, documents: Iterable[Document]) -> None:
    """Every document is there once, and has the encoding of its own text in the collection's one fitted encoding."""
    opened = ColbertCollection.open(collection.name, client=client, encoder=WordEncoder())
    assert opened.fde is not None
    texts = {document.id: document.text for document in documents}
    points = stored_points(client, collection.name)
    ids = [(point.payload or {})["_id"] for point in points]
    assert sorted(map(repr, ids)) == sorted(map(repr, texts))
    encoded = np.array([(point.vector or {})["fde"] for point in points], np.float32)  # type: ignore[call-overload]
    expected = opened.fde.encode_documents(WordEncoder().encode_documents([texts[id] for id in ids]))
    np.testing.assert_allclose(encoded, expected, rtol=2e-3, atol=2e-4)


def exact_scores(query: str, documents: Iterable[Document] = DOCUMENTS) -> list[float]:
    encoder = WordEncoder()
    texts = [document.text for document in documents]
    return sorted(maxsim(encoder.encode_queries([query]), encoder.encode_documents(texts))[0].tolist(), reverse=True)


def scores(hits: Sequence[SearchHit]) -> list[float]:
    return [hit.score for hit in hits]


def assert_searches_right(collection: ColbertCollection, documents: Sequence[Document] = DOCUMENTS) -> None:
    """With all documents as candidates, it makes no difference how they are found: scores are MaxSim's."""
    for query in QUERIES:
        hits = collection.search(query, limit=len(documents), candidates=len(documents))
        assert scores(hits) == pytest.approx(exact_scores(query, documents), rel=1e-5, abs=1e-5)


def canary(client: Client, name: str) -> Any:
    metadata: Any = client.get_collection(name).config.metadata
    return metadata["colbert_qdrant"]["canary"]


def test_unfitted_collections_store_tokens_and_search_exactly(
    empty: ColbertCollection, client: Client, engine: Engine, encoder: WordEncoder
) -> None:
    empty.upsert(DOCUMENTS[:50])
    assert empty.fde is None
    assert "not fitted" in repr(empty)
    assert canary(client, engine.name) == "unfitted"
    assert {tuple(point.vector or {}) for point in stored_points(client, engine.name)} == {("colbert",)}
    for opened in (empty, ColbertCollection.open(engine.name, client=client, encoder=encoder, config=CONFIG)):
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            for mode in MODES:
                # one candidate would leave an approximate search with one hit to rank
                hits = opened.search(QUERIES[0], limit=10, candidates=10, mode=mode)
                assert scores(hits) == pytest.approx(exact_scores(QUERIES[0], DOCUMENTS[:50])[:10], rel=1e-5)
        (warning,) = shown
        assert "is not fitted yet" in str(warning.message)
        assert (warning.category, warning.filename) == (ColbertQdrantWarning, __file__)
        opened.check()


@pytest.mark.filterwarnings("error")
def test_an_exact_search_does_not_warn(empty: ColbertCollection) -> None:
    empty.upsert(DOCUMENTS[:3])
    empty.search(QUERIES[0], mode="exact")


@pytest.mark.parametrize(
    "fde",
    [
        MuveraConfig(k_sim=3, dim_proj=4, r_reps=3, center=True, fit_documents=60),
        MuveraConfig(k_sim=2, dim_proj=4, r_reps=3, partition="kmeans", fit_documents=60),
    ],
    ids=["centred", "kmeans"],
)
def test_muvera_is_fitted_to_the_collection_too(
    engine: Engine, client: Client, encoder: WordEncoder, fde: MuveraConfig
) -> None:
    config = CollectionConfig(fde=fde)
    collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config)
    collection.upsert(DOCUMENTS[:59])
    assert collection.fde is None
    assert canary(client, engine.name) == "unfitted"
    assert_searches_right(collection, DOCUMENTS[:59])
    collection.ingest(DOCUMENTS[59:])
    opened = ColbertCollection.open(engine.name, client=client, encoder=encoder, config=config)
    assert isinstance(opened.fde, MuveraEncoder)
    assert_encoded(opened, client, DOCUMENTS)
    assert_searches_right(opened)
    before = opened.fde.fingerprint()["digest"]
    opened.fit(refit=True, config=replace(fde, seed=7), progress=False)
    assert opened.fde.fingerprint()["digest"] != before
    assert_encoded(opened, client, DOCUMENTS)
    with pytest.raises(FingerprintMismatchError):
        ColbertCollection.open(engine.name, client=client, encoder=encoder, config=config)
    opened.fit(refit=True, config=LemurConfig(dim=fde.dim, hidden=128, epochs=0, learn_tokens=200), progress=False)
    assert isinstance(ColbertCollection.open(engine.name, client=client, encoder=encoder).fde, LemurEncoder)
    assert_encoded(opened, client, DOCUMENTS)


def test_an_upsert_fits_once_there_are_enough(empty: ColbertCollection, client: Client) -> None:
    empty.upsert(DOCUMENTS[:59])
    assert "not fitted" in repr(empty)
    empty.upsert(DOCUMENTS[59:60])
    assert isinstance(empty.fde, LemurEncoder)
    assert_encoded(empty, client, DOCUMENTS[:60])
    empty.upsert(DOCUMENTS[60:])
    assert_encoded(empty, client, DOCUMENTS)
    assert_searches_right(empty)


def test_searches_use_the_encoding_once_there_is_one(fitted: ColbertCollection, encoder: WordEncoder) -> None:
    assert fitted.fde is not None
    documents = fitted.fde.encode_documents(encoder.encode_documents(TEXTS))
    query = fitted.fde.encode_queries(encoder.encode_queries(QUERIES[:1]))[0]
    best = np.sort(documents @ query)[::-1][:10]
    hits = fitted.search(QUERIES[0], limit=10, mode="fde")
    assert scores(hits) == pytest.approx(best.tolist(), rel=1e-2, abs=1e-3)
    assert scores(hits) != pytest.approx(exact_scores(QUERIES[0])[:10], rel=1e-2)
    candidates = {hit.id for hit in fitted.search(QUERIES[0], limit=20, mode="fde")}
    assert {hit.id for hit in fitted.search(QUERIES[0], limit=20, candidates=20)} == candidates


def test_a_short_ingest_fits_at_its_end(empty: ColbertCollection, client: Client) -> None:
    recorder = Recorder()
    report = empty.ingest(DOCUMENTS[:40], progress=recorder)
    assert report.documents == 40
    assert_encoded(empty, client, DOCUMENTS[:40])
    assert recorder.runs[0] == [40, 40]
    assert recorder.runs[-1] == [40, 40]
    assert len(recorder.runs) == 3
    assert not recorder.running


def test_a_long_ingest_fits_on_the_way(empty: ColbertCollection, client: Client) -> None:
    documents = [Document(number, text) for number, text in enumerate(random_texts(300, seed=3))]
    recorder = Recorder()
    report = empty.ingest((document for document in documents), progress=recorder)
    assert (report.documents, empty.count()) == (300, 300)
    assert [done for _, done in recorder.runs if done][::2] == [256, 256]  # stored and, after the fit, encoded
    assert recorder.runs[-1] == [None, 44]
    assert_encoded(empty, client, documents)


def test_an_ingest_told_not_to_fit_leaves_that_to_a_later_call(empty: ColbertCollection, client: Client) -> None:
    for part in (DOCUMENTS[:80], DOCUMENTS[80:]):  # more than are enough for a fit
        empty.ingest(part, fit=False)
        assert empty.fde is None
    assert empty.search(TEXTS[90], limit=1)[0].text == TEXTS[90]
    empty.fit()
    assert_encoded(empty, client, DOCUMENTS)


def test_an_empty_ingest_fits_what_upserts_left(empty: ColbertCollection, client: Client) -> None:
    empty.ingest([])
    assert empty.fde is None
    empty.upsert(DOCUMENTS[:20])
    empty.ingest([])
    assert_encoded(empty, client, DOCUMENTS[:20])


def test_it_opens_elsewhere_without_any_file(engine: Engine, encoder: WordEncoder) -> None:
    if not engine.persistent:
        pytest.skip(":memory: keeps nothing")
    with engine.client() as client:
        collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
        collection.ingest(DOCUMENTS)
        before = collection.search_batch(QUERIES, limit=5, mode="fde")
        assert collection.fde is not None
        digest = collection.fde.fingerprint()["digest"]
    with engine.client() as client:
        opened = ColbertCollection.open(engine.name, client=client, encoder=encoder)
        metadata: Any = client.get_collection(engine.name).config.metadata
        assert metadata["colbert_qdrant"]["fde"]["digest"] == digest
        after = opened.search_batch(QUERIES, limit=5, mode="fde")
        for hits, others in zip(after, before, strict=True):
            assert scores(hits) == pytest.approx(scores(others), rel=1e-5)
        opened.check()


def test_documents_written_after_the_fit_carry_their_encoding(fitted: ColbertCollection, client: Client) -> None:
    fitted.delete(ids=[3, 4])
    fitted.upsert([Document(5, "umbrella umbrella zebra"), Document("new", "candle desert")])
    fitted.ingest([Document(6, "quarry"), Document("another", "needle palace river")])
    changed: dict[DocumentId, str] = {
        5: "umbrella umbrella zebra",
        6: "quarry",
        "new": "candle desert",
        "another": "needle palace river",
    }
    kept = [document for document in DOCUMENTS if document.id not in (3, 4, 5, 6)]
    assert_encoded(fitted, client, kept + [Document(id, text) for id, text in changed.items()])


def test_an_object_opened_before_the_fit_stays_exact_and_adopts_it_when_it_writes(
    empty: ColbertCollection, client: Client, engine: Engine, encoder: WordEncoder
) -> None:
    older = ColbertCollection.open(engine.name, client=client, encoder=encoder)
    empty.upsert(DOCUMENTS)
    assert_searches_right(older)
    older.upsert([Document(7, "replaced palace"), Document("late", "zebra")])
    assert older.fde is not None
    kept = [document for document in DOCUMENTS if document.id != 7]
    assert_encoded(older, client, [*kept, Document(7, "replaced palace"), Document("late", "zebra")])


def test_of_two_that_fit_at_once_the_first_wins(
    empty: ColbertCollection, client: Client, engine: Engine, encoder: WordEncoder
) -> None:
    class Slow(WordEncoder):
        """While it encodes the queries of a fit, another writer stores more documents and fits."""

        def encode_queries(self, texts: Sequence[str]) -> TokenEmbeddings:
            if first.fde is None:
                first.upsert(DOCUMENTS[30:50])
                first.fit()
            return super().encode_queries(texts)

    first = empty
    first.upsert(DOCUMENTS[:30])
    second = ColbertCollection.open(engine.name, client=client, encoder=Slow())
    second.fit()
    assert first.fde is not None
    assert second.fde is not None
    assert second.fde.fingerprint() == first.fde.fingerprint()
    assert_encoded(second, client, DOCUMENTS[:50])
    assert_searches_right(second, DOCUMENTS[:50])


def test_a_document_deleted_while_encodings_are_added_is_no_error(
    empty: ColbertCollection, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty.upsert(DOCUMENTS[:50])
    original = receiver(client).update_vectors

    def update_vectors(*arguments: Any, **named: Any) -> Any:
        empty.delete(ids=list(range(20)))
        return original(*arguments, **named)

    monkeypatch.setattr(receiver(client), "update_vectors", update_vectors)
    empty.fit()
    assert_encoded(empty, client, DOCUMENTS[20:50])
    assert_searches_right(empty, DOCUMENTS[20:50])


def test_a_document_replaced_while_encodings_are_added_keeps_its_own(
    empty: ColbertCollection, client: Client, encoder: WordEncoder
) -> None:
    empty.upsert(DOCUMENTS[:50])
    original = receiver(client).update_vectors
    replaced = [Document(number, "umbrella") for number in range(20)]

    def update_vectors(*arguments: Any, **named: Any) -> Any:
        patch.undo()  # once: it would fill in the rest as well
        ColbertCollection.open(empty.name, client=client, encoder=encoder).upsert(replaced)
        return original(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(receiver(client), "update_vectors", update_vectors)
        empty.fit()
    assert_encoded(empty, client, replaced + DOCUMENTS[20:50])


def test_a_failed_write_is_not_taken_for_a_deleted_document(
    empty: ColbertCollection, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def update_vectors(*arguments: Any, **named: Any) -> Any:
        raise OSError("disk full")

    empty.upsert(DOCUMENTS[:50])
    with monkeypatch.context() as patch:
        patch.setattr(receiver(client), "update_vectors", update_vectors)
        with pytest.raises(OSError, match="disk full"):
            empty.fit()
        assert_searches_right(empty, DOCUMENTS[:50])
    empty.fit()
    assert_encoded(empty, client, DOCUMENTS[:50])


def kill_at(client: Client, number: int, patch: pytest.MonkeyPatch) -> None:
    """Raise instead of the write of that number, counted from now."""
    calls = count(1)

    def killing(original: Callable[..., Any]) -> Callable[..., Any]:
        def write(*arguments: Any, **named: Any) -> Any:
            if next(calls) == number:
                raise Killed
            return original(*arguments, **named)

        return write

    for name in WRITES:
        if hasattr(client, name):
            place = receiver(client) if name == "update_vectors" else client
            patch.setattr(place, name, killing(getattr(place, name)))


def is_killed(action: Callable[[], None], client: Client, number: int) -> bool:
    """Do something, and stop at the write of that number; whether there was one."""
    with pytest.MonkeyPatch.context() as patch:
        kill_at(client, number, patch)
        try:
            action()
        except Killed:
            return True
    return False


SMALL = CollectionConfig(fde=replace(LEMUR, fit_documents=24))
FEW, MORE = DOCUMENTS[:20], DOCUMENTS[:26]
"""Too few for a fit by themselves, but more than are read at a time; and enough."""


@pytest.mark.parametrize("how", ["fit", "write", "ingest"])
def test_a_fit_killed_at_any_write_goes_on_from_what_is_stored(
    engine: Engine, client: Client, encoder: WordEncoder, how: str
) -> None:
    if engine.kind == "model" and how != "fit":
        pytest.skip("takes long, and what is stored is the same as in local mode")
    for number in count(1):
        collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=SMALL)
        collection.upsert(FEW)
        was_killed = is_killed(collection.fit, client, number)
        for survivor in (collection, ColbertCollection.open(engine.name, client=client, encoder=encoder)):
            assert_searches_right(survivor, FEW)
            survivor.check()
        go_on(survivor, how)
        assert_encoded(survivor, client, MORE if how == "write" else FEW)
        collection.drop()
        if not was_killed:
            break
    assert number > 4  # the artefact, metadata, and several batches of encodings


@pytest.mark.parametrize("how", ["fit", "write"])
def test_a_refit_killed_at_any_write_leaves_one_encoding_or_the_other(
    engine: Engine, client: Client, encoder: WordEncoder, how: str
) -> None:
    if engine.kind == "model" and how != "fit":
        pytest.skip("takes long, and what is stored is the same as in local mode")
    other = replace(LEMUR, fit_documents=24, seed=7)
    for number in count(1):
        collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=SMALL)
        collection.ingest(FEW)
        was_killed = is_killed(lambda: collection.fit(refit=True, config=other), client, number)  # noqa: B023
        for survivor in (collection, ColbertCollection.open(engine.name, client=client, encoder=encoder)):
            assert_searches_right(survivor, FEW)
            survivor.check()
        go_on(survivor, how)
        assert_encoded(survivor, client, MORE if how == "write" else FEW)
        assert_searches_right(survivor, MORE if how == "write" else FEW)
        assert survivor.config.fde in (SMALL.fde, other)
        collection.drop()
        if not was_killed:
            assert survivor.config.fde == other
            break
    assert number > 5


def go_on(collection: ColbertCollection, how: str) -> None:
    if how == "fit":
        collection.fit()
    elif how == "write":
        collection.upsert(MORE[len(FEW) :])
    else:
        collection.ingest([])


def fit_and_die_before_it_is_declared(collection: ColbertCollection, client: Client) -> None:
    """To 30 documents: the artefact is stored then, and metadata say nothing of it."""

    update = client.update_collection

    def killed(*arguments: Any, **named: Any) -> Any:
        if named["metadata"]:
            raise Killed
        return update(*arguments, **named)

    collection.upsert(DOCUMENTS[:30])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "update_collection", killed)
        with pytest.raises(Killed):
            collection.fit()


def test_an_artefact_that_was_not_declared_is_adopted_by_the_next_write(
    empty: ColbertCollection, client: Client, engine: Engine, encoder: WordEncoder
) -> None:
    fit_and_die_before_it_is_declared(empty, client)
    opened = ColbertCollection.open(engine.name, client=client, encoder=encoder)
    assert opened.fde is None
    opened.upsert(DOCUMENTS[30:31])  # not enough for a fit
    assert_encoded(opened, client, DOCUMENTS[:31])


def test_an_artefact_broken_before_it_was_declared_can_be_made_anew(
    empty: ColbertCollection, client: Client, engine: Engine, encoder: WordEncoder
) -> None:
    fit_and_die_before_it_is_declared(empty, client)
    cut_artefact(client, engine)
    opened = ColbertCollection.open(engine.name, client=client, encoder=encoder)
    with pytest.raises(ArtefactError, match="restore"):
        opened.fit()
    assert_searches_right(opened, DOCUMENTS[:30])
    opened.fit(refit=True)
    assert_encoded(opened, client, DOCUMENTS[:30])


@pytest.mark.parametrize("epochs", [0, 2])
def test_one_document_is_enough(engine: Engine, client: Client, encoder: WordEncoder, epochs: int) -> None:
    config = CollectionConfig(fde=replace(LEMUR, epochs=epochs))
    collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config)
    collection.ingest(DOCUMENTS[:1])
    collection.ingest(DOCUMENTS[1:5])
    assert_encoded(collection, client, DOCUMENTS[:5])
    assert_searches_right(collection, DOCUMENTS[:5])


def test_an_object_whose_fit_was_interrupted_can_be_used_on(empty: ColbertCollection, client: Client) -> None:
    empty.upsert(DOCUMENTS[:50])
    assert is_killed(empty.fit, client, 3)
    empty.upsert(DOCUMENTS[50:])
    assert_encoded(empty, client, DOCUMENTS)
    assert_searches_right(empty)


def test_a_refit_follows_the_documents(fitted: ColbertCollection, client: Client) -> None:
    assert fitted.fde is not None
    before = fitted.fde.fingerprint()["digest"]
    fitted.fit()
    assert fitted.fde.fingerprint()["digest"] == before  # nothing to do
    fitted.upsert(Document(number + 100, text) for number, text in enumerate(TEXTS[:20]))
    fitted.fit(refit=True)
    assert fitted.fde.fingerprint()["digest"] != before
    assert_encoded(fitted, client, DOCUMENTS + [Document(number + 100, text) for number, text in enumerate(TEXTS[:20])])


def test_a_refit_can_change_the_settings_and_metadata_follow(
    fitted: ColbertCollection, client: Client, engine: Engine, encoder: WordEncoder
) -> None:
    trained = replace(LEMUR, epochs=2)
    fitted.fit(refit=True, config=trained)
    assert fitted.config == replace(CONFIG, fde=trained)
    assert_encoded(fitted, client, DOCUMENTS)
    opened = ColbertCollection.open(engine.name, client=client, encoder=encoder, config=replace(CONFIG, fde=trained))
    assert opened.config.fde == trained
    assert_searches_right(opened)
    with pytest.raises(FingerprintMismatchError) as caught:
        ColbertCollection.open(engine.name, client=client, encoder=encoder, config=CONFIG)
    assert caught.value.differences == {"fde.config.epochs": (2, 0)}


def test_who_writes_after_a_refit_elsewhere_takes_it_over(
    fitted: ColbertCollection, client: Client, engine: Engine, encoder: WordEncoder
) -> None:
    older = ColbertCollection.open(engine.name, client=client, encoder=encoder)
    fitted.fit(refit=True, config=replace(LEMUR, seed=7))
    older.upsert([Document("late", "zebra window")])
    assert older.config == fitted.config
    assert_encoded(older, client, [*DOCUMENTS, Document("late", "zebra window")])


def test_what_was_encoded_before_a_refit_elsewhere_is_stored_with_the_new_encoding(
    fitted: ColbertCollection, client: Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "WRITE_SECONDS", 0.0)  # a refit takes longer

    class Slow(WordEncoder):
        def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
            tokens = super().encode_documents(texts)
            if "zebra window" in texts:
                fitted.fit(refit=True, config=replace(LEMUR, seed=7))
            return tokens

    older = ColbertCollection.open(engine.name, client=client, encoder=Slow())
    late = [Document(f"late {number}", text) for number, text in enumerate(["zebra window", *TEXTS[:5]])]
    older.upsert(late)
    assert_encoded(older, client, [*DOCUMENTS, *late])
    assert older.check() == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"config": LEMUR}, r"does not suit collection .*: pass it with refit=True"),
        ({"refit": True, "config": replace(LEMUR, dim=8)}, "has dim=16; for any other"),
    ],
)
def test_settings_that_cannot_be_the_collections_are_refused(
    fitted: ColbertCollection, client: Client, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        fitted.fit(**arguments)
    assert_encoded(fitted, client, DOCUMENTS)


def test_nothing_to_fit_to_is_refused(empty: ColbertCollection) -> None:
    with pytest.raises(ConfigurationError, match="is empty: ingest documents first"):
        empty.fit()
    assert empty.search("river") == []


def test_encodings_that_need_no_fit_are_refused(engine: Engine, client: Client, encoder: WordEncoder) -> None:
    config = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
    collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config)
    collection.upsert(DOCUMENTS[:3])
    with pytest.raises(ConfigurationError, match=r"the encoding of collection .* needs no fit"):
        collection.fit()


def test_drop_leaves_nothing(fitted: ColbertCollection, client: Client, engine: Engine, encoder: WordEncoder) -> None:
    fitted.drop()
    assert [each.name for each in client.get_collections().collections if each.name.startswith(engine.name)] == []
    again = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    assert again.fde is None


def test_the_artefact_of_a_deleted_collection_is_not_taken_for_that_of_the_next(
    fitted: ColbertCollection, client: Client, engine: Engine, encoder: WordEncoder
) -> None:
    assert fitted.fde is not None
    client.delete_collection(engine.name)  # without this library, so a companion stays behind
    again = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    again.upsert(DOCUMENTS[:30])
    assert again.fde is None
    again.fit()
    assert_encoded(again, client, DOCUMENTS[:30])


def test_another_encoder_is_named_also_when_its_tokens_have_other_dimensions(
    fitted: ColbertCollection, client: Client, engine: Engine
) -> None:
    with pytest.raises(FingerprintMismatchError) as caught:
        ColbertCollection.open(engine.name, client=client, encoder=WordEncoder(dim=8))
    assert caught.value.differences["encoder.dim"] == (32, 8)
    assert "fde.digest" not in caught.value.differences


@pytest.fixture
def alias(engine: Engine) -> str:
    return f"{engine.name}-alias"


def make_alias(client: Client, alias: str, name: str) -> None:
    create = models.CreateAlias(collection_name=name, alias_name=alias)
    client.update_collection_aliases([models.CreateAliasOperation(create_alias=create)])


def test_a_collection_can_be_fitted_and_opened_by_an_alias(
    empty: ColbertCollection, client: Client, engine: Engine, encoder: WordEncoder, alias: str
) -> None:
    make_alias(client, alias, engine.name)
    by_alias = ColbertCollection.open(alias, client=client, encoder=encoder)
    by_alias.ingest(DOCUMENTS)
    assert not client.collection_exists(f"{alias}__fde")
    assert_encoded(empty, client, DOCUMENTS)
    opened = ColbertCollection.open(alias, client=client, encoder=encoder)
    assert opened.fde is not None
    opened.fit(refit=True)
    assert_searches_right(opened)
    opened.drop()
    assert [each.name for each in client.get_collections().collections if each.name.startswith(engine.name)] == []


def test_a_key_that_may_not_list_aliases_opens_collections_by_their_names(
    fitted: ColbertCollection,
    client: Client,
    engine: Engine,
    encoder: WordEncoder,
    alias: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def forbidden() -> None:
        raise UnexpectedResponse(403, "Forbidden", b"", None)  # type: ignore[arg-type]

    monkeypatch.setattr(client, "get_aliases", forbidden)
    opened = ColbertCollection.open(engine.name, client=client, encoder=encoder)
    assert opened.fde is not None
    opened.upsert([Document("late", "zebra")])
    assert_encoded(opened, client, [*DOCUMENTS, Document("late", "zebra")])


def make_theirs(client: Client, engine: Engine) -> str:
    theirs = f"{engine.name}__fde"
    client.create_collection(theirs, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    client.upsert(theirs, points=[models.PointStruct(id=1, vector=[1.0, 0.0])])
    return theirs


def test_a_collection_of_the_companions_name_that_is_somebody_elses_is_an_error_at_once(
    engine: Engine, client: Client, encoder: WordEncoder
) -> None:
    if isinstance(client, EdgeClient):
        pytest.skip("the embedded engine keeps a file")
    theirs = make_theirs(client, engine)
    with pytest.raises(
        ArtefactError, match=rf"'{theirs}' belongs to another program, .* '{engine.name}' needs that name"
    ):
        ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    assert not client.collection_exists(engine.name)
    client.delete_collection(theirs)


def test_a_collection_of_the_companions_name_that_somebody_makes_later_is_left_alone(
    engine: Engine, client: Client, encoder: WordEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    if isinstance(client, EdgeClient):
        pytest.skip("the embedded engine keeps a file")
    collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    theirs = make_theirs(client, engine)
    collection.upsert(DOCUMENTS[:10])
    monkeypatch.setattr(fitting, "fit_encoder", None)  # nothing is trained in vain
    with pytest.raises(ArtefactError, match="belongs to another program"):
        collection.fit()
    assert_searches_right(collection, DOCUMENTS[:10])
    collection.drop()
    assert [point.id for point in stored_points(client, theirs)] == [1]
    client.delete_collection(theirs)


def test_what_was_fitted_to_another_collection_is_not_adopted(
    fitted: ColbertCollection, client: Client, engine: Engine
) -> None:
    """The companion stays behind when its collection is made anew without this library, for another encoder."""
    if isinstance(client, EdgeClient):
        pytest.skip("the embedded engine keeps a file with its collection")
    other, encoder = f"{engine.name}-2", WordEncoder(salt="other")
    ColbertCollection.create(other, client=client, encoder=encoder, config=CONFIG)
    companion = stored_points(client, f"{engine.name}__fde")
    client.create_collection(f"{other}__fde", vectors_config={})
    structs = [models.PointStruct(id=point.id, payload=point.payload, vector={}) for point in companion]
    client.upsert(f"{other}__fde", structs)
    collection = ColbertCollection.open(other, client=client, encoder=encoder)
    collection.upsert(DOCUMENTS[:10])
    assert collection.fde is None
    with pytest.raises(ArtefactError, match=f"belongs to another collection, '{engine.name}'"):
        collection.fit()
    client.delete_collection(f"{other}__fde")
    collection.fit()
    assert collection.search(DOCUMENTS[3].text, mode="fde", limit=1)[0].id == 3
    collection.drop()


def test_a_companion_of_an_earlier_version_belongs_to_its_collection(
    fitted: ColbertCollection, client: Client, engine: Engine, encoder: WordEncoder
) -> None:
    if isinstance(client, EdgeClient):
        pytest.skip("the embedded engine keeps a file")
    name = f"{engine.name}__fde"
    owners = [point.id for point in stored_points(client, name) if "collection" in (point.payload or {})]
    assert len(owners) == 1
    client.delete(name, owners)
    REMEMBERED.clear()
    opened = ColbertCollection.open(engine.name, client=client, encoder=encoder)
    assert_searches_right(opened)
    opened.fit(refit=True)
    assert_searches_right(opened)
    client.delete(name, owners)
    opened.drop()
    assert not client.collection_exists(name)


def test_where_collections_have_no_metadata_the_reserved_point_stays_out_of_it(
    engine: Engine, client: Client, encoder: WordEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    has = Capabilities.has
    monkeypatch.setattr(Capabilities, "has", lambda self, feature: feature != "metadata" and has(self, feature))
    collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    collection.upsert(DOCUMENTS[:40])
    collection.fit()
    collection.fit(refit=True)
    assert collection.count() == 40
    opened = ColbertCollection.open(engine.name, client=client, encoder=encoder)
    assert opened.fde is not None
    assert_searches_right(opened, DOCUMENTS[:40])
    fde = {len(point.vector or {}) for point in stored_points(client, engine.name)}
    assert fde == {0, 2}  # the reserved point, and documents with both


def test_a_collection_with_evenly_spaced_own_tokens_opens_with_the_default_and_a_refit_renews_it(
    engine: Engine, client: Client, encoder: WordEncoder
) -> None:
    older = replace(CONFIG, fde=replace(LEMUR, refinement="spaced"))
    ColbertCollection.create(engine.name, client=client, encoder=encoder, config=older).ingest(DOCUMENTS[:20])
    opened = ColbertCollection.open(engine.name, client=client, encoder=encoder, config=CONFIG)
    assert opened.config == older
    opened.upsert(DOCUMENTS[20:30])
    assert_searches_right(opened, DOCUMENTS[:30])
    opened.fit(refit=True, config=LEMUR)
    assert opened.config == CONFIG
    assert_searches_right(opened, DOCUMENTS[:30])


@pytest.mark.parametrize("quantization", ["turbo4", "turbo2", "int8"])
@pytest.mark.parametrize("mode", ["two-stage", "fde"])
def test_quantized_encodings_find_the_documents(
    engine: Engine, client: Client, encoder: WordEncoder, quantization: Any, mode: SearchMode
) -> None:
    fde = LemurConfig(dim=32, hidden=128, epochs=0, learn_tokens=300, fit_documents=100)
    config = CollectionConfig(fde=fde, fde_quantization=quantization)
    collection = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config)
    collection.ingest(DOCUMENTS)
    collection.optimize()
    assert ColbertCollection.open(engine.name, client=client, encoder=encoder).config == config
    hits = collection.search(TEXTS[5], limit=20, candidates=40, mode=mode)
    assert 5 in {hit.id for hit in hits}
