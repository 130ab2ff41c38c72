"""An ingest with a journal continues where it stopped, and never skips what is not stored, on every engine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from colbert_qdrant import (
    ColbertCollection,
    CollectionConfig,
    ConfigurationError,
    Document,
    InvalidDocumentError,
    JournalError,
    LemurConfig,
    MuveraConfig,
    RejectedDocument,
)
from colbert_qdrant.collection.ingest import chunks
from colbert_qdrant.collection.ingest.journal import Journal
from tests.encoders import WordEncoder, random_texts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from colbert_qdrant.engines import Client
    from tests.contract.conftest import Engine

CONFIG = CollectionConfig(fde=MuveraConfig(k_sim=2, dim_proj=4, r_reps=2))
LEMUR = CollectionConfig(fde=LemurConfig(dim=8, hidden=16, epochs=0, learn_tokens=50, fit_documents=1000))
TEXTS = random_texts(60)
DOCUMENTS = [Document(number, text, {"number": number}) for number, text in enumerate(TEXTS)]


pytestmark = pytest.mark.usefixtures("small_chunks")


@pytest.fixture
def docs(engine: Engine, client: Client, encoder: WordEncoder) -> ColbertCollection:
    return ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)


class OutOfPaperError(Exception):
    """The error of a source that breaks."""


def breaking(documents: list[Document], after: int) -> Iterator[Document]:
    """Yields some documents, and then raises."""
    yield from documents[:after]
    raise OutOfPaperError


def stored(docs: ColbertCollection) -> dict[Any, tuple[str, dict[str, Any]]]:
    return {each.id: (each.text, dict(each.payload)) for each in docs.get(range(100))}


def expected(documents: list[Document]) -> dict[Any, tuple[str, dict[str, Any]]]:
    return {each.id: (each.text, dict(each.payload)) for each in documents}


def test_the_same_call_continues(docs: ColbertCollection, encoder: WordEncoder, tmp_path: Path) -> None:
    journal = tmp_path / "docs.journal"
    with pytest.raises(OutOfPaperError):
        docs.ingest(breaking(DOCUMENTS, 37), resume=journal)
    assert docs.count() == 30
    report = docs.ingest(iter(DOCUMENTS), resume=journal)
    assert (report.documents, report.resumed, encoder.encoded) == (30, 30, 60)
    assert stored(docs) == expected(DOCUMENTS)


def test_a_source_that_has_grown_continues_at_its_end(
    docs: ColbertCollection, encoder: WordEncoder, tmp_path: Path
) -> None:
    journal = str(tmp_path / "docs.journal")
    docs.ingest(DOCUMENTS[:25], resume=journal)
    again = docs.ingest(DOCUMENTS[:25], resume=journal)
    assert (again.documents, again.resumed, encoder.encoded) == (0, 25, 25)
    more = docs.ingest(DOCUMENTS, resume=journal)
    assert (more.documents, more.resumed, encoder.encoded) == (35, 25, 60)
    assert stored(docs) == expected(DOCUMENTS)


def test_a_source_that_has_changed_is_refused(docs: ColbertCollection, tmp_path: Path) -> None:
    journal = tmp_path / "docs.journal"
    docs.ingest(DOCUMENTS[:25], resume=journal)
    before = stored(docs)
    for number, document in ((0, Document(0, "another text")), (24, Document(24, TEXTS[24], {"number": 24.0}))):
        changed = [*DOCUMENTS]
        changed[number] = document
        with pytest.raises(JournalError, match=r"the first 25 items of the source differ from those that journal"):
            docs.ingest(iter(changed), resume=journal)
    with pytest.raises(JournalError, match=r"the source has 20 items, but journal .* records 25"):
        docs.ingest(DOCUMENTS[:20], resume=journal)
    assert stored(docs) == before


def test_rejected_documents_are_reported_by_every_later_call(docs: ColbertCollection, tmp_path: Path) -> None:
    journal, documents = tmp_path / "docs.journal", [*DOCUMENTS]
    documents[3], documents[12] = Document("bad", " "), Document(1.5, "no id")  # type: ignore[arg-type]
    with pytest.raises(OutOfPaperError):
        docs.ingest(breaking(documents, 15), resume=journal, on_error="skip")
    report = docs.ingest(iter(documents), resume=journal, on_error="skip")
    assert [each.id for each in report.rejected] == ["bad", 1.5]
    assert report.rejected[0] == RejectedDocument(
        id="bad", reason="document 'bad' has no text: leave it out, or pass tokens=…"
    )
    assert docs.count() == 58


def test_a_report_names_a_thousand_rejected_documents_and_counts_those_of_all_calls(
    docs: ColbertCollection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunks, "_DOCUMENTS", 600)
    documents = [Document(number, "") for number in range(1800)]
    for count in (600, 1200, 1800):
        report = docs.ingest(iter(documents[:count]), resume=tmp_path / "docs.journal", on_error="skip")
        assert report.rejections == count
        assert [each.id for each in report.rejected] == list(range(min(count, 1000)))


def test_a_collection_that_was_created_again_is_noticed(
    engine: Engine, client: Client, docs: ColbertCollection, encoder: WordEncoder, tmp_path: Path
) -> None:
    journal = tmp_path / "docs.journal"
    docs.ingest(DOCUMENTS[:30], resume=journal)
    docs.drop()
    again = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=CONFIG)
    again.upsert(DOCUMENTS[20:30])
    with pytest.raises(JournalError, match=r"belongs to another collection .* or to one that was deleted and created"):
        again.ingest(DOCUMENTS, resume=journal)
    other = ColbertCollection.create(f"{engine.name}-other", client=client, encoder=encoder, config=CONFIG)
    with pytest.raises(JournalError, match="belongs to another collection"):
        other.ingest(DOCUMENTS, resume=journal)
    assert (again.count(), other.count()) == (10, 0)


def test_a_journal_of_another_encoder_is_refused(docs: ColbertCollection, tmp_path: Path) -> None:
    """A migration in place changes the encoder of a collection."""
    docs.ingest(DOCUMENTS[:30], resume=tmp_path / "docs.journal")
    first = Journal(tmp_path / "docs.journal")
    other = Journal(tmp_path / "other.journal")
    other.start({**(first.header or {}), "encoder": "of another model"})
    other.checkpoint(first.last, [])
    first.close()
    other.close()
    with pytest.raises(JournalError, match="when it had another encoder"):
        docs.ingest(DOCUMENTS, resume=tmp_path / "other.journal")


def test_documents_that_are_gone_are_noticed(docs: ColbertCollection, tmp_path: Path) -> None:
    journal = tmp_path / "docs.journal"
    docs.ingest(DOCUMENTS[:30], resume=journal)
    docs.delete(ids=range(20, 30))
    with pytest.raises(JournalError, match=r"lacks the documents that journal .* records as stored last"):
        docs.ingest(DOCUMENTS, resume=journal)


def test_a_journal_that_cannot_be_used_is_refused_before_anything_is_written(
    docs: ColbertCollection, encoder: WordEncoder, tmp_path: Path
) -> None:
    (tmp_path / "documents.jsonl").write_text('{"id": 1, "text": "a text"}\n')
    for path in (tmp_path, tmp_path / "missing" / "docs.journal", tmp_path / "documents.jsonl"):
        with pytest.raises(JournalError):
            docs.ingest(DOCUMENTS, resume=path)
    assert (docs.count(), encoder.encoded) == (0, 0)


def test_a_journal_is_no_file_of_the_source_and_not_the_file_of_rejected_rows(
    docs: ColbertCollection, tmp_path: Path
) -> None:
    source, journal = tmp_path / "documents.jsonl", tmp_path / "new.jsonl"
    source.touch()
    with pytest.raises(ConfigurationError, match="is a file of the source: pass the path of a new file"):
        docs.ingest(source, resume=source)  # an empty file could become a journal
    source.write_text('{"id": 1, "text": "a text"}\n')
    docs.ingest(str(tmp_path / "*.jsonl"), resume=journal)
    with pytest.raises(ConfigurationError, match=r"new\.jsonl', which is a file of the source"):
        docs.ingest(str(tmp_path / "*.jsonl"), resume=journal)
    with pytest.raises(ConfigurationError, match=r"resume and rejects are both .*: pass two files"):
        docs.ingest(DOCUMENTS, resume=journal, on_error="reject", rejects=str(tmp_path / "." / "new.jsonl"))


def test_a_fit_that_is_still_due_is_done(
    engine: Engine, client: Client, encoder: WordEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = ColbertCollection.create(engine.name, client=client, encoder=encoder, config=LEMUR)
    journal = tmp_path / "docs.journal"

    async def die(*_: object, **__: object) -> None:
        raise OutOfPaperError

    with monkeypatch.context() as patch:
        patch.setattr("colbert_qdrant.collection.fitting.Fitter.fit", die)
        with pytest.raises(OutOfPaperError):
            docs.ingest(DOCUMENTS, resume=journal)
    assert (docs.count(), docs.fde) == (60, None)
    encoder.encoded = 0
    assert docs.ingest(DOCUMENTS, resume=journal).resumed == 60
    assert docs.fde is not None
    assert docs.search(TEXTS[7], limit=1)[0].id == DOCUMENTS[TEXTS.index(TEXTS[7])].id
    assert encoder.encoded == 0


def test_documents_of_the_chunk_that_was_being_written_are_no_conflicts(
    docs: ColbertCollection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`on_conflict="error"` refuses what others stored, and not what a call stored that was killed."""
    journal, checkpoint = tmp_path / "docs.journal", "colbert_qdrant.collection.ingest.resumption.Resumption.checkpoint"
    documents = [*DOCUMENTS[:9], Document(3, "another text"), *DOCUMENTS[10:]]

    async def die(_: object) -> None:
        raise OutOfPaperError

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, die)
        with pytest.raises(OutOfPaperError):
            docs.ingest(iter(documents), resume=journal, on_conflict="error", on_error="skip")
    assert docs.count() >= 9
    report = docs.ingest(iter(documents), resume=journal, on_conflict="error", on_error="skip")
    assert (report.documents, report.resumed) == (59, 0)
    assert [each.id for each in report.rejected] == [3]
    documents[9] = DOCUMENTS[9]
    docs.upsert(documents[9:10])
    assert stored(docs) == expected(DOCUMENTS)
    with pytest.raises(InvalidDocumentError, match=r"10 documents are stored already \(0, 1, 2, 3, 4 and 5 more\)"):
        docs.ingest(iter(DOCUMENTS), on_conflict="error")


def test_rejected_rows_are_in_their_file_once(docs: ColbertCollection, tmp_path: Path) -> None:
    rows: list[Any] = [{"id": number, "text": text} for number, text in enumerate(TEXTS)]
    for number in (3, 12, 27, 33):
        rows[number] = {"id": number, "text": "" if number % 2 else None}
    rows[15] = {"text": "a row without an id"}
    options: dict[str, Any] = {
        "resume": tmp_path / "docs.journal",
        "on_error": "reject",
        "rejects": tmp_path / "rejected.jsonl",
    }

    def broken() -> Iterator[Any]:
        yield from rows[:37]
        raise OutOfPaperError

    with pytest.raises(OutOfPaperError):
        docs.ingest(broken(), **options)
    report = docs.ingest(iter(rows), **options)
    assert docs.ingest(iter(rows), **options).rejections == report.rejections == 5
    lines = [json.loads(line) for line in (tmp_path / "rejected.jsonl").read_text().splitlines()]
    assert [line.get("id") for line in lines] == [3, 12, None, 27, 33]
    assert docs.count() == 55
