"""Serializes points to JSON: payloads with ``pydantic``, as the client does, and vectors with `write_floats`."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import BaseModel
from qdrant_client import models

from colbert_qdrant.engines.digits import write_floats
from colbert_qdrant.vectors import SparseVector

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from colbert_qdrant.points.point import Point
    from colbert_qdrant.vectors import Vector

_NO_POINTS: Final = b'"points":[]'
_NO_VECTORS: Final = b'"vector":{}'


def points_to_json(points: Sequence[Point], settings: models.PointsList) -> bytes:
    """Serialize points, with the settings of their write."""
    written = (
        _with_vectors(models.PointStruct(id=point.id, vector={}, payload=point.payload), point.vectors, point.float16)
        for point in points
    )
    return _filled(settings, written)


def vectors_to_json(
    points: Sequence[models.PointVectors], settings: models.UpdateVectors, float16: frozenset[str] = frozenset()
) -> bytes:
    """Serialize the new vectors of points, with the settings of their write; ``float16`` names those stored so."""
    written = (
        _with_vectors(models.PointVectors(id=point.id, vector={}), _named(point.vector), float16) for point in points
    )
    return _filled(settings, written)


def dump(model: BaseModel) -> bytes:
    """Serialize a model as the client does."""
    return model.model_dump_json(by_alias=True, exclude_unset=True, exclude_none=True).encode()


def _filled(settings: BaseModel, points: Iterable[Iterator[bytes]]) -> bytes:
    before, _, after = dump(settings).partition(_NO_POINTS)
    pieces = chain.from_iterable(_separated(points))
    return b"".join((before, b'"points":[', *pieces, b"]", after))  # joined once: copies of megabytes take long


def _named(vectors: Any) -> Mapping[str, Vector]:
    return vectors if isinstance(vectors, dict) else {"": vectors}


def _with_vectors(
    point: BaseModel, vectors: Mapping[str, Vector], float16: frozenset[str] = frozenset()
) -> Iterator[bytes]:
    before, _, after = dump(point).partition(_NO_VECTORS)  # an id has no quotes, so this is the field
    named = (
        (json.dumps(name).encode(), b":", _vector(vector, float16=name in float16)) for name, vector in vectors.items()
    )
    yield from (before, b'"vector":{', *chain.from_iterable(_separated(named)), b"}", after)


def _separated(items: Iterable[Iterable[bytes]]) -> Iterator[Iterable[bytes]]:
    """Yield items with commas between them."""
    for number, item in enumerate(items):
        if number:
            yield (b",",)
        yield item


def _vector(vector: Vector, *, float16: bool = False) -> bytes:
    if isinstance(vector, SparseVector):
        indices = ",".join(map(str, vector.indices.tolist())).encode()
        return b'{"indices":[' + indices + b'],"values":' + _vector(vector.values) + b"}"
    if isinstance(vector, BaseModel):
        return dump(vector)
    values = np.asarray(vector, np.float32)
    return write_floats(values, float16=float16) if values.size else b"[]"
