"""`match` in a `where` looks for words on every engine, or is an error that names the index that a server needs."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, Final

import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant import (
    Bm25Config,
    CapabilityError,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    EdgeClient,
    MuveraConfig,
)
from tests.encoders import WordEncoder
from tests.server.listener import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from colbert_qdrant.config import PayloadIndex
    from tests.faults.server import FaultyServer

SMALL: Final = MuveraConfig(k_sim=2, dim_proj=4, r_reps=2)
DOCUMENTS: Final = [
    Document(1, "river bridge", {"title": "low"}),
    Document(2, "Bridge of stone", {"title": "high"}),
    Document(3, "abridged", {"title": "high"}),
]


def filled(client: Any, **indexes: PayloadIndex) -> ColbertCollection:
    config = CollectionConfig(fde=SMALL, payload_indexes=indexes)
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config)
    docs.upsert(DOCUMENTS)
    return docs


@pytest.fixture
def of_1_19(tmp_path: Path) -> Iterator[QdrantClient]:
    """A client of a model of a server 1.19, which matches substrings without a full-text index."""
    with serving(tmp_path / "model") as url:
        client = QdrantClient(url=url, check_compatibility=False)
        yield client
        client.close()


@pytest.mark.parametrize(
    ("words", "expected"),
    [("Bridge", {1, 2}), ("bridge", {1, 2}), ("brid", set()), ("stone BRIDGE", {2}), ("river stone", set())],
)
def test_words_are_the_same_everywhere(of_1_19: QdrantClient, tmp_path: Path, words: str, expected: set[int]) -> None:
    with EdgeClient(tmp_path / "edge") as edge:
        for docs in (filled(of_1_19, text="text"), filled(edge), filled(QdrantClient(":memory:"))):
            where = {"text": {"match": words}}
            assert {hit.id for hit in docs.search("bridge", where=where)} == expected
            assert docs.count(where=where) == len(expected)


CALLS: Final[dict[str, Callable[[ColbertCollection, Any], Any]]] = {
    "search": lambda docs, where: docs.search("bridge", where=where),
    "search_batch": lambda docs, where: docs.search_batch(["bridge"], where=where),
    "search_groups": lambda docs, where: docs.search_groups("bridge", "title", where=where),
    "more_like": lambda docs, where: docs.more_like(1, where=where),
    "count": lambda docs, where: docs.count(where=where),
    "delete": lambda docs, where: docs.delete(where=where),
}


@pytest.mark.parametrize("call", CALLS)
def test_times_and_numbers_are_not_taken_for_each_other(of_1_19: QdrantClient, tmp_path: Path, call: str) -> None:
    day = date(2024, 6, 1)
    with EdgeClient(tmp_path / "edge") as edge:
        for docs in (filled(of_1_19, year="integer", day="datetime"), filled(edge, year="float", day="datetime")):
            docs.upsert([Document(4, "river", {"year": 2020, "day": "2024-05-01"})])
            for where in (
                {"year": {"lt": day}},
                {"title": "x", "$or": [{"year": {"ne": day}}, {"year": 1}]},
                {"year": {"gte": "2024-06-01"}},
                {"day": 5},
                {'"day"': {"in": [True, 5.0]}},
                {"$not": {"day": {"lte": 10**15}}},
            ):
                with pytest.raises(
                    ConfigurationError, match=r"where: '(year|day)' is compared with (times|numbers), but"
                ):
                    CALLS[call](docs, where)
            assert docs.count() == 4
            assert docs.count(where={"year": {"gte": 2020}, "day": {"lt": day}}) == 1


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "where",
    [
        {"text": {"match": "bridge"}},
        {"title": "high", "$or": [{"title": "low"}, {"$not": {"text": {"match": "bridge", "ne": "x"}}}]},
    ],
)
def test_without_an_index_of_words_it_is_an_error(of_1_19: QdrantClient, call: str, where: dict[str, Any]) -> None:
    docs = filled(of_1_19, text="keyword")
    with pytest.raises(
        ConfigurationError, match=r"'text' 'match' searches for words, and this server needs an index"
    ) as caught:
        CALLS[call](docs, where)
    assert "client.create_payload_index(name, 'text', models.PayloadSchemaType.TEXT)" in str(caught.value)
    assert docs.count() == len(DOCUMENTS)
    of_1_19.create_payload_index("docs", "text", models.PayloadSchemaType.TEXT)
    CALLS[call](docs, where)  # what was made meanwhile is seen


def test_a_filter_means_what_the_engine_makes_of_it(of_1_19: QdrantClient) -> None:
    part = models.Filter(must=[models.FieldCondition(key="text", match=models.MatchText(text="brid"))])
    docs = filled(of_1_19)
    assert docs.count(filter=part) == 2  # as it is written, "Bridge" is another
    assert {hit.id for hit in docs.search("bridge", filter=part)} == {1, 3}


def test_servers_that_need_no_index_are_asked_as_it_is(server: FaultyServer, client: QdrantClient) -> None:
    server.version = "1.20.0"
    docs = filled(client)
    asked = len(server.texts)
    docs.count(where={"text": {"match": "bridge"}})
    assert len(server.texts) == asked + 1


UNSPACED: Final = {
    "Chinese": ("渡轮中午离开港口。", ["港口", "渡轮"]),
    "Japanese": ("フェリーは正午に港を出ます。", ["フェリー", "正午"]),
    "Thai": ("เรือข้ามฟากออกจากท่าเรือตอนเที่ยง", ["ท่าเรือ"]),
    "mixed": ("iPhone15发布会在北京", ["北京", "iphone15"]),
}


@pytest.mark.parametrize("script", UNSPACED)
def test_words_without_spaces_are_found_by_an_index_that_splits_them(
    of_1_19: QdrantClient, tmp_path: Path, script: str
) -> None:
    text, words = UNSPACED[script]
    with EdgeClient(tmp_path / "edge") as edge:
        for client in (of_1_19, edge):
            docs = filled(client, text="text")
            docs.upsert([Document(9, text)])
            with pytest.raises(ConfigurationError, match=r"where: 'text' 'match' .* tokenizer='multilingual'"):
                docs.delete(where={"$not": {"text": {"match": words[0]}}})
            schema = models.TextIndexParams(type="text", tokenizer="multilingual", lowercase=True)  # type: ignore[arg-type]
            client.create_payload_index("docs", "text", schema)
            for word in words:
                assert docs.count(where={"text": {"match": word}}) == 1
                assert [hit.id for hit in docs.search("bridge", where={"text": {"match": word}})] == [9]


@pytest.mark.parametrize("language", ["chinese", "japanese", "thai"])
def test_an_index_of_words_splits_what_bm25_does(of_1_19: QdrantClient, tmp_path: Path, language: str) -> None:
    text, words = UNSPACED[language.capitalize()]
    config = CollectionConfig(fde=SMALL, payload_indexes={"text": "text"}, bm25=Bm25Config(language=language))
    with EdgeClient(tmp_path / "edge") as edge:
        for client in (of_1_19, edge):
            docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config)
            docs.upsert([Document(9, text), Document(1, "river bridge")])
            assert docs.count(where={"text": {"match": words[0]}}) == 1
            assert docs.count(where={"text": {"match": "Bridge"}}) == 1


def test_words_that_nothing_finds() -> None:
    docs = filled(QdrantClient(":memory:"))
    with pytest.raises(
        CapabilityError, match=r"words of a language without spaces needs a Qdrant server, .* with 'in'"
    ):
        docs.count(where={"text": {"match": "港口"}})
    for words in ("កំពង់ផែ", "ທ່າເຮືອ", "ဆိပ်ကမ်း", "ferry ဆိပ်ကမ်း"):
        with pytest.raises(ConfigurationError, match="'match' searches for words, but Qdrant cannot split Lao"):
            docs.count(where={"text": {"match": words}})
    assert docs.count(where={"text": {"match": "항구"}}) == 0
