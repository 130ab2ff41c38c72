"""The embedded engine: Qdrant Edge in this process, spoken to with QdrantClient's methods and models."""

from __future__ import annotations

from colbert_qdrant.qdrant.edge.client import EdgeClient

__all__ = ["EdgeClient"]
