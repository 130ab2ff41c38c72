"""Streams of documents → points, in bounded memory; and the fit of an encoding that needs one."""

from colbert_qdrant.ingest.fitting import CollectionEncoding
from colbert_qdrant.ingest.pipeline import ingest

__all__ = ["CollectionEncoding", "ingest"]
