"""The examples run, with a tiny model in place of a real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from colbert_qdrant import ColbertEncoder, maxsim
from tests.checkpoints import tiny_bert
from tests.parity.checkpoints import build
from tests.processes import run_script

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bert(tmp_path_factory.mktemp("model"), positions=512)


def run(script: str, *arguments: object) -> str:
    done = run_script(EXAMPLES / script, *arguments, environment={"COLUMNS": "200"})
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_edge(model: Path, tmp_path: Path) -> None:
    for _ in range(2):  # a second run opens the store of the first
        lines = run("01_edge.py", model, tmp_path / "store").splitlines()
        assert len(lines) == 2
        assert all(line.split()[1] in {"a/1", "a/2", "a/3"} for line in lines)


@pytest.mark.skipif(not os.environ.get("QDRANT_URL"), reason="no server: set QDRANT_URL to run it against one")
def test_server(model: Path) -> None:
    assert run("02_server.py", model).startswith("1000 documents")


def test_async(model: Path, tmp_path: Path) -> None:
    for _ in range(2):
        lines = run("04_async.py", model, tmp_path / "store").splitlines()
        assert [line.partition(":")[0] for line in lines] == [
            "when does the boat depart",
            "who built the bridge",
            "what grows in the garden",
        ]


def test_hybrid(model: Path, tmp_path: Path) -> None:
    *hits, last = run("06_hybrid.py", model, tmp_path / "store").splitlines()
    assert len(hits) == 3
    by_words = {line.split()[1] for line in hits if "bm25" in line}
    assert by_words == {"E-1107", "E-2203"}  # both have an "e" in front of a number
    assert last == "the word alone finds E-2203"


def test_attach(model: Path, tmp_path: Path) -> None:
    encoder = ColbertEncoder.from_pretrained(model)
    question = encoder.encode_queries(["when does the boat leave the harbor"])
    texts = [  # those that have a word of the question
        "The ferry leaves the harbor at noon.",
        "A bridge was built over the river by its own engineers.",
        "Candles light the old temple at the harbor.",
    ]
    scores = maxsim(question, encoder.encode_documents(texts))[0]
    for _ in range(2):
        lines = run("05_attach.py", model, tmp_path / "store").splitlines()
        assert lines == ranked(scores, [f"{id}  {text}" for id, text in enumerate(texts)], "{0:.2f}  {1}")[:2]


def test_image_patches(tmp_path: Path) -> None:
    for _ in range(2):  # the second run replaces the pages of the first
        lines = run("image_patches.py", tmp_path / "store").splitlines()
        assert lines[0] == "random/tiny-colpali: the weights are random, so the rankings mean nothing"
        assert lines[1] == "6 pages of 16 patches, 96 token vectors"
        assert [line.split()[0] for line in lines[2:-1]] == ["question:"] * 3
        assert lines[-1] == "page 4 is most like itself: 16.00  report.pdf/4"


def test_migrate_langchain(model: Path) -> None:
    pytest.importorskip("langchain_qdrant", reason="pip install 'colbert-qdrant[writers]' brings LangChain's own")
    lines = run("07_migrate_langchain.py", model).splitlines()
    encoder = ColbertEncoder.from_pretrained(model)
    texts = [
        "The ferry leaves the harbor at noon.",
        "A bridge was built over the river by its own engineers.",
        "Candles light the old temple at the harbor.",
        "Roses and thyme grow behind the house.",
    ]
    question = encoder.encode_queries(["when does the boat leave the harbor"])
    scores = maxsim(question, encoder.encode_documents(texts))[0]
    assert "under 'page_content'" in "".join(lines)
    assert lines[-4:-2] == ["verified", "LangChain: The ferry leaves the harbor at noon."]
    assert lines[-2:] == ranked(scores, [f"page {id}  {text}" for id, text in enumerate(texts)], "{0:.2f}  {1}")[:2]


def test_migrate_multivectors(tmp_path: Path) -> None:
    first = run("08_migrate_multivectors.py", tmp_path / "store")
    assert "500 points written, 0 already present" in first
    second = run("08_migrate_multivectors.py", tmp_path / "store")  # the plan finds what is done
    assert "0 points written, 500 already present" in second
    for printed in (first, second):
        assert "# pages → pages-fde: verified" in printed
        assert "**failed**" not in printed


def test_rerank(tmp_path: Path) -> None:
    model = build("pylate-bert", tmp_path / "model")
    lines = run("03_rerank.py", model).splitlines()
    encoder = ColbertEncoder.from_pretrained(model)
    texts = ["document 1", "document C", "document B"]
    scores = maxsim(encoder.encode_queries(["query A", "query B"]), encoder.encode_documents(texts))
    assert len(lines) == 2 + len(texts)
    assert lines[1] == "  ".join(["query B", *ranked(scores[1], ["1", "3", "2"], "{1}: {0:.2f}")])
    assert lines[2:] == ranked(scores[0], texts, "{0:.2f}  {1}")


def ranked(scores: NDArray[np.float32], names: list[str], line: str) -> list[str]:
    best_first = sorted(zip(scores.tolist(), names, strict=True), key=lambda pair: -pair[0])
    return [line.format(score, name) for score, name in best_first]


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    words = "parse a date from a string and give back what the clock would show in another place " * 2
    for name in ("clocks", "dates", "zones"):
        (folder / f"{name}.py").write_text(
            f'def first():\n    """{name} {words}."""\n\n\ndef second():\n    """Short."""\n'
        )
    return folder


def test_demo_embeds_nothing_the_second_time(model: Path, tmp_path: Path, sources: Path) -> None:
    arguments = ["--model", model, "--store", tmp_path / "store", "--sources", sources]
    first = run("demo.py", *arguments)
    assert "3 documents: embedded 3 documents" in first
    for mode in ("exact", "fde", "two-stage"):
        assert first.count(f"┃ {mode} ") == 5
    second = run("demo.py", *arguments, "is list[str] a [/date]")
    assert "3 documents: embedded 0 documents" in second
    assert "is list[str] a [/date]" in second
    assert "dates.first" in second


def test_demo_shows_errors_as_they_are() -> None:
    done = run_script(EXAMPLES / "demo.py", "--model", "a/b[edge]", environment={"COLUMNS": "200"})
    assert (done.returncode, "'a/b[edge]'" in done.stdout) == (1, True), done.stdout + done.stderr


def test_demo_embeds_only_what_changed(model: Path, tmp_path: Path, sources: Path) -> None:
    arguments = ["--model", model, "--store", tmp_path / "store", "--sources", sources]
    run("demo.py", *arguments)
    source = sources / "dates.py"
    source.write_text(source.read_text().replace("dates parse", "dates read"))
    assert "3 documents: embedded 1 documents" in run("demo.py", *arguments)


def test_demo_help_teaches() -> None:
    command = [sys.executable, str(EXAMPLES / "demo.py"), "--help"]  # as `make demo` starts it
    environment = {**os.environ, "COLUMNS": "200"}
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert "make demo QUERY=" in printed
    assert "a folder, or a name on the Hugging Face Hub" in printed


@pytest.mark.parametrize(
    "query",
    ["what's new", 'say "hi"', "$HOME and $(shell id)", "`id`; rm x", "a # b", "a \\ b", "-q", "日本", "50 % off"],
)
def test_make_demo_gives_a_query_as_it_was_written(tmp_path: Path, query: str) -> None:
    """With an interpreter in the place of Python that prints its arguments."""
    shutil.copy(EXAMPLES.parent / "Makefile", tmp_path)
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    for age, name in enumerate((".ci/constraints.txt", "pyproject.toml", ".venv/torch", ".venv/demo")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (age, age))  # nothing is to be installed
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    for named in ([f"QUERY={query}"], [f"QUERY={query}", f"MODEL={query}"]):
        done = subprocess.run(
            ["make", "--silent", "demo", *named], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        model = ["--model", query] if len(named) == 2 else []
        assert done.stdout.splitlines() == ["examples/demo.py", *model, "--", query]
