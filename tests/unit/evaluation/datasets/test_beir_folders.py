"""BEIR folders and archives as test collections."""

from __future__ import annotations

import tracemalloc
import zipfile
from typing import TYPE_CHECKING

import pytest

from colbert_qdrant import ColbertQdrantWarning, RetrievalDataset
from colbert_qdrant.errors import DatasetError
from tests.unit.evaluation.datasets.files import CORPUS, HEADER, QRELS, beir_folder, texts, write

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = {
    "d1": "Ferry The ferry leaves at nine.",
    "d2": "A bridge crosses the river.",
    "d3": "Harbor Boats wait in the harbor.",
}


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_folder_is_loaded_with_its_judged_queries_in_the_order_of_the_file(tmp_path: Path, suffix: str) -> None:
    folder = beir_folder(tmp_path / "ferries", suffix=suffix)
    dataset = RetrievalDataset.load(folder)
    assert dataset.name == "ferries"
    assert [*dataset.queries] == ["q2", "q1"]
    assert dataset.qrels == {"q1": {"d1": 2, "d3": 1}, "q2": {"d2": 1, "d1": 0}}
    assert texts(dataset) == TEXTS
    assert texts(dataset) == TEXTS, "the documents can be read again"


def test_the_separator_joins_title_and_text(tmp_path: Path) -> None:
    dataset = RetrievalDataset.load(beir_folder(tmp_path / "ferries"), title_separator=". ")
    assert texts(dataset) == TEXTS | {
        "d1": "Ferry. The ferry leaves at nine.",
        "d3": "Harbor. Boats wait in the harbor.",
    }


@pytest.mark.parametrize(("top", "suffix"), [("", ""), ("ferries/", ".gz"), ("ferries/", ".zst")])
def test_an_archive_is_read_in_place(tmp_path: Path, top: str, suffix: str) -> None:
    folder = beir_folder(tmp_path / "unpacked", suffix=suffix)
    path = tmp_path / "ferries.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in (file for file in folder.rglob("*") if file.is_file()):
            archive.write(each, top + each.relative_to(folder).as_posix())
        archive.writestr(f"__MACOSX/{top}corpus.jsonl", "junk")
        archive.writestr(f"{top}._corpus.jsonl", "junk")
        archive.writestr(f"{top}qrels/._test.tsv", "junk")
        archive.writestr("../../evil.jsonl", "junk")
    dataset = RetrievalDataset.load(path)
    assert dataset.name == "ferries"
    assert texts(dataset) == TEXTS
    assert {*tmp_path.iterdir()} == {folder, path}, "nothing is extracted"


def test_an_archive_of_several_collections_names_each_as_a_path_to_pass(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "unpacked")
    path = tmp_path / "cqadupstack.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for each in (file for file in folder.rglob("*") if file.is_file()):
            for forum in ("android", "gis"):
                archive.write(each, f"cqadupstack/{forum}/{each.relative_to(folder).as_posix()}")
    with pytest.raises(DatasetError, match=r"several test collections: pass one of .*cqadupstack/android.*gis"):
        RetrievalDataset.load(path)
    dataset = RetrievalDataset.load(path / "cqadupstack" / "gis")
    assert dataset.name == "gis"
    assert texts(dataset) == TEXTS


def test_another_split_is_chosen_by_its_name(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "ferries", split="dev")
    assert [*RetrievalDataset.load(folder, split="dev").qrels] == ["q1", "q2"]
    write(folder / "qrels" / "._dev.tsv", "junk of macOS")
    with pytest.raises(
        DatasetError, match=r"no judgments of split 'test' \(qrels/test.tsv\): pass split= one of 'dev'$"
    ):
        RetrievalDataset.load(folder)


def test_documents_without_text_are_left_out_with_a_warning(tmp_path: Path) -> None:
    folder = beir_folder(
        tmp_path / "ferries",
        corpus=[*CORPUS, {"_id": "d4", "title": "", "text": " "}],
        qrels=[*QRELS, ("q1", "d4", 1)],
    )
    with pytest.warns(ColbertQdrantWarning, match="'ferries': 1 document has no text"):
        dataset = RetrievalDataset.load(folder)
    assert [*texts(dataset)] == ["d1", "d2", "d3"]
    assert dataset.qrels["q1"]["d4"] == 1


def test_unknown_documents_name_the_line_of_the_judgment(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "ferries", qrels=[*QRELS, ("q2", "d7", 1), ("q2", "d8", 1)])
    with pytest.raises(
        DatasetError,
        match=r"test\.tsv, line 6: document 'd7' is not in the corpus \(2 are unknown\): .*missing=\"ignore\"",
    ):
        RetrievalDataset.load(folder)
    assert RetrievalDataset.load(folder, missing="ignore").qrels["q2"]["d7"] == 1


def test_unknown_queries_name_the_line_of_the_judgment(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "ferries", qrels=[*QRELS, ("q7", "d1", 1), ("q8", "d1", 1)])
    with pytest.raises(DatasetError, match=r"test\.tsv, line 6: query 'q7' is not in .* \(2 are unknown\): add"):
        RetrievalDataset.load(folder)
    with pytest.warns(ColbertQdrantWarning, match="2 judged queries left out"):
        assert [*RetrievalDataset.load(folder, missing="ignore").qrels] == ["q1", "q2"]


def test_windows_line_ends_and_byte_order_marks_are_read(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "ferries")
    expected = RetrievalDataset.load(folder)
    for path in (file for file in folder.rglob("*") if file.is_file()):
        write(path, b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    dataset = RetrievalDataset.load(folder)
    assert (dataset.queries, dataset.qrels) == (expected.queries, expected.qrels)
    assert texts(dataset) == texts(expected) == TEXTS


def test_numbers_as_ids_become_strings(tmp_path: Path) -> None:
    folder = beir_folder(
        tmp_path / "numbers",
        corpus=[{"_id": 1, "text": "one"}, {"_id": 2, "text": "two"}],
        queries=[{"_id": 7, "text": "which number"}],
        qrels=[("7", "1", 1)],
    )
    dataset = RetrievalDataset.load(folder)
    assert [*texts(dataset)] == ["1", "2"]
    assert dataset.queries == {"7": "which number"}


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ("", "there are no judgments"),
        (HEADER, "there are no judgments"),
        (f"{HEADER}q1\td1\t0\n", "no judgment has a relevance of 1 or more"),
        (f"{HEADER}q1\td1\tyes\n", r"line 2: the relevance is 'yes', not an integer"),
        (f"{HEADER}q1\td1\tNaN\n", r"line 2: the relevance is 'NaN', not an integer"),
        (f"{HEADER}q1\td1\t1.5\n", r"line 2: the relevance is '1.5', not an integer"),
        (f"{HEADER}q1\td1\n", r"line 2: the line has 2 columns, and 3 are expected"),
        (f"{HEADER}q1\t\t1\n", r"line 2: an id is missing"),
        (f"{HEADER}q1\td1\t1\nq1\td1\t2\n", r"line 3: document 'd1' has relevance 2 for query 'q1', and 1 in"),
        ("query\tdocument\tgain\nq1\td1\t1\n", r"line 1: the line has 3 columns, and 4 are expected: .*header"),
    ],
)
def test_a_wrong_judgment_is_an_error(tmp_path: Path, qrels: str, message: str) -> None:
    folder = beir_folder(tmp_path / "ferries", qrels=qrels)
    with pytest.raises(DatasetError, match=rf"test\.tsv.*{message}"):
        RetrievalDataset.load(folder)


def test_bytes_that_are_not_utf_8_are_an_error(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "ferries")
    write(folder / "qrels" / "test.tsv", HEADER.encode() + b"q1\td\xff\t1\n")
    with pytest.raises(DatasetError, match=r"test\.tsv, line 2: byte 0xff at position 5 is not UTF-8"):
        RetrievalDataset.load(folder)


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"_id": "q1", "text": " "}, r"line 4: the text of query 'q1' is ' '"),
        ({"_id": "q1", "text": None}, r"line 4: the text of query 'q1' is empty"),
        ({"_id": "q1", "text": "another"}, r"line 4: query 'q1' has another text"),
        ({"_id": "q1"}, r"line 4: there is no text, and the columns are '_id'"),
        ({"_id": "q1", "text": 0}, r"line 4: the text of query 'q1' is 0: write it"),
        ({"_id": "q1", "text": "\ud800"}, r"line 4: the text of query 'q1' is '\\ud800', which is not valid Unicode"),
        ({"_id": 1.5, "text": "a"}, r"line 4: an id is 1.5, not a string or an integer"),
        ({"_id": ["q1"], "text": "a"}, r"line 4: an id is \['q1'\], not a string or an integer"),
    ],
)
def test_a_wrong_query_is_an_error(tmp_path: Path, query: dict[str, object], message: str) -> None:
    queries: list[dict[str, object]] = [
        {"_id": "q2", "text": "river"},
        {"_id": "q3", "text": ""},
        {"_id": "q1", "text": "boat"},
        query,
    ]
    with pytest.raises(DatasetError, match=rf"queries\.jsonl, {message}"):
        RetrievalDataset.load(beir_folder(tmp_path / "ferries", queries=queries))


def test_a_damaged_corpus_names_its_line(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "ferries")
    with (folder / "corpus.jsonl").open("a") as file:
        file.write('{"_id": "d4", "text":\n')
    with pytest.raises(DatasetError, match=r"corpus\.jsonl, line 4: the line is not JSON"):
        RetrievalDataset.load(folder)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"_id": "d4", "body": "b"}, r"line 4: there is no text, and the columns are '_id', 'body': name the columns"),
        ({"title": "t", "text": "b"}, r"line 4: there is no _id, and the columns are 'title', 'text': name"),
        ({"_id": "", "text": "b"}, r"line 4: the id is missing"),
        ({"_id": 0.5, "text": "b"}, r"line 4: an id is 0\.5, not a string or an integer"),
        ({"_id": ["d4"], "text": "b"}, r"line 4: an id is \['d4'\], not a string or an integer"),
        ({"_id": "d4", "text": ["b"]}, r"line 4: the text of document 'd4' is a list: use a string"),
    ],
)
def test_a_wrong_document_is_an_error(tmp_path: Path, row: dict[str, object], message: str) -> None:
    with pytest.raises(DatasetError, match=rf"corpus\.jsonl, {message}"):
        RetrievalDataset.load(beir_folder(tmp_path / "ferries", corpus=[*map(dict, CORPUS), row]))


def test_two_texts_of_one_document_are_an_error(tmp_path: Path) -> None:
    same = beir_folder(tmp_path / "same", corpus=[*CORPUS, CORPUS[0]])
    assert texts(RetrievalDataset.load(same)) == TEXTS
    folder = beir_folder(tmp_path / "ferries", corpus=[*CORPUS, {"_id": "d1", "text": "another"}])
    with pytest.raises(DatasetError, match=r"corpus\.jsonl, line 4: document 'd1' has another text before"):
        RetrievalDataset.load(folder)


def test_a_folder_of_collections_names_each_as_a_path_to_pass(tmp_path: Path) -> None:
    beir_folder(tmp_path / "one")
    assert RetrievalDataset.load(tmp_path).name == "one"
    beir_folder(tmp_path / "two")
    with pytest.raises(DatasetError, match=r"several test collections: pass one of '.*/one', '.*/two'"):
        RetrievalDataset.load(tmp_path)


def test_a_damaged_or_encrypted_archive_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path / "ferries.zip", b"PK\x03\x04 torn")
    with pytest.raises(DatasetError, match=r"ferries\.zip cannot be read .*: download or copy it again"):
        RetrievalDataset.load(path)
    folder = beir_folder(tmp_path / "unpacked")
    with zipfile.ZipFile(path, "w") as archive:
        for each in (file for file in folder.rglob("*") if file.is_file()):
            archive.write(each, each.relative_to(folder))
    content = bytearray(path.read_bytes())
    content[content.index(b"The ferry")] ^= 1
    write(path, bytes(content))
    with pytest.raises(DatasetError, match=r"ferries\.zip/corpus\.jsonl.*cannot be read further \(BadZipFile"):
        RetrievalDataset.load(path)
    content[content.index(b"The ferry".replace(b"T", b"U"))] ^= 1
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):  # set the flag of encryption
        start = content.find(signature)
        while start >= 0:
            content[start + offset] |= 1
            start = content.find(signature, start + 1)
    write(path, bytes(content))
    with pytest.raises(
        DatasetError, match=r"test\.tsv cannot be read \(OSError: .*encrypted.*: download or copy it again"
    ):
        RetrievalDataset.load(path)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("corpus.jsonl", "has no corpus.jsonl: pass a folder with corpus.jsonl, queries.jsonl and qrels/test.tsv"),
        ("queries.jsonl", "has no queries.jsonl: pass a folder"),
        ("qrels/test.tsv", r"has no judgments of split 'test' \(qrels/test.tsv\): add it"),
    ],
)
def test_a_missing_file_is_an_error(tmp_path: Path, path: str, message: str) -> None:
    folder = beir_folder(tmp_path / "ferries")
    (folder / path).unlink()
    with pytest.raises(DatasetError, match=message):
        RetrievalDataset.load(folder)


def test_a_corpus_without_texts_is_an_error(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "ferries", corpus=[{"_id": "d1", "text": ""}], qrels=[("q1", "d1", 1)])
    with pytest.raises(DatasetError, match="'ferries' has no documents with a text: correct its corpus"):
        RetrievalDataset.load(folder)


@pytest.mark.parametrize("archived", [False, True])
def test_a_large_corpus_is_never_in_memory(tmp_path: Path, archived: bool) -> None:
    long = "a word " * 1_000
    path = beir_folder(
        tmp_path / "large", corpus=({"_id": f"d{number}", "text": f"{number} {long}"} for number in range(3_000))
    )
    if archived:
        with zipfile.ZipFile(tmp_path / "large.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for each in (file for file in path.rglob("*") if file.is_file()):
                archive.write(each, each.relative_to(path))
        path = tmp_path / "large.zip"
    tracemalloc.start()
    try:
        dataset = RetrievalDataset.load(path)
        assert sum(1 for _ in dataset.documents or ()) == 3_000
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20, "of 21 MB"
    finally:
        tracemalloc.stop()
