"""Columns and functions make documents of rows."""

from __future__ import annotations

import math
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from colbert_qdrant import Document
from colbert_qdrant.errors import ConfigurationError
from colbert_qdrant.sources import RowMapping
from tests.unit.sources.rows import documents, errors

ROW = {"id": 1, "title": "Rivers", "text": "They flow.", "meta": {"a": 1}, "year": 2001}


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({}, Document(1, "They flow.", {"title": "Rivers", "meta": {"a": 1}, "year": 2001})),
        ({"id": "year", "text": "title"}, Document(2001, "Rivers", {"id": 1, "text": "They flow.", "meta": {"a": 1}})),
        ({"payload": "meta"}, Document(1, "They flow.", {"a": 1})),
        ({"payload": ["year", "title"]}, Document(1, "They flow.", {"year": 2001, "title": "Rivers"})),
        ({"payload": []}, Document(1, "They flow.", {})),
        ({"payload": lambda row: {"y": row["year"]}}, Document(1, "They flow.", {"y": 2001})),
        (
            {"id": lambda row: f"d{row['id']}", "text": lambda row: f"{row['title']}. {row['text']}"},
            Document("d1", "Rivers. They flow.", {"title": "Rivers", "meta": {"a": 1}, "year": 2001}),
        ),
    ],
)
def test_columns_of_a_dict(mapping: dict[str, Any], expected: Document) -> None:
    assert documents([ROW], **mapping) == [expected]
    assert "id" in ROW  # the caller's dict is unchanged


@pytest.mark.parametrize(
    ("row", "mapping", "expected"),
    [
        ((1, "a"), {}, Document(1, "a")),
        ([1, "a"], {}, Document(1, "a")),
        ((1, "a", {"n": 2}), {}, Document(1, "a", {"n": 2})),
        ((1, "a", None), {}, Document(1, "a")),
        (("x", 7, "a", "b"), {"id": 1, "text": 3}, Document(7, "b")),
        (("x", 7, "a", {"n": 2}), {"id": 1, "text": 2, "payload": 3}, Document(7, "a", {"n": 2})),
        (("x", 7), {"id": lambda row: row[1], "text": lambda row: row[0]}, Document(7, "x")),
    ],
)
def test_positions_of_a_tuple(row: Any, mapping: dict[str, Any], expected: Document) -> None:
    assert documents(iter([row]), **mapping) == [expected]


def test_ids_keep_their_type_and_are_plain() -> None:
    uuid = UUID(int=7)
    values = [np.int64(3), "3", uuid, np.str_("x")]
    found = [each.id for each in documents([{"_id": value, "text": "a"} for value in values])]
    assert found == [3, "3", uuid, "x"]
    assert [type(each) for each in found] == [int, str, UUID, str]


@pytest.mark.parametrize(
    ("row", "mapping", "message"),
    [
        ({"key": 1, "text": "a"}, {}, "row 2: there is no column 'id' or '_id', and the columns are 'key', 'text': "),
        (
            {"id": 1, "body": "a"},
            {},
            "row 2: there is no column 'text', and the columns are 'id', 'body': pass the name of one as text=…, or a",
        ),
        (ROW, {"payload": ["year", "month"]}, "row 2: there is no column 'month', and the columns are"),
        (
            {"id": 1, "Body": "a"},
            {"text": "body"},
            "row 2: there is no column 'body', and the columns are 'id', 'Body': pass text='Body', or a function",
        ),
        (
            {"id": 1, "text": "a", "Year": 1},
            {"payload": ["year"]},
            "row 2: there is no column 'year', and the columns are 'id', 'text', 'Year': name 'Year' in payload",
        ),
        (ROW, {"payload": "year"}, "row 2: payload is 2001, an int: use a column or a function with a dict"),
        (ROW, {"payload": "title"}, "row 2: payload is 'Rivers', a str: use a column or a function with a dict"),
        (ROW, {"id": lambda row: row["key"]}, "row 2: the function for id raised KeyError: 'key': change it"),
        ({"id": None, "text": "a"}, {}, "row 2: the id is missing (None): give every row an id"),
        ({"id": math.nan, "text": "a"}, {}, "row 2: the id is missing (nan)"),
        ((1,), {}, "row 2: the tuple has length 1: use (id, text) or (id, text, payload)"),
        ((1, "a"), {"id": "key"}, "row 2: a tuple has no column 'key': pass a position, such as id=0"),
        ((1, "a"), {"text": 2}, "row 2: there is no position 2 in 2 values"),
        ("a text", {}, "row 2: expected a Document, a dict or a tuple, got str 'a text': use Document(id=…, text=…)"),
        (None, {}, "row 2: expected a Document, a dict or a tuple, got NoneType None"),
    ],
)  # fmt: skip
def test_a_bad_row_is_an_error_with_its_number_and_the_remedy(row: Any, mapping: dict[str, Any], message: str) -> None:
    found = errors([Document("good", "a"), row], **mapping)
    assert len(found) == 1
    assert found[0].startswith(message)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"id": 1.5}, "id must be the name of a column or a function of the row, got 1.5"),
        ({"text": True}, "text must be"),
        ({"payload": [1.5]}, "payload must list names of columns"),
        ({"payload": {"a": 1}}, "payload must be the name of a column, a list of columns or a function"),
    ],
)
def test_a_mapping_of_other_types_is_refused(mapping: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message.replace("(", r"\(")):
        RowMapping(**mapping)
