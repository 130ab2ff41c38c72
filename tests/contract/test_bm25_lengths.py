"""BM25 with the average length that is measured on the collection, and with words that a query repeats."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from qdrant_client.http.exceptions import UnexpectedResponse

import colbert_qdrant.encoders.bm25
from colbert_qdrant import (
    Bm25Config,
    ColbertCollection,
    ColbertQdrantWarning,
    CollectionConfig,
    Document,
    FingerprintMismatchError,
    Migration,
    MissingExtraError,
    MuveraConfig,
)
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=8, r_reps=4), bm25=Bm25Config())
WORDS = ["kelp", "copper", "glacier", "falcon", "basalt", "harbor", "jasper", "iceberg", "dolphin", "lantern"]
QUERY = "kelp copper kelp falcon kelp"


def texts_of(words: int, *, count: int, seed: int) -> list[str]:
    """Texts of a length that varies around a number of words; none is a stop word, or has an ending."""
    random = np.random.default_rng(seed)
    return [" ".join(random.choice(WORDS, random.integers(words // 2, words * 3 // 2 + 1))) for _ in range(count)]


def bm25_of_the_books(
    query: str, texts: Sequence[str], *, average: float, k: float = 1.2, b: float = 0.75
) -> list[float]:
    """Lucene's BM25, in which every occurrence of a word in the query counts."""
    counts = [Counter(text.split()) for text in texts]
    scores = []
    for found in counts:
        norm = k * (1 - b + b * found.total() / average)
        score = 0.0
        for word in query.split():
            having = sum(word in each for each in counts)
            idf = math.log(1 + (len(texts) - having + 0.5) / (having + 0.5))
            score += idf * found[word] * (k + 1) / (found[word] + norm)
        scores.append(score)
    return scores


def documents_of(texts: Sequence[str], *, first: int = 0) -> list[Document]:
    return [Document(number, text) for number, text in enumerate(texts, first)]


def mean_of(texts: Sequence[str]) -> float:
    return sum(len(text.split()) for text in texts) / len(texts)


def create(engine: Engine, client: Client, bm25: Bm25Config | None = None) -> ColbertCollection:
    config = CollectionConfig(fde=CONFIG.fde, bm25=bm25 or Bm25Config())
    return ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=config)


def without_edge(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the package that counts words in this process."""
    if engine.kind != "model":
        pytest.skip("only servers compute BM25 themselves")

    def missing(*_: object) -> None:
        raise MissingExtraError("qdrant-edge-py is not installed")

    monkeypatch.setattr(colbert_qdrant.encoders.bm25.WordCounts, "__init__", missing)


def sender_of(engine: Engine, client: Any) -> Any:
    """The object of the client whose `update_vectors` is called."""
    return client.http.points_api if engine.kind == "model" else client


def assert_scores(docs: ColbertCollection, query: str, expected: Sequence[float]) -> None:
    hits = docs.search(query, mode="bm25", limit=100)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(
        {number: score for number, score in enumerate(expected) if score > 0}, rel=1e-4
    )


@pytest.mark.parametrize("bm25", [Bm25Config(), Bm25Config(k=2.0, b=0.3), Bm25Config(b=0)], ids=["", "k, b", "b=0"])
def test_scores_are_those_of_the_books(engine: Engine, client: Client, bm25: Bm25Config) -> None:
    texts = texts_of(12, count=60, seed=1)
    docs = create(engine, client, bm25)
    docs.ingest(documents_of(texts))
    assert_scores(docs, QUERY, bm25_of_the_books(QUERY, texts, average=mean_of(texts), k=bm25.k, b=bm25.b))


def test_stop_words_have_no_length(engine: Engine, client: Client) -> None:
    docs = create(engine, client)
    docs.upsert(documents_of(["the kelp and the copper", "it is the glacier of a falcon", "basalt"]))
    expected = bm25_of_the_books("copper", ["kelp copper", "glacier falcon", "basalt"], average=5 / 3)
    assert_scores(docs, "the copper of the", expected)


def test_the_average_is_kept_with_the_collection(engine: Engine, client: Client) -> None:
    texts = texts_of(12, count=20, seed=2)
    create(engine, client).upsert(documents_of(texts[:16]))
    docs = ColbertCollection.open(engine.name, client=client, encoder=WordEncoder(), config=CONFIG)
    docs.upsert(documents_of(texts[16:], first=16))
    assert_scores(docs, QUERY, bm25_of_the_books(QUERY, texts, average=mean_of(texts[:16])))


def test_an_open_collection_uses_the_average_of_another_writer(engine: Engine, client: Client) -> None:
    texts = texts_of(12, count=20, seed=3)
    first = create(engine, client)
    second = ColbertCollection.open(engine.name, client=client, encoder=WordEncoder())
    first.upsert(documents_of(texts[:16]))
    second.upsert(documents_of(texts[16:], first=16))
    assert_scores(second, QUERY, bm25_of_the_books(QUERY, texts, average=mean_of(texts[:16])))


def test_a_collection_with_a_number_keeps_it(engine: Engine, client: Client) -> None:
    texts = texts_of(12, count=20, seed=4)
    create(engine, client, Bm25Config(avg_len=256))
    docs = ColbertCollection.open(engine.name, client=client, encoder=WordEncoder(), config=CONFIG)
    docs.upsert(documents_of(texts))
    assert_scores(docs, QUERY, bm25_of_the_books(QUERY, texts, average=256))
    assert docs.config.bm25 is not None
    assert docs.config.bm25.avg_len == 256
    other = CollectionConfig(fde=CONFIG.fde, bm25=Bm25Config(avg_len=100))
    with pytest.raises(FingerprintMismatchError, match=r"layout\.bm25\.avg_len: built with 256, opened with 100"):
        ColbertCollection.open(engine.name, client=client, encoder=WordEncoder(), config=other)


def test_equal_documents_are_skipped(engine: Engine, client: Client) -> None:
    documents = documents_of(texts_of(12, count=20, seed=5))
    docs = create(engine, client)
    docs.ingest(documents)
    assert docs.ingest(documents, on_conflict="skip").unchanged == 20


def test_a_migrated_collection_has_the_average_of_its_texts(engine: Engine, client: Client) -> None:
    texts = texts_of(12, count=30, seed=6)
    plain = ColbertCollection.create(
        engine.name, client=client, encoder=WordEncoder(), config=CollectionConfig(fde=CONFIG.fde)
    )
    plain.upsert(documents_of(texts))
    target = f"{engine.name}-2"
    Migration.plan(client, engine.name, target=target, encoder=WordEncoder(), config=CONFIG).run()
    docs = ColbertCollection.open(target, client=client, encoder=WordEncoder())
    assert_scores(docs, QUERY, bm25_of_the_books(QUERY, texts, average=mean_of(texts)))


def test_a_server_alone_counts_repeated_words_once(
    engine: Engine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_edge(engine, monkeypatch)
    texts = texts_of(12, count=60, seed=7)
    docs = create(engine, client)
    docs.ingest(documents_of(texts))
    once = bm25_of_the_books("kelp copper falcon", texts, average=mean_of(texts))
    with pytest.warns(ColbertQdrantWarning, match=r"BM25 counts each once.*pip install 'colbert-qdrant\[edge\]'"):
        assert_scores(docs, QUERY, once)
    with warnings.catch_warnings(action="error"):
        assert_scores(docs, QUERY, once)
        assert_scores(docs, "the kelp of the falcon", bm25_of_the_books("kelp falcon", texts, average=mean_of(texts)))


def average_of(client: Client, docs: ColbertCollection) -> dict[str, float | None]:
    """The average length that the collection keeps."""
    if (metadata := client.get_collection(docs.name).config.metadata) is None:
        pytest.skip("the metadata are elsewhere")
    found: dict[str, float | None] = metadata["colbert_qdrant_bm25"]
    return found


def test_a_migration_measures_the_length_of_a_collection_with_a_number(engine: Engine, client: Client) -> None:
    texts = texts_of(12, count=30, seed=15)
    create(engine, client, Bm25Config(avg_len=256)).upsert(documents_of(texts))
    target = f"{engine.name}-2"
    migration = Migration.plan(client, engine.name, target=target, encoder=WordEncoder(), config=CONFIG)
    migration.run()
    assert migration.verify().passed
    docs = ColbertCollection.open(target, client=client, encoder=WordEncoder())
    assert_scores(docs, QUERY, bm25_of_the_books(QUERY, texts, average=mean_of(texts)))
    docs.ingest(documents_of(texts_of(60, count=40, seed=16), first=30))  # the weights of copied documents change
    assert docs.check() == ()


@pytest.mark.parametrize("edge", [True, False], ids=["", "server alone"])
def test_the_average_grows_with_the_collection(
    engine: Engine, client: Client, monkeypatch: pytest.MonkeyPatch, edge: bool
) -> None:
    if not edge:
        without_edge(engine, monkeypatch)
    short, long = texts_of(6, count=30, seed=8), texts_of(40, count=40, seed=9)
    docs = create(engine, client)
    docs.ingest(documents_of(short))
    assert_scores(docs, "kelp copper", bm25_of_the_books("kelp copper", short, average=mean_of(short)))
    docs.ingest(documents_of(long, first=30))
    expected = bm25_of_the_books("kelp copper", short + long, average=mean_of(short + long))
    assert_scores(docs, "kelp copper", expected)
    assert docs.check() == ()


def test_upserts_of_one_document_measure_whenever_the_collection_has_doubled(engine: Engine, client: Client) -> None:
    texts = [" ".join(WORDS[number % 10] for number in range(3 * index + 1)) for index in range(33)]
    docs = create(engine, client)
    for number, text in enumerate(texts):
        docs.upsert([Document(number, text)])
    assert_scores(docs, QUERY, bm25_of_the_books(QUERY, texts, average=mean_of(texts[:32])))


def test_documents_of_one_ingest_have_one_average(engine: Engine, client: Client) -> None:
    texts = sorted(texts_of(20, count=600, seed=10), key=len)
    docs = create(engine, client)
    docs.ingest(iter(documents_of(texts)))
    kept = average_of(client, docs)["words"]
    assert kept == pytest.approx(mean_of(texts), rel=0.1)
    assert kept is not None
    expected = dict(enumerate(bm25_of_the_books("kelp", texts, average=kept)))
    hits = docs.search("kelp", mode="bm25", limit=100)
    assert [hit.score for hit in hits] == pytest.approx([expected[int(str(hit.id))] for hit in hits], rel=1e-4)


def test_a_killed_change_is_completed(engine: Engine, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    short, long = texts_of(6, count=30, seed=11), texts_of(40, count=40, seed=12)
    docs = create(engine, client)
    docs.ingest(documents_of(short))
    sender = sender_of(engine, client)
    update, calls = sender.update_vectors, 0

    def some(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return update(*arguments, **options)

    monkeypatch.setattr(sender, "update_vectors", some)
    with pytest.raises(KeyboardInterrupt):
        docs.ingest(documents_of(long, first=30))
    assert average_of(client, docs)["earlier"] is not None
    again = ColbertCollection.open(engine.name, client=client, encoder=WordEncoder())
    (sentence,) = again.check()
    assert "have the weights of two average lengths" in sentence
    assert again.repair() == ("All BM25 vectors have the weights of one average length.",)
    assert (again.check(), docs.check()) == ((), ())
    expected = bm25_of_the_books("kelp copper", short + long, average=mean_of(short + long))
    assert_scores(again, "kelp copper", expected)


def test_a_document_that_changes_meanwhile_keeps_its_text(
    engine: Engine, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = texts_of(6, count=30, seed=13), texts_of(40, count=40, seed=14)
    docs = create(engine, client)
    docs.ingest(documents_of(short))
    other = ColbertCollection.open(engine.name, client=client, encoder=WordEncoder())
    sender = sender_of(engine, client)
    update, replaced = sender.update_vectors, False

    def after_a_write(*arguments: Any, **options: Any) -> Any:
        nonlocal replaced
        if not replaced:
            replaced = True
            other.upsert([Document(number, "lantern lantern kelp") for number in range(20)])
            other.upsert([Document(20, "the of")])
        return update(*arguments, **options)

    monkeypatch.setattr(sender, "update_vectors", after_a_write)
    docs.ingest(documents_of(long, first=30))
    texts = ["lantern lantern kelp"] * 20 + ["the of"] + short[21:] + long
    assert replaced
    words = average_of(client, docs)["words"]
    assert words is not None
    assert_scores(docs, "lantern", bm25_without(20, "lantern", texts, average=words))


def bm25_without(number: int, query: str, texts: Sequence[str], *, average: float) -> list[float]:
    """The scores of all documents, if the document with a number has no vector."""
    scores = bm25_of_the_books(query, [*texts[:number], *texts[number + 1 :]], average=average)
    return [*scores[:number], 0.0, *scores[number:]]


def test_a_key_that_may_not_change_metadata_gets_qdrants_length(
    engine: Engine, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine.kind != "model":
        pytest.skip("only servers have keys")
    asked = 0

    def forbidden(*_: Any, **__: Any) -> None:
        nonlocal asked
        asked += 1
        raise UnexpectedResponse(403, "Forbidden", b"Forbidden", httpx.Headers())

    texts = texts_of(12, count=30, seed=17)
    docs = create(engine, client)
    monkeypatch.setattr(client.http.collections_api, "update_collection", forbidden)
    with pytest.warns(ColbertQdrantWarning, match=r"assumes that documents have 256 words.*Bm25Config\(avg_len=…\)"):
        docs.upsert(documents_of(texts[:10]))
    docs.ingest(documents_of(texts[10:], first=10))
    assert asked == 1
    assert_scores(docs, QUERY, bm25_of_the_books(QUERY, texts, average=256))
