"""Writes datasets of Ray Data from many machines; needs the ``ray`` extra."""

from colbert_qdrant.errors import MissingExtraError

try:
    import ray.data as _  # noqa: F401
except ImportError as error:
    raise MissingExtraError("colbert_qdrant.ray needs Ray Data: pip install 'colbert-qdrant[ray]'") from error

from colbert_qdrant.ray.batches import ColbertBatchEncoder
from colbert_qdrant.ray.datasink import ColbertDatasink

__all__ = ["ColbertBatchEncoder", "ColbertDatasink"]
