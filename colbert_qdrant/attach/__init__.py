"""Late interaction on any existing collection, without writing to it."""

from colbert_qdrant.attach.aio import AsyncAttachedCollection, attach_async
from colbert_qdrant.attach.sync import AttachedCollection, attach

__all__ = ["AsyncAttachedCollection", "AttachedCollection", "attach", "attach_async"]
