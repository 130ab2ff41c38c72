"""Every Python snippet of README.md and the documentation runs, page by page, in the order of the page.

A small model stands for every checkpoint. A page of how-to guides continues from the quick start, as it tells its
readers: it finds `encoder`, `client` and `docs`. The address of a local server is that of the model of a server in
`tests/server`, or `QDRANT_URL` if it is set.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final
from unittest import SkipTest

import pytest
from qdrant_client import QdrantClient
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser

from colbert_qdrant import EdgeClient
from tests.docs import hub
from tests.server.listener import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sybil.document import Document

ROOT: Final = Path(__file__).parents[2]
QUICK_START: Final = ROOT / "docs" / "start" / "embedded.md"
CONTINUED: Final = tuple(
    ROOT / "docs" / name for name in ("how-to", "operate", "models.md", "benchmarks.md", "faq.md", "internals")
)
LOCAL_SERVER: Final = "http://localhost:6333"
PAGES: Final = [
    path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "```python" in path.read_text(encoding="utf-8")
]
_SYBIL: Final = Sybil([PythonCodeBlockParser(), SkipParser()])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path / "server") as url:
        yield os.environ.get("QDRANT_URL", url)


@pytest.fixture(autouse=True)
def _reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the reader's, and a filled cache of checkpoints."""
    hub.fill(tmp_path / "hub")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def parse(tmp_path: Path, server: str) -> Callable[[Path], Document]:
    """Parses a page in which the local server's address is that of the one that runs here."""

    def parsed(path: Path) -> Document:
        copy = tmp_path / path.name
        copy.write_text(path.read_text(encoding="utf-8").replace(LOCAL_SERVER, server), encoding="utf-8")
        return _SYBIL.parse(copy)

    return parsed


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_snippets_run(path: Path, parse: Callable[[Path], Document]) -> None:
    page = parse(path)
    try:
        if any(path.is_relative_to(part) for part in CONTINUED):
            start = parse(QUICK_START)
            next(iter(start.examples())).evaluate()
            page.namespace.update(start.namespace)
        for example in page.examples():
            with suppress(SkipTest):  # the page has the reason
                example.evaluate()
    finally:
        for value in page.namespace.values():
            if isinstance(value, EdgeClient | QdrantClient):
                value.close()
