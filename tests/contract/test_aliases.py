"""Collections behind aliases, on every engine."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from qdrant_client import models

from colbert_qdrant import (
    ColbertCollection,
    CollectionConfig,
    CollectionExistsError,
    CollectionNotFoundError,
    Document,
    MuveraConfig,
)
from tests.encoders import random_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine
    from tests.encoders import WordEncoder

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=3, dim_proj=8, r_reps=4))
TEXTS = random_texts(30)


def switch(client: Client, alias: str, name: str) -> None:
    create = models.CreateAlias(collection_name=name, alias_name=alias)
    client.update_collection_aliases(
        [
            models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias)),
            models.CreateAliasOperation(create_alias=create),
        ]
    )


def filled(client: Client, name: str, encoder: WordEncoder) -> ColbertCollection:
    """Documents that say which collection they are in."""
    docs = ColbertCollection.create(name, client=client, encoder=encoder, config=CONFIG)
    docs.upsert([Document(number, text, {"in": name}) for number, text in enumerate(TEXTS)])
    return docs


@pytest.fixture
def alias(engine: Engine) -> str:
    return f"{engine.name}-alias"


@pytest.fixture
def pair(engine: Engine, client: Client, encoder: WordEncoder) -> Iterator[tuple[str, str]]:
    names = engine.name, f"{engine.name}-new"
    collections = [filled(client, name, encoder) for name in names]
    yield names
    collections[1].drop()


def test_a_collection_is_opened_filled_searched_and_dropped_by_an_alias(
    engine: Engine, client: Client, encoder: WordEncoder, alias: str
) -> None:
    ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    switch(client, alias, engine.name)
    docs = ColbertCollection.open(alias, client=client, encoder=encoder)
    assert docs.config == CONFIG
    docs.upsert([Document("first", TEXTS[0])])
    docs.ingest([Document(number, text, {"number": number}) for number, text in enumerate(TEXTS)])
    direct = ColbertCollection.open(engine.name, client=client, encoder=encoder)
    for each in (docs, direct):
        assert each.count() == len(TEXTS) + 1
        assert each.get([3, "first"]) == [Document(3, TEXTS[3], {"number": 3}), Document("first", TEXTS[0])]
    assert docs.search_batch(TEXTS[:5], limit=50) == direct.search_batch(TEXTS[:5], limit=50)
    docs.delete(ids="first")
    docs.check()
    assert direct.count() == len(TEXTS)
    assert docs.info() == direct.info()
    with pytest.raises(CollectionExistsError):
        ColbertCollection.create(alias, client=client, encoder=encoder, config=CONFIG)
    assert ColbertCollection.open_or_create(alias, client=client, encoder=encoder).count() == len(TEXTS)
    docs.drop()
    assert not client.collection_exists(engine.name)
    assert not client.collection_exists(alias)
    with pytest.raises(CollectionNotFoundError):
        ColbertCollection.open(alias, client=client, encoder=encoder)


@contextmanager
def restless() -> Iterator[None]:
    """Threads change as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)


def test_a_search_while_an_alias_is_switched_finds_one_collection_or_the_other(
    client: Client, encoder: WordEncoder, pair: tuple[str, str], alias: str
) -> None:
    switch(client, alias, pair[0])
    docs = ColbertCollection.open(alias, client=client, encoder=encoder)
    found: set[frozenset[str]] = set()
    failures: list[Exception] = []
    done = threading.Event()

    def search() -> None:
        try:
            while not done.is_set():
                for hits in docs.search_batch(TEXTS[:2], limit=8):
                    found.add(frozenset(hit.payload["in"] for hit in hits))
        except Exception as error:  # noqa: BLE001 - the test fails with it
            failures.append(error)

    with restless():
        searching = threading.Thread(target=search)
        searching.start()
        turn = 0
        while (turn < 60 or len(found) < 2) and searching.is_alive():
            turn += 1
            switch(client, alias, pair[turn % 2])
        done.set()
        searching.join()
    assert failures == []
    assert found == {frozenset({name}) for name in pair}


@pytest.mark.parametrize("which", [0, 1])
def test_after_a_switch_every_search_finds_the_new_collection(
    client: Client, encoder: WordEncoder, pair: tuple[str, str], alias: str, which: int
) -> None:
    switch(client, alias, pair[1 - which])
    docs = ColbertCollection.open(alias, client=client, encoder=encoder)
    assert {hit.payload["in"] for hit in docs.search(TEXTS[0])} == {pair[1 - which]}
    switch(client, alias, pair[which])
    assert {hit.payload["in"] for hit in docs.search(TEXTS[0])} == {pair[which]}
    docs.upsert([Document("new", "zebra", {"in": "the new one"})])
    direct = ColbertCollection.open(pair[which], client=client, encoder=encoder)
    assert direct.get("new") == [Document("new", "zebra", {"in": "the new one"})]
