"""Progress shows wherever a program runs: as HTML in notebooks, and as lines in the log where there is no terminal."""

from __future__ import annotations

import io
import logging
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from qdrant_client import QdrantClient

from colbert_qdrant import ColbertCollection, Document
from tests.encoders import WordEncoder

DOCUMENTS = [Document(number, f"river {number}") for number in range(600)]


def ingest(*, progress: bool) -> None:
    client = QdrantClient(":memory:")
    ColbertCollection.create("docs", client=client, encoder=WordEncoder()).ingest(DOCUMENTS, progress=progress)
    client.close()


class Notebook(ModuleType):
    """IPython in a kernel, as far as its users see it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.pages: list[str] = []

    def get_ipython(self) -> Any:
        return SimpleNamespace(kernel=object())

    def display(self, shown: Any, *, display_id: bool) -> Any:
        assert display_id
        self.update(shown)
        return self

    def update(self, shown: Any) -> None:
        self.pages.append(shown._repr_html_())


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    made = Notebook("IPython")
    monkeypatch.setitem(sys.modules, "IPython", made)
    monkeypatch.setitem(sys.modules, "IPython.display", made)
    return made


def test_a_notebook_shows_html(notebook: Notebook) -> None:
    ingest(progress=True)
    assert notebook.pages[0].startswith("<div><progress")
    assert 'value="600" max="600"' in notebook.pages[-1]
    assert "ingest: 600 of 600 documents" in notebook.pages[-1]


def test_nothing_is_shown_that_nobody_asked_for(notebook: Notebook, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "colbert_qdrant"):
        ingest(progress=False)
    assert (notebook.pages, caplog.messages) == ([], [])


def test_the_log_has_lines_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with caplog.at_level(logging.INFO, "colbert_qdrant"):
        ingest(progress=True)
    assert caplog.messages[0].startswith("ingest: 0 of 600 documents")
    assert caplog.messages[-1].startswith("ingest: 600 of 600 documents")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [("TERM", "dumb", "600/600"), ("TERM", "", "600/600"), ("NO_COLOR", "1", "600/600"), ("COLUMNS", "5", "i…")],
)
def test_a_terminal_of_any_kind_shows_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv(variable, value)
    ingest(progress=True)
    assert expected in terminal.getvalue()


@pytest.mark.parametrize("kind", ["missing", "closed", "odd"])
def test_a_program_without_a_standard_error_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    closed = io.StringIO()
    closed.close()
    found = {"missing": None, "closed": closed, "odd": SimpleNamespace(write=len)}
    monkeypatch.setattr(sys, "stderr", found[kind])
    with caplog.at_level(logging.INFO, "colbert_qdrant"):
        ingest(progress=True)
    assert caplog.messages[-1].startswith("ingest: 600 of 600 documents")


def test_a_notebook_without_html_shows_a_line(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebook, "update", lambda shown: notebook.pages.append(repr(shown)))
    ingest(progress=True)
    assert notebook.pages[-1].startswith("ingest: 600 of 600 documents, ")
