"""Streams of documents → points, in bounded memory."""

from colbert_qdrant.ingest.pipeline import DocumentWriter, ingest
from colbert_qdrant.ingest.progress import ProgressReporter

__all__ = ["DocumentWriter", "ProgressReporter", "ingest"]
