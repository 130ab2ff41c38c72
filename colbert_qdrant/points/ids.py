"""Derives Qdrant point ids, which are UUIDs or unsigned integers, from the ids of documents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

from colbert_qdrant._support.values import plain
from colbert_qdrant.errors import InvalidDocumentError
from colbert_qdrant.shown import listed, shown

if TYPE_CHECKING:
    from colbert_qdrant.config.collection import IdScheme
    from colbert_qdrant.documents import DocumentId

NAMESPACE: Final = UUID("6c1d1c3e-0f0b-5d0c-9a55-2f2b6f0a4c11")
"""Never change it: another namespace would give every stored document a second point."""

RESERVED_POINT: Final = str(uuid5(NAMESPACE, "metadata"))
"""The id of the point that stores the metadata on engines whose collections have no metadata.

No document gets this id, since a document's UUID is derived from a name that starts with a type.
"""

INT_RANGE: Final = range(-(2**63), 2**63)

NATIVE_RANGE: Final = range(2**64)


def point_id(id: DocumentId, scheme: IdScheme = "uuid5") -> str | int:
    """Return the point id of a document.

    Args:
        id: The document's id.
        scheme: ``"uuid5"``: a UUID derived from the id and the id's type. ``"native"``: the id itself.

    Raises:
        InvalidDocumentError: If the id is not a string, a 64-bit integer or a UUID. With ``"native"``: if the id is not
            a valid point id.

    Example:
        >>> point_id(1) == point_id(1), point_id(1) == point_id("1")
        (True, False)
        >>> point_id(1, "native"), point_id("936DA01F9ABD4D9D80C702AF85C822A8", "native")
        (1, '936da01f-9abd-4d9d-80c7-02af85c822a8')
    """
    id = plain(id)
    if scheme == "native":
        return _native_point_id(id)
    check_id(id)
    return str(uuid5(NAMESPACE, f"{_type_name(id)}:{id}"))


def passage_id(parent: DocumentId, number: int, scheme: IdScheme) -> str | UUID:
    """Return the id of a passage, which depends only on its document's id and its number.

    Returns:
        The document's id, ``#`` and the number, if the id is a string. For other ids, and with the scheme
        ``"native"``, a UUID derived from both.

    Raises:
        InvalidDocumentError: If the document's id is not a string, a 64-bit integer or a UUID.

    Example:
        >>> passage_id("manual", 3, "uuid5")
        'manual#3'
        >>> passage_id(7, 3, "uuid5") == passage_id("7", 3, "native")
        False
    """
    parent = plain(parent)
    check_id(parent)
    if isinstance(parent, str) and scheme != "native":
        return f"{parent}#{number}"
    return uuid5(NAMESPACE, f"passage:{_type_name(parent)}:{parent}#{number}")


def point_ids(ids: DocumentId | Iterable[DocumentId], scheme: IdScheme) -> list[int | str | UUID]:
    """Return the point ids of one document or several; see `point_id`."""
    ids = plain(ids)
    documents = listed(ids)
    if documents is None:
        documents = [ids]
    return [point_id(id, scheme) for id in documents]


def canonical_id(id: int | str | UUID) -> int | str:
    """Return a point's id in the form in which ids are compared: an integer, or a UUID as a string."""
    return id if isinstance(id, int) else str(id)


def check_id(id: object) -> None:
    """Raise unless a value can be a document's id.

    Raises:
        InvalidDocumentError: If the value is not a string, a 64-bit integer or a UUID, or is not valid Unicode.
    """
    id = plain(id)
    if isinstance(id, bool) or not isinstance(id, str | int | UUID):
        raise InvalidDocumentError(
            f"id {shown(id)} has type {type(id).__name__}: use a string, an integer or a uuid.UUID"
        )
    if isinstance(id, int) and id not in INT_RANGE:
        raise InvalidDocumentError(f"id {shown(id)} does not fit into 64 bits: convert it to a string")
    if isinstance(id, str) and not id.isascii():
        try:
            id.encode()
        except UnicodeEncodeError as error:
            raise InvalidDocumentError(
                f"id {shown(id)} is not valid Unicode ({error.reason}): use another id, or "
                ".encode(errors='replace').decode()"
            ) from error


def id_to_json(id: DocumentId) -> Any:
    """Return an id as a JSON value, which shows the id's type."""
    id = plain(id)
    return {"uuid": str(id)} if isinstance(id, UUID) else id


def id_from_json(value: Any) -> DocumentId:
    """Return the id that `id_to_json` converted."""
    if isinstance(value, dict):
        return UUID(value["uuid"])
    id: DocumentId = value
    return id


def _native_point_id(id: object) -> int | str:
    if isinstance(id, int) and not isinstance(id, bool) and id in NATIVE_RANGE:
        return id
    point = _parse_uuid(id)
    if point is None:
        raise InvalidDocumentError(
            f"id {shown(id)} is not a valid point id, which id_scheme='native' needs: use an integer from 0 to "
            "2**64 - 1 or a UUID, such as uuid.uuid5(namespace, id)"
        )
    if point == RESERVED_POINT:
        raise InvalidDocumentError(
            f"id {shown(id)} is reserved for the point that stores the collection's settings: use another id"
        )
    return point


def _parse_uuid(id: object) -> str | None:
    if isinstance(id, UUID):
        return str(id)
    try:
        return str(UUID(id)) if isinstance(id, str) else None
    except ValueError:
        return None


def _type_name(id: DocumentId) -> str:
    if isinstance(id, UUID):
        return "uuid"
    return "int" if isinstance(id, int) else "str"
