"""Data sets of BEIR and NanoBEIR by name, from local copies of the Hub's repositories."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from colbert_qdrant import ConfigurationError, RetrievalDataset
from colbert_qdrant.errors import DatasetError
from colbert_qdrant.evaluation.datasets import load_datasets
from colbert_qdrant.evaluation.datasets.catalog import NANO_BEIR
from tests.unit.evaluation.datasets.files import (
    CORPUS,
    QRELS,
    QUERIES,
    beir_folder,
    hub_beir,
    hub_repository,
    texts,
    write,
    write_parquet,
)

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("datasets")

NANO = {
    "corpus": [{"_id": row["_id"], "text": row["text"]} for row in CORPUS],
    "queries": QUERIES,
    "qrels": [{"query-id": q, "corpus-id": d} for q, d, relevance in QRELS if relevance],
}


def nano(folder: Path) -> None:
    """Write a repository of NanoBEIR."""
    files = {config: f"{config}/train-00000-of-00001.parquet" for config in NANO}
    tables = [(config, "train", file) for config, file in files.items()]
    hub_repository(folder, tables, {file: NANO[config] for config, file in files.items()})


@pytest.mark.parametrize("name", ["scifact", "SciFact", "BeIR/scifact", "sci-fact"])
def test_a_name_of_beir_is_loaded_from_a_copy_in_the_layout_of_the_hub(tmp_path: Path, name: str) -> None:
    dataset = RetrievalDataset.load(name, root=hub_beir(tmp_path))
    expected = RetrievalDataset.load(beir_folder(tmp_path / "folder"))
    assert dataset.name == "scifact"
    assert (dataset.queries, dataset.qrels) == (expected.queries, expected.qrels)
    assert texts(dataset) == texts(expected)
    assert texts(dataset) == texts(expected), "the documents can be read again"


def test_a_copy_without_the_owner_or_the_card_is_loaded_too(tmp_path: Path) -> None:
    hub_beir(tmp_path)
    (tmp_path / "BeIR" / "scifact" / "README.md").unlink()
    assert len(texts(RetrievalDataset.load("scifact", root=tmp_path / "BeIR"))) == 3


def test_older_revisions_have_json_lines_beside_a_script(tmp_path: Path) -> None:
    hub_beir(tmp_path)
    repository = tmp_path / "BeIR" / "nq"
    repository.mkdir()
    (tmp_path / "BeIR" / "scifact-qrels").rename(tmp_path / "BeIR" / "nq-qrels")
    (repository / "nq.py").write_text("raise RuntimeError")
    for name, rows in (("corpus", CORPUS), ("queries", QUERIES)):
        (repository / f"{name}.jsonl.gz").write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    dataset = RetrievalDataset.load("nq", root=tmp_path)
    assert [*dataset.queries] == ["q2", "q1"]
    assert texts(dataset)["d1"] == "Ferry The ferry leaves at nine."


def test_ids_that_look_like_numbers_or_missing_values_are_kept(tmp_path: Path) -> None:
    hub_beir(tmp_path)
    write(tmp_path / "BeIR" / "scifact-qrels" / "test.tsv", "query-id\tcorpus-id\tscore\nq1\t007\t1\nq1\tNA\t1\n")
    assert RetrievalDataset.load("scifact", root=tmp_path, missing="ignore").qrels == {"q1": {"007": 1, "NA": 1}}


def test_judgments_are_read_as_in_a_beir_folder(tmp_path: Path) -> None:
    """Quotes have no meaning, other names of columns are known, and the files may be compressed."""
    qrels = hub_beir(tmp_path) / "BeIR" / "scifact-qrels"
    (qrels / "test.tsv").unlink()
    (qrels / "README.md").write_text("---\nlicense: mit\ntask_ids:\n- fact-checking-retrieval\n---\n# A card\n")
    for junk in ("train.tsv.gz", "zz/.cache/huggingface/download/test.tsv.metadata", "zz/._test.tsv"):
        (qrels / junk).parent.mkdir(parents=True, exist_ok=True)
        write(qrels / junk, "junk, some of which hf download writes")
    write(qrels / "test.tsv.gz", 'qid\tdocno\trel\nq1\t"d1\t2\nq1\td2\t1.0\n')
    assert RetrievalDataset.load("scifact", root=tmp_path, missing="ignore").qrels == {"q1": {'"d1': 2, "d2": 1}}


@pytest.mark.parametrize("number", [int, float])
def test_a_corpus_in_shards_and_judgments_in_parquet_are_read(tmp_path: Path, number: type) -> None:
    files = {f"corpus/corpus-0000{shard}-of-00003.parquet": [row] for shard, row in enumerate(CORPUS)}
    tables = [("corpus", "corpus", next(iter(files))), ("queries", "queries", "queries/queries-00000-of-00001.parquet")]
    folder = hub_repository(tmp_path / "BeIR" / "fiqa", tables, {**files, tables[1][2]: QUERIES})
    for file, rows in files.items():
        write_parquet(folder / file, rows)
    judged = [{"query-id": q, "corpus-id": d, "score": number(relevance)} for q, d, relevance in QRELS]
    file = "data/validation-00000-of-00001.parquet"
    hub_repository(tmp_path / "BeIR" / "fiqa-qrels", [("default", "validation", file)], {file: judged})
    dataset = RetrievalDataset.load("fiqa", root=tmp_path, split="dev")
    assert dataset.qrels == {"q1": {"d1": 2, "d3": 1}, "q2": {"d2": 1, "d1": 0}}
    assert [*texts(dataset)] == ["d1", "d2", "d3"]


def test_the_path_of_a_copy_says_how_to_load_it(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"scifact' has no corpus\.jsonl .*: for a copy of .*, pass the name .* root="
    ):
        RetrievalDataset.load(hub_beir(tmp_path) / "BeIR" / "scifact")


def test_dev_is_the_split_that_the_hub_calls_validation(tmp_path: Path) -> None:
    hub_beir(tmp_path, "fiqa", split="dev")
    assert [*RetrievalDataset.load("fiqa", root=tmp_path, split="dev").queries] == ["q2", "q1"]
    with pytest.raises(DatasetError, match="BeIR/fiqa-qrels has no split 'test': pass split= one of 'dev'"):
        RetrievalDataset.load("fiqa", root=tmp_path)


def test_a_folder_of_beir_below_the_root_is_a_copy_too(tmp_path: Path) -> None:
    beir_folder(tmp_path / "scifact")
    assert RetrievalDataset.load("scifact", root=tmp_path).name == "scifact"


def test_a_forum_of_cqadupstack_is_a_data_set(tmp_path: Path) -> None:
    files = {
        f"gis/{part}/{part}-00000-of-00001.parquet": rows for part, rows in (("corpus", CORPUS), ("queries", QUERIES))
    }
    tables = [("gis", part, file) for part, file in zip(("corpus", "queries"), files, strict=True)]
    hub_repository(tmp_path / "BeIR" / "cqadupstack", tables, files)
    qrels = tmp_path / "BeIR" / "cqadupstack-qrels" / "gis"
    qrels.mkdir(parents=True)
    write(qrels / "test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n")
    dataset = RetrievalDataset.load("cqadupstack/gis", root=tmp_path)
    assert (dataset.name, [*dataset.queries], len(texts(dataset))) == ("cqadupstack/gis", ["q1"], 3)


@pytest.mark.parametrize("name", ["NanoSciFact", "nano-scifact", "zeta-alpha-ai/NanoSciFact"])
def test_a_name_of_nanobeir_is_loaded_and_its_judgments_are_relevant(tmp_path: Path, name: str) -> None:
    nano(tmp_path / "zeta-alpha-ai" / "NanoSciFact")
    dataset = RetrievalDataset.load(name, root=tmp_path)
    assert dataset.name == "NanoSciFact"
    assert dataset.qrels == {"q1": {"d1": 1, "d3": 1}, "q2": {"d2": 1}}
    assert texts(dataset)["d1"] == "The ferry leaves at nine."


def test_all_of_nanobeir_is_read_one_by_one_from_the_copy_in_one_repository(tmp_path: Path) -> None:
    """The copy has a split for each data set."""
    files = {(part, name): f"{part}/{name}-00000-of-00001.parquet" for part in NANO for name in NANO_BEIR}
    rows = {file: NANO[part] for (part, _), file in files.items()}
    tables = [(part, name, file) for (part, name), file in files.items()]
    hub_repository(tmp_path / "sentence-transformers" / "NanoBEIR-en", tables, rows)
    loaded = load_datasets("nanobeir", root=tmp_path)
    for name in NANO_BEIR[:2]:
        dataset = next(loaded)
        assert (dataset.name, len(texts(dataset)), len(dataset.queries)) == (name, 3, 2)


@pytest.mark.parametrize(("name", "excludes"), [("arguana", True), ("Quora", True), ("scifact", False)])
def test_beir_leaves_out_the_query_itself_in_arguana_and_quora(tmp_path: Path, name: str, excludes: bool) -> None:
    hub_beir(tmp_path, name.lower())
    assert RetrievalDataset.load(name, root=tmp_path).excludes_query_id is excludes


def test_nanobeir_does_not_leave_out_the_query_itself(tmp_path: Path) -> None:
    nano(tmp_path / "NanoArguAna")
    assert RetrievalDataset.load("NanoArguAna", root=tmp_path).excludes_query_id is False


def test_the_cache_of_the_hub_is_read_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    hub_beir(tmp_path / "copies")
    for name in ("scifact", "scifact-qrels"):
        repository = tmp_path / "hub" / f"datasets--BeIR--{name}"
        (repository / "snapshots").mkdir(parents=True)
        (tmp_path / "copies" / "BeIR" / name).rename(repository / "snapshots" / ("a" * 40))
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text("a" * 40)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert len(texts(RetrievalDataset.load("scifact"))) == 3
    with pytest.raises(DatasetError, match=r"BeIR/nq cannot be downloaded .*: check the network, or pass root="):
        RetrievalDataset.load("nq")


def test_a_hub_that_refuses_is_an_error_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stub answers as the Hub does for a repository with conditions, and for one that does not exist."""
    from huggingface_hub import constants
    from pytest_httpserver import HTTPServer

    with HTTPServer() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url_for("").rstrip("/"))
        for code in ("GatedRepo", "RepoNotFound"):
            server.expect_ordered_request(re.compile(r".*")).respond_with_data(
                status=403 if code == "GatedRepo" else 404, headers={"X-Error-Code": code}
            )
        with pytest.raises(DatasetError, match=r"BeIR/nq is gated: accept its conditions on https://.*BeIR/nq"):
            RetrievalDataset.load("nq")
        with pytest.raises(DatasetError, match=r"BeIR/nq cannot be downloaded .*RepositoryNotFoundError.*root="):
            RetrievalDataset.load("nq")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scifcat", "no folder, ZIP archive or data set 'scifcat': did you mean 'scifact'"),
        ("msmarko", r"did you mean 'msmarco'.*Otherwise, pass a path, or use one of arguana, .*NanoTouche2020"),
        ("scifact", "has no copy of BeIR/scifact and BeIR/scifact-qrels, which 'scifact' consists of: copy"),
        ("NanoNQ", "has no copy of zeta-alpha-ai/NanoNQ, which 'NanoNQ' consists of: copy"),
        ("NanoBEIR", r"'NanoBEIR' is a group of data sets, which evaluate\(\) takes: load one of NanoClimateFEVER"),
        ("cqadupstack", "'cqadupstack' is a group of data sets"),
    ],
)
def test_a_data_set_that_is_not_there_is_an_error_with_its_remedy(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        RetrievalDataset.load(name, root=tmp_path)


def test_a_damaged_copy_is_an_error_that_names_it(tmp_path: Path) -> None:
    hub_beir(tmp_path)
    next((tmp_path / "BeIR" / "scifact" / "corpus").iterdir()).write_bytes(b"PAR1 torn")
    with pytest.raises(DatasetError, match=r"BeIR/scifact.* cannot be read .*: download it again"):
        RetrievalDataset.load("scifact", root=tmp_path)


def test_a_wrong_judgment_of_the_hub_names_its_file_and_line(tmp_path: Path) -> None:
    hub_beir(tmp_path)
    write(tmp_path / "BeIR" / "scifact-qrels" / "test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td9\t1\n")
    with pytest.raises(DatasetError, match=r"BeIR/scifact-qrels/test\.tsv, line 3: document 'd9' is not in the corpus"):
        RetrievalDataset.load("scifact", root=tmp_path)


def test_several_data_sets_are_found_before_the_first_is_read(tmp_path: Path) -> None:
    folder = beir_folder(tmp_path / "ferries")
    ready = replace(RetrievalDataset.load(folder), name="mine")
    assert [each.name for each in load_datasets([folder, ready])] == ["ferries", "mine"]
    with pytest.raises(DatasetError, match="two data sets have the name 'ferries': leave out one"):
        load_datasets([folder, folder])
    with pytest.raises(DatasetError, match="did you mean 'scifact'"):
        load_datasets([folder, "scifcat"])
    for wrong in ([], None, [None], {"a": 1}):
        with pytest.raises(ConfigurationError, match="dataset must be a RetrievalDataset, a path, a name such as"):
            load_datasets(wrong)  # type: ignore[arg-type]
