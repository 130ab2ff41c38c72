"""What is found wrong with a collection, and mended: by `check`, `info`, `repair`, and by opening it."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from colbert_qdrant import AuthenticationError, ColbertCollection, ColbertQdrantWarning, EdgeClient
from tests.encoders import WordEncoder
from tests.faults.server import Answer, failing
from tests.faults.test_http import CONFIG, DOCUMENTS

if TYPE_CHECKING:
    from pathlib import Path

    from qdrant_client import QdrantClient

    from tests.faults.engine import EngineServer

INDEXED = replace(CONFIG, payload_indexes={"year": "integer"}, tenant_field="team")
NAMED = "The payload indexes 'team', 'year'"


def create_and_die(client: Any) -> None:
    """As a process that ends once the collection is made leaves it: with no indexes, and not taken back."""

    def dead(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "create_payload_index", dead)
        patch.setattr(client, "delete_collection", dead)
        with pytest.raises(KeyboardInterrupt):
            ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=INDEXED)


def open_or_create(client: Any) -> ColbertCollection:
    return ColbertCollection.open_or_create("docs", client=client, encoder=WordEncoder(), config=INDEXED)


def reopened(client: Any) -> ColbertCollection:
    return ColbertCollection.open("docs", client=client, encoder=WordEncoder())


@pytest.mark.parametrize("where", ["server", "edge"])
def test_opening_makes_the_indexes_that_a_create_did_not_come_to(
    remote: QdrantClient, tmp_path: Path, where: str
) -> None:
    client = remote if where == "server" else EdgeClient(tmp_path)
    create_and_die(client)
    docs = reopened(client)
    state = docs.info()
    assert state.indexes == {"team": "keyword", "year": "integer"}
    assert state.warnings == ()
    assert docs.check() == docs.repair() == ()
    docs.upsert(DOCUMENTS[:3])
    assert docs.count() == 3
    if isinstance(client, EdgeClient):
        client.close()


@pytest.mark.parametrize("version", ["1.15.0", "1.19.0"])
def test_a_create_that_died_at_any_request_is_finished_by_the_next(
    engine: EngineServer, remote: QdrantClient, version: str
) -> None:
    engine.version = version
    for number in itertools.count(1):
        calls = itertools.count(1)

        def die(method: str, path: str, body: Any, number: int = number, calls: Any = calls) -> Answer | None:
            return failing(401, "dead") if method != "GET" and next(calls) >= number else None

        engine.fault = die
        died = False
        with contextlib.suppress(AuthenticationError):
            died = True
            open_or_create(remote)
            died = False
        engine.fault = lambda method, path, body: None
        docs = open_or_create(remote)
        assert docs.info().indexes == {"team": "keyword", "year": "integer"}
        assert docs.check() == ()
        docs.drop()
        if not died:
            break
    assert number > 3


def test_a_key_that_may_not_write_opens_a_collection_without_its_indexes(
    engine: EngineServer, remote: QdrantClient
) -> None:
    create_and_die(remote)
    engine.read_only = True
    with pytest.warns(ColbertQdrantWarning, match=r"lacks the payload indexes 'team', 'year'.*call repair\(\)"):
        docs = reopened(remote)
    (sentence,) = docs.check()
    assert sentence.startswith(NAMED)
    assert docs.info().warnings == (sentence,)
    with pytest.raises(AuthenticationError):
        docs.repair()
    engine.read_only = False
    assert docs.repair() == (f"{NAMED} were created.",)
    assert docs.check() == docs.repair() == ()


def test_what_checks_and_opens_a_whole_collection_writes_nothing(engine: EngineServer, remote: QdrantClient) -> None:
    ColbertCollection.create("docs", client=remote, encoder=WordEncoder(), config=INDEXED)
    engine.log.clear()
    docs = reopened(remote)
    docs.check()
    docs.info()
    docs.repair()
    assert {path for method, path, _ in engine.log if method != "GET"} == {"/collections/docs/points/count"}
