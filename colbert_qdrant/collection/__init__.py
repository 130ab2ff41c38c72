"""Collections for late interaction: create, open, ingest, fit and search them."""

from colbert_qdrant.collection.aio import AsyncColbertCollection
from colbert_qdrant.collection.exporting import ExportReport
from colbert_qdrant.collection.info import CollectionState, VectorState
from colbert_qdrant.collection.ingest.options import IngestOptions, IngestTokensOptions
from colbert_qdrant.collection.listing import CollectionSummary, list_collections, list_collections_async
from colbert_qdrant.collection.sync import ColbertCollection

__all__ = [
    "AsyncColbertCollection",
    "ColbertCollection",
    "CollectionState",
    "CollectionSummary",
    "ExportReport",
    "IngestOptions",
    "IngestTokensOptions",
    "VectorState",
    "list_collections",
    "list_collections_async",
]
