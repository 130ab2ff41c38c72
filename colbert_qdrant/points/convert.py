"""Documents ↔ points."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from qdrant_client import models

from colbert_qdrant.documents import Document, DocumentId, SearchHit, SearchHits
from colbert_qdrant.errors import InvalidDocumentError, SchemaMismatchError
from colbert_qdrant.points.ids import canonical_id, check_id, id_from_json, id_to_json, point_id
from colbert_qdrant.points.texts import text_of, text_source

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from colbert_qdrant.config import CollectionConfig

_JSON_BYTES_PER_VALUE: Final = 21
"""A float32 written as the decimal digits of its double, with its comma."""

_BINARY_BYTES_PER_VALUE: Final = 4

Payload = dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class SparseVector:
    """The values of a vector that are not zero.

    Attributes:
        indices: Where they are, each once, shape ``(n,)``.
        values: What they are, shape ``(n,)``.
    """

    indices: NDArray[np.uint32]
    values: NDArray[np.float32]

    @property
    def size(self) -> int:
        """How many numbers it takes."""
        return self.indices.size + self.values.size


Vector: TypeAlias = NDArray[np.float32] | SparseVector | models.Document | models.SparseVector | list[Any]
"""A vector ``(dim,)``, a multivector ``(n, dim)``, a sparse vector, or a text that the server makes one of; also as
``qdrant_client`` reads it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Point:
    """A point that is to be stored, its vectors as numpy has them."""

    id: str | int
    vectors: Mapping[str, Vector]
    payload: Payload

    def request_bytes(self, *, binary: bool) -> int:
        """About how many bytes it takes in a request.

        Args:
            binary: Whether numbers go as they are (gRPC), not as decimal digits (REST).
        """
        texts = [vector.text for vector in self.vectors.values() if isinstance(vector, models.Document)]
        each = _BINARY_BYTES_PER_VALUE if binary else _JSON_BYTES_PER_VALUE
        return self.values * each + len(json.dumps([self.payload, *texts]))

    @property
    def values(self) -> int:
        """How many numbers its vectors have."""
        return sum(map(size_of, self.vectors.values()))


def size_of(vector: Vector) -> int:
    """How many numbers a vector has; a text has none yet."""
    if isinstance(vector, models.Document):
        return 0
    if isinstance(vector, models.SparseVector):
        return 2 * len(vector.indices)
    if isinstance(vector, list):
        return len(vector) * (len(vector[0]) if vector and isinstance(vector[0], list) else 1)
    return vector.size


def check_documents(documents: Sequence[Document], config: CollectionConfig) -> list[Payload]:
    """Check documents that are to be written together, and make their payloads.

    Raises:
        InvalidDocumentError: Names the first document that cannot be stored, why, and the remedy.
    """
    payloads = [_payload(document, config) for document in documents]
    seen = set()
    for document in documents:
        point = point_id(document.id, config.id_scheme)
        if point in seen:
            raise InvalidDocumentError(
                f"id {document.id!r} is twice in one batch: only one of the two could be kept; leave one out"
            )
        seen.add(point)
    return payloads


def make_point(
    id: DocumentId,
    payload: Payload,
    *,
    tokens: NDArray[np.float32],
    fde: NDArray[np.float32] | None,
    legs: Mapping[str, Vector],
    config: CollectionConfig,
) -> Point:
    """A point that holds all vectors and the payload; without an encoding while that is not fitted."""
    vectors: dict[str, Vector] = {config.token_vector: tokens, **legs}
    if fde is not None:
        vectors[config.fde_vector] = fde
    return Point(id=point_id(id, config.id_scheme), vectors=vectors, payload=payload)


def vectors_of(point: models.Record | models.ScoredPoint) -> dict[str, Any]:
    """A point's vectors by name, as they were read; the unnamed one, which may come without its name, has ``""``."""
    found: Any = point.vector
    if isinstance(found, dict):
        return found
    return {} if found is None else {"": found}


def to_document(point: models.Record | models.ScoredPoint, config: CollectionConfig) -> Document:
    """The document that a stored point was made from; in a native collection any point is one, with text or without.

    Raises:
        SchemaMismatchError: It was made from none.
    """
    payload = point.payload or {}
    text = text_of(payload, config)
    if config.native:
        return Document(_id(point, config), text or "", payload)
    if text is None:
        raise _not_a_document(str(config.text_key))
    own = (config.id_key, config.text_key)
    return Document(_id(point, config), text, {key: value for key, value in payload.items() if key not in own})


def to_hits(
    points: Iterable[models.ScoredPoint],
    config: CollectionConfig,
    *,
    with_payload: bool,
    legs: Mapping[str, Collection[Any]] | None = None,
) -> SearchHits:
    """Search results in the order of (−score, id): ties come in the same order every time.

    Args:
        points: The results.
        config: The collection's settings.
        with_payload: Whether they come with their payload.
        legs: The points that each leg found.

    Raises:
        SchemaMismatchError: A point holds no document.
    """
    hits = []
    for point in points:
        brought = tuple(name for name, found in (legs or {}).items() if point.id in found)
        hits.append(_to_hit(point, config, with_payload=with_payload, legs=brought))
    return SearchHits.ranked(hits)


def split_by_bytes(
    points: Iterable[Point], limit: int, *, binary: bool, most: int | None = None
) -> Iterator[list[Point]]:
    """Gather points into batches of at most ``limit`` bytes, and ``most`` points, in a request; a larger goes alone."""
    batch: list[Point] = []
    size = 0
    for point in points:
        point_size = point.request_bytes(binary=binary)
        if batch and (size + point_size > limit or len(batch) == most):
            yield batch
            batch, size = [], 0
        batch.append(point)
        size += point_size
    if batch:
        yield batch


def _payload(document: Document, config: CollectionConfig) -> Payload:
    if not isinstance(document, Document):
        raise InvalidDocumentError(
            f"expected a colbert_qdrant.Document, got {type(document).__name__}: use Document(id=…, text=…)"
        )
    point_id(document.id, config.id_scheme)
    if not isinstance(document.text, str) or not document.text.strip():
        raise InvalidDocumentError(f"document {document.id!r} has no text: leave it out")
    return _native_payload(document, config) if config.native else _own_payload(document, config)


def _own_payload(document: Document, config: CollectionConfig) -> Payload:
    """The payload with this library's keys in it."""
    keys = {config.id_key: id_to_json(document.id), str(config.text_key): document.text}
    reserved = set(keys) & set(document.payload)
    if reserved:
        raise InvalidDocumentError(
            f"document {document.id!r}: payload keys {sorted(reserved)} are used by this library; rename them, or "
            "choose other names with CollectionConfig(text_key=…, id_key=…)"
        )
    payload: Payload = _as_json(document, {**keys, **document.payload})
    return payload


def _native_payload(document: Document, config: CollectionConfig) -> Payload:
    """The payload as it is, with the text in it."""
    payload: Payload
    payload, text = _as_json(document, [dict(document.payload), document.text])
    source = text_source(config.text_key)
    try:
        if source is not None:
            source.put(payload, text)
    except InvalidDocumentError as error:
        raise InvalidDocumentError(f"document {document.id!r}: {error}") from None
    return payload


def _as_json(document: Document, values: Any) -> Any:
    """What is stored; the round trip makes every engine store the same thing: tuples become lists, as over HTTP."""
    try:
        return json.loads(json.dumps(values, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError) as error:
        raise InvalidDocumentError(
            f"document {document.id!r}: text or payload is not valid JSON ({error}); use strings, numbers, booleans, "
            "lists and dicts, dates as .isoformat()"
        ) from error


def _to_hit(
    point: models.ScoredPoint, config: CollectionConfig, *, with_payload: bool, legs: tuple[str, ...]
) -> SearchHit:
    if not with_payload:
        return SearchHit(_id(point, config), point.score, legs=legs)
    document = to_document(point, config)
    text = None if config.native and not document.text else document.text
    return SearchHit(document.id, point.score, text, document.payload, legs)


def _id(point: models.Record | models.ScoredPoint, config: CollectionConfig) -> DocumentId:
    if config.native:
        return canonical_id(point.id)
    try:
        id = id_from_json((point.payload or {})[config.id_key])
        check_id(id)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _not_a_document(config.id_key) from error
    return id


def _not_a_document(key: str) -> SchemaMismatchError:
    return SchemaMismatchError(
        f"the collection has a point whose payload has not, under {key!r}, what this library writes there: it was "
        "written or changed by something else; delete it, or restore its payload"
    )
