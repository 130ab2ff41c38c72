"""Text → token embeddings. The only package besides ``fde`` that imports torch, and only inside functions."""

from colbert_qdrant.encoders.base import LateInteractionEncoder
from colbert_qdrant.encoders.transformer import TransformerTokenEncoder

__all__ = ["LateInteractionEncoder", "TransformerTokenEncoder"]
