"""Payload keys that need quotes are found under their path in quotes, and refused with it where it has none."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from qdrant_client import models

from colbert_qdrant import (
    AsyncColbertCollection,
    Bm25Config,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    Migration,
    MuveraConfig,
    attach,
)
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    import asyncio

    from colbert_qdrant import AsyncEdgeClient
    from colbert_qdrant.config import PayloadIndex
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
KEYS = ["my key", "@id", "a/b", "$x", " lead", "x'y", "\U0001f600", "a+b", "का", "e\u0301"]
BARE = ["a-b", "a_b", "1", "ключ", "日本", "का", "e\u0301"]


@pytest.mark.parametrize("indexed", [True, False])
def test_keys_in_quotes(engine: Engine, client: Client, encoder: WordEncoder, *, indexed: bool) -> None:
    keys = [*KEYS, "a.b", "list[0]", "", *BARE]
    paths = [f'"{key}"' for key in keys] + [f'deep."{key}"' for key in keys] + BARE
    payload = dict.fromkeys(keys, "x")
    config = replace(CONFIG, payload_indexes=dict.fromkeys(paths[::3] if indexed else (), "keyword"))
    with ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config) as docs:
        docs.upsert([Document(1, "river", {**payload, "deep": payload}), Document(2, "river")])
        for path in paths:
            assert docs.count(where={path: "x"}) == docs.count(where={path: {"exists": True}}) == 1, path
            (group,) = docs.search_groups("river", path)
            assert (group.key, [hit.id for hit in group.hits]) == ("x", [1])
    with ColbertCollection.open(engine.name, client=client, encoder=encoder, config=config) as docs:
        assert docs.check() == ()


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("my key", '"my key"'),
        ("@id", '"@id"'),
        ("author.full name", 'author."full name"'),
        ("list[].@id", 'list[]."@id"'),
        ("a[0].b c.d", 'a[0]."b c".d'),
        ("e-mail\u200b", '"e-mail\u200b"'),
        ("a[", "key"),
        ('"a', "key"),
    ],
)
def test_a_path_without_quotes_is_shown_with_them(
    engine: Engine, client: Client, encoder: WordEncoder, path: str, shown: str
) -> None:
    named = {
        "payload_indexes": replace(CONFIG, payload_indexes={path: "keyword"}),
        "tenant_field": replace(CONFIG, tenant_field=path),
        "text_key": replace(CONFIG, text_key=path, id_scheme="native"),
    }
    condition = models.FieldCondition(key=path, match=models.MatchValue(value=1))
    chosen = models.Filter(must_not=[models.Filter(should=[condition])])
    empty = models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key=path))])
    formula = models.FormulaQuery(formula=models.SumExpression(sum=["$score", path]), defaults={path: 0})
    for setting, config in named.items():
        with pytest.raises(ConfigurationError) as caught:
            ColbertCollection.create(engine.name, client=client, encoder=encoder, config=config)
        assert str(caught.value).startswith(setting)
        assert repr(shown) in str(caught.value)
    with ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG) as docs:
        for call in (
            lambda: docs.count(where={path: 1}),
            lambda: docs.delete(where={path: {"gt": 1}}),
            lambda: docs.search("river", where={"$or": [{path: None}]}),
            lambda: docs.search_groups("river", path),
            lambda: docs.count(filter=chosen),
            lambda: docs.delete(filter=empty),
            lambda: docs.search("river", filter=empty, where={"a": 1}),
            lambda: docs.search("river", fusion=formula),
            lambda: attach(client, docs.name, encoder=encoder, text_key=path),
            lambda: Migration.plan(client, docs.name, encoder=encoder, text_key=path),
            lambda: Migration.plan(client, docs.name, encoder=encoder, filter=chosen),
        ):
            with pytest.raises(ConfigurationError) as caught:
                call()
            assert f"is not a valid payload path: write {shown!r}, " in str(caught.value)


@pytest.mark.parametrize("key", ["my key", '"my key"', "meta.text", "parts[]", "a[", "@id"])
def test_a_key_that_has_to_be_one(client: Client, encoder: WordEncoder, key: str) -> None:
    for setting, config in {"text_key": replace(CONFIG, text_key=key), "id_key": replace(CONFIG, id_key=key)}.items():
        with pytest.raises(ConfigurationError) as caught:
            ColbertCollection.create("docs", client=client, encoder=encoder, config=config)
        assert str(caught.value).startswith(
            f"{setting}: {key!r} is not a single payload key: use letters, digits, - and _"
        )


def test_one_path_with_two_types_of_indexes() -> None:
    with pytest.raises(ConfigurationError, match=r"payload_indexes has the key '\"year\"' twice"):
        CollectionConfig(payload_indexes={"year": "integer", '"year"': "keyword"})
    assert CollectionConfig(payload_indexes={"a": "bool", '"a"': "bool"}).payload_indexes == {"a": "bool"}


def test_paths_and_words_in_an_event_loop(async_edge: AsyncEdgeClient, runner: asyncio.Runner) -> None:
    async def work() -> None:
        indexes: dict[str, PayloadIndex] = {"text": "text", '"my key"': "keyword"}
        config = replace(CONFIG, bm25=Bm25Config(language="chinese"), payload_indexes=indexes)
        docs = await AsyncColbertCollection.create("docs", client=async_edge, encoder=WordEncoder(), config=config)
        await docs.upsert([Document(1, "渡轮中午离开港口", {"my key": "x", "note": "港口"}), Document(2, "a river")])
        assert await docs.count(where={"text": {"match": "港口"}, '"my key"': "x"}) == 1
        assert [hit.id for hit in await docs.search("港口", prefetch=["bm25"])] == [1]
        condition = models.FieldCondition(key="my key", match=models.MatchValue(value="x"))
        for refused, message in (
            (docs.count(where={"my key": "x"}), "where: 'my key' is not a valid payload path"),
            (docs.count(filter=models.Filter(must=[condition])), "filter: 'my key' is not a valid payload path"),
            (docs.search_groups("river", "my key"), "group_by: 'my key' is not a valid payload path"),
            (docs.delete(where={"note": {"match": "港口"}}), "'note' 'match' .* multilingual"),
        ):
            with pytest.raises(ConfigurationError, match=message):
                await refused
        await docs.drop()

    runner.run(work())
