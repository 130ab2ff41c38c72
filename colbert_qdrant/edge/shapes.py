"""Validates writes before they reach Edge.

Edge writes a batch to its log before it validates the batch. A batch that fails halfway stays partly written.
Multivectors whose rows differ in length, and deeply nested payloads or filters, make the log unreadable. The collection
then cannot be loaded after a crash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import qdrant_edge as edge
from pydantic_core import to_json
from qdrant_client import models

from colbert_qdrant.edge.depth import MAX_DEPTH, is_too_deep
from colbert_qdrant.errors import InvalidDocumentError, SchemaMismatchError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Layout(NamedTuple):
    """The vectors of a collection.

    Attributes:
        dense: The sizes of dense vectors, by name.
        multi: The row sizes of multivectors, by name.
        sparse: The names of the sparse vectors.
    """

    dense: dict[str, int]
    multi: dict[str, int]
    sparse: frozenset[str]

    def width(self, name: str) -> int:
        """Return the numbers per list item of a vector: the row size of a multivector, otherwise 1."""
        return self.multi.get(name, 1)


def layout_of(
    vectors: models.VectorParams | Mapping[str, models.VectorParams] | None,
    sparse_vectors: Mapping[str, models.SparseVectorParams] | None,
) -> Layout:
    """Return the layout for creation parameters; the unnamed vector has the name ""."""
    named = {"": vectors} if isinstance(vectors, models.VectorParams) else vectors or {}
    return Layout(
        dense={name: v.size for name, v in named.items() if v.multivector_config is None},
        multi={name: v.size for name, v in named.items() if v.multivector_config is not None},
        sparse=frozenset(sparse_vectors or ()),
    )


def check_vectors(layout: Layout, where: str, vectors: Mapping[str, edge.NamedVector]) -> None:
    """Raise `SchemaMismatchError` unless the vectors of a point fit the collection."""
    for name, vector in vectors.items():
        problem = _problem(layout, name, vector)
        if problem:
            raise SchemaMismatchError(f"{where}: vector {name!r} {problem}")


def vector_bytes(layout: Layout, vectors: Mapping[str, edge.NamedVector]) -> int:
    """Estimate the bytes that the engine stores for vectors that fit the collection."""
    return sum(
        8 * len(vector.indices) if isinstance(vector, edge.SparseVector) else 4 * layout.width(name) * len(vector)
        for name, vector in vectors.items()
    )


def json_bytes(value: Any) -> int:
    """Return the size of plain JSON values in bytes."""
    return len(to_json(value)) if value else 0


def check_depth(value: Any, what: str) -> None:
    """Raise `InvalidDocumentError` if JSON values are nested too deeply to be written."""
    if is_too_deep(value):
        raise InvalidDocumentError(f"{what} is nested more than {MAX_DEPTH} levels deep: flatten its lists and objects")


def at_key(payload: Any, key: str | None) -> Any:
    """Return a payload nested in as many objects as a key has steps, up to the maximum depth."""
    steps = 0 if not key else min(MAX_DEPTH, key.count(".") + key.count("[")) + 1
    for _ in range(steps):
        payload = {"": payload}
    return payload


def _problem(layout: Layout, name: str, vector: edge.NamedVector) -> str | None:
    if name in layout.multi:
        return _multi_problem(layout.multi[name], vector)
    if name in layout.dense:
        return _dense_problem(layout.dense[name], vector)
    if name in layout.sparse:
        return _sparse_problem(vector)
    known = sorted({*layout.dense, *layout.multi, *layout.sparse})
    return f"is not in the collection: use one of {known}"


def _multi_problem(size: int, vector: edge.NamedVector) -> str | None:
    if not isinstance(vector, list) or not vector or not isinstance(vector[0], list | memoryview):
        return f"must be a list of at least one row of {size} values"
    try:
        lengths = set(map(len, vector))
    except TypeError:
        return f"mixes rows and numbers: use rows of {size} values"
    wrong = lengths - {size}
    return f"has a row of {min(wrong)} values, but the collection needs {size}" if wrong else None


def _dense_problem(size: int, vector: edge.NamedVector) -> str | None:
    if not isinstance(vector, list | memoryview) or (vector and isinstance(vector[0], list | memoryview)):
        return f"must be one list of {size} values"
    return f"has {len(vector)} values, but the collection needs {size}" if len(vector) != size else None


def _sparse_problem(vector: edge.NamedVector) -> str | None:
    if not isinstance(vector, edge.SparseVector):
        return "must be a SparseVector"
    if len(vector.indices) != len(vector.values):
        return f"has {len(vector.indices)} indices and {len(vector.values)} values: give one value per index"
    repeated = len(set(vector.indices)) != len(vector.indices)
    return "has a repeated index: give each index once" if repeated else None
