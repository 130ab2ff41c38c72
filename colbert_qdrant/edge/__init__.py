"""Runs Qdrant Edge, the embedded engine, with QdrantClient's methods and models, in this or a worker process."""

from __future__ import annotations

from colbert_qdrant.edge.aio import AsyncEdgeClient
from colbert_qdrant.edge.client import EdgeClient

__all__ = ["AsyncEdgeClient", "EdgeClient"]
