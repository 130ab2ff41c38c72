"""Ids of documents as ids of points."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colbert_qdrant import InvalidDocumentError
from colbert_qdrant.points.ids import RESERVED_POINT, point_id, point_ids


@pytest.mark.parametrize("ids", [b"a", bytearray(b"a"), memoryview(b"a"), {1: "a"}, 1.0, None, [[1]], np.array([1.5])])
def test_what_is_neither_an_id_nor_several_is_refused(ids: Any) -> None:
    with pytest.raises(InvalidDocumentError, match="use a string, an integer or a"):
        point_ids(ids, "uuid5")


@pytest.mark.parametrize(
    "ids", [1, [1], (1,), {1}, range(1, 2), iter([1]), np.int8(1), np.array(1), np.array([1]), {1: 2}.keys()]
)
def test_ids_of_several_documents_or_one(ids: Any) -> None:
    assert point_ids(ids, "native") == [1]


def test_derived_ids_stay_what_they_were() -> None:
    assert point_id(1) == point_id(1, "uuid5") == "c45dd094-b4e7-50e2-a063-9925f9af4bfc"
    assert point_id("1") == "ba81ee16-4708-5a73-84a0-4dffa064d797"


@given(st.integers(0, 2**64 - 1) | st.uuids())
def test_native_ids_are_those_of_points(id: int | UUID) -> None:
    if isinstance(id, int):
        assert point_id(id, "native") == id
        return
    for form in (id, str(id), id.hex, id.urn, f"{{{id}}}", str(id).upper()):
        assert point_id(form, "native") == str(id)


@pytest.mark.parametrize("id", [-1, 2**64, True, "1", "", "a" * 31, "g" * 32, 1.0, None, [], b"1", "\ud800" * 32])
def test_others_are_refused_with_the_remedy(id: Any) -> None:
    with pytest.raises(InvalidDocumentError, match=r"use an integer from 0 to 2\*\*64 - 1 or a UUID"):
        point_id(id, "native")


@pytest.mark.parametrize("id", [RESERVED_POINT, RESERVED_POINT.upper(), UUID(RESERVED_POINT)])
def test_the_library_s_own_point_is_no_document_s(id: Any) -> None:
    with pytest.raises(InvalidDocumentError, match="stores the collection's settings: use another id"):
        point_id(id, "native")
