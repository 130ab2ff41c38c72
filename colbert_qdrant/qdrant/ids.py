"""Ids of the user's own ↔ point ids of Qdrant, which are UUIDs or whole numbers only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid5

from colbert_qdrant.errors import InvalidDocumentError

if TYPE_CHECKING:
    from colbert_qdrant.documents import DocumentId

NAMESPACE: Final = UUID("6c1d1c3e-0f0b-5d0c-9a55-2f2b6f0a4c11")
"""Fixed for ever: another namespace would give every stored document a second point."""

INT_RANGE: Final = range(-(2**63), 2**63)


def point_id(id: DocumentId) -> str:
    """The point id of a document: a UUID derived from its id and the id's type.

    Raises:
        InvalidDocumentError: The id is not a string, a whole number of 64 bits or a UUID.

    Example:
        >>> point_id(1) == point_id(1), point_id(1) == point_id("1")
        (True, False)
    """
    check_id(id)
    return str(uuid5(NAMESPACE, f"{_type_name(id)}:{id}"))


def check_id(id: object) -> None:
    """Raise unless it can be a document's id.

    Raises:
        InvalidDocumentError: It is not a string, a whole number of 64 bits or a UUID.
    """
    if isinstance(id, bool) or not isinstance(id, str | int | UUID):
        raise InvalidDocumentError(
            f"id {id!r} is a {type(id).__name__}: an id is a string, a whole number or a uuid.UUID"
        )
    if isinstance(id, int) and id not in INT_RANGE:
        raise InvalidDocumentError(f"id {id} does not fit into 64 bits: use it as a string")
    if isinstance(id, str) and not id.isascii():
        try:
            id.encode()
        except UnicodeEncodeError as error:
            raise InvalidDocumentError(f"id {id!r} is not valid Unicode: {error.reason}") from error


def id_to_json(id: DocumentId) -> Any:
    """The form in which a payload keeps an id; the type can be told from it."""
    return {"uuid": str(id)} if isinstance(id, UUID) else id


def id_from_json(value: Any) -> DocumentId:
    """The inverse of `id_to_json`."""
    if isinstance(value, dict):
        return UUID(value["uuid"])
    id: DocumentId = value
    return id


def _type_name(id: DocumentId) -> str:
    if isinstance(id, UUID):
        return "uuid"
    return "int" if isinstance(id, int) else "str"
