"""Every mode finds what it should, and its metrics are those of the hits."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID

import numpy as np
import pytest
import pytrec_eval
from qdrant_client import AsyncQdrantClient, QdrantClient

from colbert_qdrant import (
    AsyncColbertCollection,
    ClosedError,
    ColbertCollection,
    ColbertQdrantWarning,
    CollectionConfig,
    ConfigurationError,
    DatasetError,
    DenseConfig,
    Document,
    Evaluation,
    MuveraEncoder,
    Passage,
    ReadyTokens,
    RetrievalDataset,
    Run,
    evaluate,
)
from tests.encoders import WordEncoder
from tests.unit.evaluation import world
from tests.unit.evaluation.datasets.files import beir_folder
from tests.unit.evaluation.world import (
    CONFIG,
    MUVERA,
    QRELS,
    QUERIES,
    TEXTS,
    documents,
    maxsim_scores,
    measured,
    small_dataset,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Evaluation:
    return measured(WordEncoder(), folder=tmp_path_factory.mktemp("evaluation"))


@pytest.fixture
def docs() -> Iterator[ColbertCollection]:
    client = QdrantClient(":memory:")
    collection = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
    collection.upsert(documents())
    yield collection
    client.close()


def hits(evaluation: Evaluation, mode: str) -> dict[str, dict[str, float]]:
    run = evaluation[mode].run
    assert run is not None
    return {query: dict(found) for query, found in run.hits.items()}


def test_exact_search_finds_what_numpy_finds(evaluation: Evaluation) -> None:
    for query, found in hits(evaluation, "exact").items():
        scores = maxsim_scores(WordEncoder(), QUERIES[query])
        assert len(found) == 20
        assert sorted(found.values(), reverse=True) == pytest.approx(
            sorted(scores.values(), reverse=True)[:20], abs=1e-3
        )
        assert found == pytest.approx({id: scores[id] for id in found}, abs=1e-3)


def test_two_stages_rank_by_maxsim_the_best_encodings(evaluation: Evaluation) -> None:
    encoder, fde = WordEncoder(), MuveraEncoder(MUVERA, token_dim=32)
    stored = fde.encode_documents(encoder.encode_documents([*TEXTS.values()])).astype(np.float16).astype(np.float32)
    for query, found in hits(evaluation, "two-stage").items():
        similarities = stored @ fde.encode_queries(encoder.encode_queries([QUERIES[query]]))[0]
        candidates = {[*TEXTS][number] for number in np.argsort(-similarities)[:30]}
        scores = maxsim_scores(encoder, QUERIES[query])
        assert [*found] == sorted(candidates, key=lambda each: (-scores[each], each))[:20]
        alone = hits(evaluation, "fde")[query]
        assert [*alone] == [[*TEXTS][number] for number in np.argsort(-similarities)[:20]]


def test_bm25_finds_documents_with_words_of_the_query(evaluation: Evaluation) -> None:
    for query, found in hits(evaluation, "bm25").items():
        words = {*QUERIES[query].split()}
        with_words = {id for id, text in TEXTS.items() if words & {*text.split()}}
        assert {*found} <= with_words
        assert len(found) == min(20, len(with_words))
        assert [*found.values()] == sorted(found.values(), reverse=True)


def test_hybrid_search_ranks_by_maxsim_and_bm25(evaluation: Evaluation) -> None:
    for query, found in hits(evaluation, "hybrid").items():
        maxsim, bm25 = maxsim_scores(WordEncoder(), QUERIES[query]), hits(evaluation, "bm25")[query]
        known = [document for document in found if document in bm25]
        for better, worse in combinations(known, 2):
            assert maxsim[better] > maxsim[worse] - 1e-3 or bm25[better] > bm25[worse] - 1e-3


def test_metrics_are_those_of_the_hits(evaluation: Evaluation) -> None:
    assert evaluation.modes == ("exact", "two-stage", "fde", "hybrid", "bm25")
    assert evaluation.metrics == ("nDCG@10", "R@20")
    for run in evaluation.runs:
        found = hits(evaluation, run.mode)
        assert {*found} == {*run.values["R@20"]} == {*QUERIES}
        for query, value in run.values["R@20"].items():
            judged = {id for id, relevance in QRELS[query].items() if relevance}
            assert value == pytest.approx(len(judged & {*found[query]}) / len(judged))
        assert run.milliseconds is not None
        assert run.milliseconds > 0


def test_pytrec_eval_computes_the_same_from_the_run_files(evaluation: Evaluation, tmp_path: Path) -> None:
    evaluation.write_runs(tmp_path)
    assert evaluation.folder is not None
    for run in evaluation.runs:
        written = evaluation.folder / "small" / f"{run.mode}.run"
        assert written.read_bytes() == (tmp_path / f"small.{run.mode}.run").read_bytes()
        rows = [line.split() for line in written.read_text().splitlines()]
        scores = {query: {row[2]: float(row[4]) for row in rows if row[0] == query} for query in QUERIES}
        theirs = pytrec_eval.RelevanceEvaluator(QRELS, {"ndcg_cut.10", "recall.20"}).evaluate(scores)
        for query in QUERIES:
            assert run.values["nDCG@10"][query] == pytest.approx(theirs[query]["ndcg_cut_10"], abs=1e-6)
            assert run.values["R@20"][query] == pytest.approx(theirs[query]["recall_20"], abs=1e-6)


def test_ids_with_spaces_have_run_files_in_json(tmp_path: Path) -> None:
    dataset = small_dataset(documents=[Document("a b", "river")], queries={"q": "river"}, qrels={"q": {"a b": 1}})
    measured(WordEncoder(), dataset, folder=tmp_path, modes="exact")
    assert Run.read(tmp_path / "small" / "exact.json").hits["q"]["a b"] == pytest.approx(1, abs=0.1)


def test_a_collection_is_measured_as_it_is(docs: ColbertCollection, evaluation: Evaluation) -> None:
    before = docs.count()
    found = measured(docs, small_dataset(documents=None))
    assert found.target == "docs"
    assert hits(found, "exact") == hits(evaluation, "exact")
    assert docs.count() == before


def test_queries_are_encoded_once_for_all_modes(docs: ColbertCollection) -> None:
    encoder = docs.encoder
    assert isinstance(encoder, WordEncoder)
    encoder.calls = 0
    measured(docs)
    assert encoder.calls == 1


def test_progress_names_the_data_set_the_mode_and_the_queries(
    docs: ColbertCollection, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "colbert_qdrant"):
        measured(docs, modes="exact", progress=True)
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("small, encoding: 12 of 12 queries, ") for line in lines)
    assert any(line.startswith("small, exact: 12 of 12 queries, ") for line in lines)


def test_another_mode_of_a_model_searches_only_with_that_mode(tmp_path: Path) -> None:
    encoder = WordEncoder()
    first = measured(encoder, folder=tmp_path, modes=["exact"])
    calls, lines = encoder.calls, (tmp_path / "small" / "exact.jsonl").stat().st_mtime_ns
    again = measured(encoder, folder=tmp_path, modes=["exact", "fde"], metrics="RR@10")
    assert (encoder.calls, encoder.encoded) == (calls, len(TEXTS))
    assert (tmp_path / "small" / "exact.jsonl").stat().st_mtime_ns == lines
    assert hits(again, "exact") == hits(first, "exact")
    assert again.modes == ("exact", "fde")


def test_a_collection_is_measured_anew_when_it_has_changed(docs: ColbertCollection, tmp_path: Path) -> None:
    first = measured(docs, folder=tmp_path, modes="exact")
    query, text = next(iter(QUERIES.items()))
    docs.upsert([Document("d0", f"{text} {text}")])
    again = measured(docs, folder=tmp_path, modes="exact")
    assert "d0" not in hits(first, "exact")[query] or next(iter(hits(first, "exact")[query])) != "d0"
    assert next(iter(hits(again, "exact")[query])) == "d0"


def test_modes_without_their_vectors_are_skipped_and_named() -> None:
    client = QdrantClient(":memory:")
    config = CollectionConfig(fde=CONFIG.fde, segments=1, dense={"meaning": DenseConfig(dim=2)})
    plain = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=config)
    plain.upsert(documents())
    found = measured(plain)
    assert found.modes == ("exact", "two-stage", "fde")
    assert "vector_encoders" in found.skipped["hybrid"]
    assert "Bm25Config()" in found.skipped["bm25"]
    with pytest.raises(ConfigurationError, match=r"Bm25Config\(\)"):
        measured(plain, modes=["exact", "bm25"])
    client.close()


def test_bm25_needs_no_model(evaluation: Evaluation) -> None:
    client, encoder = QdrantClient(":memory:"), WordEncoder()
    docs = ColbertCollection.create("docs", client=client, encoder=encoder, config=CONFIG)
    docs.upsert(documents())
    encoder.calls = 0
    for query, scores in hits(measured(docs, modes="bm25"), "bm25").items():
        assert sorted(scores.values()) == pytest.approx(sorted(hits(evaluation, "bm25")[query].values()), rel=1e-4)
    assert encoder.calls == 0
    found = measured(ColbertCollection.open("docs", client=client, encoder=ReadyTokens(dim=32, model="words")))
    assert found.modes == ("bm25",)
    assert {reason.partition(":")[2] for reason in found.skipped.values()} == {" open it with encoder=…"}
    client.close()


@pytest.mark.parametrize("name", ["a/b", "../up", "文" * 200, "a|b\n", ".", "cqadupstack/android"])
def test_any_name_of_a_data_set_has_a_folder_and_run_files(name: str, tmp_path: Path) -> None:
    found = measured(WordEncoder(), small_dataset(name=name), folder=tmp_path / "cache", modes="exact")
    (folder,) = (tmp_path / "cache").iterdir()
    assert Run.read(folder / "exact.run").hits == Run.read(_only_file(found, tmp_path / "runs")).hits
    theirs = evaluate(Run(name=name, hits=hits(found, "exact")), small_dataset())
    assert Run.read(_only_file(theirs, tmp_path / "theirs")).hits == hits(found, "exact")


def _only_file(evaluation: Evaluation, folder: Path) -> Path:
    evaluation.write_runs(folder)
    (file,) = folder.iterdir()
    return file


def test_numbers_and_uuids_as_ids_are_strings_in_qrels() -> None:
    client = QdrantClient(":memory:")
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
    docs.upsert([Document(7, "river harbor"), Document(UUID(int=8), "candle harbor")])
    qrels = {"river": {"7": 1}, "candle": {str(UUID(int=8)): 1}}
    dataset = RetrievalDataset(name="numbers", queries={"river": "river", "candle": "candle"}, qrels=qrels)
    assert measured(docs, dataset, modes="exact", metrics="RR@10")["exact"].mean("RR@10") == 1
    client.close()


def test_the_query_itself_is_no_hit_if_the_data_set_says_so(docs: ColbertCollection) -> None:
    dataset = small_dataset(queries={"d3": TEXTS["d3"]}, qrels={"d3": {"d4": 1}}, excludes_query_id=True)
    found = hits(measured(docs, dataset, modes=["exact", "two-stage"], candidates=20), "two-stage")["d3"]
    assert len(found) == 20
    assert "d3" not in found
    assert (
        "d3" in hits(measured(docs, small_dataset(queries={"d3": TEXTS["d3"]}, qrels={"d3": {"d4": 1}})), "exact")["d3"]
    )


class _Halves:
    """Divides a document into two passages."""

    def chunk(self, document: Document) -> list[Any]:
        middle = document.text.index(" ")
        ends = (0, middle, len(document.text))
        return [Passage(text=document.text[a:b].strip(), start=a, end=b) for a, b in pairwise(ends)]


def test_the_best_passage_is_the_score_of_its_document() -> None:
    client = QdrantClient(":memory:")
    docs = ColbertCollection.create("docs", client=client, encoder=WordEncoder(), config=CONFIG)
    docs.ingest([Document(1, "river harbor"), Document("two", "river candle river")], chunker=_Halves())
    dataset = RetrievalDataset(name="parents", queries={"q": "harbor"}, qrels={"q": {"1": 1, "two": 1}})
    found = measured(docs, dataset, metrics="R@2")
    for mode in ("exact", "two-stage", "fde", "hybrid"):
        assert [*hits(found, mode)["q"]] == ["1", "two"]
    assert hits(found, "exact")["q"]["1"] == pytest.approx(1, abs=0.1)
    assert [*hits(found, "bm25")["q"]] == ["1"]
    with pytest.raises(DatasetError, match="'three'"):
        measured(docs, RetrievalDataset(name="p", queries={"q": "harbor"}, qrels={"q": {"three": 1}}))
    client.close()


def test_runs_of_other_systems_are_measured() -> None:
    run = Run(name="theirs", hits={"q0": {next(iter(QRELS["q0"])): 1.0}})
    found = evaluate(run, small_dataset(), metrics="RR@10")
    assert found["theirs"].values["RR@10"]["q0"] == 1
    assert found["theirs"].mean("RR@10") == pytest.approx(1 / len(QUERIES))
    assert found.folder is None
    with pytest.raises(ConfigurationError, match="modes is for searches"):
        evaluate(run, small_dataset(), metrics="RR@10", modes="exact")


def test_documents_that_cannot_be_stored_are_told(tmp_path: Path) -> None:
    dataset = small_dataset(documents=[*documents(), Document("empty", " ")])
    with pytest.warns(ColbertQdrantWarning, match="'empty'") as warned:
        measured(WordEncoder(longest=6), dataset, folder=tmp_path, modes="exact")
    assert {each.filename for each in warned} == {world.__file__}  # which calls evaluate
    assert any("longer than the encoder's maximum" in str(each.message) for each in warned)
    with pytest.warns(ColbertQdrantWarning, match="'empty'"):  # from the folder, where they are missing, too
        measured(WordEncoder(longest=6), dataset, folder=tmp_path, modes="fde")


def test_nothing_is_measured_if_no_document_can_be_stored(tmp_path: Path) -> None:
    config = CollectionConfig(fde=MUVERA, id_scheme="native")
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"60 documents cannot be stored, .*; the first is 'd0': "):
            measured(WordEncoder(), folder=tmp_path, config=config, modes="exact")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "metric": ({"metrics": "nDGC@10"}, "unknown metric"),
    "mode": ({"modes": ["exakt"]}, "'two-stage'"),
    "no mode": ({"modes": []}, "modes"),
    "deep metric": ({"metrics": "R@50"}, "50 hits"),
    "depth": ({"depth": 40}, "candidates"),
    "progress": ({"progress": 3}, "progress"),
    "folder": ({"folder": 3}, "folder"),
    "no folder": ({"folder": ""}, "path is empty"),
    "folder of a shell": ({"folder": "~/evaluations"}, "starts with ~"),
    "config": ({"config": 3}, "config"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arguments_are_refused_before_anything_is_encoded(case: str, tmp_path: Path) -> None:
    encoder, (options, message) = WordEncoder(), BAD[case]
    with pytest.raises(ConfigurationError, match=message):
        measured(encoder, **{"folder": tmp_path / "new", **options})
    assert encoder.calls == 0
    assert not (tmp_path / "new").exists()


def test_other_judgments_of_a_loaded_data_set_are_looked_up_again(tmp_path: Path) -> None:
    loaded = RetrievalDataset.load(beir_folder(tmp_path / "ferries"))
    with pytest.raises(DatasetError, match="the documents lack 1 of 2 judged documents, such as 'lost'"):
        measured(WordEncoder(), replace(loaded, qrels={"q1": {"d1": 1, "lost": 1}}), folder=tmp_path / "new")


def test_wrong_data_sets_are_refused_before_anything_is_encoded(docs: ColbertCollection, tmp_path: Path) -> None:
    encoder, unknown = WordEncoder(), {"q0": {"d0": 1, "lost": 1}}
    for wrong, error, message in (
        (small_dataset(documents=None), ConfigurationError, "no documents"),
        (small_dataset(documents=["text"]), DatasetError, "Document"),
        (small_dataset(documents=[]), DatasetError, "no documents"),
        (
            small_dataset(documents=[*documents(), Document("d0", "another")]),
            DatasetError,
            "'d0' has another text before",
        ),
        (small_dataset(qrels=unknown), DatasetError, "'lost'"),
        ([small_dataset(), small_dataset()], DatasetError, "two data sets"),
        (5, ConfigurationError, "dataset must be"),
        ([], ConfigurationError, "dataset must be"),
    ):
        with pytest.raises(error, match=message):
            measured(encoder, wrong, folder=tmp_path / "new", modes="bm25")
    assert encoder.calls == 0
    assert not (tmp_path / "new").exists()
    with pytest.raises(
        DatasetError,
        match=r"lacks 1 of 1 judged document, such as 'lost': ingest them, or pass another collection.*build one$",
    ):
        measured(docs, small_dataset(qrels={"q0": {"lost": 1}}))
    with pytest.raises(DatasetError, match="collection 'docs' lacks 1 of 2 judged documents, such as 'lost'"):
        measured(docs, small_dataset(qrels=unknown))
    assert "lost" not in hits(measured(docs, small_dataset(qrels=unknown, missing="ignore")), "exact")["q0"]


def test_targets_that_cannot_be_measured_are_refused(docs: ColbertCollection) -> None:
    client = QdrantClient(":memory:")
    unreadable = ColbertCollection.create("tokens", client=client, encoder=ReadyTokens(dim=4))
    for wrong, message in ((unreadable, "encoder="), (3, "target is an int 3"), (WordEncoder, "instance")):
        with pytest.raises(ConfigurationError, match=message):
            measured(wrong)
    with pytest.raises(ConfigurationError, match="its own settings"):
        measured(docs, config=CONFIG)
    creating = AsyncColbertCollection.create("docs", client=AsyncQdrantClient(":memory:"), encoder=WordEncoder())
    with pytest.raises(ConfigurationError, match="a blocking client"):
        measured(asyncio.run(creating))
    docs.close()
    with pytest.raises(ClosedError):
        measured(docs)
    client.close()


def test_each_encoding_has_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLBERT_QDRANT_CACHE", str(tmp_path))
    encoder, other = WordEncoder(), replace(CONFIG, fde=replace(MUVERA, seed=7))
    first, second = measured(encoder), measured(encoder, config=other)
    encoded = encoder.calls
    again = measured(encoder)
    assert encoder.calls == encoded
    assert first.folder == again.folder != second.folder
    assert len(repr(first)) < 2_000
