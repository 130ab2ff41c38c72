"""The example that trains a ColBERT model, with a tiny model and few documents."""

from __future__ import annotations

import json
import resource
import shutil
import signal
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from train_colbert import (
    TWINS,
    learning_rate,
    load_examples,
    load_state,
    main,
    parse,
    save_start,
    save_state,
    train,
    write,
)
from training_examples import Bm25, Example, HubExamples, mine
from training_model import Student, distillation_loss, save_pylate
from transformers import get_linear_schedule_with_warmup

from colbert_qdrant import ColbertEncoder, Document, inspect, maxsim
from colbert_qdrant.evaluation import RetrievalDataset
from tests.checkpoints import WORDS, tiny_bert
from tests.unit.encoders.test_bert_hash import hash_bert

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from pathlib import Path


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BEIR folder: every query asks for words of its document; the first eight queries are for training."""
    folder = tmp_path_factory.mktemp("data")
    random = np.random.default_rng(0)
    texts = [" ".join(random.choice(WORDS, 12)) + "." for _ in range(24)]
    _jsonl(folder / "corpus.jsonl", [{"_id": f"d{n}", "title": "", "text": text} for n, text in enumerate(texts)])
    _jsonl(folder / "queries.jsonl", [{"_id": f"q{n}", "text": " ".join(texts[n].split()[:4])} for n in range(12)])
    (folder / "qrels").mkdir()
    for split, numbers in (("train", range(8)), ("test", range(8, 12))):
        lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\td{n}\t1" for n in numbers)]
        (folder / "qrels" / f"{split}.tsv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def start(base: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start") / "start"
    save_start(folder, options(base, data, folder.parent))
    return folder


def arguments(base: Path, data: Path, output: Path) -> list[str]:
    given = ["--model", base, "--data", data, "--output", output, "--dim", 8, "--document-length", 24]
    given += ["--batch-size", 4, "--candidates", 4, "--rounds", 2, "--device", "cpu", "--save-every", 2]
    return [str(part) for part in given]


def options(base: Path, data: Path, output: Path) -> argparse.Namespace:
    return parse(arguments(base, data, output))


def test_the_loss_is_that_of_pylate() -> None:
    """Against NumPy, by the definition of ``Distillation``: KL(softmax(teacher) || softmax(student)), batch mean."""
    random = np.random.default_rng(0)
    scores, teacher = random.normal(size=(2, 5, 7)) * 4

    def expected(scores: Any, teacher: Any) -> float:
        weights, logs = (np.exp(each) / np.exp(each).sum(1, keepdims=True) for each in (teacher, scores))
        return float((weights * (np.log(weights) - np.log(logs))).sum() / len(scores))

    def min_max(scores: Any) -> Any:
        low, high = scores.min(1, keepdims=True), scores.max(1, keepdims=True)
        return (scores - low) / (high - low + 1e-8)

    found = [
        distillation_loss(torch.tensor(scores), torch.tensor(teacher), min_max=each).item() for each in (False, True)
    ]
    np.testing.assert_allclose(found, [expected(scores, teacher), expected(min_max(scores), min_max(teacher))])


def test_only_the_un_normalized_loss_sees_the_scale_of_scores() -> None:
    scores, teacher = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(0))
    plain, narrow = (
        [distillation_loss(each, teacher, min_max=min_max).item() for each in (scores, 0.1 * scores + 20)]
        for min_max in (False, True)
    )
    assert plain[0] != pytest.approx(plain[1], rel=0.05)
    assert narrow[0] == pytest.approx(narrow[1], rel=1e-4)


def test_learning_rate_rises_and_falls_as_transformers_does() -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    make_schedule: Any = get_linear_schedule_with_warmup
    schedule = make_schedule(optimizer, num_warmup_steps=5, num_training_steps=90)
    for step in range(90):
        assert learning_rate(step, 90) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


def test_the_saved_model_has_the_vectors_of_the_training(start: Path, tmp_path: Path) -> None:
    """In batches with padding, punctuation, texts that are cut, and expanded queries."""
    student = Student(start, torch.device("cpu"))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.01)
    head = student.head[0].get_parameter("linear.weight")
    save_pylate(tmp_path / "saved", student.backbone, student.checkpoint.tokenizer, head, document_length=24)
    encoder = ColbertEncoder.from_pretrained(tmp_path / "saved", device="cpu")
    assert encoder.spec.layout == "pylate"
    assert (encoder.spec.query.prefix, encoder.spec.document.prefix) == ("[Q] ", "[D] ")
    queries, documents = ["good cat", "the river and the tree"], ["A cat, a dog. [D] query!", "tree " * 40, "word"]
    with torch.no_grad():
        for found, expected in (
            (student.queries(queries), encoder.encode_queries(queries)),
            (student.documents(documents), encoder.encode_documents(documents)),
        ):
            vectors, kept = found
            np.testing.assert_allclose(vectors[kept].numpy(), expected.values, atol=1e-5)
            np.testing.assert_array_equal(kept.sum(1).numpy(), expected.lengths)
        scores = student([Example(query, documents, [0.0] * 3) for query in queries])
    expected_scores = maxsim(encoder.encode_queries(queries), encoder.encode_documents(documents))
    np.testing.assert_allclose(scores.numpy(), expected_scores, atol=1e-4)
    assert inspect(tmp_path / "saved", documents=documents * 4, queries=queries).dim == 8


def test_bm25_is_the_formula() -> None:
    texts = ["cats like fish and more fish", "dogs like bones", "rivers flow"]
    scores = Bm25(texts).scores("fish bones")
    average = sum(len(text.split()) for text in texts) / 3
    idf = np.log(1 + 2.5 / 1.5)

    def weight(count: int, words: int) -> float:
        return count * 2.2 / (count + 1.2 * (0.25 + 0.75 * words / average))

    # "and" and "more" are stop words, which do not lengthen a document
    np.testing.assert_allclose(scores, [idf * weight(2, 4), idf * weight(1, 3), 0], rtol=1e-5)


def test_judged_documents_are_candidates(data: Path) -> None:
    judged = RetrievalDataset.load(data, split="train")
    texts = {str(document.id): document.text for document in judged.documents or ()}
    examples = mine(judged, candidates=4, rounds=2, seed=0)
    assert [example.query for example in examples] == list(judged.queries.values()) * 2
    for example, id in zip(examples, [*judged.qrels] * 2, strict=True):
        assert example.documents[0] == texts[id.replace("q", "d")]
        assert len(set(example.documents)) == len(example.scores) == 4
        assert example.scores[0] > 0
    assert [each.documents for each in examples[:8]] != [each.documents for each in examples[8:]]


def test_an_interrupted_training_ends_with_the_same_weights(
    base: Path, data: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = mine(RetrievalDataset.load(data, split="train"), candidates=4, rounds=2, seed=0)
    outputs = [tmp_path / "whole", tmp_path / "interrupted"]
    for output in outputs:
        output.mkdir()
        (output / "start").symlink_to(start)
    train("min-max", examples, options(base, data, outputs[0]))
    interrupted = options(base, data, outputs[1])
    with monkeypatch.context() as patch:
        patch.setattr(Student, "forward", at_call(4, Student.forward, cut_power))
        with pytest.raises(RuntimeError, match="a power cut"):
            train("min-max", examples, interrupted)
    assert (outputs[1] / "min-max.state").exists()
    train("min-max", examples, interrupted)
    assert not (outputs[1] / "min-max.state").exists()
    whole, resumed = (Student(output / "min-max", torch.device("cpu")).state_dict() for output in outputs)
    before = Student(start, torch.device("cpu")).state_dict()
    for name, weights in whole.items():
        assert torch.equal(weights, resumed[name]), name
    assert not torch.equal(before["head.0.linear.weight"], whole["head.0.linear.weight"])


def at_call(number: int, forward: Callable[..., Any], event: Callable[[], None]) -> Callable[..., Any]:
    """Return a function that lets something happen at one of its calls."""
    calls: list[None] = []

    def called(*arguments: Any) -> Any:
        calls.append(None)
        if len(calls) == number:
            event()
        return forward(*arguments)

    return called


def cut_power() -> None:
    raise RuntimeError("a power cut")


def test_ctrl_c_keeps_the_progress_and_the_same_command_continues(
    base: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = arguments(base, data, tmp_path / "out")
    with monkeypatch.context() as patch:
        patch.setattr(Student, "forward", at_call(6, Student.forward, partial(signal.raise_signal, signal.SIGINT)))
        assert main(command) == 130
    assert "The same command continues" in capsys.readouterr().out
    (tmp_path / "out" / "settings.json").unlink()  # as if it was killed before it wrote them
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "min-max: continuing after step 2" in printed
    assert [line.split()[1] for line in printed.splitlines() if line.startswith("| ")][1:] == ["start", *TWINS]
    assert "un-normalized − min-max" in printed
    with pytest.raises(SystemExit, match="holds a training with dim 8, not 9"):
        main([*command, "--dim", "9"])


def test_data_without_training_queries_is_an_error(
    base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(data, folder)
    (folder / "qrels" / "train.tsv").unlink()
    assert main(arguments(base, folder, tmp_path / "out")) == 1
    printed = capsys.readouterr().out.replace("\n", "")
    assert "DatasetError" in printed
    assert "train.tsv" in printed


def test_a_model_that_cannot_take_the_prefixes_is_an_error(data: Path, tmp_path: Path) -> None:
    hash_bert(tiny_bert(tmp_path / "hashed"))
    with pytest.raises(SystemExit, match="no plain embedding table"):
        main(arguments(tmp_path / "hashed", data, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_only_the_first_layers_are_kept(base: Path, data: Path, tmp_path: Path) -> None:
    whole = ColbertEncoder.from_pretrained(base, device="cpu").checkpoint.backbone
    given = [*arguments(base, data, tmp_path), "--layers", "1"]
    save_start(tmp_path / "start", parse(given))
    short = ColbertEncoder.from_pretrained(tmp_path / "start", device="cpu").checkpoint.backbone
    assert whole.config.num_hidden_layers > short.config.num_hidden_layers == 1
    layers = [name for name in short.state_dict() if ".layer." in name]
    assert layers
    assert all(torch.equal(short.state_dict()[name], whole.state_dict()[name]) for name in layers)
    with pytest.raises(SystemExit, match=r"has \d+ layers, of which 99 cannot be kept: pass another --layers"):
        save_start(tmp_path / "long", parse([*given[:-1], "99"]))


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--batch-size", "0"], "argument --batch-size: 0 is not at least 1"),
        (["--candidates", "1"], "one candidate has no order to learn: pass --candidates 2 or more"),
    ],
)
def test_numbers_that_train_nothing_are_refused(
    base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        main([*arguments(base, data, tmp_path / "out"), *option])
    assert message in capsys.readouterr().err


def test_a_device_that_is_missing_is_an_error_before_anything_is_written(
    base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments(base, data, tmp_path / "out"), "--device", "cuda:99"]) == 1
    printed = " ".join(capsys.readouterr().out.split())
    assert "torch cannot use device 'cuda:99'" in printed
    assert "pass --device cpu" in printed
    assert not (tmp_path / "out").exists()


def test_progress_of_another_device_is_an_error(tmp_path: Path) -> None:
    save_state(tmp_path / "min-max.state", {}, 3, torch.device("cpu"))
    with pytest.raises(SystemExit, match=r"min-max\.state was saved on cpu: pass --device cpu, or delete the file"):
        load_state(tmp_path / "min-max.state", {}, torch.device("cuda"))


def test_a_full_disk_is_an_error_and_keeps_the_progress(
    base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "file", b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))  # files of more bytes cannot be written
    try:
        with pytest.raises(OSError, match="File too large"):
            write(tmp_path / "file", bytes(2000))
        status = main(arguments(base, data, tmp_path / "out"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "file").read_bytes() == b"old"
    assert status == 1
    assert "The same command continues" in capsys.readouterr().out
    assert not (tmp_path / "out" / "start").exists()


def test_a_query_whose_documents_have_no_text_is_left_out() -> None:
    judged = RetrievalDataset(
        name="boats",
        queries={"q1": "red boat", "q2": "old bridge"},
        qrels={"q1": {"d0": 1}, "q2": {"empty": 1}},
        documents=[Document(f"d{number}", f"boat {word}") for number, word in enumerate(WORDS[:6])],
        missing="ignore",
    )
    assert {example.query for example in mine(judged, candidates=4, rounds=2, seed=0)} == {"red boat"}


ROWS: Final[dict[str, list[Any]]] = {
    "query_id": ["8", "7"],
    "document_ids": [["2", "3", "1"], ["1", "3", "2"]],
    "scores": [[9.5, -3.0, -8.0], [8.25, -6.5, -7.0]],
}


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hub_copy(tmp_path_factory.mktemp("hub") / "ms-marco", ROWS)


def hub_copy(folder: Path, rows: dict[str, list[Any]]) -> Path:
    """A data set in the layout of ``lightonai/ms-marco-en-bge-gemma``: three configurations of Parquet files."""
    folder.mkdir()
    tables = {
        "queries": {"query_id": ["7", "8"], "text": ["good cat", "fast tree"]},
        "documents": {"document_id": ["1", "2", "3"], "text": ["a cat", "a tree", "a river"]},
        "train_unormalized": rows,
    }
    configs = []
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
        configs.append(
            f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}.parquet\n",
        )
    (folder / "README.md").write_text("---\nconfigs:\n" + "".join(configs) + "---\n", encoding="utf-8")
    return folder


def test_hub_examples_have_the_scores_of_the_teacher(hub: Path) -> None:
    examples = HubExamples(str(hub), config="train_unormalized", candidates=2)
    assert [examples[number] for number in range(len(examples))] == [
        Example("fast tree", ["a tree", "a river"], [9.5, -3.0]),
        Example("good cat", ["a cat", "a river"], [8.25, -6.5]),
    ]


def test_a_model_is_trained_on_hub_examples(base: Path, data: Path, hub: Path, start: Path, tmp_path: Path) -> None:
    (tmp_path / "start").symlink_to(start)
    chosen = parse([*arguments(base, data, tmp_path), "--dataset", str(hub), "--candidates", "3", "--batch-size", "1"])
    train("un-normalized", load_examples(chosen), chosen)
    before, after = (ColbertEncoder.from_pretrained(tmp_path / name) for name in ("start", "un-normalized"))
    assert not np.allclose(before.encode_queries(["good cat"]).values, after.encode_queries(["good cat"]).values)


def test_a_hub_data_set_that_does_not_fit_is_an_error(hub: Path) -> None:
    with pytest.raises(SystemExit, match=r"no configuration 'train': pass one of .*train_unormalized"):
        HubExamples(str(hub), config="train", candidates=2)
    with pytest.raises(SystemExit, match=r"no row of .* has 4 candidates with texts: pass a smaller --candidates"):
        HubExamples(str(hub), config="train_unormalized", candidates=4)


def test_incomplete_rows_of_a_hub_data_set_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before the training, which would end in its middle otherwise."""
    added: dict[str, list[Any]] = {
        "query_id": ["7", "9", "8"],
        "document_ids": [["1", "4"], ["1", "2"], ["1"]],
        "scores": [[2.0, 1.0]] * 3,
    }
    rows = {name: [*added[name], *values] for name, values in ROWS.items()}
    examples = HubExamples(str(hub_copy(tmp_path / "hub", rows)), config="train_unormalized", candidates=2)
    assert [examples[number].query for number in range(len(examples))] == ["fast tree", "good cat"]
    assert "3 of 5 rows of" in capsys.readouterr().out


def _jsonl(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
