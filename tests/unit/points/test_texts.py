"""Paths into payloads, and the texts that are there, against a few lines that walk a payload by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colbert_qdrant import InvalidDocumentError
from colbert_qdrant._support.paths import parse_path, values_at
from colbert_qdrant.points.texts import TextSource

KEYS = st.sampled_from(["a", "b", "the text", "_node_content"])
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=4) | st.sampled_from(["[", "{", '"a"', "7", "{}"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=12
)
STEPS = st.lists(KEYS | st.integers(0, 2) | st.none(), min_size=1, max_size=4)


def flattened(value: Any, draw: Any) -> Any:
    """The same value with some of its objects and lists as JSON."""
    if isinstance(value, dict):
        value = {key: flattened(each, draw) for key, each in value.items()}
    elif isinstance(value, list):
        value = [flattened(each, draw) for each in value]
    return json.dumps(value) if isinstance(value, dict | list) and draw(st.booleans()) else value


def walked(value: Any, steps: list[Any]) -> list[Any]:
    """All values at a path."""
    here = [value]
    for step in steps:
        after = []
        for each in here:
            if isinstance(step, str) and isinstance(each, dict):
                after += [each[step]] if step in each else []
            elif step is None and isinstance(each, list):
                after += each
            elif isinstance(step, int) and isinstance(each, list):
                after += [each[step]] if step < len(each) else []
        here = after
    return here


def thawed(value: Any) -> Any:
    """A value with everything that JSON holds in the place of the JSON."""
    if isinstance(value, str) and value[:1] in "{[" and value:
        try:
            return thawed(json.loads(value))
        except ValueError:
            return value
    if isinstance(value, dict):
        return {key: thawed(each) for key, each in value.items()}
    return [thawed(each) for each in value] if isinstance(value, list) else value


@given(VALUES, STEPS, st.data())
def test_json_is_walked_through_as_if_it_were_not_there(value: Any, steps: list[Any], data: st.DataObject) -> None:
    frozen = flattened(value, data.draw)
    found = [thawed(each) for each in values_at(frozen, steps)]
    assert found == [thawed(each) for each in walked(thawed(value), steps)]


@given(VALUES, STEPS)
def test_what_is_found_is_what_is_there(value: Any, steps: list[Any]) -> None:
    found = list(values_at(value, steps))
    if value == thawed(value):
        assert found == walked(value, steps)


@given(STEPS.filter(lambda steps: isinstance(steps[0], str)))
def test_paths_are_read_as_they_are_written(steps: list[Any]) -> None:
    def written(step: Any) -> str:
        return f'."{step}"' if isinstance(step, str) else f"[{'' if step is None else step}]"

    assert parse_path("".join(map(written, steps)).removeprefix(".")) == steps


@pytest.mark.parametrize(
    ("payload", "found"),
    [
        ({"_node_content": '{"text": "a river"}'}, ["a river"]),
        ({"_node_content": ' \n {"text": "a river"}'}, ["a river"]),
        ({"_node_content": '{"text": {"text": 3}}'}, [{"text": 3}]),
        ({"_node_content": {"text": "plain"}}, ["plain"]),
        ({"_node_content": '{"text": "cut o'}, []),
        ({"_node_content": "text"}, []),
        ({"_node_content": ""}, []),
        ({"_node_content": '"text"'}, []),
        ({"_node_content": "[" * 100_000}, []),
        ({"_node_content": '["text"]'}, []),
        ({"_node_content": 7}, []),
        ({}, []),
        ('{"_node_content": "{\\"text\\": \\"twice\\"}"}', ["twice"]),
    ],
    ids=lambda each: repr(each)[:40],
)
def test_a_step_into_json(payload: Any, found: list[Any]) -> None:
    assert list(values_at(payload, parse_path("_node_content.text"))) == found


def test_the_end_of_a_path_is_given_as_it_is() -> None:
    assert list(values_at({"a": '{"b": 1}'}, ["a"])) == ['{"b": 1}']


PLAIN = st.lists(KEYS, min_size=1, max_size=3)


@given(st.dictionaries(KEYS, VALUES, max_size=3), PLAIN)
def test_a_text_is_put_where_there_is_none_or_refused(payload: dict[str, Any], steps: list[str]) -> None:
    source = TextSource(".".join(f'"{step}"' for step in steps))
    before = json.dumps(payload)
    there = list(values_at(payload, steps))
    try:
        source.put(payload, "a river")
    except InvalidDocumentError:
        blocked = any(
            not isinstance(each, dict) for place in range(1, len(steps)) for each in walked(payload, steps[:place])
        )
        assert there not in ([], ["a river"]) or blocked
        return
    assert source.text(payload) == "a river"
    assert there in ([], ["a river"])
    if there:
        assert json.dumps(payload) == before
        return
    # and nothing else has changed: it is gone with what was made for it
    while steps:
        *way, last = steps
        (holder,) = walked(payload, way)
        del holder[last]
        if holder or list(values_at(json.loads(before), way)):
            break
        steps = way
    assert json.dumps(payload) == before
