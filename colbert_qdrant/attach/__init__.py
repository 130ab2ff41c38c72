"""Late interaction on a collection that is there already, by whomever it was made: read, never written."""

from colbert_qdrant.attach.aio import AsyncAttachedCollection, attach_async
from colbert_qdrant.attach.collection import AttachedCollection, attach

__all__ = ["AsyncAttachedCollection", "AttachedCollection", "attach", "attach_async"]
