"""All that knows Qdrant: pure builders of requests, the way to an engine, and the embedded engine's clients."""

from colbert_qdrant.qdrant.capabilities import AsyncClient, Capabilities, Client
from colbert_qdrant.qdrant.connection import Connection
from colbert_qdrant.qdrant.edge import AsyncEdgeClient, EdgeClient
from colbert_qdrant.qdrant.queries import SearchMode

__all__ = ["AsyncClient", "AsyncEdgeClient", "Capabilities", "Client", "Connection", "EdgeClient", "SearchMode"]
