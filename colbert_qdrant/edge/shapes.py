"""Checks what is written before Edge sees it.

Edge writes a batch to its log before it looks at it. A batch that fails half way stays half written, and two
things make the log unreadable, so that the collection cannot be loaded again after a crash: a multivector with
rows of different lengths, and a deeply nested payload or filter.
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
        dense: Vector name → its size.
        multi: Multivector name → the size of its rows.
        sparse: The names of the sparse vectors.
    """

    dense: dict[str, int]
    multi: dict[str, int]
    sparse: frozenset[str]

    def width(self, name: str) -> int:
        """Returns how many numbers one item of a dense vector's list has: a multivector's are rows."""
        return self.multi.get(name, 1)


def layout_of(
    vectors: models.VectorParams | Mapping[str, models.VectorParams] | None,
    sparse_vectors: Mapping[str, models.SparseVectorParams] | None,
) -> Layout:
    """Returns the layout that creation parameters describe; an unnamed vector has the name ""."""
    named = {"": vectors} if isinstance(vectors, models.VectorParams) else vectors or {}
    return Layout(
        dense={name: v.size for name, v in named.items() if v.multivector_config is None},
        multi={name: v.size for name, v in named.items() if v.multivector_config is not None},
        sparse=frozenset(sparse_vectors or ()),
    )


def check_vectors(layout: Layout, where: str, vectors: Mapping[str, edge.NamedVector]) -> None:
    """Raises SchemaMismatchError unless the vectors of a point fit the collection."""
    for name, vector in vectors.items():
        problem = _problem(layout, name, vector)
        if problem:
            raise SchemaMismatchError(f"{where}: vector {name!r} {problem}")


def vector_bytes(layout: Layout, vectors: Mapping[str, edge.NamedVector]) -> int:
    """Returns about how many bytes the engine stores for vectors that fit the collection."""
    return sum(
        8 * len(vector.indices) if isinstance(vector, edge.SparseVector) else 4 * layout.width(name) * len(vector)
        for name, vector in vectors.items()
    )


def json_bytes(value: Any) -> int:
    """Returns how many bytes plain JSON values have."""
    return len(to_json(value)) if value else 0


def check_depth(value: Any, what: str) -> None:
    """Raises InvalidDocumentError if JSON values are nested too deeply to be written."""
    if is_too_deep(value):
        raise InvalidDocumentError(f"{what} has more than {MAX_DEPTH} lists and objects inside each other")


def at_key(payload: Any, key: str | None) -> Any:
    """Returns a payload inside as many objects as a key has steps, at the most."""
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
    return f"is not in the collection, which has {known}"


def _multi_problem(size: int, vector: edge.NamedVector) -> str | None:
    if not isinstance(vector, list) or not vector or not isinstance(vector[0], list):
        return f"has to be a list of rows of {size} values, and at least one row"
    try:
        lengths = set(map(len, vector))
    except TypeError:
        return "mixes rows and numbers"
    wrong = lengths - {size}
    return f"has a row of {min(wrong)} values, the collection has {size}" if wrong else None


def _dense_problem(size: int, vector: edge.NamedVector) -> str | None:
    if not isinstance(vector, list) or (vector and isinstance(vector[0], list)):
        return f"has to be one list of {size} values"
    return f"has {len(vector)} values, the collection has {size}" if len(vector) != size else None


def _sparse_problem(vector: edge.NamedVector) -> str | None:
    if not isinstance(vector, edge.SparseVector):
        return "has to be a SparseVector"
    if len(vector.indices) != len(vector.values):
        return f"has {len(vector.indices)} indices and {len(vector.values)} values"
    return "has an index twice" if len(set(vector.indices)) != len(vector.indices) else None
