"""Test collections of separate files, and of objects in memory."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any, Literal

import pytest

from colbert_qdrant import ConfigurationError, Document, RetrievalDataset, Run, evaluate
from colbert_qdrant.errors import DatasetError, EngineError
from tests.encoders import WordEncoder
from tests.unit.evaluation.datasets.files import CORPUS, HEADER, beir_folder, texts, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

JSON_LINES = """{"_id": "q1", "text": "when does the boat depart"}
{"id": "q2", "text": "who \\"crossed\\" it"}
"""
QUERY_FILES = {
    "queries.jsonl": JSON_LINES,
    "queries.ndjson.gz": JSON_LINES,
    "queries.tsv": 'q1\twhen does the boat depart\nq2\twho "crossed" it\n',
    "header.tsv": 'query_id\ttext\nq1\twhen does the boat depart\n\nq2\twho "crossed" it\n',
    "queries.csv": 'q1,when does the boat depart\nq2,"who ""crossed"" it"\n',
    "header.csv": 'text,extra,_id\nwhen does the boat depart,,q1\n"who ""crossed"" it",1,q2\n',
    "topics.trec": 'q1\twhen does the boat depart\nq2\twho "crossed" it\n',
}
QRELS_FILES = {
    "qrels.tsv": f"{HEADER}q1\td1\t2\nq1\td3\t1\nq2\td2\t1\n",
    "trec.tsv": "q1\t0\td1\t2\nq1\t0\td3\t1\nq2\t0\td2\t1\n",
    "qrels.trec": "q1 0 d1 2\nq1  Q0\td3 1\nq2 0 d2 1\n",
    "qrels.txt.gz": "q1 0 d1 2\r\nq1 0 d3 1\r\nq2 0 d2 1\r\n",
    "qrels.csv": "query-id,corpus-id,score\nq1,d1,2\nq1,d3,1\nq2,d2,1\n",
    "pandas.csv": "corpus-id,query-id,score\nd1,q1,2.0\nd3,q1,1.0\nd2,q2, 1.\n",
    "qrels.jsonl": '{"query-id": "q1", "corpus-id": "d1", "score": 2}\n{"query_id": "q1", "doc_id": "d3"}\n'
    '{"qid": "q2", "docno": "d2", "rel": "1"}\n',
}
QUERIES = {"q1": "when does the boat depart", "q2": 'who "crossed" it'}
JUDGED = {"q1": {"d1": 2, "d3": 1}, "q2": {"d2": 1}}


@pytest.mark.parametrize("name", QUERY_FILES)
def test_queries_are_read_in_every_format(tmp_path: Path, name: str) -> None:
    qrels = write(tmp_path / "qrels.trec", QRELS_FILES["qrels.trec"])
    queries = write(tmp_path / name, QUERY_FILES[name])
    assert RetrievalDataset.from_files(queries=queries, qrels=qrels).queries == QUERIES


@pytest.mark.parametrize("name", QRELS_FILES)
def test_judgments_are_read_in_every_format(tmp_path: Path, name: str) -> None:
    qrels = write(tmp_path / name, QRELS_FILES[name])
    queries = write(tmp_path / "queries.tsv", QUERY_FILES["queries.tsv"])
    dataset = RetrievalDataset.from_files(queries=queries, qrels=str(qrels))
    assert dataset.qrels == JUDGED
    assert dataset.documents is None
    assert dataset.name == tmp_path.name


ODD_IDS = {
    f"{first}d{last}": 1 for first in (" ", "\u00a0", "\u2028", '"', "\x1c") for last in (" ", "\u00a0", "'", ",")
}


@pytest.mark.parametrize("name", ["out.tsv", "out.csv", "out.jsonl", "out.ndjson.gz", "out.tsv.gz", "out.csv.GZ"])
def test_written_judgments_are_read_again(tmp_path: Path, name: str) -> None:
    qrels = {"q1": {"d1": 2, "d3": 0, "d4": -1}, "q2": ODD_IDS}
    dataset = RetrievalDataset(name="mine", queries=QUERIES, qrels=qrels)
    dataset.write_qrels(tmp_path / name)
    queries = write(tmp_path / "queries.tsv", QUERY_FILES["queries.tsv"])
    assert RetrievalDataset.from_files(queries=queries, qrels=tmp_path / name).qrels == qrels
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted([name, "queries.tsv"])
    assert (tmp_path / name).read_bytes().startswith(b"\x1f\x8b") == name.lower().endswith(".gz")


@pytest.mark.parametrize("name", ["out.json", "out.parquet", "out.tsv.zst"])
def test_formats_without_judgments_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"out\.(json|parquet|tsv\.zst)' .*: use \."):
        RetrievalDataset(name="mine", queries=QUERIES, qrels=JUDGED).write_qrels(tmp_path / name)
    queries = write(tmp_path / "queries.json", "{}")
    with pytest.raises(ConfigurationError, match=r"queries\.json' has the suffix \.json: use \.jsonl, \.tsv, \.csv"):
        RetrievalDataset.from_files(queries=queries, qrels=queries)


@pytest.mark.parametrize("white", ["\u00a0", "\u2028", "\x1c"])
def test_ascii_white_space_separates_the_columns_of_trec(tmp_path: Path, white: str) -> None:
    """So do trec_eval and `Run.read`."""
    qrels = write(tmp_path / "odd.qrels", f"q1 0 d{white}1 1\n")
    queries = write(tmp_path / "queries.tsv", QUERY_FILES["queries.tsv"])
    assert RetrievalDataset.from_files(queries=queries, qrels=qrels).qrels == {"q1": {f"d{white}1": 1}}


def test_a_compressed_file_may_lack_its_suffix(tmp_path: Path) -> None:
    qrels = write(tmp_path / "judged.qrels", gzip.compress(QRELS_FILES["qrels.trec"].encode()))
    queries = write(tmp_path / "queries.tsv", QUERY_FILES["queries.tsv"])
    assert RetrievalDataset.from_files(queries=queries, qrels=qrels).qrels == JUDGED


def test_lines_within_quotes_are_kept(tmp_path: Path) -> None:
    queries = write(tmp_path / "queries.csv", 'q1,"when\n\n does it"\n\n  \nq2,who\n')
    qrels = write(tmp_path / "judged.qrels", QRELS_FILES["qrels.trec"])
    assert RetrievalDataset.from_files(queries=queries, qrels=qrels).queries == {"q1": "when\n\n does it", "q2": "who"}


def test_a_long_id_is_cut_in_messages(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "ferries", qrels=[("q1", "d" * 100_000, 1)])
    with pytest.raises(DatasetError, match=r"line 2: document 'd+… is not in the corpus") as caught:
        RetrievalDataset.load(folder)
    assert len(str(caught.value)) < 600


def test_trec_eval_reads_what_is_written(tmp_path: Path) -> None:
    ir_measures = pytest.importorskip("ir_measures")
    RetrievalDataset(name="mine", queries=QUERIES, qrels=JUDGED).write_qrels(tmp_path / "out.qrels")
    read = ir_measures.read_trec_qrels(str(tmp_path / "out.qrels"))
    assert [(each.query_id, each.doc_id, each.relevance) for each in read] == [
        ("q1", "d1", 2),
        ("q1", "d3", 1),
        ("q2", "d2", 1),
    ]


@pytest.mark.parametrize(
    ("name", "id", "message"),
    [
        ("out.qrels", "a b", r"TREC's format has no place for white space in id 'a b': write a \.tsv or \.jsonl file"),
        ("out.tsv", "a\tb", r"no place for the white space in id 'a\\tb': write a \.jsonl file"),
    ],
)
def test_ids_that_a_format_cannot_hold_are_refused_and_the_file_is_kept(
    tmp_path: Path, name: str, id: str, message: str
) -> None:
    before = write(tmp_path / name, "as it was")
    dataset = RetrievalDataset(name="mine", queries={"q": "x"}, qrels={"q": {id: 1}})
    with pytest.raises(DatasetError, match=message):
        dataset.write_qrels(before)
    assert before.read_text() == "as it was"
    dataset.write_qrels(tmp_path / "out.jsonl")
    with pytest.raises(EngineError, match="cannot be written"):
        dataset.write_qrels(tmp_path / "none" / "out.jsonl")


@pytest.mark.parametrize(
    "corpus",
    [
        lambda path: path / "corpus.jsonl",
        lambda path: path,
        lambda _: CORPUS,
        lambda _: [(row["_id"], row["text"]) for row in CORPUS],
        lambda _: [Document(row["_id"], row["text"], {"title": row["title"]}) for row in CORPUS],
    ],
    ids=["file", "BEIR folder", "dicts", "tuples", "documents"],
)
def test_the_corpus_is_anything_that_ingest_reads(tmp_path: Path, corpus: Callable[[Path], Any]) -> None:
    source = corpus(folder := beir_folder(tmp_path / "ferries"))
    dataset = RetrievalDataset.from_files(
        queries=folder / "queries.jsonl", qrels=folder / "qrels" / "test.tsv", corpus=source, name="mine"
    )
    titled = not isinstance(source, list) or isinstance(source[0], dict)
    assert texts(dataset)["d1"] == ("Ferry The ferry leaves at nine." if titled else "The ferry leaves at nine.")
    assert texts(dataset)["d2"] == "A bridge crosses the river."
    assert (dataset.name, len(texts(dataset))) == ("mine", 3), "the corpus is read again"


def test_a_corpus_that_can_be_read_once_is_refused(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "ferries")
    files: dict[str, Any] = {"queries": folder / "queries.jsonl", "qrels": folder / "qrels" / "test.tsv"}
    with pytest.raises(ConfigurationError, match="corpus is a generator, which can be read only once: pass a path"):
        RetrievalDataset.from_files(**files, corpus=(each for each in CORPUS))
    with pytest.raises(ConfigurationError, match="documents of 'mine' can be read only once"):
        RetrievalDataset(name="mine", queries=QUERIES, qrels=JUDGED, documents=iter([Document("a", "b")]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("qrels.trec", "q1 0 d1 1\nq1 0 d2\n", "line 2: the line has 3 columns, and 4 are expected"),
        ("qrels.tsv", "q1\td1\t1\n", "line 1: .*start the file with the header query-id, corpus-id, score"),
        ("qrels.csv", "q1;d1;1\n", "line 1: the line has 1 column, .*with the header query-id, corpus-id, score"),
        ("qrels.trec", "q1 0 d1 high\n", r"line 1: the relevance is 'high', not an integer.*header"),
        ("qrels.trec", "query iter doc rel\n", r"line 1: the relevance is 'rel', not an integer.*header"),
        ("qrels.csv", 'query-id,corpus-id,score\nq1,"d1,1\n', r"line 2: the row is not CSV .*close its quotes"),
        ("qrels.jsonl", '{"query-id": "q1", "corpus-id": "d1", "score": 0.5}\n', "line 1: the relevance is 0.5, not"),
        ("qrels.jsonl", '{"query-id": "q1", "corpus-id": "d1", "score": NaN}\n', "line 1: the relevance is nan, not"),
        ("qrels.jsonl", '{"query-id": "q1", "corpus-id": "d1", "score": true}\n', "line 1: the relevance is True, not"),
        ("qrels.jsonl", '{"query-id": "q1", "corpus-id": {"id": 1}}\n', "line 1: an id is {'id': 1}, not a string or"),
        (
            "qrels.jsonl",
            '{"query-id": "q1", "corpus-id": "\\ud800"}\n',
            r"line 1: an id is '\\ud800', which is not valid",
        ),
        ("qrels.trec", "q1 0 d1 10001\n", "line 1: the relevance is '10001': use grades up to 10,000"),
        ("qrels.jsonl", '{"query-id": "q1"}\n', "line 1: there is no document, and the columns are 'query-id'"),
        ("qrels.tsv.gz", b"", "a compressed file has at least a header"),
        ("qrels.tsv", b"q\x001\t\xff\n", "line 1: byte 0xff at position 5 is not UTF-8"),
    ],
)
def test_a_damaged_file_is_an_error_with_file_and_line(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    qrels = tmp_path / name
    qrels.write_bytes(content.encode() if isinstance(content, str) else content)
    queries = write(tmp_path / "queries.tsv", QUERY_FILES["queries.tsv"])
    with pytest.raises(DatasetError, match=rf"{name}.*{message}"):
        RetrievalDataset.from_files(queries=queries, qrels=qrels)


@pytest.mark.parametrize("content", ["", "q7\tanother\n"])
def test_queries_of_other_judgments_are_an_error(tmp_path: Path, content: str) -> None:
    queries = write(tmp_path / "queries.tsv", content)
    qrels = write(tmp_path / "judged.qrels", "q1 0 d1 1\n")
    choices: tuple[Literal["error", "ignore"], ...] = ("error", "ignore")
    for missing in choices:
        with pytest.raises(DatasetError, match=r"queries\.tsv has no query that .*judged\.qrels judges"):
            RetrievalDataset.from_files(queries=queries, qrels=qrels, missing=missing)


def test_a_file_that_does_not_exist_names_its_argument(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"there is no file .*none\.tsv' of queries: pass"):
        RetrievalDataset.from_files(
            queries=tmp_path / "none.tsv", qrels=write(tmp_path / "judged.qrels", b"q1 0 a 1\n")
        )


@pytest.mark.parametrize(
    ("fields", "error", "message"),
    [
        ({"queries": {"q1": "boat"}}, DatasetError, "query 'q2' has judgments and no text"),
        ({"queries": QUERIES | {"q2": " "}}, DatasetError, "query 'q2' has judgments and no text"),
        ({"qrels": {"q1": {"d1": 0}}}, DatasetError, "has no judgments of a relevant document"),
        ({"qrels": {"q1": {"d1": 0.5}}}, ConfigurationError, r"qrels\['q1'\]\['d1'\] must be an integer, got 0.5"),
        ({"qrels": {"q1": ["d1"]}}, ConfigurationError, r"qrels\['q1'\] must be a dict of relevance"),
        ({"qrels": {1: {"d1": 1}}}, ConfigurationError, "an id in qrels must be a string, got int 1"),
        ({"qrels": {"q1": {"d1": 10_001}}}, ConfigurationError, r"\['d1'\] must be at most 10,000, got 10001: use"),
        ({"qrels": {"q1": {"": 1}}}, ConfigurationError, r"an id in qrels\['q1'\] is empty: use another id"),
        ({"qrels": {"\ud800": {"d1": 1}}}, ConfigurationError, "an id in qrels is .*, which is not valid Unicode"),
        (
            {"queries": QUERIES | {"q2": "\ud800"}},
            DatasetError,
            "the text of query 'q2' is .*, which is not valid Unic",
        ),
        ({"documents": "corpus.jsonl"}, ConfigurationError, "documents must be a list of Document, got a str"),
    ],
)
def test_a_wrong_collection_in_memory_is_an_error(fields: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        RetrievalDataset(**{"name": "mine", "queries": QUERIES, "qrels": JUDGED} | fields)


def test_queries_without_judgments_are_left_out() -> None:
    dataset = RetrievalDataset(name="mine", queries={"q0": "", "q2": "b", "q1": "a"}, qrels=JUDGED)
    assert [*dataset.queries] == ["q2", "q1"]


def test_judgments_alone_measure_a_run(tmp_path: Path) -> None:
    qrels = write(tmp_path / "judged.qrels", b"q1 0 a 1\nq2 0 b 2\n")
    dataset = RetrievalDataset.from_files(qrels=qrels, name="judged")
    found = Run(name="theirs", hits={"q1": {"b": 2.0, "a": 1.0}})
    assert evaluate(found, dataset, metrics="RR@10")["theirs"].mean("RR@10") == 0.25
    with pytest.raises(DatasetError, match="has judgments and no queries to search for: load it with queries, or pass"):
        evaluate(WordEncoder(), dataset, progress=False)
