"""Encodes texts as token embeddings.

Modules that need torch or transformers are imported inside functions, so importing this package loads neither.
"""

from colbert_qdrant.encoders.base import LateInteractionEncoder, TokenCounter, VectorEncoder
from colbert_qdrant.encoders.colbert import ColbertEncoder
from colbert_qdrant.encoders.ready import ReadyTokens
from colbert_qdrant.encoders.wrappers import PylateEncoder, SentenceTransformersEncoder

__all__ = [
    "ColbertEncoder",
    "LateInteractionEncoder",
    "PylateEncoder",
    "ReadyTokens",
    "SentenceTransformersEncoder",
    "TokenCounter",
    "VectorEncoder",
]
