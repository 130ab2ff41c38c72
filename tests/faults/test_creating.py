"""Creating and opening while the server fails: all of a collection, or nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from colbert_qdrant import AuthenticationError, ColbertCollection, CollectionExistsError, ServerError
from tests.encoders import WordEncoder
from tests.faults.server import Answer, FaultyServer, failing
from tests.faults.test_http import CONFIG, QUICK

if TYPE_CHECKING:
    from qdrant_client import QdrantClient

INDEXED = replace(CONFIG, payload_indexes={"year": "integer"})
EXISTS = failing(409, "Wrong input: Collection `docs` already exists!")


def create(client: QdrantClient, *, indexed: bool = False) -> ColbertCollection:
    config = INDEXED if indexed else CONFIG
    return ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config, retry=QUICK)


@pytest.mark.parametrize(
    "script",
    [
        [failing(503)],
        [Answer(cut=0), failing(500)],
        [Answer(stored=True, cut=0), EXISTS],
        [replace(failing(504), stored=True), EXISTS],
    ],
    ids=["503", "reset, then 500", "made, but reset", "made, but 504"],
)
def test_what_passes_is_sat_out(server: FaultyServer, client: QdrantClient, script: list[Answer]) -> None:
    server.making = list(script)
    create(client)
    assert server.making == []
    ColbertCollection.open("docs", client=client, encoder=WordEncoder(), config=CONFIG)


def test_somebody_else_s_is_not_taken_for_ours(server: FaultyServer, client: QdrantClient) -> None:
    server.making = [replace(failing(504), stored=True), EXISTS]
    server.points = 3  # nobody can have written to ours yet
    with pytest.raises(CollectionExistsError, match="created by another client at the same time"):
        create(client)
    assert server.created is not None


def test_two_that_create_at_once_both_have_it(server: FaultyServer, client: QdrantClient) -> None:
    server.making = [replace(EXISTS, stored=True)]
    docs = ColbertCollection.open_or_create("docs", client=client, encoder=WordEncoder(), config=CONFIG, retry=QUICK)
    assert docs.count() == 0


def test_what_cannot_be_finished_is_taken_back(server: FaultyServer, client: QdrantClient) -> None:
    server.judge = lambda body, _: failing(500, "disk full") if "field_name" in body else None
    with pytest.raises(ServerError, match=r"create_payload_index in collection 'docs' failed after 4 .*disk full"):
        create(client, indexed=True)
    assert server.created is None
    server.judge = lambda body, _: None
    create(client, indexed=True)
    assert server.created is not None


@pytest.mark.parametrize("method", ["create_payload_index", "get_collection"])
def test_what_is_interrupted_is_taken_back(
    server: FaultyServer, client: QdrantClient, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        assert server.created is not None
        raise KeyboardInterrupt

    monkeypatch.setattr(client, method, interrupt)
    with pytest.raises(KeyboardInterrupt):
        create(client, indexed=True)
    assert server.created is None


def test_a_key_that_may_not_create(server: FaultyServer, client: QdrantClient) -> None:
    server.read_only = True
    with pytest.raises(AuthenticationError, match=r"create_collection in collection 'docs' failed: .*only read access"):
        create(client)


def test_a_version_that_cannot_be_asked_for_is_asked_for_again(server: FaultyServer, client: QdrantClient) -> None:
    server.greeting = [failing(503), Answer(cut=0)]
    create(client)
    assert server.greeting == []
