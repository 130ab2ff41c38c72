"""All that knows Qdrant: pure builders of requests, the way to an engine, and the embedded engine's clients."""

from colbert_qdrant.capabilities import AsyncClient, Capabilities, Client
from colbert_qdrant.edge import AsyncEdgeClient, EdgeClient
from colbert_qdrant.engines.connection import Connection
from colbert_qdrant.search.request import SearchMode

__all__ = ["AsyncClient", "AsyncEdgeClient", "Capabilities", "Client", "Connection", "EdgeClient", "SearchMode"]
