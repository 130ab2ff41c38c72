"""A collection that is open while its name comes to mean another one: no request goes to the other one."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import AsyncQdrantClient, models

from colbert_qdrant import (
    AsyncColbertCollection,
    ColbertCollection,
    CollectionConfig,
    CollectionNotFoundError,
    Document,
    FingerprintMismatchError,
    LemurConfig,
    MuveraConfig,
    SchemaMismatchError,
)
from colbert_qdrant.collection import opened
from colbert_qdrant.collection.ingest import chunks
from colbert_qdrant.collection.opened import WRITE_SECONDS
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

MUVERA = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
OTHER_SEED = replace(MUVERA, fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2, seed=7))
LEARNED = LemurConfig(dim=16, hidden=64, epochs=0, learn_tokens=200, fit_documents=100)
LEMUR = CollectionConfig(fde=LEARNED)
DOCUMENTS = [Document(number, text, {"n": number}) for number, text in enumerate(random_texts(12))]
WORDS, OTHER_WORDS = WordEncoder(), WordEncoder(salt="other")

WRITES: dict[str, Callable[[ColbertCollection], object]] = {
    "upsert": lambda docs: docs.upsert([Document("new", "zebra")]),
    "ingest": lambda docs: docs.ingest([Document("new", "zebra")]),
    "delete": lambda docs: docs.delete(ids=3),
    "delete where": lambda docs: docs.delete(where={"n": 3}),
    "set_payload": lambda docs: docs.set_payload({"n": 4}, ids=3),
    "delete_payload": lambda docs: docs.delete_payload("n", where={"n": 3}),
    "drop": lambda docs: docs.drop(),
}
READS: dict[str, Callable[[ColbertCollection], object]] = {
    "search": lambda docs: docs.search("zebra"),
    "search_batch": lambda docs: docs.search_batch(["zebra", "river"]),
    "search_groups": lambda docs: docs.search_groups("zebra", "n"),
    "more_like": lambda docs: docs.more_like(3),
    "get": lambda docs: docs.get(3),
    "count": lambda docs: docs.count(),
    "iterate": lambda docs: list(docs.iterate()),
}
CHANGES = {"encoder": (OTHER_WORDS, MUVERA), "settings": (WORDS, OTHER_SEED), "kind": (WORDS, LEMUR)}


class Clock:
    """Tells a time that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(opened, "time", clock)
    return clock


@pytest.fixture
def docs(engine: Engine, client: Client, clock: Clock) -> Iterator[ColbertCollection]:
    """Opened by an alias."""
    docs = ColbertCollection.create(f"{engine.name}-1", client=client, encoder=WORDS, config=MUVERA)
    docs.ingest(DOCUMENTS)
    point_alias(client, engine, 1)
    yield ColbertCollection.open(engine.name, client=client, encoder=WORDS)
    for number in (1, 2):
        client.delete_collection(f"{engine.name}-{number}")


def point_alias(client: Client, engine: Engine, number: int) -> None:
    target = models.CreateAlias(collection_name=f"{engine.name}-{number}", alias_name=engine.name)
    before: list[Any] = []
    if number > 1:
        before = [models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=engine.name))]
    client.update_collection_aliases([*before, models.CreateAliasOperation(create_alias=target)])


def switch(client: Client, engine: Engine, encoder: WordEncoder, config: CollectionConfig) -> ColbertCollection:
    """Let the alias stand for another collection."""
    other = ColbertCollection.create(f"{engine.name}-2", client=client, encoder=encoder, config=config)
    other.upsert(DOCUMENTS)
    point_alias(client, engine, 2)
    return other


def contents(client: Client, name: str) -> list[models.Record]:
    return client.scroll(name, limit=100, with_vectors=True)[0]


@pytest.mark.parametrize("what", WRITES)
@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_written_into_another_collection(
    docs: ColbertCollection, client: Client, engine: Engine, what: str, change: str
) -> None:
    other = switch(client, engine, *CHANGES[change])
    before = contents(client, other.name)
    for _ in range(2):
        with pytest.raises(FingerprintMismatchError, match=r"was replaced after you opened it.*\n.*reopen"):
            WRITES[what](docs)
    assert contents(client, other.name) == before
    assert len(contents(client, f"{engine.name}-1")) == len(DOCUMENTS)


@pytest.mark.parametrize("what", READS)
def test_another_collection_is_read_for_two_seconds_at_most(
    docs: ColbertCollection, client: Client, engine: Engine, clock: Clock, what: str
) -> None:
    READS[what](docs)
    switch(client, engine, OTHER_WORDS, MUVERA)
    clock.now += 2.0
    for _ in range(2):
        with pytest.raises(FingerprintMismatchError, match=r"encoder\.salt: built with 'other', opened with ''"):
            READS[what](docs)
    point_alias(client, engine, 1)
    READS[what](docs)


def test_an_ingest_stops_where_the_alias_was_switched(
    docs: ColbertCollection, client: Client, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "_DOCUMENTS", 4)

    def documents() -> Iterator[Document]:
        for number in range(20):
            if number == 8:
                switch(client, engine, OTHER_WORDS, MUVERA)
            yield Document(f"new {number}", "zebra")

    with pytest.raises(FingerprintMismatchError):
        docs.ingest(documents())
    assert len(contents(client, f"{engine.name}-2")) == len(DOCUMENTS)
    assert len(contents(client, f"{engine.name}-1")) == len(DOCUMENTS) + 8


@pytest.mark.parametrize(
    "call",
    [
        *READS.values(),
        lambda docs: docs.count(where={"n": 3}),
        lambda docs: docs.info(),
        lambda docs: docs.check(),
        lambda docs: docs.repair(),
        lambda docs: docs.fit(),
        lambda docs: docs.wait_until_ready(timeout=1),
    ],
    ids=[*READS, "count where", "info", "check", "repair", "fit", "wait_until_ready"],
)
def test_a_collection_that_is_gone_is_named_by_every_call(
    engine: Engine, client: Client, call: Callable[[ColbertCollection], object]
) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WORDS, config=LEMUR)
    client.delete_collection(engine.name)
    with pytest.raises(CollectionNotFoundError, match=f"'{engine.name}'.*(compare|create)"):
        call(docs)


@pytest.mark.parametrize("what", [name for name in WRITES if name != "drop"])
def test_a_collection_that_was_made_anew_or_is_gone_is_not_written_into(
    engine: Engine, client: Client, clock: Clock, what: str
) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WORDS, config=MUVERA)
    docs.upsert(DOCUMENTS)
    client.delete_collection(engine.name)
    with pytest.raises(CollectionNotFoundError):
        WRITES[what](docs)
    ColbertCollection.create(engine.name, client=client, encoder=OTHER_WORDS, config=MUVERA)
    with pytest.raises(FingerprintMismatchError):
        WRITES[what](docs)
    assert client.count(engine.name).count == 0
    client.delete_collection(engine.name)
    ColbertCollection.create(engine.name, client=client, encoder=WORDS, config=MUVERA)
    clock.now += 2.0
    WRITES[what](docs)  # one like it is as good
    docs.search("zebra")


def test_of_two_collections_that_are_not_fitted_yet_the_other_is_noticed(
    engine: Engine, client: Client, clock: Clock
) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WORDS, config=LEMUR)
    client.delete_collection(engine.name)
    ColbertCollection.create(engine.name, client=client, encoder=OTHER_WORDS, config=LEMUR)
    for write in (WRITES["upsert"], lambda docs: docs.fit()):
        with pytest.raises(FingerprintMismatchError):
            write(docs)
    clock.now += 2.0
    with pytest.raises(FingerprintMismatchError):
        docs.search("zebra")


def test_what_searches_takes_over_what_was_fitted_elsewhere(engine: Engine, client: Client, clock: Clock) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WORDS, config=LEMUR)
    docs.upsert(DOCUMENTS)
    reader = ColbertCollection.open(engine.name, client=client, encoder=WORDS)
    for refit, config in ((False, None), (True, replace(LEARNED, seed=5))):
        docs.fit(refit=refit, config=config)
        clock.now += 2.0
        hits = reader.search(DOCUMENTS[3].text, mode="fde")
        assert hits[0].id == 3
        assert reader.fde is not None
        assert docs.fde is not None
        assert reader.fde.fingerprint() == docs.fde.fingerprint()
        assert [hit.score for hit in hits] == [hit.score for hit in docs.search(DOCUMENTS[3].text, mode="fde")]
    docs.drop()


@pytest.mark.parametrize("config", [MUVERA, LEMUR], ids=["muvera", "lemur"])
def test_a_collection_that_is_not_of_this_library_any_more_is_not_written_into(
    engine: Engine, client: Client, config: CollectionConfig
) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=WORDS, config=config)
    docs.upsert(DOCUMENTS)
    client.update_collection(engine.name, metadata={"colbert_qdrant": None})
    with pytest.raises(SchemaMismatchError, match="was not created by colbert-qdrant"):
        docs.upsert([Document("new", "zebra")])
    assert client.count(engine.name).count == len(DOCUMENTS)


def test_another_collection_is_noticed_in_an_event_loop(runner: asyncio.Runner) -> None:
    async def switched() -> None:
        client = AsyncQdrantClient(":memory:")
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WORDS, config=MUVERA)
        await docs.upsert(DOCUMENTS)
        await docs.drop()
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WORDS, config=MUVERA)
        await client.delete_collection("docs")
        await AsyncColbertCollection.create("docs", client=client, encoder=OTHER_WORDS, config=MUVERA)
        with pytest.raises(FingerprintMismatchError):
            await docs.upsert(DOCUMENTS)
        writes = [docs.upsert([each]) for each in DOCUMENTS]
        outcomes = await asyncio.gather(*writes, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {FingerprintMismatchError}
        assert (await client.count("docs")).count == 0
        await client.close()

    runner.run(switched())


def test_no_write_relies_on_the_question_of_another_that_is_not_answered_yet(
    runner: asyncio.Runner, clock: Clock
) -> None:
    async def written_meanwhile() -> None:
        client = AsyncQdrantClient(":memory:")
        docs = await AsyncColbertCollection.create("docs", client=client, encoder=WORDS, config=MUVERA)
        clock.now = 1.0
        ask, asked, go_on = client.get_collection, asyncio.Event(), asyncio.Event()

        async def slow(*arguments: Any, **named: Any) -> Any:
            asked.set()
            await go_on.wait()
            return await ask(*arguments, **named)

        client.get_collection = slow  # type: ignore[method-assign]
        first = asyncio.create_task(docs.upsert(DOCUMENTS[:1]))
        await asked.wait()
        await client.delete_collection("docs")
        client.get_collection = ask  # type: ignore[method-assign]
        await AsyncColbertCollection.create("docs", client=client, encoder=OTHER_WORDS, config=MUVERA)
        opened = docs._opened
        with pytest.raises(FingerprintMismatchError):
            await opened.notice(seconds=WRITE_SECONDS)
        go_on.set()
        with pytest.raises(FingerprintMismatchError):
            await first
        await client.close()

    runner.run(written_meanwhile())
