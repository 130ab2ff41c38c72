"""Late interaction on a collection that is there already, whoever made it: read, never written."""

from colbert_qdrant.attach.aio import AsyncAttachedCollection, attach_async
from colbert_qdrant.attach.sync import AttachedCollection, attach

__all__ = ["AsyncAttachedCollection", "AttachedCollection", "attach", "attach_async"]
