"""The type hints of all public names resolve at run time, as FastAPI, pydantic and others read them."""

from __future__ import annotations

import dataclasses
import inspect
import json
import typing
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import TypeAdapter

import colbert_qdrant
from colbert_qdrant import Bm25Config, Document, IngestReport, MuveraConfig, SearchGroup, SearchHit, SearchHits
from tests.unit.public_api import NAMES, is_function

if TYPE_CHECKING:
    from collections.abc import Iterator

CLASSES = [name for name in NAMES if inspect.isclass(getattr(colbert_qdrant, name))]
FUNCTIONS = [name for name in NAMES if is_function(getattr(colbert_qdrant, name))]


def functions_of(kind: type) -> Iterator[tuple[str, Any]]:
    """The constructor, the public methods and the getters of a class, inherited ones of this package included."""
    for name, found in inspect.getmembers_static(kind):
        if name.startswith("_") and name not in {"__init__", "__call__"}:
            continue
        function = getattr(found, "fget", None) or getattr(found, "func", None) or getattr(found, "__func__", found)
        if inspect.isfunction(function) and function.__module__.startswith("colbert_qdrant"):
            yield name, function


def classes_in(hint: Any) -> Iterator[type]:
    """The classes of this package that a hint is made of."""
    if inspect.isclass(hint) and hint.__module__.startswith("colbert_qdrant"):
        yield hint
    for part in typing.get_args(hint):
        yield from classes_in(part)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_hints_of_functions(name: str) -> None:
    value = getattr(colbert_qdrant, name)
    hints = typing.get_type_hints(value if inspect.isfunction(value) else value.__call__)
    assert set(hints) == {*inspect.signature(value).parameters, "return"}


@pytest.mark.parametrize("name", CLASSES)
def test_hints_of_classes_and_their_members(name: str) -> None:
    kind = getattr(colbert_qdrant, name)
    typing.get_type_hints(kind)
    for _, function in functions_of(kind):
        typing.get_type_hints(function)


@pytest.mark.parametrize("name", [name for name in CLASSES if dataclasses.is_dataclass(getattr(colbert_qdrant, name))])
def test_hints_of_what_public_dataclasses_hold(name: str) -> None:
    seen, new = set[type](), {getattr(colbert_qdrant, name)}
    while new:
        kind = new.pop()
        seen.add(kind)
        hints = typing.get_type_hints(kind)
        assert {field.name for field in dataclasses.fields(kind)} <= set(hints)
        new |= {each for hint in hints.values() for each in classes_in(hint) if dataclasses.is_dataclass(each)} - seen


def test_a_web_framework_makes_schemas_and_json_of_them() -> None:
    hit = SearchHit(id="a", score=1.5, text="a boat", payload={"n": 1})
    assert json.loads(TypeAdapter(list[SearchHit]).dump_json(SearchHits([hit])))[0]["payload"] == {"n": 1}
    group = SearchGroup(key="x", hits=SearchHits([hit]))
    assert json.loads(TypeAdapter(list[SearchGroup]).dump_json([group]))[0]["hits"][0]["id"] == "a"
    assert TypeAdapter(SearchHits).validate_python(SearchHits([hit])) == [hit]
    assert TypeAdapter(Document).validate_python({"id": 1, "text": "a boat"}) == Document(1, "a boat")
    for kind in (IngestReport, MuveraConfig, Bm25Config):
        assert TypeAdapter(kind).json_schema(mode="serialization")["properties"]
