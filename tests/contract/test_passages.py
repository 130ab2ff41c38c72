"""Documents that are divided into passages: searched together, and replaced together, on every engine."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest
from qdrant_client import QdrantClient

from colbert_qdrant import (
    AsyncColbertCollection,
    AsyncEdgeClient,
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    InvalidDocumentError,
    MuveraConfig,
    Passage,
)
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from colbert_qdrant import DocumentId, TokenEmbeddings
    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

FDE = MuveraConfig(k_sim=3, dim_proj=8, r_reps=8)
CONFIG = CollectionConfig(fde=FDE)
MIXED: list[DocumentId] = ["manual", "7", 7, -7, 2**62, UUID(int=5), str(UUID(int=5))]


class Lines:
    """A chunker of the user's own: one passage per line."""

    def chunk(self, document: Document) -> Iterator[Passage]:
        for line in re.finditer(r"[^\n]+", document.text):
            yield Passage(text=line[0], start=line.start(), end=line.end())


def lines(count: int, word: str = "river", first: int = 0) -> str:
    return "\n".join(f"{word} line{number}" for number in range(first, first + count))


def texts(docs: ColbertCollection) -> set[str]:
    return {hit.text for hit in docs.search("river", mode="exact", limit=1_000) if hit.text is not None}


@pytest.fixture
def docs(client: Client, engine: Engine) -> ColbertCollection:
    config = CollectionConfig(fde=FDE, payload_indexes={"parent_id": "keyword"})
    return ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=config)


def test_passages_come_together_under_their_document(docs: ColbertCollection) -> None:
    source = [
        Document("a", "anchor\nriver palace\nriver", {"year": 1}),
        Document("b", "river bridge\ntemple", {"year": 2}),
    ]
    report = docs.ingest(source, chunker=Lines())
    assert (report.documents, docs.count(), report.rejected) == (5, 5, ())
    (best, other) = docs.search_groups("river palace", group_by="parent_id", group_size=2)
    assert (best.key, other.key) == ("a", "b")
    assert [hit.id for hit in best.hits] == ["a#1", "a#2"]
    first = best.hits[0]
    assert (first.text, first.payload["year"], first.payload["parent_id"]) == ("river palace", 1, "a")
    assert first.payload["passage"] == {"number": 1, "start": 7, "end": 19}
    assert source[0].text[7:19] == first.text
    assert [document.text for document in docs.get(["a#0", "b#1"])] == ["anchor", "temple"]
    assert docs.count(where={"parent_id": "b"}) == 2


@pytest.mark.parametrize("native", [False, True])
def test_documents_with_ids_of_every_type(client: Client, engine: Engine, native: bool) -> None:
    config = CollectionConfig(fde=FDE, id_scheme="native" if native else "uuid5", text_key="text")
    docs = ColbertCollection.create(engine.name, client=client, encoder=WordEncoder(), config=config)
    documents = [Document(id, f"river word{number}\nriver") for number, id in enumerate(MIXED)]
    for _ in "ab":  # the same ids each time
        assert docs.ingest(documents, chunker=Lines()).documents == 2 * len(MIXED)
        assert docs.count() == 2 * len(MIXED)
    groups = docs.search_groups("river", group_by="parent_id", limit=20)
    assert {group.key for group in groups} == {str(id) if isinstance(id, UUID) else id for id in MIXED}
    for number, id in enumerate(MIXED):
        (hit, *_) = docs.search(f"word{number}", mode="exact")
        assert hit.payload["parent_id"] == (str(id) if isinstance(id, UUID) else id)


def test_a_document_that_became_shorter_leaves_no_passage_behind(docs: ColbertCollection) -> None:
    docs.ingest(
        [Document("a", lines(300)), Document("b", lines(3, "temple")), Document(7, lines(9, "zebra"))], chunker=Lines()
    )
    docs.ingest([Document("a", lines(5, first=500)), Document(7, lines(1, "candle"))], chunker=Lines())
    assert docs.count() == 5 + 3 + 1
    assert docs.count(where={"parent_id": "a"}) == 5
    assert {f"river line{number}" for number in range(500, 505)} <= texts(docs)
    docs.ingest([Document("a", lines(5))], chunker=Lines())
    assert docs.count() == 9


@pytest.mark.parametrize("counts", [(9, 4), (4, 9), (9, 4, 7), (300, 4), (4, 300), (300, 299), (250, 20, 260, 1)])
def test_several_versions_in_one_source_leave_the_last(docs: ColbertCollection, counts: tuple[int, ...]) -> None:
    source = [Document("a", lines(count, first=1_000 * number)) for number, count in enumerate(counts)]
    docs.ingest(iter(source), chunker=Lines())
    last = 1_000 * (len(counts) - 1)
    assert docs.count() == counts[-1]
    assert texts(docs) == {f"river line{number}" for number in range(last, last + counts[-1])}


def test_a_gap_in_the_stored_passages(docs: ColbertCollection) -> None:
    docs.ingest([Document("a", lines(100))], chunker=Lines())
    docs.delete(ids=["a#10", "a#11", *(f"a#{number}" for number in range(20, 60))])
    docs.ingest([Document("a", lines(10))], chunker=Lines())
    assert docs.count() == 10


def test_bad_documents_end_an_ingest_before_anything_is_written(docs: ColbertCollection) -> None:
    good: Any = Document("good", "river")
    bad: Any
    for bad, message in (
        (
            Document("bad", "river", {"parent_id": 1}),
            r"document 'bad': its payload has \['parent_id'\], which .* rename them",
        ),
        (Document("bad", "river", {"passage": 1, "parent_id": 2}), r"\['parent_id', 'passage'\]"),
        (Document("bad", "river", {"_id": 1}), "colbert-qdrant uses the payload keys"),
        (Document("bad", "river", vectors={"dense": [1.0]}), "has ready tokens or vectors, .* without a chunker"),
        (Document("bad", tokens=[[1.0] * 32]), "has ready tokens or vectors, .* without a chunker"),
        (Document("bad", " \n"), "has no text"),
        (Document("bad", 7), "its text must be a string"),  # type: ignore[arg-type]
        (Document(True, "river"), "id True has type bool"),
        ("bad", "expected a Document, a dict or a tuple, got str"),
    ):
        with pytest.raises(InvalidDocumentError, match=message):
            docs.ingest([good, bad], chunker=Lines())
        report = docs.ingest(iter([bad, good]), chunker=Lines(), on_error="skip")
        assert report.documents == 1
        (rejected,) = report.rejected
        assert re.search(message, rejected.reason)
        docs.delete(ids="good#0")
        assert docs.count() == 0


class Failing(Lines):
    def chunk(self, document: Document) -> Iterator[Passage]:
        if document.id == "bad":
            raise KeyError("a bug")
        return super().chunk(document)


def test_a_chunker_that_fails_for_a_document(docs: ColbertCollection) -> None:
    source = [Document("good", "river"), Document("bad", "river")]
    with pytest.raises(
        InvalidDocumentError, match=r"document 'bad' cannot be divided by Failing \(KeyError: 'a bug'\)"
    ):
        docs.ingest(source, chunker=Failing())
    rows = [{"id": each.id, "text": each.text} for each in source]
    report = docs.ingest(rows, chunker=Failing(), on_error="skip")
    assert (report.documents, [each.id for each in report.rejected]) == (1, ["bad"])


def test_a_chunker_that_returns_something_else(docs: ColbertCollection) -> None:
    class Strings:
        def chunk(self, document: Document) -> list[Any]:
            return document.text.split("\n")

    with pytest.raises(ConfigurationError, match=r"Strings returned 'river' as a passage: make it return Passage"):
        docs.ingest([Document("a", "river")], chunker=Strings(), on_error="skip")


def test_an_empty_passage_is_named(docs: ColbertCollection) -> None:
    report = docs.ingest([Document("a", "river\n \nriver")], chunker=Lines(), on_error="skip")
    assert [each.id for each in report.rejected] == ["a#1"]
    assert docs.count() == 2


@pytest.mark.parametrize("asynchronous", [False, True])
def test_in_an_event_loop(runner: asyncio.Runner, async_edge: AsyncEdgeClient, asynchronous: bool) -> None:
    documents = [Document(f"{number}", lines(3 + number)) for number in range(40)]

    async def stream() -> AsyncIterator[Document]:
        for document in documents:
            yield document

    async def check() -> None:
        docs = await AsyncColbertCollection.create(
            "passages", client=async_edge, encoder=WordEncoder(), config=CollectionConfig(fde=FDE)
        )
        report = await docs.ingest(stream() if asynchronous else documents, chunker=Lines())
        assert report.documents == await docs.count() == sum(3 + number for number in range(40))
        await docs.drop()

    runner.run(check())


def test_unchanged_passages_are_not_encoded_again(client: Client, engine: Engine) -> None:
    encoder = WordEncoder()
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CollectionConfig(fde=FDE))
    docs.ingest([Document("a", lines(9)), Document("b", lines(3))], chunker=Lines())
    encoder.encoded = 0
    shorter = [Document("a", lines(5)), Document("b", f"{lines(3)}\nriver more")]
    report = docs.ingest(shorter, chunker=Lines(), on_conflict="skip")
    assert (report.documents, report.unchanged, encoder.encoded) == (1, 8, 1)
    assert docs.count() == 9


def test_passages_of_departed_documents_are_deleted(docs: ColbertCollection) -> None:
    docs.ingest([Document("a", lines(4)), Document("b", lines(3))], chunker=Lines())
    report = docs.ingest([Document("b", lines(2))], chunker=Lines(), sync=True)
    assert docs.count() == 2
    assert report.deleted >= 4


def test_an_ingest_of_passages_is_resumed(docs: ColbertCollection, tmp_path: Path) -> None:
    source = [Document(f"{number}", lines(30, first=100 * number)) for number in range(20)]

    def failing() -> Iterator[Document]:
        yield from source[:15]
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        docs.ingest(failing(), chunker=Lines(), resume=tmp_path / "journal")
    report = docs.ingest(iter(source), chunker=Lines(), resume=tmp_path / "journal")
    assert report.resumed > 0
    assert docs.count() == 600


class Fragile(WordEncoder):
    """Fails for some texts, as an encoder of your own might."""

    def encode_documents(self, texts: Sequence[str]) -> TokenEmbeddings:
        if any("crash" in text for text in texts):
            raise ValueError("this text crashes the tokenizer")
        return super().encode_documents(texts)


@pytest.mark.parametrize("form", ["file", "documents"])
def test_rejected_passages_name_their_row_and_are_ingested_again_with_the_same_options(
    form: str, tmp_path: Path
) -> None:
    texts = {"a": "river\ncrash\ncrash again\nbridge", "b": "\n", "c": "temple"}
    path, rejects = tmp_path / "docs.jsonl", tmp_path / "rejected.jsonl"
    path.write_text("".join(json.dumps({"id": id, "text": text}) + "\n" for id, text in texts.items()))
    source: Any = path if form == "file" else [Document(id, text) for id, text in texts.items()]
    docs = ColbertCollection.create("docs", client=QdrantClient(":memory:"), encoder=Fragile(), config=CONFIG)
    report = docs.ingest(source, chunker=Lines(), on_error="reject", rejects=rejects)
    assert (report.documents, [each.id for each in report.rejected]) == (3, ["b", "a#1", "a#2"])
    place = {"file": f"{path}, line 1: ", "documents": ""}[form]
    assert report.rejected[1].reason.startswith(f"{place}document 'a#1' cannot be encoded")
    assert len(rejects.read_text().splitlines()) == 2
    rejects.write_text(rejects.read_text().replace("crash", "valley").replace('"text": "\\n"', '"text": "lake"'))
    assert docs.ingest(rejects, chunker=Lines()).documents == 5
    found = {each.id: each.text for each in docs.iterate()}
    assert found == {"a#0": "river", "a#1": "valley", "a#2": "valley again", "a#3": "bridge", "b#0": "lake"} | {
        "c#0": "temple"
    }


def test_a_passage_beyond_the_text_is_the_mistake_of_its_chunker() -> None:
    class Beyond:
        def chunk(self, document: Document) -> list[Passage]:
            return [Passage(text=document.text, start=0, end=99)]

    docs = ColbertCollection.create("docs", client=QdrantClient(":memory:"), encoder=WordEncoder(), config=CONFIG)
    with pytest.raises(ConfigurationError, match=r"Beyond returned a passage that ends at 99, but .* 'a' has 5 char"):
        docs.ingest([Document("a", "river")], chunker=Beyond())
