"""Search options are defined once, and every search shows, describes and checks its own."""

from __future__ import annotations

import inspect
import typing
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from qdrant_client import QdrantClient, models

from colbert_qdrant import (
    AsyncAttachedCollection,
    AsyncColbertCollection,
    AttachedCollection,
    AttachOptions,
    ColbertCollection,
    ConfigurationError,
    Document,
    GroupOptions,
    SearchOptions,
    SimilarOptions,
    attach,
)
from colbert_qdrant.search.options import CheckedOptions
from tests.encoders import WordEncoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OPTIONS: dict[str, type] = {
    "search": SearchOptions,
    "search_batch": SearchOptions,
    "search_groups": GroupOptions,
    "more_like": SimilarOptions,
}
METHODS: list[tuple[Callable[..., Any], type]] = [
    *(
        (getattr(each, name), kind)
        for each in (ColbertCollection, AsyncColbertCollection)
        for name, kind in OPTIONS.items()
    ),
    *(
        (getattr(each, name), AttachOptions)
        for each in (AttachedCollection, AsyncAttachedCollection)
        for name in ("search", "search_batch")
    ),
]


@pytest.fixture
def docs() -> Iterator[ColbertCollection]:
    client = QdrantClient(":memory:")
    with ColbertCollection.create("docs", client=client, encoder=WordEncoder()) as docs:
        docs.upsert([Document("a", "river bridge"), Document("b", "river")])
        yield docs
    client.close()


@pytest.mark.parametrize("kind", [SearchOptions, GroupOptions, SimilarOptions, AttachOptions])
def test_types_are_those_that_are_checked(kind: type) -> None:
    checked = typing.get_type_hints(CheckedOptions)
    for name, hint in typing.get_type_hints(kind).items():
        expected = checked[name]
        assert hint == getattr(expected, "type", expected), name  # an InitVar has its type inside


def test_every_option_belongs_to_a_search() -> None:
    known = {name for kind in (*OPTIONS.values(), AttachOptions) for name in kind.__annotations__}
    assert known == {"where", *(each.name for each in fields(CheckedOptions))} - {"limits", "words", "compared"}


@pytest.mark.parametrize(("method", "kind"), METHODS, ids=lambda each: getattr(each, "__qualname__", ""))
def test_every_search_shows_its_options_with_defaults_and_descriptions(method: Callable[..., Any], kind: type) -> None:
    signature, text = inspect.signature(method), inspect.getdoc(method) or ""
    assert not [each for each in signature.parameters.values() if each.kind is inspect.Parameter.VAR_KEYWORD]
    defaults = {name: each.default for name, each in inspect.signature(CheckedOptions).parameters.items()}
    for name in kind.__annotations__:
        shown = signature.parameters[name]
        assert (shown.kind, shown.default) == (inspect.Parameter.KEYWORD_ONLY, defaults[name])
        assert f"\n    {name}: " in text
    assert "**options" not in text


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("search", {"limt": 1}),
        ("search_batch", {"legs": ["fde"]}),
        ("search_groups", {"group_by": "kind", "offset": 1}),
        ("more_like", {"mode": "exact"}),
    ],
)
def test_an_option_that_a_search_has_not_is_a_type_error(
    docs: ColbertCollection, name: str, arguments: dict[str, Any]
) -> None:
    wrong = [*arguments][-1]
    with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument '{wrong}': use limit, "):
        getattr(docs, name)(["river"] if name == "search_batch" else "a", **arguments)


def test_an_attached_search_takes_its_own_options_only(docs: ColbertCollection) -> None:
    client: Any = docs._opened.engine.client
    attached = attach(client, "docs", encoder=WordEncoder())
    request = models.QueryRequest(limit=10)
    assert [hit.text for hit in attached.search("bridge", request, limit=1)] == ["river bridge"]
    with pytest.raises(TypeError, match="unexpected keyword argument 'candidates'"):
        attached.search("bridge", request, candidates=5)  # type: ignore[call-arg]


def test_options_are_checked_before_anything_is_encoded(docs: ColbertCollection) -> None:
    encoder: Any = docs.encoder
    calls = encoder.calls
    for wrong in ({"limit": 0}, {"limit": 5, "candidates": 2}, {"mode": "best"}):
        with pytest.raises(ConfigurationError):
            docs.search("river", **wrong)
    assert encoder.calls == calls
