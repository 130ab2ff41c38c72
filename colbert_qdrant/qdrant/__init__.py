"""All that knows Qdrant: pure builders of requests, and the embedded engine's client."""

from colbert_qdrant.qdrant.capabilities import Capabilities, Client
from colbert_qdrant.qdrant.edge import EdgeClient
from colbert_qdrant.qdrant.queries import SearchMode

__all__ = ["Capabilities", "Client", "EdgeClient", "SearchMode"]
