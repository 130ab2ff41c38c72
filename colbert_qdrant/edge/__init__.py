"""Runs Qdrant Edge, the embedded engine, in this process or one of its own, with QdrantClient's methods and models."""

from __future__ import annotations

from colbert_qdrant.edge.aio import AsyncEdgeClient
from colbert_qdrant.edge.client import EdgeClient

__all__ = ["AsyncEdgeClient", "EdgeClient"]
