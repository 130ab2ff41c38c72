"""The API reference has every public name, and every public member of the classes that it documents."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

import pytest

import colbert_qdrant
from colbert_qdrant import (
    AttachOptions,
    GroupOptions,
    IngestOptions,
    IngestTokensOptions,
    SearchOptions,
    SimilarOptions,
)
from tests.docs.links import read

if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER: Final = Path(__file__).parents[2] / "docs" / "reference"
DIRECTIVE: Final = re.compile(r"^::: colbert_qdrant\.(\S+)$", re.MULTILINE)
ANCHOR: Final = re.compile(r"^\[\]\(\)\{#colbert_qdrant\.(\w+)\}$", re.MULTILINE)
PAGES: Final = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
NAMES: Final = sorted({*colbert_qdrant.__all__, "inspect"})
ASYNCHRONOUS: Final = [name for name in NAMES if name.startswith("Async")]


def named(pattern: re.Pattern[str]) -> Iterable[str]:
    return (found for text in PAGES.values() for found in pattern.findall(text))


def members(kind: type) -> dict[str, Any]:
    """The methods and properties that belong to a class of this library, by name."""
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        if base.__module__.startswith("colbert_qdrant"):
            found |= vars(base)
    kinds = (FunctionType, classmethod, staticmethod, property)
    return {name: value for name, value in found.items() if name[0] != "_" and isinstance(value, kinds)}


def is_type(name: str) -> bool:
    return name[0].isupper() and not name.isupper()


def is_awaited(member: Any) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(getattr(member, "__func__", member)))


def test_every_public_name_is_documented_once() -> None:
    documented = [*named(DIRECTIVE), *named(ANCHOR)]
    assert sorted(name for name in documented if name in NAMES) == NAMES


def test_every_member_has_an_anchor(site: Path) -> None:
    anchors = set().union(*(read(site / "reference" / page / "index.html").anchors for page in PAGES))
    missing = [
        f"{name}.{member}"
        for name in NAMES
        if isinstance(kind := getattr(colbert_qdrant, name), type) and name not in ASYNCHRONOUS
        for member in members(kind)
        if f"colbert_qdrant.{name}.{member}" not in anchors
    ]
    assert missing == []


@pytest.mark.parametrize(
    "kind", [AttachOptions, SimilarOptions, GroupOptions, SearchOptions, IngestTokensOptions, IngestOptions]
)
def test_each_kind_of_options_lists_all_of_its_options(site: Path, kind: type) -> None:
    page = {"Atta": "attach", "Inge": "ingesting"}.get(kind.__name__[:4], "searching")
    html = (site / "reference" / page / "index.html").read_text(encoding="utf-8")
    listed = re.findall(rf'title="colbert_qdrant\.{kind.__name__}\.(\w+)"', html)
    assert sorted(listed) == sorted(kind.__annotations__)


@pytest.mark.parametrize("name", [name for name in ASYNCHRONOUS if name != "AsyncEdgeClient"])
def test_methods_to_await_are_listed(name: str) -> None:
    """An asynchronous class is a list of links to the blocking one's members, whose parameters are the same."""
    text = next(text for text in PAGES.values() if f"::: colbert_qdrant.{name}\n" in text)
    section = text.split(f"::: colbert_qdrant.{name}\n")[1].split(":::")[0]
    link = re.compile(rf"\[`(\w+)`\]\[colbert_qdrant\.{name.removeprefix('Async')}\.\1\]")
    awaited, others = section.split("\n\nThese")
    found = members(getattr(colbert_qdrant, name))
    assert sorted(link.findall(awaited)) == sorted(name for name, value in found.items() if is_awaited(value))
    assert sorted(link.findall(others)) == sorted(name for name, value in found.items() if not is_awaited(value))


def test_types_in_signatures_are_documented(site: Path) -> None:
    """A name in a signature that leads nowhere stays without a link; its place is in its title."""
    unlinked = re.compile(r'<span title="(colbert_qdrant\.[\w.]+)">')
    pages = [(site / "reference" / page / "index.html").read_text(encoding="utf-8") for page in PAGES]
    found = {name for html in pages for name in unlinked.findall(html) if is_type(name.rsplit(".", 1)[-1])}
    assert found == set()
