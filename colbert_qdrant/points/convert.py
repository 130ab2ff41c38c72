"""Converts documents to points, and stored points to documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from colbert_qdrant.documents import Document, DocumentId
from colbert_qdrant.errors import InvalidDocumentError, SchemaMismatchError
from colbert_qdrant.points.ids import canonical_id, check_id, id_from_json, id_to_json, point_id
from colbert_qdrant.points.payloads import check_values, payload_to_json
from colbert_qdrant.points.point import Payload, Point
from colbert_qdrant.points.schema import stored_as_float16
from colbert_qdrant.points.stamp import STAMP
from colbert_qdrant.points.texts import text_of, text_source
from colbert_qdrant.shown import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray
    from qdrant_client import models

    from colbert_qdrant.config import CollectionConfig
    from colbert_qdrant.vectors import Vector


def check_document(document: Document, config: CollectionConfig) -> tuple[Payload, str | None]:
    """Check a document before it is written, and build its payload.

    Returns:
        The payload, in which null replaces every NaN, and the path of the first NaN. The path is ``None`` if the
        payload has no NaN.

    Raises:
        InvalidDocumentError: If the document cannot be stored. The message names the document, the reason and the
            remedy.
    """
    if not isinstance(document, Document):
        raise InvalidDocumentError(
            f"expected a colbert_qdrant.Document, got {type(document).__name__}: use Document(id=…, text=…)"
        )
    point_id(document.id, config.id_scheme)
    if not isinstance(document.text, str | None):
        raise InvalidDocumentError(
            f"document {shown(document.id)}: text must be a string, got {type(document.text).__name__} "
            f"{shown(document.text, 60)}: use a string, or leave the document out"
        )
    if not document.has_text and document.tokens is None:
        raise InvalidDocumentError(f"document {shown(document.id)} has no text: leave it out, or pass tokens=…")
    for name in ("payload", "vectors"):
        value = getattr(document, name)
        if not isinstance(value, Mapping):
            raise InvalidDocumentError(
                f"document {shown(document.id)}: {name} has type {type(value).__name__}: pass a dict, or leave it out"
            )
    payload = _native_payload(document, config) if config.native else _own_payload(document, config)
    if STAMP in document.payload:
        raise InvalidDocumentError(
            f"document {shown(document.id)}: payload key {STAMP!r} is reserved for colbert-qdrant: leave it out"
        )
    nan = check_values(f"document {shown(document.id)}", document.payload, payload, config.indexes)
    return payload, nan


def make_point(
    id: DocumentId,
    payload: Payload,
    *,
    tokens: NDArray[np.float32],
    fde: NDArray[np.float32] | None,
    further: Mapping[str, Vector],
    config: CollectionConfig,
) -> Point:
    """Build a point from the payload and all vectors; it has no FDE until the encoding is fitted."""
    vectors: dict[str, Vector] = {config.token_vector: tokens, **further}
    if fde is not None:
        vectors[config.fde_vector] = fde
    float16 = stored_as_float16(config)
    return Point(id=point_id(id, config.id_scheme), vectors=vectors, payload=payload, float16=float16)


def vectors_of(point: models.Record | models.ScoredPoint) -> dict[str, Any]:
    """Return a point's vectors by name, in the form that the client returned; ``""`` names the unnamed vector."""
    found: Any = point.vector
    if isinstance(found, dict):
        return found
    return {} if found is None else {"": found}


def to_document(
    point: models.Record | models.ScoredPoint, config: CollectionConfig, *, vectors: Sequence[str] = ()
) -> Document:
    """Return the document that a stored point holds, with the vectors named in ``vectors``.

    In a native collection, every point is a document. A document that was written with ready token vectors may have no
    text.

    Raises:
        SchemaMismatchError: If the point was not written from a document.
    """
    payload, stored = point.payload or {}, vectors_of(point)
    own_vectors = {name: stored[name] for name in vectors if name in stored}
    text = text_of(payload, config)
    if config.native:
        return Document(document_id(point, config), text or "", payload, own_vectors)
    if text is None and payload.get(str(config.text_key)) is not None:
        raise _no_document_error(str(config.text_key))
    own = (config.id_key, config.text_key)
    others = {key: value for key, value in payload.items() if key not in own}
    return Document(document_id(point, config), text or "", others, own_vectors)


def _own_payload(document: Document, config: CollectionConfig) -> Payload:
    """Return the payload with this library's keys added."""
    keys: Payload = {config.id_key: id_to_json(document.id)}
    reserved = {config.id_key, str(config.text_key)} & set(document.payload)
    if reserved:
        raise InvalidDocumentError(
            f"document {shown(document.id)}: colbert-qdrant uses the payload keys {sorted(reserved)} itself: rename "
            "them, or choose other names with CollectionConfig(text_key=…, id_key=…)"
        )
    if document.has_text:
        keys[str(config.text_key)] = document.text
    payload: Payload = _to_json(document, {**keys, **document.payload})
    return payload


def _native_payload(document: Document, config: CollectionConfig) -> Payload:
    """Return the document's payload with its text in it."""
    payload: Payload
    payload, text = _to_json(document, [dict(document.payload), document.text])
    source = text_source(config.text_key)
    try:
        if source is not None and document.has_text:
            source.put(payload, text)
    except InvalidDocumentError as error:
        raise InvalidDocumentError(f"document {shown(document.id)}: {error}") from None
    return payload


def _to_json(document: Document, values: Any) -> Any:
    """Return the values as JSON types, or raise an error that names the document."""
    return payload_to_json(f"document {shown(document.id)}", document.payload, values)


def document_id(point: models.Record | models.ScoredPoint, config: CollectionConfig) -> DocumentId:
    """Return the id of the document that a point holds; raise `SchemaMismatchError` if there is no such id."""
    if config.native:
        return canonical_id(point.id)
    try:
        id = id_from_json((point.payload or {})[config.id_key])
        check_id(id)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _no_document_error(config.id_key) from error
    return id


def _no_document_error(key: str) -> SchemaMismatchError:
    return SchemaMismatchError(
        f"the collection has a point whose payload key {key!r} is missing or invalid, since another application wrote "
        "or changed it: delete the point, or restore its payload"
    )
