"""Documents ↔ points."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from qdrant_client import models

from colbert_qdrant.documents import Document, DocumentId, SearchHit, id_sort_key
from colbert_qdrant.errors import InvalidDocumentError
from colbert_qdrant.qdrant.ids import check_id, id_from_json, id_to_json, point_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from colbert_qdrant.config import CollectionConfig

_JSON_BYTES_PER_VALUE: Final = 21
"""A float32 written as the decimal digits of its double, with its comma."""

Payload = dict[str, Any]


def check_documents(documents: Sequence[Document], config: CollectionConfig) -> list[Payload]:
    """Check documents that are to be written together, and make their payloads.

    Raises:
        InvalidDocumentError: Names the first document that cannot be stored, why, and the remedy.
    """
    payloads = [_payload(document, config) for document in documents]
    seen = set()
    for document in documents:
        key = (type(document.id), document.id)
        if key in seen:
            raise InvalidDocumentError(
                f"id {document.id!r} is twice in one batch: only one of the two could be kept; leave one out"
            )
        seen.add(key)
    return payloads


def make_point(
    id: DocumentId,
    payload: Payload,
    *,
    tokens: NDArray[np.float32],
    fde: NDArray[np.float32] | None,
    config: CollectionConfig,
) -> models.PointStruct:
    """A point that holds both vectors and the payload; without an encoding while that is not fitted."""
    vector: Any = {config.token_vector: tokens.tolist()}
    if fde is not None:
        vector[config.fde_vector] = fde.tolist()
    return models.PointStruct(id=point_id(id), vector=vector, payload=payload)


def request_bytes(payload: Payload, *, values: int) -> int:
    """About how many bytes a point takes in a request."""
    return values * _JSON_BYTES_PER_VALUE + len(json.dumps(payload))


def to_document(payload: Mapping[str, Any], config: CollectionConfig) -> Document:
    """The document that a stored payload was made from."""
    own = (config.id_key, config.text_key)
    return Document(
        id_from_json(payload[config.id_key]),
        payload[config.text_key],
        {key: value for key, value in payload.items() if key not in own},
    )


def to_hits(points: Iterable[models.ScoredPoint], config: CollectionConfig, *, with_payload: bool) -> list[SearchHit]:
    """Search results in the order of (−score, id): ties come in the same order every time."""
    hits = (_to_hit(point, config, with_payload=with_payload) for point in points)
    return sorted(hits, key=lambda hit: (-hit.score, id_sort_key(hit.id)))


def split_by_bytes(points: Iterable[tuple[models.PointStruct, int]], limit: int) -> Iterator[list[models.PointStruct]]:
    """Gather points into batches of at most ``limit`` bytes; a larger one goes alone."""
    batch: list[models.PointStruct] = []
    size = 0
    for point, point_size in points:
        if batch and size + point_size > limit:
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
    check_id(document.id)
    if not isinstance(document.text, str) or not document.text.strip():
        raise InvalidDocumentError(f"document {document.id!r} has no text: leave it out")
    reserved = {config.id_key, config.text_key} & set(document.payload)
    if reserved:
        raise InvalidDocumentError(
            f"document {document.id!r}: payload keys {sorted(reserved)} are used by this library; rename them, or "
            "choose other names with CollectionConfig(text_key=…, id_key=…)"
        )
    payload = {config.id_key: id_to_json(document.id), config.text_key: document.text, **document.payload}
    try:
        # the round trip makes every engine store the same thing: tuples become lists, as over HTTP
        stored: Payload = json.loads(json.dumps(payload, allow_nan=False, ensure_ascii=False).encode())
    except (TypeError, ValueError) as error:
        raise InvalidDocumentError(
            f"document {document.id!r}: text or payload is not valid JSON ({error}); use strings, numbers, booleans, "
            "lists and dicts, dates as .isoformat()"
        ) from error
    return stored


def _to_hit(point: models.ScoredPoint, config: CollectionConfig, *, with_payload: bool) -> SearchHit:
    payload = point.payload or {}
    if not with_payload:
        return SearchHit(id_from_json(payload[config.id_key]), point.score)
    document = to_document(payload, config)
    return SearchHit(document.id, point.score, document.text, document.payload)
