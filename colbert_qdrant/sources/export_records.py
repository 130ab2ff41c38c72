"""Converts documents to the records of an export, and back; see `exported`."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from colbert_qdrant.documents import Document
from colbert_qdrant.points.ids import id_from_json, id_to_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

DATATYPES: Final = ("float16", "float32")
"""The types of the numbers in matrices."""


def to_line(document: Document, datatype: str) -> bytes:
    """Return a document as a line of JSON."""
    fields = {
        "id": id_to_json(document.id),
        "text": document.text,
        "payload": document.payload,
        "tokens": None if document.tokens is None else _to_base64(document.tokens, datatype),
        "vectors": {name: vector_to_json(vector) for name, vector in document.vectors.items()},
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def is_exported(fields: Mapping[str, Any]) -> bool:
    """Tell whether a JSON object has the form that `to_line` writes."""
    if "vectors" not in fields or {*fields} != {"id", "text", "payload", "tokens", "vectors"}:
        return False
    tokens = fields["tokens"]
    return tokens is None or (isinstance(tokens, dict) and {*tokens} == {"shape", "dtype", "data"})


def from_line(line: bytes) -> Document:
    """Return the document that `to_line` wrote."""
    fields = json.loads(line)
    tokens = fields["tokens"]
    return _document(fields, None if tokens is None else _from_base64(tokens))


def vector_to_json(vector: Any) -> Any:
    """Return a further vector as a JSON value."""
    if hasattr(vector, "indices"):
        return {"indices": np.asarray(vector.indices).tolist(), "values": np.asarray(vector.values, float).tolist()}
    return _to_base64(np.asarray(vector, np.float32), "float32")


def _vector_from_json(value: Mapping[str, Any]) -> Any:
    if "indices" in value:
        return dict(zip(value["indices"], value["values"], strict=True))
    return _from_base64(value)


def _document(fields: Mapping[str, Any], tokens: Any) -> Document:
    """Return a document of JSON values."""
    vectors = {name: _vector_from_json(value) for name, value in fields["vectors"].items()}
    return Document(id_from_json(fields["id"]), fields["text"], fields["payload"], vectors, tokens)


def from_columns(columns: Mapping[str, Any], position: int) -> Document:
    """Return the document in one row of an Arrow batch."""
    fields = {name: json.loads(columns[name][position].as_py()) for name in ("id", "payload", "vectors")}
    cell = columns["tokens"][position] if "tokens" in columns else None
    tokens = None
    if cell is not None and cell.is_valid:
        rows = cell.values
        tokens = rows.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(rows), -1)
    return _document({**fields, "text": columns["text"][position].as_py()}, tokens)


def _to_base64(matrix: Any, datatype: str) -> dict[str, Any]:
    values = np.ascontiguousarray(matrix, np.dtype(datatype).newbyteorder("<"))
    return {"shape": list(values.shape), "dtype": datatype, "data": base64.b64encode(values.tobytes()).decode()}


def _from_base64(value: Mapping[str, Any]) -> NDArray[np.float32]:
    if value["dtype"] not in DATATYPES:
        raise ValueError(f"dtype {value['dtype']!r}")
    data = base64.b64decode(value["data"], validate=True)
    return np.frombuffer(data, np.dtype(value["dtype"]).newbyteorder("<")).astype(np.float32).reshape(value["shape"])
