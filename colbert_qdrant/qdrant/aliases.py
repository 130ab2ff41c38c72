"""Aliases: other names of collections, which point operations take and operations on whole collections do not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from colbert_qdrant.qdrant.edge import EdgeClient

if TYPE_CHECKING:
    from colbert_qdrant.qdrant.capabilities import Client

_FORBIDDEN_REST: Final = (401, 403)
_FORBIDDEN_GRPC: Final = ("PERMISSION_DENIED", "UNAUTHENTICATED")


def real_name(client: Client, collection: str) -> str:
    """The collection that a name stands for: itself, unless it is an alias.

    A key that may not list aliases sees none: collections have to be opened by their own names then.
    """
    if isinstance(client, EdgeClient):
        return collection
    try:
        aliases = client.get_aliases().aliases
    except Exception as error:
        if not _is_forbidden(error):
            raise
        return collection
    return next((alias.collection_name for alias in aliases if alias.alias_name == collection), collection)


def _is_forbidden(error: Exception) -> bool:
    """Whether an answer over REST, or one over gRPC, says that the key lacks a permission."""
    code = getattr(error, "code", None)
    if callable(code):
        return getattr(code(), "name", None) in _FORBIDDEN_GRPC
    return getattr(error, "status_code", None) in _FORBIDDEN_REST
