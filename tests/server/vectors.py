"""Vectors as they come in JSON: which kind they are, and whether a server takes them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import qdrant_edge as edge

from tests.server.refusals import RefusedError, bad_format, invalid, no_variant, wrong_input

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_FLATTENED: Final = 1_048_576
_MAX_ID: Final = 2**64
_FREE_INFERENCE: Final = "qdrant/bm25"


def point_id(value: Any) -> int | str:
    """Returns an id, or says that it is none."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_ID:
        return value
    if isinstance(value, str):
        try:
            return str(UUID(value))
        except ValueError:
            pass
    raise bad_format(
        f"value {value} is not a valid point ID, valid values are either an unsigned integer or a UUID", position=""
    )


def named_vectors(value: Any, where: str, *, query: bool = False) -> dict[str, Any]:
    """Returns the vectors of a point by name, each as the engine takes it."""
    if isinstance(value, dict) and not value.keys() >= {"text", "model"}:
        return {name: vector(each, where, "vector.?", query=query) for name, each in value.items()}
    if isinstance(value, (list, dict)):
        return {"": vector(value, where, "vector", query=query)}
    raise no_variant("VectorStruct", position="")


def vector(value: Any, where: str, field: str, *, query: bool = False) -> Any:
    """Returns one vector as the engine takes it."""
    place = f"{where}.{field}"
    if isinstance(value, dict) and value.keys() >= {"indices", "values"}:
        return _sparse(value["indices"], value["values"], place)
    if isinstance(value, dict):
        return embedded(value, query=query)
    if not isinstance(value, list):
        raise no_variant("VectorStruct", position="")
    if value and isinstance(value[0], list):
        return _rows(value, place, query=query)
    if not value and not query:
        raise invalid(f"{place}.vector", "dense vector must not be empty")
    return _floats(value)


def embedded(value: Mapping[str, Any], *, query: bool) -> Any:
    """Returns the vector of a text, from the one model that every server has."""
    if str(value.get("model", "")).lower() != _FREE_INFERENCE:
        text = "InferenceService URL not configured - please provide valid address in config"
        raise RefusedError(500, f"Service internal error: {text}")
    options = dict(value.get("options") or {})
    if "tokenizer" in options:
        options["tokenizer"] = next(
            getattr(edge.TokenizerType, name)
            for name in dir(edge.TokenizerType)
            if name.lower() == options["tokenizer"].lower()
        )
    model = edge.Bm25(edge.Bm25Config(**options))
    return model.embed_query(value["text"]) if query else model.embed_document(value["text"])


def _sparse(indices: list[Any], values: list[Any], place: str) -> edge.SparseVector:
    if len(indices) != len(values):
        raise invalid(f"{place}.values", "Validation error: must be the same length as indices [{}]")
    if len(set(indices)) != len(indices):
        raise invalid(f"{place}.indices", "Validation error: must be unique [{}]")
    pairs = sorted(zip(indices, values, strict=True))
    return edge.SparseVector([index for index, _ in pairs], _floats([number for _, number in pairs]))


def _rows(rows: list[Any], place: str, *, query: bool) -> Any:
    if not query and len(rows) == 2 and all(type(number) is int and number >= 0 for number in rows[0]):
        return _sparse(rows[0], rows[1], place)  # two lists, of whole numbers and of numbers, are a sparse vector
    if not all(rows):
        raise invalid(f"{place}.data", "all vectors must be non-empty")
    size = sum(map(len, rows))
    if size >= MAX_FLATTENED:
        raise invalid(f"{place}.data", f"Total size of all vectors ({size}) must be less than {MAX_FLATTENED}")
    return [_floats(row) for row in rows]


def _floats(numbers: list[Any]) -> list[float]:
    if not all(type(number) in (int, float) for number in numbers):
        raise no_variant("VectorStruct", position="")
    return [float(number) for number in numbers]


def check_fits(name: str, value: Any, params: Mapping[str, Any], sparse: Mapping[str, Any]) -> None:
    """Says so if a vector is not one of the collection's: before anything of a batch is written."""
    if name not in params and name not in sparse:
        raise wrong_input(f"Not existing vector name error: {name}")
    if (name in sparse) != isinstance(value, edge.SparseVector):
        raise wrong_input("Conversion between sparse and regular vectors failed")
    if name in sparse:
        return
    several = bool(value) and isinstance(value[0], list)
    if several and not params[name].get("multivector_config"):
        raise wrong_input("Conversion between multi and regular vectors failed")
    size = params[name]["size"]
    for length in {len(row) for row in value} if several else {len(value)}:
        if length != size:
            of = f" for vector '{name}'" if name else ""
            raise wrong_input(f"Vector dimension error: expected dim: {size}, got {length}{of}")


def has_infinity(value: Any) -> bool:
    """Whether a number in JSON was too large to be one."""
    if isinstance(value, float):
        return math.isinf(value)
    if isinstance(value, dict):
        return any(map(has_infinity, value.values()))
    return isinstance(value, list) and any(map(has_infinity, value))
